"""The backend `vllm`: a running vLLM server, which gets every mixture as a plain adapter."""
