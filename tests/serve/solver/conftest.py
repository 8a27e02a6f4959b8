from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.search.traces import Row
from bdc_agents.serve import RoutedModel
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest, ExpertWeights

if any(find_spec(name) is None for name in ("torch", "peft", "numpy")):
    collect_ignore_glob = ["test_*.py"]
else:
    import numpy as np
    import torch

    from bdc_agents.distill.recipe import TrainConfig
    from bdc_agents.distill.save import save_library
    from bdc_agents.distill.training.experts import train_experts
    from bdc_agents.embed.encoder import unit
    from bdc_agents.experts.base import Base, load_base
    from bdc_agents.experts.clusters import PROBE, Clusters
    from bdc_agents.experts.library import ExpertLibrary
    from bdc_agents.experts.manifest import write_manifest

EXPERTS = ("cluster-0", "cluster-1", "shared")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


# --- a real library: a tiny random Llama, and experts that change what it says ------------------------


class Letters:
    """An encoder that counts letters: quick, and the same everywhere."""

    name = "letters"

    def embed(self, texts: Sequence[str]) -> Any:
        counts = [[1.0 + text.lower().count(letter) for letter in "abcdefghijklmnop"] for text in texts]
        return unit(np.array(counts), texts)


@pytest.fixture(scope="session")
def letters() -> Letters:
    return Letters()


def _base(tokenizer: Any, folder: Path, kind: str = "llama", hidden: int = 32) -> Path:
    """A tiny random model of 4 heads whose tokens are bytes, as `save_pretrained` writes it."""
    import transformers

    torch.manual_seed(0)
    config, model_class = {
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    }[kind]
    sizes = {"hidden_size": hidden, "intermediate_size": hidden * 3 // 2, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 1024}
    model: Any = model_class(
        config(**sizes | heads, vocab_size=264, bos_token_id=None, eos_token_id=None, head_dim=hidden // 4)
    )
    with torch.no_grad():
        # A random model says hardly anything: make it decided, and let it favour plain letters.
        model.lm_head.weight *= 12
        printable = [tokenizer.convert_tokens_to_ids(chr(code)) for code in range(33, 127)]
        others = [n for n in range(264) if n not in printable]
        model.lm_head.weight[others] *= 0.05
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_base(tokenizer: Any) -> Callable[..., Path]:
    return partial(_base, tokenizer)


@pytest.fixture(scope="session")
def base_folder(make_base: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "tiny-llama")


def _library(base_folder: Path, folder: Path) -> Path:
    """A library of two clusters and the shared expert, as `bdc distill` writes it, without a router."""
    torch.set_num_threads(1)
    base = load_base(str(base_folder), dtype="float32", device="cpu")
    rows = [
        Row(
            kind="direct",
            problem_id=f"p{n}",
            prompt=({"role": "user", "content": ("aaa", "ppp")[n % 2] * 3},),
            completion=f"return {n}",
        )
        for n in range(12)
    ]
    config = TrainConfig(
        rank=4, max_steps=1, epochs=1, batch=4, max_length=128, min_rows=2, dtype="float32", validation=0.2
    )
    trained = train_experts(rows, [n % 2 for n in range(12)], base, folder / "work", config)
    trained = replace(
        trained, adapters={name: _loud(state, name) for name, state in trained.adapters.items()}
    )
    return save_library(
        folder / "tiny", trained, files={"clusters.json": _clusters(rows, Letters()).to_json().encode()}
    ).folder


@pytest.fixture(scope="session")
def make_library() -> Callable[[Path, Path], Path]:
    return _library


@pytest.fixture(scope="session")
def library_folder(base_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _library(base_folder, tmp_path_factory.mktemp("library"))


def _loud(state: dict[str, Any], name: str) -> dict[str, Any]:
    """Weights with an effect that one step of training would not have."""
    generator = torch.Generator().manual_seed(EXPERTS.index(name))
    return {key: torch.randn(value.shape, generator=generator) * 0.2 for key, value in state.items()}


def _clusters(rows: Sequence[Row], letters: Letters) -> Clusters:
    vectors = letters.embed([row.prompt[-1]["content"] for row in rows])
    labels = np.array([n % 2 for n in range(len(rows))])
    return Clusters(
        ids=tuple(row.problem_id for row in rows),
        labels=labels,
        memberships=np.eye(2, dtype=np.float32)[labels],
        tokens=np.full(len(rows), 5),
        centroids=np.stack([vectors[labels == k].mean(0) for k in (0, 1)]),
        temperature=0.5,
        encoder=letters.name,
        probe=letters.embed([PROBE])[0],
    )


@pytest.fixture(scope="session")
def one_expert(library_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of the shared expert alone, as `bdc distill --one-expert` writes it."""
    whole = ExpertLibrary(library_folder)
    folder = tmp_path_factory.mktemp("one") / "one"
    shutil.copytree(library_folder, folder)
    kept = {
        path: file
        for path, file in whole.manifest.files.items()
        if path != "clusters.json" and not path.startswith("experts/cluster-")
    }
    experts = tuple(expert for expert in whole.manifest.experts if expert.name == "shared")
    write_manifest(folder, whole.manifest.model_copy(update={"experts": experts, "files": kept}))
    return folder


@pytest.fixture(scope="session")
def library(library_folder: Path) -> ExpertLibrary:
    return ExpertLibrary(library_folder)


@pytest.fixture(scope="session")
def base(base_folder: Path) -> Base:
    return load_base(str(base_folder), dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny(library_folder: Path, letters: Letters) -> Iterator[RoutedModel]:
    """The library, opened in this process with a base of its own."""
    model = RoutedModel.from_library(library_folder, encoder=letters, dtype="float32", device="cpu")
    yield model
    asyncio.run(model.aclose())


# --- a scripted backend: for what is around the model ------------------------------------------------


class ScriptedBackend:
    """Says what a function makes of the request, in pieces of three letters."""

    mixes = "expert"
    identity = "scripted"
    context = 1000

    def __init__(self, respond: Callable[[ChatRequest], str], delay: float = 0.0) -> None:
        self.respond = respond
        self.delay = delay
        self.requests: list[ChatRequest] = []
        self.running = 0
        self.closed = False

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        return list(await asyncio.gather(*(self._whole(request) for request in requests)))

    async def _whole(self, request: ChatRequest) -> ChatReply:
        async for piece in self.stream(request):
            if piece.reply is not None:
                return piece.reply
        raise AssertionError

    async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
        self.requests.append(request)
        self.running += 1
        try:
            text = self.respond(request)
            for place in range(0, len(text), 3):
                await asyncio.sleep(self.delay)
                yield ChatPiece(text=text[place : place + 3])
            reply = ChatReply(text=text, prompt_tokens=7, completion_tokens=len(text), probability=0.5)
            yield ChatPiece(text="", reply=reply)
        finally:
            self.running -= 1

    async def aclose(self) -> None:
        self.closed = True


async def by_length(text: str) -> ExpertWeights:
    """Experts weighed by the length of the text."""
    first = round(min(len(text), 100) / 100, 2)
    return ExpertWeights({"cluster-0": first, "cluster-1": 1 - first})


@pytest.fixture(scope="session")
def scripted() -> Callable[..., RoutedModel]:
    """Makes a routed model whose backend is scripted."""

    def make(respond: Callable[[ChatRequest], str], delay: float = 0.0) -> RoutedModel:
        return RoutedModel(ScriptedBackend(respond, delay), by_length, ("cluster-0", "cluster-1"), "scripted")

    return make
