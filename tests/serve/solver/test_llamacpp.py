"""The backend on llama.cpp: a real server, on a GGUF file of the very weights that transformers has."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from bdc_agents.errors import BDCError, ConfigError, ModelError
from bdc_agents.experts.base import load_base
from bdc_agents.experts.gguf import adapter_files, read_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.mixture import Mixture
from bdc_agents.serve import BDCSolver, ChatBDC, ChatRequest, ExpertWeights, RoutedModel
from bdc_agents.serve.backends.llamacpp.server import LlamaServer
from bdc_agents.serve.backends.prompts import prompt_tokens
from bdc_agents.serve.backends.protocol import PromptTooLong

from .held import RAMBLING, SCHEMAS, checked
from .held import ask as held

gguf = pytest.importorskip("gguf")
pytest.importorskip("xllamacpp", reason="llama.cpp needs the extra `local`")

SCALES = {"cluster-0": 0.7, "cluster-1": -0.3, "shared": 0.45}
TEXTS = ("hi", "aaa bbb", "Write add(a, b).", "é→?", "x" * 200)


def to_gguf(folder: Path, target: Path) -> Path:
    """A model of `save_pretrained` as a GGUF file in float32."""
    base = load_base(str(folder), dtype="float32", device="cpu")
    model, tokenizer, config = base.model, base.tokenizer, base.model.config
    kind = config.model_type
    writer = gguf.GGUFWriter(target, kind)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    tokens = [names.get(number, f"[PAD{number}]") for number in range(config.vocab_size)]
    kinds = [5 if t.startswith("[PAD") else 3 if t in tokenizer.all_special_tokens else 1 for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Ā ā"])  # There are none, and an empty list is not read.
    writer.add_eos_token_id(tokenizer.eos_token_id)
    known = gguf.get_tensor_name_map(
        {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[kind], config.num_hidden_layers
    )
    for name, tensor in model.state_dict().items():
        layer, _, part = name.rpartition(".")
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        if kind == "llama" and (own := heads.get(layer.rpartition(".")[2])):
            tensor = tensor.view(own, 2, -1, tensor.shape[1]).transpose(1, 2).reshape(tensor.shape)
        writer.add_tensor(f"{known.get_name(layer)}.{part}", tensor.float().contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


@dataclass
class Pair:
    """One library, served by llama.cpp and by transformers."""

    folder: Path
    base: Path
    file: Path
    llama: RoutedModel
    reference: RoutedModel


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No file of the user's own cache is seen or touched."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module", params=["llama", "qwen2"])
def pair(
    request: pytest.FixtureRequest,
    cache: Path,
    make_base: Callable[..., Path],
    make_library: Callable[[Path, Path], Path],
    letters: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp(request.param)
    base = make_base(folder / "base", request.param)
    library, file = make_library(base, folder / "library"), to_gguf(base, folder / "base.gguf")
    options: dict[str, Any] = {"encoder": letters, "dtype": "float32"}
    llama = RoutedModel.from_library(library, "llama.cpp", base=str(file), slots=3, **options)
    reference = RoutedModel.from_library(library, device="cpu", **options)
    yield Pair(library, base, file, llama, reference)
    for model in (llama, reference):
        asyncio.run(model.aclose())


def ask(text: str = "hi", experts: Any = None, **sampling: Any) -> ChatRequest:
    given: dict[str, Any] = {"max_tokens": 24} | sampling
    return ChatRequest([{"role": "user", "content": text}], experts, **given)


def server_of(model: RoutedModel) -> Any:
    return model.backend._server  # pyright: ignore[reportAttributeAccessIssue]


# --- what it says ------------------------------------------------------------------------------------


async def test_greedy_texts_are_those_of_transformers(pair: Pair) -> None:
    mixtures = (None, "cluster-1", "shared", ExpertWeights(SCALES), ExpertWeights({"cluster-0": 0.0}))
    asked = [ask(text, experts) for text in TEXTS for experts in mixtures]
    found = await pair.llama.backend.generate(asked)
    expected = await pair.reference.backend.generate(asked)
    assert [reply.text for reply in found] == [reply.text for reply in expected]
    assert [reply.completion_tokens for reply in found] == [reply.completion_tokens for reply in expected]
    assert [reply.prompt_tokens for reply in found] == [reply.prompt_tokens for reply in expected]
    assert [reply.finish for reply in found] == [reply.finish for reply in expected]
    for own, theirs in zip(found, expected, strict=True):
        # Transformers leaves out the model's tokens that the tokenizer does not know.
        assert own.probability == pytest.approx(theirs.probability, rel=0.05)


def test_log_probabilities_are_those_of_transformers(pair: Pair) -> None:
    base = load_base(str(pair.base), dtype="float32", device="cpu")
    mixture = Mixture.attach(base.model, ExpertLibrary(pair.folder))
    for text in TEXTS:
        prompt, _ = prompt_tokens(base.tokenizer, ask(text), 1024)
        for scales in ([0.0, 0.0, 0.0], list(SCALES.values()), [0.0, 1.0, 0.0]):
            with torch.inference_mode(), mixture.use(torch.tensor(scales)):
                expected = base.model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
            lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
            body = {"prompt": prompt, "n_predict": 1, "n_probs": 264, "temperature": 0, "lora": lora}
            server = server_of(pair.llama)
            key = {"Authorization": f"Bearer {server.key}"}
            told = httpx.post(f"{server.url}/completion", json=body, headers=key, trust_env=False).json()
            found = {
                token["id"]: token["logprob"] for token in told["completion_probabilities"][0]["top_logprobs"]
            }
            assert len(found) == 264
            assert max(abs(float(expected[token]) - value) for token, value in found.items()) < 1e-3


async def test_mixtures_by_turns_on_one_prompt_do_not_see_each_other(pair: Pair) -> None:
    mixtures = ("shared", None, ExpertWeights(SCALES), "cluster-0", None, "shared") * 2
    text = "the same long prompt " * 8
    alone = {str(m): (await pair.llama.backend.generate([ask(text, m)]))[0].text for m in mixtures}
    assert len(set(alone.values())) == 4
    for experts in mixtures:
        assert (await pair.llama.backend.generate([ask(text, experts)]))[0].text == alone[str(experts)]
    together = await pair.llama.backend.generate([ask(text, experts) for experts in mixtures])
    assert [reply.text for reply in together] == [alone[str(experts)] for experts in mixtures]


async def test_what_a_slot_remembers_of_a_prompt_is_not_taken_for_another_mixture(
    pair: Pair, letters: Any
) -> None:
    model = small(pair, letters, context=1024, dtype="float32")
    one, other = "a" * 300, "Write something else. " * 15
    (expected,) = await pair.llama.backend.generate([ask(one, "cluster-0")])
    for text, expert in ((one, "shared"), (other, "cluster-0"), (one, "cluster-0"), (one, None)):
        (reply,) = await model.backend.generate([ask(text, expert)])
        assert (reply.text == expected.text) == ((text, expert) == (one, "cluster-0"))
    await model.aclose()


async def test_stop_texts_seeds_and_limits(pair: Pair) -> None:
    backend = pair.llama.backend
    (whole,) = await backend.generate([ask(experts="shared", max_tokens=40)])
    stop = whole.text[9:12]
    request = ask(experts="shared", max_tokens=40, stop=(stop,))
    pieces: list[Any] = [piece async for piece in backend.stream(request)]
    shown = "".join(piece.text for piece in pieces)
    assert shown == whole.text[: whole.text.index(stop)] == pieces[-1].reply.text
    assert pieces[-1].reply.finish == "stop"
    draws = [ask(temperature=1.5, seed=seed) for seed in (1, 2, 3, 1)]
    texts = [(await backend.generate([draw]))[0].text for draw in draws]
    assert texts[0] == texts[3]
    assert len(set(texts)) == 3
    with pytest.raises(PromptTooLong, match="context holds 1024"):
        await backend.generate([ask("x" * 2000)])
    with pytest.raises(ModelError, match="unknown expert 'cluster-7'"):
        await backend.generate([ask(experts="cluster-7")])
    long = [ask("x" * 700, max_tokens=300) for _ in range(5)]  # More than its memory holds at once.
    assert [reply.completion_tokens > 0 for reply in await backend.generate(long)] == [True] * 5


async def test_the_routed_model_the_solver_and_the_chat_model_are_served(pair: Pair, letters: Any) -> None:
    assert pair.llama.backend.mixes == "expert"
    request = await pair.llama.request([{"role": "user", "content": "aaa"}], max_tokens=4)
    (reply,) = await pair.llama.backend.generate([request])
    options = {"encoder": letters, "base": str(pair.file), "context": 256, "slots": 1, "dtype": "float32"}
    chat = ChatBDC(library=str(pair.folder), max_tokens=4, options={"backend": "llama.cpp", **options})
    assert (await chat.ainvoke("aaa")).content == reply.text
    await chat.opened().aclose()
    with BDCSolver.from_library(pair.folder, "llama.cpp", escalate=False, samples=1, **options) as solver:
        assert solver.invoke("aaa").experts


# --- the process ---------------------------------------------------------------------------------------


def small(pair: Pair, letters: Any, **options: Any) -> RoutedModel:
    given = {"encoder": letters, "base": str(pair.file), "context": 256, "slots": 1} | options
    return RoutedModel.from_library(pair.folder, "llama.cpp", **given)


async def test_nobody_else_gets_in_and_it_ends_with_us(pair: Pair, letters: Any) -> None:
    model = small(pair, letters)
    server = server_of(model)
    process = Path(f"/proc/{server._process.pid}")
    assert server.key.encode() not in (process / "cmdline").read_bytes()
    assert server.key.encode() not in (process / "environ").read_bytes()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        for path in ("/v1/completions", "/completion", "/tokenize", "/lora-adapters"):
            assert (await client.post(path, json={"prompt": "a"})).status_code == 401
        told = await client.get("/slots", headers={"Authorization": f"Bearer {server.key}"})
        assert told.status_code == 501
    await model.aclose()
    assert not server.alive
    with pytest.raises(BDCError, match="closed"):
        await model.backend.generate([ask()])


async def test_a_server_that_died_is_started_again(pair: Pair, letters: Any) -> None:
    model = small(pair, letters)
    before, first = await model.backend.generate([ask()]), server_of(model)
    kill(first)
    assert await model.backend.generate([ask()]) == before
    assert server_of(model) is not first
    await model.aclose()
    assert not server_of(model).alive


@pytest.mark.parametrize("name", SCHEMAS)
async def test_replies_fulfil_the_schema(pair: Pair, name: str) -> None:
    replies = await pair.llama.backend.generate([held(SCHEMAS[name], seed) for seed in range(6)])
    assert checked(SCHEMAS[name], replies) or name in RAMBLING, replies


async def test_a_server_that_dies_in_the_middle_of_a_reply_is_told(pair: Pair, letters: Any) -> None:
    model = small(pair, letters)
    pieces = aiter(model.backend.stream(ask(max_tokens=500)))
    await anext(pieces)
    kill(server_of(model))
    with pytest.raises(BDCError, match=r"the llama.cpp server has ended in the middle"):
        await drained(pieces)
    await model.aclose()


async def drained(pieces: AsyncIterator[Any]) -> list[Any]:
    return [piece async for piece in pieces]


def kill(server: LlamaServer) -> None:
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()


# --- files ------------------------------------------------------------------------------------------------


def test_adapters_are_written_once_and_anew_where_an_expert_is_another(
    pair: Pair, cache: Path, tmp_path: Path
) -> None:
    library, base = ExpertLibrary(shutil.copytree(pair.folder, tmp_path / "copy")), read_base(pair.file)
    kept = cache / "bdc-agents" / "models" / "adapters"
    stamps = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    first = adapter_files(library, base, kept)
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == stamps
    weights = "experts/{}/adapter_model.safetensors"
    library.put(weights.format("shared"), library.read(weights.format("cluster-0")))
    second = adapter_files(library, base, kept)
    assert second[:2] == first[:2]
    assert second[2] == first[0]
    assert adapter_files(library, replace(base, heads=2), tmp_path / "other") != first


def test_what_cannot_be_served_is_said(
    pair: Pair, letters: Any, make_base: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=r"as a GGUF file, and .* is not one; give it as `base` \(--base"):
        small(pair, letters, base=None)
    with pytest.raises(ConfigError, match=r"takes `base` as local:NAME or a GGUF file"):
        small(pair, letters, base=object())
    with pytest.raises(ModelError, match="of 2048 tokens was asked for, and the base was made for 1024"):
        small(pair, letters, context=2048)
    with pytest.raises(ConfigError, match=r"`url` is an option of vllm, not of llama.cpp"):
        small(pair, letters, url="http://127.0.0.1:1")
    other = to_gguf(make_base(tmp_path / "other", "llama", 64), tmp_path / "other.gguf")
    with pytest.raises(ModelError, match=r"adapts .* parameters\), and .*other.gguf has .* parameters"):
        small(pair, letters, base=str(other))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(pair.file.read_bytes()[:2000])
    with pytest.raises(ModelError, match=r"damaged.gguf cannot be read as a GGUF model"):
        small(pair, letters, base=str(damaged))
    writer = gguf.GGUFWriter(tmp_path / "mamba.gguf", "mamba")
    writer.add_block_count(1)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(ModelError, match="architecture 'mamba'; experts can be converted for llama, qwen2"):
        small(pair, letters, base=str(tmp_path / "mamba.gguf"))


def test_a_file_that_llamacpp_does_not_load_is_told_with_its_words(
    pair: Pair, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bdc_agents.serve.backends.llamacpp import backend as llamacpp_backend

    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF of another kind")
    monkeypatch.setattr(llamacpp_backend, "adapter_files", lambda *_: [broken])
    with pytest.raises(ModelError, match=r"does not serve .*base.gguf with its experts:\n(.*\n)*.*lora"):
        small(pair, letters)
