"""The backend `llama.cpp`: a quantised base in a process beside this one."""
