"""Encoders: the same vector alone or in a batch, today or from the cache. Models are tiny but real."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bdc_agents.embed.cache import CachedEncoder
from bdc_agents.embed.encoder import EncoderConfig, unit
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ModelError

TEXTS = ["graph", "", "points in the plane " * 40, "Straße \ud800 图", "word " * 7, "x"]


def load(tiny: SimpleNamespace, kind: str, **settings: Any) -> Any:
    from bdc_agents.embed import local as encoders

    config = EncoderConfig(model=str(tiny.bert), batch_tokens=64, **settings)
    if kind == "base":
        return encoders.base_encoder(tiny.llama, tiny.tokenizer, config)
    return encoders.sentence_encoder(str(tiny.bert), config)


@pytest.mark.parametrize("kind", ["sentence", "base"])
def test_a_text_has_one_vector_alone_and_in_a_batch(tiny: SimpleNamespace, kind: str) -> None:
    encoder = load(tiny, kind)
    together = encoder.embed(TEXTS)
    alone = np.concatenate([encoder.embed([text]) for text in TEXTS])
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(encoder.embed(TEXTS[::-1])[::-1], together, atol=1e-5)


def test_a_long_text_is_read_to_its_end_up_to_the_windows_allowed(tiny: SimpleNamespace) -> None:
    start = "graph edges " * 40
    whole, cut = load(tiny, "sentence"), load(tiny, "sentence", windows=1)
    assert not np.allclose(*whole.embed([start + "circle " * 30, start + "letters " * 30]), atol=1e-4)
    np.testing.assert_allclose(*cut.embed([start + "circle " * 30, start + "letters " * 30]), atol=1e-6)
    assert whole.name != cut.name


def test_embedding_leaves_the_base_model_as_it_was(tiny: SimpleNamespace) -> None:
    tiny.llama.train()
    load(tiny, "base").embed(["graph"])
    assert tiny.llama.training
    assert tiny.llama.base_model.training
    tiny.llama.eval()


def test_pooling_is_what_the_models_own_files_say(tiny: SimpleNamespace) -> None:
    mean = load(tiny, "sentence").embed(["graph edges"])
    modules = [{"type": f"sentence_transformers.models.{kind}"} for kind in ("Transformer", "Pooling")]
    (tiny.bert / "modules.json").write_text(json.dumps(modules))
    (tiny.bert / "1_Pooling").mkdir()
    pooling = tiny.bert / "1_Pooling" / "config.json"
    try:
        pooling.write_text(json.dumps({"pooling_mode_cls_token": True}))
        assert not np.allclose(load(tiny, "sentence").embed(["graph edges"]), mean, atol=1e-4)
        pooling.write_text(json.dumps({"pooling_mode_max_tokens": True}))
        with pytest.raises(ModelError, match="pooling_mode_max_tokens"):
            load(tiny, "sentence")
        (tiny.bert / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Dense"}]))
        with pytest.raises(ModelError, match="Dense"):
            load(tiny, "sentence")
    finally:
        (tiny.bert / "modules.json").unlink()
        pooling.unlink()
        pooling.parent.rmdir()


def test_codet5_embedding_is_its_first_state_through_its_projection(tiny: SimpleNamespace) -> None:
    import torch
    import transformers

    from bdc_agents.embed.local import codet5p_encoder

    folder = tiny.root / "codet5p"
    shape = transformers.T5Config(
        vocab_size=400, d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, embed_dim=8
    )
    model = transformers.T5EncoderModel(shape)
    model.proj = torch.nn.Linear(32, 8)
    model.save_pretrained(folder)
    text = json.loads((folder / "config.json").read_text()) | {"model_type": "codet5p_embedding"}
    (folder / "config.json").write_text(json.dumps(text))
    vocabulary = json.loads(tiny.tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(vocabulary["vocab"]))
    merges = "\n".join(" ".join(pair) for pair in vocabulary["merges"])
    (folder / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    encoder = codet5p_encoder(str(folder), EncoderConfig(model="codet5p"))
    found = encoder.embed(["graph edges", "word"])
    words = transformers.RobertaTokenizer.from_pretrained(folder)
    ids = torch.tensor([words("graph edges")["input_ids"]])
    with torch.no_grad():
        expected = model.eval().proj(model(input_ids=ids).last_hidden_state[:, 0])
    assert found.shape == (2, 8)
    np.testing.assert_allclose(found[:1], unit(expected), atol=1e-5)


def test_an_encoder_that_is_not_there_is_explained(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    config = EncoderConfig(model=str(tmp_path))
    with pytest.raises(ModelError, match=r"cannot be loaded.*minilm"):
        asyncio.run(load_encoder(config))
    with pytest.raises(ModelError, match="needs the base model"):
        asyncio.run(load_encoder("base"))


def test_a_vector_that_says_nothing_is_refused() -> None:
    with pytest.raises(ModelError, match=r"1 of 2 texts.*'b'"):
        unit([[1.0, 0.0], [0.0, 0.0]], ["a", "b"])
    with pytest.raises(ModelError, match="no usable vector"):
        unit([[float("nan"), 1.0]])


# --- the cache ------------------------------------------------------------------------------------


def test_what_is_cached_is_not_made_again(letters: Any, tmp_path: Path) -> None:
    first = CachedEncoder(letters, tmp_path).embed(["a", "b", "a"])
    assert sorted(letters.asked) == ["a", "b"]
    again = CachedEncoder(letters, tmp_path).embed(["b", "c", "a"])
    assert sorted(letters.asked) == ["a", "b", "c"]
    np.testing.assert_array_equal(again[[2, 0]], first[[0, 1]])
    letters.name = "other letters"
    CachedEncoder(letters, tmp_path).embed(["a"])
    assert letters.asked.count("a") == 2


def test_a_damaged_cache_costs_time_and_nothing_else(letters: Any, tmp_path: Path) -> None:
    cached = CachedEncoder(letters, tmp_path)
    expected = cached.embed(["a", "b"])
    cached.path.write_bytes(b"this is not a database" * 100)
    np.testing.assert_array_equal(cached.embed(["a", "b"]), expected)


def test_a_call_cut_short_keeps_what_it_had(letters: Any, tmp_path: Path) -> None:
    texts = [f"text {n}" for n in range(600)]
    embed, letters.embed = letters.embed, lambda group: embed(group) if len(letters.asked) < 500 else 1 / 0
    with pytest.raises(ZeroDivisionError):
        CachedEncoder(letters, tmp_path).embed(texts)
    letters.embed = embed
    CachedEncoder(letters, tmp_path).embed(texts)
    assert len(letters.asked) == 600


# --- an endpoint ----------------------------------------------------------------------------------


class _Endpoint(BaseHTTPRequestHandler):
    """Embeds a text as its length and its number of blanks; refuses one model."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        good = asked["model"] == "good"
        texts = asked["input"]
        rows = [
            {"object": "embedding", "index": i, "embedding": [1.0, len(t), t.count(" ")]}
            for i, t in enumerate(texts)
        ]
        body = {
            "object": "list",
            "model": "good",
            "data": rows,
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        }
        data = json.dumps(body if good else {"error": {"message": "no such model"}}).encode()
        self.send_response(200 if good else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def endpoint() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endpoint) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()
        thread.join()


def test_an_endpoint_embeds_in_order(endpoint: str) -> None:
    encoder = asyncio.run(load_encoder(EncoderConfig(model="good", base_url=endpoint, cache=False)))
    texts = ["a" * n for n in range(150)]
    found = encoder.embed(texts)
    np.testing.assert_allclose(found[70], unit([[1, 70, 0]])[0], atol=1e-6)
    np.testing.assert_allclose(found[0], unit([[1, 1, 1]])[0], atol=1e-6)
    assert encoder.name.endswith("/v1#good")


def test_an_endpoint_that_fails_is_explained(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = asyncio.run(load_encoder(EncoderConfig(model="bad", base_url=endpoint, cache=False)))
    with pytest.raises(ModelError, match="no such model"):
        bad.embed(["a"])
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(ModelError, match="MY_KEY"):
        asyncio.run(load_encoder(EncoderConfig(model="m", base_url=endpoint, api_key_env="MY_KEY")))
    with pytest.raises(ModelError, match="root of an endpoint"):
        asyncio.run(load_encoder(EncoderConfig(model="m", base_url="localhost")))
