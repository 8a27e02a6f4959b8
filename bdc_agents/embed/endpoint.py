"""Vectors from an OpenAI-compatible embeddings endpoint."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from bdc_agents.agents.providers import NO_KEY
from bdc_agents.embed.encoder import EncoderConfig, Vectors, unit
from bdc_agents.errors import ModelError

_CHUNK = 64
"""Texts in a request. Some servers take far fewer than OpenAI's 2048. Chosen, not measured."""
_PARALLEL = 4
"""Requests at once: enough to hide the network, few for a small server. Chosen, not measured."""


class EndpointEncoder:
    """An embeddings model behind a URL, through LangChain's client.

    Args:
        model: The model's name there.
        base_url: Root of the endpoint.
        api_key: None if the endpoint wants none.
    """

    def __init__(self, model: str, base_url: str, api_key: str | None = None) -> None:
        from langchain_openai import OpenAIEmbeddings

        url = urlsplit(base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ModelError(f"not the root of an endpoint: {base_url!r}; write https://HOST/v1")
        self._client: Any = OpenAIEmbeddings(
            model=model,
            base_url=base_url,
            api_key=api_key or NO_KEY,  # pyright: ignore[reportArgumentType]
            check_embedding_ctx_length=False,  # Texts go out as texts: other models have other tokens.
            chunk_size=_CHUNK,
        )
        place = url.hostname + (f":{url.port}" if url.port else "") + url.path.rstrip("/")
        self.name = f"{place}#{model}"

    @classmethod
    def of(cls, config: EncoderConfig) -> EndpointEncoder:
        """The encoder of a configuration; its key comes from the environment.

        Raises:
            ModelError: If the variable for the key is empty.
        """
        key = os.environ.get(config.api_key_env) if config.api_key_env else None
        if config.api_key_env and not key:
            raise ModelError(
                f"the encoder's key is to be in {config.api_key_env}, which is not set: export it"
            )
        return cls(config.model, config.base_url or "", key)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One unit vector for each text; see `Encoder`."""
        if not texts:
            raise ModelError("no text to embed")
        # Some servers refuse an empty text; a blank one means the same to all.
        sent = [text or " " for text in texts]
        chunks = [sent[start : start + _CHUNK] for start in range(0, len(sent), _CHUNK)]
        with ThreadPoolExecutor(_PARALLEL) as pool:
            parts = list(pool.map(self._ask, chunks))
        return unit(np.concatenate(parts), texts)

    def _ask(self, texts: list[str]) -> Any:
        try:
            found = np.asarray(self._client.embed_documents(texts), dtype=np.float64)
        except Exception as error:  # Whatever the client raises, it is the endpoint that failed.
            reason = (str(error).strip() or type(error).__name__).partition("\n")[0][:300]
            raise ModelError(
                f"encoder {self.name}: {reason}; check the URL, the model's name and the key"
            ) from error
        if found.ndim != 2 or len(found) != len(texts):
            raise ModelError(
                f"encoder {self.name}: {len(texts)} texts were sent and an array of shape {found.shape} "
                "came back; the endpoint is not OpenAI-compatible"
            )
        return found
