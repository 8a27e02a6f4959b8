"""A small server that behaves as vLLM 0.32 was seen to, and fails where a test says so."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import torch
import uvicorn
from safetensors.torch import load_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bdc_agents.experts.base import load_base

KEY = "a key of the server"


class LikeVLLM:
    """Answers greedily with the adapter that a request names, by a real model.

    Args:
        base: Its folder.
        rank: Of the largest adapter that it takes.
    """

    def __init__(self, base: Path, rank: int = 64) -> None:
        self.base, self.rank, self.root = base, rank, str(base)
        self.model = load_base(str(base), dtype="float32", device="cpu")
        self.adapters: dict[str, Path] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.faults: dict[str, list[str]] = {}
        self.running = 0
        self.gate = threading.Event()
        self.gate.set()
        app = Starlette(
            routes=[
                Route("/v1/models", self.models),
                *(
                    Route(path, getattr(self, path.rsplit("/", 1)[-1]), methods=["POST"])
                    for path in ("/tokenize", "/v1/load_lora_adapter", "/v1/unload_lora_adapter")
                ),
                Route("/v1/completions", self.completions, methods=["POST"]),
            ]
        )
        place = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{place.getsockname()[1]}"
        config = uvicorn.Config(app, lifespan="off", log_level="critical", timeout_graceful_shutdown=1)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [place]}, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.gate.set()
        self.server.should_exit = True
        self.thread.join(20)

    def called(self, path: str) -> list[dict[str, Any]]:
        return [body for called, body in self.calls if called == path]

    async def _begin(self, request: Request) -> tuple[dict[str, Any], Response | None]:
        """The body, and what stands in for an answer."""
        path = request.url.path.rsplit("/", 1)[-1]
        body = json.loads(await request.body() or b"{}")
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return body, JSONResponse({"error": "Unauthorized"}, 401)
        self.calls.append((path, body))
        fault = self.faults[path].pop(0) if self.faults.get(path) else ""
        while fault == "slow" and not self.gate.is_set():  # noqa: ASYNC110 - set in another thread.
            await asyncio.sleep(0.005)
        if fault == "404":
            return body, JSONResponse({"detail": "Not Found"}, 404)
        if fault == "500":
            return body, _refusal("EngineCore encountered an issue", 500)
        return body | {"fault": fault}, None

    async def models(self, request: Request) -> Response:
        _, instead = await self._begin(request)
        base = {"id": "tiny", "root": self.root, "parent": None, "max_model_len": 512}
        adapters = [{"id": name, "root": str(p), "parent": "tiny"} for name, p in self.adapters.items()]
        return instead or JSONResponse({"object": "list", "data": [*adapters, base]})

    async def tokenize(self, request: Request) -> Response:
        body, instead = await self._begin(request)
        ids = self.model.tokenizer(body["prompt"], add_special_tokens=body["add_special_tokens"])["input_ids"]
        return instead or JSONResponse({"tokens": ids, "count": len(ids), "max_model_len": 512})

    async def load_lora_adapter(self, request: Request) -> Response:
        body, instead = await self._begin(request)
        name, path = body["lora_name"], Path(body["lora_path"])
        if instead:
            return instead
        if name in self.adapters:
            return _refusal(f"The lora adapter '{name}' has already been loaded.", 400)
        if not (path / "adapter_config.json").is_file():
            return _refusal(f"Loading lora {name} failed: No adapter found for {path}", 404)
        rank = json.loads((path / "adapter_config.json").read_text())["r"]
        if rank > self.rank:
            return _refusal(f"LoRA rank {rank} is greater than max_lora_rank {self.rank}.", 500)
        self.adapters[name] = path
        return Response(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload_lora_adapter(self, request: Request) -> Response:
        body, instead = await self._begin(request)
        if body["lora_name"] not in self.adapters:
            return _refusal(f"The lora adapter '{body['lora_name']}' cannot be found.", 404)
        del self.adapters[body["lora_name"]]
        return instead or Response("Success")

    async def completions(self, request: Request) -> Response:
        body, instead = await self._begin(request)
        if instead:
            return instead
        if body["model"] not in self.adapters:
            return _refusal(f"The model `{body['model']}` does not exist.", 404)
        return StreamingResponse(self._written(body), media_type="text/event-stream")

    async def _written(self, body: dict[str, Any]) -> AsyncIterator[bytes]:
        self.running += 1
        try:
            ids = list(body["prompt"])
            delta = _delta(self.adapters[body["model"]])
            for number in range(body["max_tokens"]):
                token, logprob = self._next(ids, delta)
                ids.append(token)
                choice = {"index": 0, "text": self.model.tokenizer.decode([token]), "finish_reason": None}
                choice["logprobs"] = {"token_logprobs": [logprob], "tokens": ["?"]}
                if number + 1 == body["max_tokens"]:
                    choice["finish_reason"] = "length"
                yield _event({"choices": [choice]})
                if body["fault"] == "cut" and number == 2:
                    raise ConnectionResetError
                while body["max_tokens"] > 1 and not self.gate.is_set():  # noqa: ASYNC110 - set in another thread.
                    await asyncio.sleep(0.005)
            used = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
            yield _event({"choices": [], "usage": used | {"total_tokens": len(ids)}})
            yield b"data: [DONE]\n\n"
        finally:
            self.running -= 1

    def _next(self, ids: list[int], delta: dict[str, Any]) -> tuple[int, float]:
        model = self.model.model
        with torch.inference_mode():
            plain = {name: model.get_submodule(name).weight.clone() for name in delta}
            for name, change in delta.items():
                model.get_submodule(name).weight += change
            known = len(self.model.tokenizer)  # Of the model's tokens; transformers leaves out the others.
            logprobs = model(torch.tensor([ids])).logits[0, -1, :known].log_softmax(-1)
            for name, weight in plain.items():
                model.get_submodule(name).weight.copy_(weight)
        return int(logprobs.argmax()), float(logprobs.max())


def _delta(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "adapter_config.json").read_text())
    state = load_file(folder / "adapter_model.safetensors")
    scale = config["lora_alpha"] / config["r"]
    return {
        key.removeprefix("base_model.model.").removesuffix(".lora_A.weight"): (
            scale * state[key.replace("lora_A", "lora_B")] @ state[key]
        )
        for key in state
        if "lora_A" in key
    }


def _refusal(message: str, status: int) -> Response:
    return JSONResponse({"error": {"message": message, "type": "Error", "code": status}}, status)


def _event(data: dict[str, Any]) -> bytes:
    common = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return b"data: " + json.dumps(common | data).encode() + b"\n\n"
