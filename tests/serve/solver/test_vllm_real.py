"""The backend on a real vLLM server. Opt in:

    BDC_TEST_VLLM=/path/of/an/environment/bin/python pytest tests/serve/solver/test_vllm_real.py

starts `python -m vllm.entrypoints.openai.api_server` of that environment, on the CPU where vLLM was
built for it, with a tiny random model. Or, with a server of one's own that serves the base of a library:

    BDC_TEST_VLLM=http://127.0.0.1:8000 BDC_TEST_LIBRARY=experts/library/mine VLLM_API_KEY=... pytest ...
"""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from bdc_agents.errors import BDCError
from bdc_agents.experts.clusters import library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.serve import ChatRequest, ExpertWeights, RoutedModel

from .held import RAMBLING, SCHEMAS, checked
from .held import ask as held

WHERE = os.environ.get("BDC_TEST_VLLM", "")
pytestmark = pytest.mark.skipif(not WHERE, reason="BDC_TEST_VLLM names no server and no environment")
KEY = "a key for the test"
START_SECONDS = 600
ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
    "VLLM_API_KEY": KEY,
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
OPTIONS = (
    *("--host", "127.0.0.1", "--dtype", "float32", "--enforce-eager", "--max-model-len", "1024"),
    *("--enable-lora", "--max-loras", "2", "--max-lora-rank", "16", "--max-num-seqs", "8"),
)


@pytest.fixture(scope="module")
def served(
    make_base: Callable[..., Path],
    make_library: Callable[[Path, Path], Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Path, str]]:
    """The server's address, the library, and the key."""
    if WHERE.startswith("http"):
        yield WHERE, Path(os.environ["BDC_TEST_LIBRARY"]), os.environ.get("VLLM_API_KEY", "")
        return
    folder = tmp_path_factory.mktemp("vllm")
    base = make_base(folder / "base", hidden=128)  # vLLM computes heads of 32 dimensions and more.
    library = make_library(base, folder / "library")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [WHERE, "-m", "vllm.entrypoints.openai.api_server", "--model", str(base), "--port", str(port)]
    # As docs/serving.md starts it for the experts alone: one by its name, the others where they are found.
    command += ["--lora-modules", f"shared={library / 'experts' / 'shared'}"]
    found = {
        "VLLM_PLUGINS": "lora_filesystem_resolver",
        "VLLM_LORA_RESOLVER_CACHE_DIR": str(library / "experts"),
    }
    environment = os.environ | ENVIRONMENT | found
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *OPTIONS], stdout=log, stderr=log, env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/health", process, folder / "log")
        yield f"http://127.0.0.1:{port}", library, KEY
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(url: str, process: Any, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            if httpx.get(url, trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-3000:])


@pytest.fixture(scope="module")
def pair(
    served: tuple[str, Path, str], letters: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RoutedModel, RoutedModel]]:
    """The library on vLLM and in transformers."""
    url, library, key = served
    tiny = library_clusters(ExpertLibrary(library)).encoder == letters.name
    options = {"encoder": letters} if tiny else {}
    folder = tmp_path_factory.mktemp("mixtures")
    model = RoutedModel.from_library(library, "vllm", url=url, key=key, adapters=folder, **options)
    reference = RoutedModel.from_library(library, dtype="float32", device="cpu", **options)
    yield model, reference
    for one in (model, reference):
        asyncio.run(one.aclose())


def ask(text: str, experts: Any, max_tokens: int = 24) -> ChatRequest:
    return ChatRequest([{"role": "user", "content": text}], experts, max_tokens=max_tokens)


async def test_greedy_texts_are_those_of_transformers(pair: tuple[RoutedModel, RoutedModel]) -> None:
    model, reference = pair
    first, second = model.experts[:2]
    mixtures = (None, first, ExpertWeights({first: 0.5, second: 0.25}), ExpertWeights({second: 0.75}))
    asked = [ask(text, m) for text in ("hi", "aaa bbb", "Write add(a, b).", "é→?") for m in mixtures]
    found = await model.backend.generate(asked)  # More mixtures at once than the server has slots for.
    expected = await reference.backend.generate(asked)
    assert [reply.text for reply in found] == [reply.text for reply in expected]
    assert [reply.completion_tokens for reply in found] == [reply.completion_tokens for reply in expected]
    for own, theirs in zip(found, expected, strict=True):
        assert own.probability == pytest.approx(theirs.probability, rel=0.05)


