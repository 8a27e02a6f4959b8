"""Joins or starts the llama.cpp server of a model, which all processes of a user share.

A user of the server holds a lease: the shared lock of a file, which the kernel releases when the
process ends, even by `kill -9`. A second lock guards the start, so that two users start one server. See
`process.py` for the server's side.
"""

import asyncio
import os
import stat
import sys
import tempfile
import time
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, ValidationError

from bdc_agents.errors import ModelError, NotInstalled
from bdc_agents.locks import POLL_SECONDS, is_locked, locked, open_private, wait_lock
from bdc_agents.types import Frozen

PROTOCOL = 1
"""Version of the files in the runtime folder; servers of other versions are left alone."""

RUNTIME = "BDC_LLAMA_SERVER"
"""Environment variable that names a `llama-server` built for this machine: its GPU, its instructions."""

START_SECONDS = 600.0
"""Longest time for a server to load its model: gigabytes from a slow disk take minutes."""
LINGER_SECONDS = 3.0
"""How long a server waits for a next user: commands that follow each other in a script share one, and a
machine gets its memory back soon after the last. Chosen, not measured."""

_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV")
_PASSED_ON_PREFIXES = ("LC_", "LD_", "PYTHON", "OMP_", "GOMP_", "CUDA", "NVIDIA_", "HIP_", "ROCR_", "GGML_")
"""Environment variables that a server gets, by name and by prefix: Python's, the linker's, and those of the
libraries that compute. All others may hold keys."""


class ServerSettings(Frozen):
    """What to serve, and how. Users with the same settings share one server.

    Args:
        path: The GGUF file.
        sha256: Its hash.
        slots: Requests answered at once; more wait for a slot.
        context: Tokens of prompts and replies that all slots hold together.
        threads: Threads of computation; None for the cores that this process may use.
        linger: Seconds the server waits for a next user before it ends.
        runtime: The user's own `llama-server`; None for the installed package.
    """

    name: str
    path: Path
    sha256: str
    slots: int = Field(default=4, ge=1, le=64)
    context: int = Field(default=16384, ge=512)
    threads: int | None = Field(default=None, ge=1, le=512)
    linger: float = Field(default=LINGER_SECONDS, ge=0)
    runtime: str | None = Field(default_factory=lambda: os.environ.get(RUNTIME) or None)

    @property
    def key(self) -> str:
        """Name of the folder that the users of one server share."""
        parts = (PROTOCOL, self.sha256, self.slots, self.context, self.threads, self.runtime)
        return sha256(repr(parts).encode()).hexdigest()[:16]


class Address(Frozen):
    """Where a server listens, and the key that it requires."""

    url: str
    key: str = Field(repr=False)
    pid: int


class Lease:
    """A share in a running server; the server lives while there is one.

    Args:
        address: Address of the server that was running when the lease was taken.
    """

    def __init__(self, folder: Path, descriptor: int, address: Address) -> None:
        self.address = address
        self._folder = folder
        self._descriptor: int | None = descriptor

    @property
    def alive(self) -> bool:
        """Whether that server still runs."""
        return is_locked(self._folder / "alive") and _read_address(self._folder) == self.address

    def close(self) -> None:
        """Gives up the share."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.close()


async def join(settings: ServerSettings) -> Lease:
    """Takes a share in the server of these settings; starts the server if it does not run.

    Raises:
        ModelError: If llama.cpp is not installed, or does not load the file.
    """
    folder, descriptor = await asyncio.to_thread(_enter, settings)
    try:
        async with locked(folder / "start"):
            await wait_lock(descriptor, shared=True)
            address = await _published(folder, settings)
            if address is None:
                await _start(folder, settings)
                address = await _published(folder, settings)
            if address is None:
                raise _not_started(folder, settings)
    except BaseException:
        os.close(descriptor)
        raise
    return Lease(folder, descriptor, address)


def _enter(settings: ServerSettings) -> tuple[Path, int]:
    """The folder where users of the server meet, and the open file of their leases.

    In a thread of its own, as all that makes or removes files: an event loop may forbid it, such as that of
    `langgraph dev`.
    """
    require_runtime()
    folder = _private(runtime_folder() / settings.key)
    return folder, open_private(folder / "leases")


def has_runtime() -> bool:
    """Whether local models can be served here."""
    return bool(os.environ.get(RUNTIME)) or find_spec("xllamacpp") is not None


def require_runtime() -> None:
    """Checks that local models can be served here.

    Raises:
        NotInstalled: If llama.cpp is missing.
        ModelError: If `BDC_LLAMA_SERVER` does not name a program.
    """
    own = os.environ.get(RUNTIME)
    if own and not (Path(own).is_absolute() and Path(own).is_file() and os.access(own, os.X_OK)):
        raise ModelError(f"{RUNTIME} is {own!r}; it must be the full path of a llama-server program")
    if not has_runtime():
        raise NotInstalled(
            "local models need llama.cpp; run: pip install 'bdc-agents[local]', or set "
            f"{RUNTIME} to a llama-server of your own"
        )


def runtime_folder() -> Path:
    """The folder in which servers and their users meet; for this user and machine alone.

    Raises:
        ModelError: If a folder of that name belongs to somebody else.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR") or "/nonexistent")
    if not (base.is_dir() and os.access(base, os.W_OK | os.X_OK)):
        base = _private(Path(tempfile.gettempdir()) / f"bdc-agents-{os.geteuid()}")
    return _private(base / "bdc-agents")


