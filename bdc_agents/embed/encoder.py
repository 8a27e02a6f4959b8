"""Texts to unit vectors: one way for training rows and for queries.

An encoder gives a text the same vector whether it comes alone or among others, today or from the
cache, so that a problem is placed at solve time just where it was placed in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from bdc_agents.errors import ModelError
from bdc_agents.types import Given

Vectors = NDArray[np.float32]
"""One row for each text, each of length 1."""

MINILM = "minilm"
CODET5P = "Salesforce/codet5p-110m-embedding"
BASE = "base"


class Encoder(Protocol):
    """Turns texts into vectors.

    The name holds everything that the vectors depend on: the model, its revision, and how texts are cut and
    pooled. Two encoders of the same name give the same vectors.
    """

    @property
    def name(self) -> str:
        """Name of the encoder, for instance as a key in a cache."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for each text, in order.

        Blocks; in async code call it through `asyncio.to_thread`.
        """
        ...


class EncoderConfig(Given):
    """The encoder to load, and how to run it.

    Args:
        model: `minilm` is the packaged all-MiniLM-L6-v2, `codet5p` the CodeT5+ 110M embedding model of
            the paper, `base` the base model's own hidden states; otherwise the name or folder of a
            transformers or sentence-transformers model, or the model's name at `base_url`.
        revision: Commit of a model from the hub.
        base_url: Root of an OpenAI-compatible endpoint, such as `http://localhost:8000/v1`.
        api_key_env: Environment variable that holds the endpoint's key.
        max_tokens: Longest window that is read at once; None for what the model was made for. A
            longer text is read in several windows.
        windows: Most windows that are read of one text; the rest of it is left out. Eight windows of 512
            tokens hold any usual statement; chosen, not measured.
        batch_tokens: Most tokens in one forward pass, padding included. It bounds memory, and changes no
            vector but for rounding.
        device: Where the model runs, such as `cuda`; None for a GPU if there is one.
        cache: Whether vectors are kept on disk.
    """

    model: str = Field(default=MINILM, min_length=1)
    revision: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    max_tokens: int | None = Field(default=None, ge=8)
    windows: int = Field(default=8, ge=1)
    batch_tokens: int = Field(default=8192, ge=64)
    device: str | None = None
    cache: bool = True


def config_named(name: str) -> EncoderConfig:
    """The configuration of an encoder, from the name that it gave itself.

    Raises:
        ModelError: If it was reached at an endpoint, whose address is no part of the name.
    """
    if name.startswith(f"{BASE}:"):
        return EncoderConfig(model=BASE)
    if name.startswith(CODET5P):
        return EncoderConfig(model=CODET5P)
    if "#" in name:
        raise ModelError(
            f"the problems were embedded at the endpoint {name!r}; give its address as an EncoderConfig with "
            "base_url"
        )
    model = name.partition("[")[0].partition("@")[0]
    return EncoderConfig(model=MINILM if not model or "MiniLM" in model else model)


def unit(vectors: Any, texts: Sequence[str] = ()) -> Vectors:
    """The vectors scaled to length 1, as float32.

    Args:
        vectors: Of shape [n, d].
        texts: The texts of the vectors, for errors.

    Raises:
        ModelError: If a vector is zero or not finite.
    """
    array = np.asarray(vectors, dtype=np.float64)
    lengths = np.linalg.norm(array, axis=-1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if bad.size:
        shown = f": {texts[bad[0]][:60]!r}" if texts else ""
        raise ModelError(
            f"the encoder gave no usable vector for {bad.size} of {len(array)} texts, first {bad[0]}{shown}; "
            "its weights or number format are damaged: try another encoder, or float32"
        )
    return (array / lengths).astype(np.float32)