@pytest.mark.skipif(WHERE.startswith("http"), reason="it needs a server that was started for it")
@pytest.mark.parametrize("name", ["shared", "cluster-0"])
async def test_vllm_alone_serves_an_expert_by_its_name(
    name: str, pair: tuple[RoutedModel, RoutedModel], served: tuple[str, Path, str]
) -> None:
    """`shared` as --lora-modules names it, `cluster-0` as the resolver finds it."""
    _, reference = pair
    url, _, key = served
    (expected,) = await reference.backend.generate([ask("aaa bbb", name)])
    body = {"model": name, "messages": [{"role": "user", "content": "aaa bbb"}], "temperature": 0}
    async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
        reply = await client.post(
            f"{url}/v1/chat/completions",
            json=body | {"max_tokens": 24},
            headers={"Authorization": f"Bearer {key}"},
        )
    assert reply.status_code == 200, reply.text
    assert reply.json()["choices"][0]["message"]["content"] == expected.text


@pytest.mark.parametrize("name", SCHEMAS)
async def test_replies_fulfil_the_schema(pair: tuple[RoutedModel, RoutedModel], name: str) -> None:
    replies = await pair[0].backend.generate([held(SCHEMAS[name], seed) for seed in range(6)])
    assert checked(SCHEMAS[name], replies) or name in RAMBLING, replies


async def test_the_base_beside_full_slots_is_the_base(pair: tuple[RoutedModel, RoutedModel]) -> None:
    model, _ = pair
    (alone,) = await model.backend.generate([ask("hi", None)])
    mixed = [ask("hi", ExpertWeights({model.experts[0]: step / 8})) for step in range(1, 7)]
    for _ in range(3):
        replies = await model.backend.generate([*mixed, ask("hi", None), *mixed])
        assert replies[6].text == alone.text


async def test_adapters_lost_behind_our_back_are_loaded_again(
    pair: tuple[RoutedModel, RoutedModel], served: tuple[str, Path, str]
) -> None:
    model, _ = pair
    url, _, key = served
    (before,) = await model.backend.generate([ask("hi", "shared")])
    async with httpx.AsyncClient(
        base_url=url, headers={"Authorization": f"Bearer {key}"}, trust_env=False
    ) as client:
        for name in model.backend.adapters.names:  # pyright: ignore[reportAttributeAccessIssue]
            await client.post("/v1/unload_lora_adapter", json={"lora_name": name})
    replies = await model.backend.generate([ask("hi", "shared")] * 3)
    assert {reply.text for reply in replies} == {before.text}


@pytest.mark.skipif(WHERE.startswith("http"), reason="the limits of that server are its own")
async def test_what_the_server_does_not_take_is_said(
    pair: tuple[RoutedModel, RoutedModel], served: tuple[str, Path, str], letters: Any, tmp_path: Path
) -> None:
    model, _ = pair
    with pytest.raises(BDCError, match="refuses the key; set VLLM_API_KEY"):
        RoutedModel.from_library(served[1], "vllm", url=served[0], key="wrong", encoder=letters)
    backend: Any = model.backend
    everything = ExpertWeights(dict.fromkeys(model.experts, 1.0))
    plan = backend._plan(ask("hi", everything))

    async def load() -> None:
        async with backend.adapters.use(replace(plan, name="mix-large", rank=32)):
            pass

    with pytest.raises(BDCError, match=r"max_lora_rank 16.*start it with --max-lora-rank 32"):
        await backend._home.run(load())
    backend.adapters._save = lambda _: tmp_path / "nowhere"
    with pytest.raises(BDCError, match=r"does not see the folder .*nowhere"):
        await model.backend.generate([ask("hi", everything)])
