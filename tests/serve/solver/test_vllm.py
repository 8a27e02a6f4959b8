"""The backend on vLLM, against a small server that behaves as vLLM 0.32 was seen to, and faults in it."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bdc_agents.errors import BDCError, ConfigError, ModelError
from bdc_agents.experts.concatenate import Concatenated
from bdc_agents.serve import BDCSolver, ChatBDC, ChatRequest, ExpertWeights, RoutedModel
from bdc_agents.serve.backends.protocol import PromptTooLong
from bdc_agents.serve.backends.vllm.adapters import VLLMAdapters, save_within
from bdc_agents.serve.backends.vllm.backend import check_served

from .like_vllm import KEY, LikeVLLM

HALVES = ExpertWeights({"cluster-1": 0.5, "cluster-0": 0.25})


@pytest.fixture
def server(base_folder: Path) -> Iterator[LikeVLLM]:
    server = LikeVLLM(base_folder)
    yield server
    server.stop()


Open = Callable[..., RoutedModel]


@pytest.fixture
def opened(
    server: LikeVLLM, library_folder: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Open]:
    monkeypatch.setenv("VLLM_API_KEY", KEY)
    models: list[RoutedModel] = []

    def make(**options: Any) -> RoutedModel:
        given = {"encoder": letters, "url": f"{server.url}/v1/", "adapters": tmp_path / "mixtures"} | options
        models.append(RoutedModel.from_library(library_folder, "vllm", **given))
        return models[-1]

    yield make
    server.gate.set()
    for model in models:
        asyncio.run(model.aclose())


def ask(text: str = "hi", experts: Any = None, **sampling: Any) -> ChatRequest:
    given: dict[str, Any] = {"max_tokens": 8} | sampling
    return ChatRequest([{"role": "user", "content": text}], experts, **given)


def adapters_of(model: RoutedModel) -> Any:
    return model.backend.adapters  # pyright: ignore[reportAttributeAccessIssue]


# --- what it says ------------------------------------------------------------------------------------


async def test_greedy_texts_are_those_of_transformers(
    opened: Open, tiny: RoutedModel, server: LikeVLLM
) -> None:
    model = opened()
    by_layer = {name: torch.rand(2, 4).mul(64).round() / 64 for name in _layers(tiny)}
    some = ExpertWeights({"cluster-0": 0.5, "shared": 0.5}, by_layer)
    asked = [ask(text, experts) for text in ("hi", "é→?") for experts in (None, "shared", HALVES, some)]
    found, expected = await model.backend.generate(asked), await tiny.backend.generate(asked)
    assert [reply.text for reply in found] == [reply.text for reply in expected]
    for own, theirs in zip(found, expected, strict=True):
        assert own.probability == pytest.approx(theirs.probability, rel=1e-3)
        assert own.model_copy(update={"probability": theirs.probability}) == theirs
    # The base is an adapter of zeros as well: no request goes out without one.
    assert {body["model"] for body in server.called("completions")} == set(adapters_of(model).names)


def _layers(tiny: RoutedModel) -> Any:
    return tiny.backend._engine._batch._mix._mixture.layers  # pyright: ignore[reportAttributeAccessIssue]


async def test_the_routed_model_the_solver_and_the_chat_model_are_served(
    opened: Open, server: LikeVLLM, library_folder: Path, letters: Any, tmp_path: Path
) -> None:
    model = opened()
    assert model.backend.mixes == "rank"
    request = await model.request([{"role": "user", "content": "aaa"}], max_tokens=4)
    (reply,) = await model.backend.generate([request])
    options = {"encoder": letters, "url": server.url, "key": KEY, "adapters": tmp_path / "mixtures"}
    chat = ChatBDC(library=str(library_folder), max_tokens=4, options={"backend": "vllm", **options})
    assert (await chat.ainvoke("aaa")).content == reply.text
    await chat.opened().aclose()
    with BDCSolver.from_library(library_folder, "vllm", escalate=False, samples=1, **options) as solver:
        answer = solver.invoke("aaa")
    assert answer.system == 1
    assert answer.experts


async def test_what_is_asked_for_is_passed_on_and_no_default_of_the_server_applies(
    opened: Open, server: LikeVLLM
) -> None:
    model = opened(context=300)
    await model.backend.generate([ask(temperature=0.7, top_p=0.8, seed=11, stop=("a", "b"))])
    body = server.called("completions")[-1]
    expected = {"temperature": 0.7, "top_p": 0.8, "seed": 11, "stop": ["a", "b"], "max_tokens": 8}
    plain = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    assert {key: body[key] for key in expected | plain} == expected | plain
    with pytest.raises(PromptTooLong, match="context holds 300"):
        await model.backend.generate([ask("x" * 400)])


async def test_a_schema_is_passed_on(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    schema = {"enum": ["red", "blue"]}
    await model.backend.generate([ask(schema=schema), ask()])
    bodies = sorted(server.called("completions")[-2:], key=len)
    assert "structured_outputs" not in bodies[0]
    assert bodies[1]["structured_outputs"] == {"json": schema}


# --- adapters ------------------------------------------------------------------------------------------


async def test_requests_of_one_mixture_load_it_once(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    near = ExpertWeights({"cluster-0": 0.2501, "cluster-1": 0.4999})
    replies = await model.backend.generate([ask(experts=HALVES), *[ask(experts=near)] * 5])
    assert len({reply.text for reply in replies}) == 1
    loads = [body["lora_name"] for body in server.called("load_lora_adapter")]
    assert len(loads) == len(set(loads)) == 2  # The base's and the mixture's.


async def test_an_adapter_in_use_is_kept_and_the_least_recently_used_goes(
    opened: Open, server: LikeVLLM
) -> None:
    model = opened()
    adapters = adapters_of(model)
    adapters._limit = 2
    server.gate.clear()
    async with aclosing(model.backend.stream(ask(experts="shared"))) as held:
        await anext(held)
        zeros, used = adapters.names
        for weight in (0.25, 0.5, 0.75):
            brief = ask(experts=ExpertWeights({"cluster-0": weight}), max_tokens=1)
            await model.backend.generate([brief])
            assert used in server.adapters
            assert len(server.adapters) <= 3
        gone = [body["lora_name"] for body in server.called("unload_lora_adapter")]
        assert gone[0] == zeros
        assert used not in gone
        server.gate.set()
        assert [piece async for piece in held][-1].reply
    await model.backend.generate([ask(experts=ExpertWeights({"cluster-0": 0.9}), max_tokens=1)])
    assert used in [body["lora_name"] for body in server.called("unload_lora_adapter")]


async def test_adapters_lost_behind_our_back_are_loaded_again_once(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    expected = await model.backend.generate([ask(experts=HALVES)])
    server.adapters.clear()
    before = len(server.called("load_lora_adapter"))
    replies = await model.backend.generate([ask(experts=HALVES)] * 4)
    assert {reply.text for reply in replies} == {expected[0].text}
    assert len(server.called("load_lora_adapter")) == before + 1
    server.faults["completions"] = ["404"] * 2
    with pytest.raises(BDCError, match="status 404"):
        await model.backend.generate([ask(experts=HALVES)])
    assert await model.backend.generate([ask(experts=HALVES)])


async def test_closing_unloads_what_was_loaded(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    await model.backend.generate([ask(experts="shared")])
    assert len(server.adapters) == 2
    await model.aclose()
    assert not server.adapters
    with pytest.raises(BDCError, match="closed"):
        await model.backend.generate([ask()])


async def test_two_clients_of_one_server_share_adapters(opened: Open, server: LikeVLLM) -> None:
    first, second = opened(), opened()
    (one,) = await first.backend.generate([ask(experts=HALVES)])
    (two,) = await second.backend.generate([ask(experts=HALVES)])
    await first.aclose()
    (three,) = await second.backend.generate([ask(experts=HALVES)])
    assert one == two == three


def test_files_that_nobody_used_for_long_make_room(tmp_path: Path) -> None:
    def build(plan: Any, folder: Path) -> Path:
        path = folder / f"mix-{plan}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "a").write_bytes(bytes(1000))
        return path

    save = save_within(build, tmp_path, 2500)
    for number in range(4):
        save(number)  # pyright: ignore[reportArgumentType]
    assert len(list(tmp_path.iterdir())) == 4, "they may be in use"
    for number in range(3):
        old = time.time() - 5000 + number
        os.utime(tmp_path / f"mix-{number}", (old, old))
    save(9)  # pyright: ignore[reportArgumentType]
    assert {path.name for path in tmp_path.iterdir()} == {"mix-3", "mix-9"}


async def test_a_pruned_adapter_is_written_again(tmp_path: Path) -> None:
    """While it is loaded, and when what is left of it is half of one."""
    written: list[str] = []

    class Server:
        name = "the server"

        async def post(self, path: str, body: Any) -> Any:
            assert path in ("/v1/load_lora_adapter", "/v1/unload_lora_adapter")

    def build(plan: Any, folder: Path) -> Path:
        made = Concatenated(plan.name, {"a": torch.zeros(1)}, {"r": 8}).save(folder)
        written.append(plan.name)
        return made

    def names(folder: Path) -> set[str]:
        return {path.name for path in folder.iterdir()}

    plan: Any = SimpleNamespace(name="mix-1", rank=8)
    adapters = VLLMAdapters(Server(), save_within(build, tmp_path, 10**9), 4)  # pyright: ignore[reportArgumentType]
    files = {"adapter_model.safetensors", "adapter_config.json"}
    for harm in (shutil.rmtree, lambda folder: (folder / "adapter_model.safetensors").unlink()):
        async with adapters.use(plan):
            assert names(tmp_path / "mix-1") == files
        harm(tmp_path / "mix-1")
        async with adapters.use(plan):
            pass
        build(plan, tmp_path)
        assert names(tmp_path / "mix-1") == files
    assert names(tmp_path) == {"mix-1"}


# --- faults ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (["500", "500"], "answered with status 500: EngineCore encountered an issue"),
        (["cut"], r"broke off after \d tokens of a reply: .*; ask again"),
        (["pause"], r"broke off after \d tokens of a reply: silent for 0.5 seconds; ask again"),
        (["slow", "slow"], "said nothing for 0.5 seconds"),
    ],
)
async def test_a_fault_is_told_and_the_next_request_is_answered(
    fault: list[str], told: str, opened: Open, server: LikeVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = opened()
    client = model.backend._talk._client  # pyright: ignore[reportAttributeAccessIssue]
    if fault[0] in ("pause", "slow"):
        server.gate.clear()
        monkeypatch.setattr(client, "timeout", 0.5)
        monkeypatch.setattr(model.backend._talk, "seconds", 0.5)  # pyright: ignore[reportAttributeAccessIssue]
    server.faults["completions"] = fault
    with pytest.raises(BDCError, match=told):
        await model.backend.generate([ask(experts="shared")])
    server.gate.set()
    monkeypatch.undo()
    assert await model.backend.generate([ask(experts="shared")])


async def test_a_server_that_failed_once_is_asked_again(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    server.faults["completions"] = ["500"]
    assert await model.backend.generate([ask()])
    server.faults["load_lora_adapter"] = ["500"]
    with pytest.raises(BDCError, match="does not load the adapter"):
        await model.backend.generate([ask(experts="shared")])
    assert await model.backend.generate([ask(experts="shared")])


async def test_a_caller_who_leaves_ends_the_work(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    server.gate.clear()
    async with aclosing(model.backend.stream(ask(max_tokens=400))) as stream:
        await anext(stream)
    for _ in range(200):
        if not server.running:
            break
        await asyncio.sleep(0.01)
    assert not server.running


def test_replies_from_several_event_loops(opened: Open) -> None:
    model = opened()
    texts = {asyncio.run(model.backend.generate([ask()]))[0].text for _ in range(3)}
    assert len(texts) == 1


# --- opening ----------------------------------------------------------------------------------------------


def test_what_keeps_a_server_from_serving_is_said_at_once(
    opened: Open, server: LikeVLLM, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(BDCError, match="refuses the key; set VLLM_API_KEY") as error:
        opened(key="another key")
    assert "another key" not in str(error.value)
    with pytest.raises(BDCError, match=r"127.0.0.1:9 cannot be reached: .*; is it running"):
        opened(url="http://127.0.0.1:9")
    with pytest.raises(ConfigError, match="needs the address"):
        opened(url=None)
    with pytest.raises(ConfigError, match="address is 'localhost:8000'; expected"):
        opened(url="localhost:8000")
    with pytest.raises(ConfigError, match="`device` is an option of transformers, not of vllm"):
        opened(device="cpu")
    with pytest.raises(ModelError, match="serves 512; start it with --max-model-len 900"):
        opened(context=900)
    server.faults["load_lora_adapter"] = ["404"]
    with pytest.raises(BDCError, match=r"VLLM_ALLOW_RUNTIME_LORA_UPDATING=True .*--enable-lora"):
        opened()
    server.rank = 4
    with pytest.raises(BDCError, match=r"max_lora_rank 4\.\); start it with --max-lora-rank 8"):
        opened()
    server.rank, server.root = 64, "Qwen/Qwen2.5-7B"
    with pytest.raises(ModelError, match=r"tiny-llama.*serves 'Qwen/Qwen2.5-7B'; start it with the base"):
        opened()
    assert opened(base="Qwen/Qwen2.5-7B")
    monkeypatch.setattr(server.model.tokenizer, "_tokenizer", _other_tokenizer())
    with pytest.raises(ModelError, match="has another tokenizer than the library's base: token 0"):
        opened(base="Qwen/Qwen2.5-7B")


def _other_tokenizer() -> Any:
    from tokenizers import Tokenizer, models

    return Tokenizer(models.BPE(vocab={"d": 0, "e": 1}, merges=[]))


async def test_a_folder_that_the_server_does_not_see_is_named(opened: Open, server: LikeVLLM) -> None:
    model = opened()
    backend: Any = model.backend
    backend.adapters._save = lambda plan: Path("/nowhere/to/be/seen")
    with pytest.raises(BDCError, match=r"does not see the folder /nowhere/to/be/seen; .*--adapters FOLDER"):
        await model.backend.generate([ask(experts="shared")])


def test_a_base_is_known_by_its_weights_or_its_name(library: Any, base_folder: Path, tmp_path: Path) -> None:
    def check(root: str, given: Any = None, **base: Any) -> None:
        manifest = library.manifest.model_copy(update={"base": library.manifest.base | base})
        other: Any = type("Library", (), {"folder": library.folder, "manifest": manifest})
        check_served(other, {"root": root, "id": "m", "server": "it"}, given)

    check(str(base_folder))
    check("/srv/models/Coder-1B/", name="Qwen/coder-1b")
    check("/cache/smollm-abcdefabcdefabcd", name="local:smollm", sha256="abcdefabcdefabcd0000")
    check("anything", given="anything")
    with pytest.raises(ModelError, match="serves"):
        check("/srv/models/other", name="Qwen/coder-1b")
    with pytest.raises(ModelError, match="sha256 0000000000000000"):
        check(str(base_folder), sha256="0" * 64)