def usable_cores() -> int:
    """Cores that this process may use, by its affinity and its control group's quota."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cores if quota == "max" else max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):
        return cores


def _private(folder: Path) -> Path:
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise ModelError(
            f"{folder} must be a folder that only you can use, and is not; "
            "remove it, or set XDG_RUNTIME_DIR to a private folder"
        )
    return folder


async def _start(folder: Path, settings: ServerSettings) -> None:
    """Starts the server process, which detaches itself, since it serves all its users."""
    log = await asyncio.to_thread(_fresh_log, folder)
    try:
        process = await asyncio.create_subprocess_exec(
            *_command(folder, settings),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=server_environment(),
            start_new_session=True,
        )
    finally:
        os.close(log)
    if await process.wait() != 0:
        raise _not_started(folder, settings)


def _fresh_log(folder: Path) -> int:
    """The open log of a server that starts, whose address nobody may take for that of the one before."""
    (folder / "server.json").unlink(missing_ok=True)
    return os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)


def _command(folder: Path, settings: ServerSettings) -> list[str]:
    # By path and with -P, so that the script imports neither the package nor a file beside it.
    script = str(Path(__file__).with_name("process.py"))
    options = {
        "--model": settings.path,
        "--name": settings.name,
        "--slots": settings.slots,
        "--context": settings.context,
        "--threads": settings.threads or usable_cores(),
        "--linger": settings.linger,
    } | ({"--runtime": settings.runtime} if settings.runtime else {})
    return [sys.executable, "-P", script, str(folder), *(f"{key}={value}" for key, value in options.items())]


def server_environment() -> dict[str, str]:
    """The environment of the server: part of this process's, which may hold keys of other services.

    OpenMP's threads wait for each other in a busy loop. With two busy servers that loop takes the cores
    from the threads it waits for: measured on two cores, decoding falls from 50 to 2 tokens a
    second. A short loop before they sleep costs nothing for a server alone.
    """
    own = {
        key: value
        for key, value in os.environ.items()
        if key in _PASSED_ON or key.startswith(_PASSED_ON_PREFIXES)
    }
    return {"GOMP_SPINCOUNT": "1000"} | own


async def _published(folder: Path, settings: ServerSettings) -> Address | None:
    """Waits for the address of the running server; None as soon as there is no server.

    A server without an address is starting, perhaps by another process, or about to end.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not is_locked(folder / "alive"):
            return None
        if address := _read_address(folder):
            return address
        await asyncio.sleep(POLL_SECONDS)
    raise ModelError(f"the server of {settings.name} did not start in {START_SECONDS:.0f} seconds")


def _read_address(folder: Path) -> Address | None:
    try:
        return Address.model_validate_json((folder / "server.json").read_text())
    except (OSError, ValidationError):
        return None


def _not_started(folder: Path, settings: ServerSettings) -> ModelError:
    lines = (folder / "log").read_text(errors="replace").splitlines()
    shown = "\n  ".join(lines[-6:]) or "nothing in its log"
    return ModelError(f"llama.cpp does not serve {settings.path}; is it a whole GGUF file?\n  {shown}")
