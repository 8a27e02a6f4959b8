"""The encoder that a configuration names: in this process or at an endpoint, with its vectors cached."""

from pathlib import Path
from typing import Any

from bdc_agents.embed.encoder import BASE, CODET5P, MINILM, Encoder, EncoderConfig
from bdc_agents.errors import ModelError


async def load_encoder(
    config: EncoderConfig | str = MINILM, *, base: tuple[Any, Any] | None = None, folder: Path | None = None
) -> Encoder:
    """Loads the encoder that a configuration names; its vectors are cached on disk.

    Args:
        config: The configuration, or the model's name alone.
        base: The causal language model and its tokenizer, for the encoder `base`.
        folder: Folder of the cache; None for the user's cache folder.

    Raises:
        ModelError: If the model cannot be loaded, or is of a kind that cannot be read.
    """
    from bdc_agents.embed.cache import CachedEncoder

    if isinstance(config, str):
        config = EncoderConfig(model=config)
    encoder = await _load(config, base)
    return CachedEncoder(encoder, folder) if config.cache else encoder


async def _load(config: EncoderConfig, base: tuple[Any, Any] | None) -> Encoder:
    if config.base_url:
        from bdc_agents.embed.endpoint import EndpointEncoder

        return EndpointEncoder.of(config)
    from bdc_agents.embed import local as encoders

    if config.model == BASE:
        if base is None:
            raise ModelError("the encoder 'base' needs the base model; name another, such as 'minilm'")
        return encoders.base_encoder(*base, config)
    if config.model == MINILM:
        from bdc_agents.embed.minilm import fetch_minilm

        return encoders.sentence_encoder(str(await fetch_minilm()), config)
    if config.model in ("codet5p", CODET5P):
        return encoders.codet5p_encoder(CODET5P, config)
    return encoders.sentence_encoder(config.model, config)
