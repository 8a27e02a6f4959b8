"""`Workspace`: a sandbox with a folder, in which an agent runs shell commands, one after the other.

The isolation is that of the tier `namespaces`, with three differences. A command may start other programs:
those of the system's folders and the interpreter, never a file that can be written. What it writes lies in a
folder in memory, of a fixed size, which the next command finds and which ends with the workspace. And
a command is no program with a verdict: it has an output and an exit status.
"""

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from bdc_agents.errors import SandboxError, SandboxRefused
from bdc_agents.types import Given

from .inside import wire
from .probes import probe_tier
from .tiers import Tier, make_tier
from .worker import Worker

TIER = "namespaces"
"""The one tier that has a file system of its own and can keep it between commands."""
FOLDER = "/workspace"
_PROGRAMS = ("/bin", "/usr/bin")
_GRACE_SECONDS = 10.0
"""Time beyond a command's own: the supervisor inside ends it, and this is for one that cannot."""
_EXITS = {"wall": 124, "memory": 137}
"""Exit statuses as `timeout` and a shell give them for these ends."""
_FILE_ERRORS = {2: "file_not_found", 3: "permission_denied", 4: "is_directory", 5: "invalid_path"}


class WorkspaceLimits(Given):
    """What the commands of a workspace may use.

    Args:
        seconds: Wall time of a command, where it names none, and the most that it may name.
        memory_mb: Of all processes of a command together.
        folder_mb: Size of the workspace with `/tmp`; it takes the machine's memory.
        files: Files and folders in it.
        processes: Processes and threads at once.
        output_bytes: What of a command's output is kept; the rest is dropped.
    """

    seconds: float = Field(default=120.0, gt=0, le=3600)
    memory_mb: int = Field(default=1024, ge=64, le=65536)
    folder_mb: int = Field(default=256, ge=1, le=65536)
    files: int = Field(default=20_000, ge=16, le=10_000_000)
    processes: int = Field(default=64, ge=2, le=1024)
    output_bytes: int = Field(default=1_000_000, ge=1024, le=100_000_000)


@dataclass(frozen=True)
class Ran:
    """How a command ended.

    Args:
        output: What it printed, on both streams.
        status: Its exit status; 124 if its time was up, 137 if its memory was.
        truncated: Whether it printed more.
        note: Why it was ended; empty if it ended itself.
    """

    output: bytes
    status: int
    truncated: bool = False
    note: str = ""


