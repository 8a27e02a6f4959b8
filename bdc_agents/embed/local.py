"""Encoders that run here, on PyTorch: sentence encoders, CodeT5+ embedding, and the base model itself.

A text is cut into windows that the model can read; each token's last hidden state is pooled over
its window, and windows are averaged by their tokens. Windows are sorted by length and padded under
a mask, so that a batch wastes little and gives what single texts would.

Not by sentence-transformers (6.2): it drops what is past its window, 256 tokens for MiniLM. Two long problems
that differ after it get one vector (cosine 1.0, here 0.87); vectors of short texts are the same here. It also
fails at half a character, which an LLM's text may hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from bdc_agents.embed.encoder import EncoderConfig, Vectors, unit
from bdc_agents.errors import BDCError, ModelError, unknown
from bdc_agents.extras import need
from bdc_agents.weights.files import digest, models_folder

Pool = Callable[[Any, Any], Any]
"""From hidden states [b, t, d] and mask [b, t] to vectors [b, d]."""

_MODES = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
}
_READABLE = {"Transformer", "Pooling", "Normalize"}
_DEFAULT_WINDOW = 512
"""The window of BERT and most encoders made from it."""
_BASE_WINDOW = 1024
"""Tokens of a window for the base as encoder. A base reads far more, but attention costs memory with the
square of it. Chosen, not measured."""


class TorchEncoder:
    """A model and its tokenizer as an encoder.

    Args:
        model: Called with `input_ids` and `attention_mask`; its output has `last_hidden_state`.
        tokenizer: A fast tokenizer.
        name: What model this is, with its revision.
        pool: A key of `POOLS`.
        max_tokens: Tokens of a window, special ones included.
        config: Number of windows and size of batches.
        head: Applied to the pooled vectors.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        name: str,
        pool: str,
        max_tokens: int,
        config: EncoderConfig,
        head: Callable[[Any], Any] | None = None,
    ) -> None:
        if pool not in POOLS:
            raise ModelError(unknown("pooling", pool, POOLS))
        self._model, self._tokenizer = model, tokenizer
        self._pool, self._head = POOLS[pool], head
        self._window, self._windows = max_tokens, config.windows
        self._batch_tokens = config.batch_tokens
        self.name = f"{name}[{pool},{max_tokens}x{config.windows}]"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for each text; see `Encoder`."""
        if not texts:
            raise ModelError("no text to embed")
        windows = [(row, ids) for row, text in enumerate(texts) for ids in self._cut(text)]
        windows.sort(key=lambda window: -len(window[1]))
        total: Any = None
        for batch in self._batches(windows):
            vectors = self._forward([ids for _, ids in batch])
            if total is None:
                total = np.zeros((len(texts), vectors.shape[1]))
            weights = np.array([len(ids) for _, ids in batch])[:, None]
            np.add.at(total, [row for row, _ in batch], vectors * weights)
        return unit(total, texts)

    def _cut(self, text: str) -> list[list[int]]:
        """The text's windows of token ids; at least one, of at least one token."""
        # Encoders read lone surrogates as nothing at all; tokenizers refuse them.
        text = text.encode("utf-8", "replace").decode()
        cut = self._tokenizer(
            text, truncation=True, max_length=self._window, return_overflowing_tokens=True, stride=0
        )["input_ids"]
        windows = cut if cut and isinstance(cut[0], list) else [cut]
        found = [ids for ids in windows[: self._windows] if ids]
        return found or [[self._tokenizer.eos_token_id or 0]]

    def _batches(self, windows: list[tuple[int, list[int]]]) -> Iterator[list[tuple[int, list[int]]]]:
        """Windows, longest first, in groups whose padded size fits."""
        start = 0
        while start < len(windows):
            size = max(1, self._batch_tokens // len(windows[start][1]))
            yield windows[start : start + size]
            start += size

    def _forward(self, windows: list[list[int]]) -> Any:
        torch = need("torch")
        length = max(map(len, windows))
        ids = torch.zeros((len(windows), length), dtype=torch.long)
        mask = torch.zeros((len(windows), length), dtype=torch.long)
        for row, window in enumerate(windows):
            ids[row, : len(window)] = torch.tensor(window)
            mask[row, : len(window)] = 1
        device = next(self._model.parameters()).device
        ids, mask = ids.to(device), mask.to(device)
        training = self._model.training
        self._model.eval()
        try:
            with torch.inference_mode():
                hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
                pooled = self._pool(hidden, mask)
                pooled = self._head(pooled) if self._head else pooled
        finally:
            self._model.train(training)
        return pooled.double().cpu().numpy()


def _mean(hidden: Any, mask: Any) -> Any:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1)


