"""Python programs from a process that has imported what they import: a start takes 0.2 s of a CPU, not 3.

`Warm.start(["-m", "bdc_agents.cli", "solve"])` is what `python -m bdc_agents.cli solve` is: a process of its
own, with its own folder, environment, files, signals and exit code. It is a fork of a process that runs this
file and does nothing else than import and fork. What is different: modules that read the environment when
they are imported have read that of the tests, and strings have the same hashes in all such programs. A test
for which that matters starts `sys.executable`.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

# What a `bdc` that searches has imported when it asks its first question.
IMPORTED = (
    "bdc_agents.cli.solve",
    "bdc_agents.cli.evaluate",
    "bdc_agents.cli.collect",
    "bdc_agents.agents.compatible",
    "genai_prices.data",
    "openai.resources.chat",
    "openai.resources.responses",
    "langgraph.checkpoint.sqlite.aio",
)
MESSAGE = 1 << 17
"""Bytes that a program's words and environment may take; a socket's buffer holds as many."""


class Started:
    """A program that was started, with the part of `subprocess.Popen` that tests use."""

    def __init__(self, words: Sequence[str], answers: socket.socket, output: list[Any]) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        self._answers = answers
        self._output = output
        self._texts: list[str] = []
        self.pid = self._next()

    def _next(self) -> int:
        text = self._answers.recv(64)
        if not text:
            raise RuntimeError(f"the process that starts programs has ended, before {self.args}")
        return int(text)

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        if self.returncode is None and select.select([self._answers], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, which is awaited; the negative number of the signal that ended it."""
        if self.returncode is None:
            if not select.select([self._answers], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = self._next()
            self._answers.close()
            for file in self._output:
                with file:
                    file.seek(0)
                    self._texts.append(file.read().decode())
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it wrote, when it has ended."""
        self.wait(timeout)
        out, err = self._texts
        return out, err

    def said(self, stream: int = 0) -> str:
        """What it has written so far to its standard output, or to 1, its standard error, while it runs."""
        file = self._output[stream]
        return "" if file.closed else os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")

    def send_signal(self, number: int) -> None:
        """Sends it a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # It has ended just now.
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Ends it at once."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that starts programs; it ends with the one that made it."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(self, words: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> Started:
        """Starts `python WORDS...`; its output is kept."""
        message = {"words": list(words), "cwd": str(cwd), "env": dict(os.environ if env is None else env)}
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        output = [tempfile.TemporaryFile() for _ in range(2)]  # noqa: SIM115
        with theirs:
            passed = [theirs.fileno(), *(file.fileno() for file in output)]
            socket.send_fds(self._control, [json.dumps(message).encode()], passed)
        return Started(words, mine, output)

    def run(
        self, words: Sequence[str], cwd: Path, env: dict[str, str] | None = None, timeout: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """Runs `python WORDS...` to its end."""
        started = self.start(words, cwd, env)
        try:
            out, err = started.communicate(timeout)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()
            raise
        return subprocess.CompletedProcess(started.args, started.wait(), out, err)

    def close(self) -> None:
        """Starts no more."""
        self._control.close()
        self._process.wait(20)


# --- in the process that starts programs ----------------------------------------------------------


def program(control: socket.socket) -> tuple[list[str], str]:
    """Forks for every message. Returns in the programs alone: the words, and their folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    waiting: set[int] = set()
    while True:
        text, files, _, _ = socket.recv_fds(control, MESSAGE, 3)
        waiting = {pid for pid in waiting if os.waitpid(pid, os.WNOHANG) == (0, 0)}
        if not text:
            os._exit(0)
        waits = os.fork()
        if not waits:
            break
        waiting.add(waits)
        for file in files:
            os.close(file)
    control.close()
    pid = os.fork()
    if pid:
        _tell_end(pid, socket.socket(fileno=files[0]), files[1:])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(files[0])
    for number, file in enumerate(files[1:], 1):
        os.dup2(file, number)
        os.close(file)
    message = json.loads(text)
    os.chdir(message["cwd"])
    os.environ.clear()
    os.environ.update(message["env"])
    return message["words"], message["cwd"]


def _tell_end(pid: int, answers: socket.socket, files: list[int]) -> None:
    for file in files:
        os.close(file)
    answers.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    answers.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def main() -> None:
    for name in IMPORTED:
        importlib.import_module(name)
    # Each `bdc` that asks over HTTP would read them again.
    importlib.import_module("bdc_agents.agents.compatible").trusted()
    # A fork has the forking thread alone, and for ever the locks that the others held.
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()  # Or each program would look through all of it for garbage when it ends.
    words, folder = program(socket.socket(fileno=int(sys.argv[1])))
    first, *rest = words
    if first == "-m":
        sys.path[0], sys.argv = folder, rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.path[0], sys.argv = str(Path(first).parent), words
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    main()
