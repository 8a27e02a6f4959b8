"""`Worker`: one sandboxed process as its caller starts, uses and ends it; bound to no event loop."""

import asyncio
import os
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from typing import Any

from bdc_agents.errors import SandboxError

from .bootstrap import first_frame
from .inside import wire
from .tiers import ENVIRONMENT, Tier

_START_SECONDS = 60.0
"""Time to start, which takes a tenth of a second, but more on a busy machine or in a container of gVisor."""
_END_SECONDS = 0.5
"""Time to end before it is killed. A search that is out of time waits for this, and may be 1 s late."""
_LOOK_SECONDS = 1.0
"""Time between two looks whether a process is stopped (SIGSTOP), of which no event tells."""
_CHUNK = 1 << 18
"""Bytes read at once: a large output in few calls."""


class Worker:
    """A process of a tier, which serves one job after another.

    Args:
        tier: How it is isolated.
        work: The folder that programs may write to.

    Raises:
        SandboxError: If it cannot be started.
    """

    def __init__(self, tier: Tier, work: str) -> None:
        self.jobs = 0
        self.spent = False
        """Whether it can take no further job."""
        self._received = bytearray()
        self._unsent = first_frame() + wire.pack(tier.setup | {"work": work})
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed in _close
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        try:
            self._process = self._spawn(tier, theirs)
        except OSError as error:
            self._socket.close()
            self._complaints.close()
            raise SandboxError(f"the sandbox could not be started: {error}") from error
        finally:
            theirs.close()

    def _spawn(self, tier: Tier, control: socket.socket) -> subprocess.Popen[Any]:
        as_user: dict[str, Any] = (
            {} if tier.user is None else {"user": tier.user, "group": tier.user, "extra_groups": []}
        )
        return subprocess.Popen(  # noqa: S603 - a command of a tier
            tier.command,
            stdin=control.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=self._complaints,
            env=ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            **as_user,
        )

    # --- exchange

    async def ready(self) -> None:
        """Waits until it can take a job.

        Raises:
            SandboxError: If it does not start; with the reason.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._send_first()
                line = await self.line()
        except TimeoutError:
            raise SandboxError(f"the sandbox did not start within {_START_SECONDS:.0f} s") from None
        if line.strip() != wire.READY:
            raise SandboxError(f"the sandbox did not start: {line.strip() or await self.complaint()}")

    async def _send_first(self) -> None:
        frames, self._unsent = self._unsent, b""
        if frames:
            with suppress(ConnectionError):  # Its complaint gives the reason.
                await self.send(frames)

    async def send(self, data: bytes) -> None:
        """Sends all of it."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    async def line(self) -> str:
        """The next line, or the part of it that came before the process ended."""
        while (end := self._received.find(b"\n")) < 0:
            if not await self._receive():
                break
        return self._take(end + 1 or len(self._received)).decode("utf-8", "replace")

    async def body(self, length: int) -> bytes:
        """The next bytes, this many.

        Raises:
            EOFError: If the process ended before.
        """
        while len(self._received) < length:
            if not await self._receive():
                raise EOFError
        return self._take(length)

    def _take(self, length: int) -> bytes:
        taken = bytes(self._received[:length])
        del self._received[:length]
        return taken

    async def _receive(self) -> bool:
        loop = asyncio.get_running_loop()
        self._watch(loop)
        try:
            chunk = await loop.sock_recv(self._socket, _CHUNK)
        except ConnectionError:
            chunk = b""
        finally:
            self._next_look.cancel()
        self._received += chunk
        return bool(chunk)

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ends the process if it is stopped: it would neither answer nor end by itself."""
        self._next_look = loop.call_later(_LOOK_SECONDS, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._is_stopped():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._watch(loop)

    def _is_stopped(self) -> bool:
        try:
            options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self._process.pid, options) is not None
        except ChildProcessError:
            return False

    async def complaint(self) -> str:
        """Ends the process; returns the last lines of its own errors, which no program can write to."""
        await self._ended()
        self._complaints.seek(0)
        text = self._complaints.read().decode("utf-8", "replace").strip()
        return "\n".join(text.splitlines()[-3:])

    # --- ending

    async def end(self) -> None:
        """Ends the process and, through it, the whole tree below; frees what it held."""
        try:
            await self._ended()
        finally:
            self._close()

    def let_go(self) -> None:
        """Forgets the process after a fork, since it belongs to the parent, and lets it live."""
        self._close()
        # Without a return code, `Popen` would warn when it is deleted, and later wait for the process.
        self._process.returncode = 0

    def end_now(self) -> None:
        """Like `end`, without an event loop."""
        self.terminate()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._close()

    def terminate(self) -> None:
        """Asks the process to end; its users see that it ended."""
        with suppress(ProcessLookupError):
            self._process.terminate()

    async def _ended(self) -> None:
        self.terminate()
        if not await self._wait(_END_SECONDS):
            self._kill()

    async def _wait(self, seconds: float) -> bool:
        """Whether the process ends within a time."""
        if self._process.poll() is not None:
            return True
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        try:
            process = os.pidfd_open(self._process.pid)
        except OSError:  # The kernel has no pidfd_open; the process's own complaint must still be read.
            return await asyncio.to_thread(self._ends_within, seconds)
        try:
            loop.add_reader(process, ended.set)
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(process)
            os.close(process)
        self._process.wait()
        return True

    def _ends_within(self, seconds: float) -> bool:
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _close(self) -> None:
        self._socket.close()
        self._complaints.close()