class Workspace:
    """A sandboxed folder; commands and files go in and out one after the other, from one event loop.

    What is cancelled, or does not answer, ends the workspace: what it had left on the way would be taken
    for the next answer.

    Args:
        limits: What its commands may use.

    Raises:
        SandboxRefused: If this machine offers no such isolation; with the reason.
    """

    def __init__(self, limits: WorkspaceLimits | None = None) -> None:
        self.limits = limits or WorkspaceLimits()
        report = probe_tier(TIER)
        if not report.holds:
            raise SandboxRefused(
                f"a workspace needs the tier {TIER!r}, which does not hold on this machine: {report.reason}; "
                "see docs/sandbox.md"
            )
        self._tier = _tier(self.limits)
        self._environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": FOLDER,
            "PWD": FOLDER,
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._worker: Worker | None = None
        self._turn: asyncio.Lock | None = None
        self._ended = ""

    @property
    def tier(self) -> str:
        """Name of the isolation in force."""
        return self._tier.name

    async def run(self, command: str, seconds: float | None = None) -> Ran:
        """Runs a command in a shell, in the workspace's folder; waits for those before it.

        Args:
            command: What the shell is given.
            seconds: Its wall time, within the limit; None for the limit.

        Raises:
            SandboxError: If the sandbox has ended, and its files with it.
        """
        wall = min(seconds or self.limits.seconds, self.limits.seconds)
        job = {"kind": "execute", "command": command, "environment": self._environment}
        ending = await self._do(job, wall, self.limits.output_bytes)
        status = _EXITS.get(ending.reason, ending.status if ending.status >= 0 else 128 - ending.status)
        notes = {
            "wall": f"ended after {wall:g} s, its time limit",
            "memory": f"ended, since it took more than {self.limits.memory_mb} MB",
        }
        return Ran(ending.output, status, not ending.answered, notes.get(ending.reason, ""))

    async def put(self, path: str, data: bytes) -> str:
        """Writes a file, and the folders above it; returns what is wrong, or nothing.

        Raises:
            SandboxError: If the sandbox has ended.
        """
        if not path.startswith("/"):
            return "invalid_path"
        if len(data) > self.limits.folder_mb * 2**20:
            return f"the file is larger than the workspace ({self.limits.folder_mb} MB)"
        job = {"kind": "put", "path": path, "data": data}
        return _wrong(await self._do(job, self.limits.seconds, self.limits.output_bytes))

    async def get(self, path: str) -> tuple[bytes | None, str]:
        """A file's content, or what is wrong.

        Raises:
            SandboxError: If the sandbox has ended.
        """
        if not path.startswith("/"):
            return None, "invalid_path"
        most = self.limits.folder_mb * 2**20
        ending = await self._do({"kind": "get", "path": path}, self.limits.seconds, most)
        if not ending.answered:
            return None, f"the file is larger than the workspace ({self.limits.folder_mb} MB)"
        wrong = _wrong(ending)
        return (None, wrong) if wrong else (ending.output, "")

    async def aclose(self) -> None:
        """Ends every process, and the folder."""
        self._ended = "it was closed"
        worker, self._worker = self._worker, None
        if worker:
            await worker.end()

    def close_now(self) -> None:
        """Like `aclose`, without an event loop."""
        self._ended = "it was closed"
        worker, self._worker = self._worker, None
        if worker:
            worker.end_now()

    # --- exchange

    async def _do(self, job: dict[str, Any], wall: float, output_bytes: int) -> wire.Ending:
        self._turn = self._turn or asyncio.Lock()
        async with self._turn:
            if self._ended:
                raise SandboxError(f"this workspace has ended ({self._ended}), and its files with it")
            try:
                return await self._exchange(job, wall, output_bytes)
            except BaseException as error:
                self._ended = str(error) or type(error).__name__
                worker, self._worker = self._worker, None
                if worker:
                    await asyncio.shield(worker.end())
                raise

    async def _exchange(self, job: dict[str, Any], wall: float, output_bytes: int) -> wire.Ending:
        if self._worker is None:
            self._worker = await asyncio.to_thread(Worker, self._tier, FOLDER)
        worker, limits = self._worker, self.limits
        await worker.ready()
        capped = {
            "wall_seconds": wall,
            "cpu_seconds": wall * (os.cpu_count() or 1),
            "memory_mb": limits.memory_mb,
            "processes": limits.processes,
            "output_bytes": output_bytes,
            "file_bytes": limits.folder_mb * 2**20,
            "tests": 1,
        }
        try:
            async with asyncio.timeout(wall + _GRACE_SECONDS):
                with suppress(ConnectionError):  # The line that follows tells why.
                    await worker.send(wire.pack(job | {"limits": capped}))
                if (line := (await worker.line()).strip()) != wire.TAKEN:
                    raise ValueError(line)
                ending, output, report = wire.parse_ending(await worker.line())
                if output > output_bytes or report:
                    raise ValueError(f"{output} and {report} bytes")
                return ending._replace(output=await worker.body(output))
        except TimeoutError:
            raise SandboxError("it stopped answering") from None
        except (ValueError, EOFError):
            raise SandboxError(f"it was killed: {await worker.complaint() or 'without a word'}") from None


def _wrong(ending: wire.Ending) -> str:
    """What is wrong with a file that was to be moved; empty if nothing is."""
    if ending.reason == "exit" and ending.status == 0:
        return ""
    said = ending.output.decode("utf-8", "replace").strip()
    return _FILE_ERRORS.get(ending.status) or said or f"ended by its limit ({ending.reason})"


def _tier(limits: WorkspaceLimits) -> Tier:
    tier = make_tier(TIER)
    python = tier.command[0]
    present = [folder for folder in _PROGRAMS if Path(folder).is_dir()]
    setup = tier.setup | {
        "commands": True,
        "folders": sorted({*tier.setup["folders"], *present}),
        "files": [*tier.setup["files"], python],
        "links": {f"/usr/local/bin/{name}": python for name in ("python", "python3")},
        "work": FOLDER,
        "work_mb": limits.folder_mb,
        "work_files": limits.files,
    }
    return replace(tier, setup=setup)