def _mean_but_first(hidden: Any, mask: Any) -> Any:
    """The mean without position 0, where a causal model parks attention in a few huge values."""
    rest = mask.clone()
    rest[:, 0] = mask.sum(1) == 1
    return _mean(hidden, rest)


def _first(hidden: Any, _mask: Any) -> Any:
    return hidden[:, 0]


def _last(hidden: Any, mask: Any) -> Any:
    index = (mask.sum(1) - 1).view(-1, 1, 1).expand(-1, 1, hidden.shape[-1])
    return hidden.gather(1, index).squeeze(1)


POOLS: dict[str, Pool] = {"mean": _mean, "mean-but-first": _mean_but_first, "first": _first, "last": _last}
"""Ways to make one vector of a window."""


def sentence_encoder(source: str, config: EncoderConfig) -> TorchEncoder:
    """A transformers or sentence-transformers encoder; mean pooling where the model names none.

    Args:
        source: Name on the hub, or a folder.

    Raises:
        ModelError: If it cannot be loaded, or has parts that are not a transformer and its pooling.
    """
    transformers = need("transformers")
    model, tokenizer = _load(source, config, transformers.AutoModel, transformers.AutoTokenizer)
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    sizes = [
        (_json(source, config, "sentence_bert_config.json") or {}).get("max_seq_length"),
        getattr(model.config, "max_position_embeddings", None),
        _DEFAULT_WINDOW,
    ]
    window = config.max_tokens or next(size for size in sizes if size)
    return TorchEncoder(
        model,
        tokenizer,
        name=_identity(source, model),
        pool=_pooling(source, config),
        max_tokens=min(window, sizes[1] or window),
        config=config,
    )


def codet5p_encoder(source: str, config: EncoderConfig) -> TorchEncoder:
    """CodeT5+ 110M embedding: the encoder's first hidden state through its projection to 256.

    The hub has this model with code of its own; it is read here without running that code.

    Raises:
        ModelError: If it cannot be loaded.
    """
    torch, transformers = need("torch"), need("transformers")

    class Projected(transformers.T5EncoderModel):
        def __init__(self, shape: Any) -> None:
            super().__init__(shape)
            self.proj = torch.nn.Linear(shape.d_model, getattr(shape, "embed_dim", 256))
            self.post_init()

    with _explained(source):
        shape = transformers.T5Config.from_pretrained(
            source, revision=config.revision, trust_remote_code=False
        )
    model, tokenizer = _load(source, config, Projected, transformers.RobertaTokenizer, {"config": shape})
    window = min(config.max_tokens or _DEFAULT_WINDOW, _DEFAULT_WINDOW)
    name = _identity(source, model)
    return TorchEncoder(
        model, tokenizer, name=name, pool="first", max_tokens=window, config=config, head=model.proj
    )


def base_encoder(model: Any, tokenizer: Any, config: EncoderConfig | None = None) -> TorchEncoder:
    """The base model's own last hidden states, pooled; for when no other encoder is at hand.

    Args:
        model: A causal language model, without adapters.
        tokenizer: Its fast tokenizer.
    """
    config = config or EncoderConfig(model="base")
    limit = getattr(model.config, "max_position_embeddings", _BASE_WINDOW)
    return TorchEncoder(
        model.base_model,  # without the output layer, whose logits nobody reads
        tokenizer,
        name=f"base:{_fingerprint(model)}",
        pool="mean-but-first",
        max_tokens=min(config.max_tokens or _BASE_WINDOW, limit),
        config=config,
    )


def _load(
    source: str, config: EncoderConfig, model: Any, tokenizer: Any, extra: Mapping[str, Any] = {}
) -> tuple[Any, Any]:
    torch = need("torch")
    device = config.device or ("cuda" if torch.cuda.is_available() else "cpu")
    # Said aloud: where it is left out, transformers asks whether to run the code that a model names.
    given: dict[str, Any] = {"revision": config.revision, "trust_remote_code": False}
    with _explained(source):
        # A pickle of weights is read as numbers alone, so that none of it runs.
        loaded = model.from_pretrained(source, dtype=torch.float32, weights_only=True, **given, **extra)
        words = tokenizer.from_pretrained(source, **given)
    if not words.is_fast:
        raise ModelError(f"encoder {source!r} has no fast tokenizer, which cutting long texts needs")
    return loaded.to(device).eval(), words


class _explained:
    """Turns what transformers raises about a model into an error for people."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        # Whatever transformers and torch make of files that somebody else wrote; ours says what is wrong.
        if isinstance(error, Exception) and not isinstance(error, BDCError):
            # Its first line; the rest, and what is past 300 characters, would bury our own words.
            reason = (str(error).strip() or type(error).__name__).partition("\n")[0][:300]
            raise ModelError(
                f"encoder {self._source!r} cannot be loaded: {reason}; give the name or folder of a "
                "transformers or sentence-transformers encoder, 'codet5p', or 'minilm', which needs no hub"
            ) from error


def _pooling(source: str, config: EncoderConfig) -> str:
    """What the model's own files say about pooling.

    Raises:
        ModelError: If they ask for more than can be done here.
    """
    parts = [part["type"].rpartition(".")[2] for part in _json(source, config, "modules.json") or []]
    if odd := [part for part in parts if part not in _READABLE]:
        raise ModelError(
            f"encoder {source!r} has a part of type {odd[0]}, which is not read here; serve it behind an "
            "OpenAI-compatible URL and set `base_url`, or choose another"
        )
    modes = _json(source, config, "1_Pooling/config.json") or {}
    chosen = [mode for mode, on in modes.items() if mode.startswith("pooling_mode_") and on is True]
    if not chosen:
        return "mean"
    if len(chosen) > 1 or chosen[0] not in _MODES:
        raise ModelError(
            f"encoder {source!r} pools by {', '.join(chosen)}; one of {', '.join(_MODES)} is read"
        )
    return _MODES[chosen[0]]


def _json(source: str, config: EncoderConfig, name: str) -> Any:
    """A JSON file of the model; None where it has none."""
    found = need("transformers.utils").cached_file(
        source,
        name,
        revision=config.revision,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    return json.loads(Path(found).read_text(encoding="utf-8")) if found else None


def _identity(source: str, model: Any) -> str:
    """The model's name with its commit, or with a hash of the weights in its folder."""
    folder = Path(source)
    if not folder.is_dir():
        commit = getattr(model.config, "_commit_hash", None)
        return f"{source}@{commit[:12]}" if commit else source
    files = sorted(file for kind in ("*.safetensors", "*.bin") for file in folder.glob(kind))
    hashes = "".join(digest(file, models_folder()) for file in files)
    return f"{folder.resolve().name}@{sha256(hashes.encode()).hexdigest()[:12]}"


def _fingerprint(model: Any) -> str:
    """A hash of the model's weights as loaded, wherever they came from.

    The first 64 numbers of each tensor tell models apart, and hashing all of them would take minutes.
    """
    found = sha256()
    for name, weight in model.base_model.named_parameters():
        some = weight.detach().flatten()[:64].float().cpu().numpy()
        found.update(f"{name}{tuple(weight.shape)}".encode() + some.tobytes())
    return found.hexdigest()[:12]
