"""Confines a process before it runs a line of a program or of a test script."""

import builtins
import fcntl
import math
import os
import resource
import signal
import sys
from _sitebuiltins import Quitter
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from . import kernel, landlock, seccomp

_OPEN_FILES = 64  # Buffers of pipes and socket pairs are kernel memory, which no other limit counts.
_QUEUED_SIGNALS = 64  # Each takes kernel memory; the kernel always takes a signal if no equal one waits.
_STACK_BYTES = 64 * 2**20  # As contests allow deep recursion; only the part that is touched takes memory.
_SPARE_BYTES = 32 * 2**20  # To report a MemoryError with.
_RESERVED_BYTES = 2 * 2**30  # Contest programs reserve up to 512 MB for a stack and touch a few of them.
_THREADS = 32  # Where only one process is allowed; otherwise threads count as processes.
_SANDBOX_TASKS = 4  # The zygote, its guard, the supervisor and the checker.


_AFTER_FORK: list[dict[str, Any]] = []
"""What `load` kept back, for programs that may fork."""


class Rules(NamedTuple):
    """What holds for every process of a job.

    Args:
        seccomp: Whether to filter system calls.
        namespaces: Whether there are any around the supervisor.
        address_space: Bytes. A program may reserve more, since only what it touches counts, and
            that is looked at from outside.
        count_processes: Whether the limit on processes counts those of this sandbox only.
        readable: What Landlock lets these processes read, where the supervisor reads more.
        execute: Whether they may start other programs.
    """

    seccomp: bool
    namespaces: bool
    address_space: int
    count_processes: bool
    readable: tuple[str, ...] = ()
    execute: bool = False


def load(modules: Iterable[str]) -> None:
    """Imports what programs use, and makes random numbers the same in each process.

    What a module registers to run after each fork is kept back: `threading` would look for threads that
    are gone, `random` draw a seed. That copies 180 pages, 1.2 ms, in every process of a job.
    """
    register = os.register_at_fork
    os.register_at_fork = lambda **hooks: _AFTER_FORK.append(hooks)
    try:
        for name in modules:
            __import__(name)
    finally:
        os.register_at_fork = register
    sys.modules["random"].seed(0)


def confine(limits: dict[str, Any], rules: Rules, keep: tuple[int, ...], closed: bool = False) -> None:
    """Limits this process for good.

    Args:
        limits: Of the job.
        rules: Of the job's sandbox.
        keep: Descriptors that stay open, as 0, 1, 2 and so on; the first three are its streams.
        closed: Whether other processes of the user are kept out of its memory and descriptors. A
            program must get at its own, since /dev/stdin leads through /proc/self.
    """
    os.setsid()
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a supervisor that is killed leaves nothing
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # From 16 on, so that no descriptor is overwritten before it has its own place.
    safe = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 16) for descriptor in keep]
    for target, descriptor in enumerate(safe):
        os.dup2(descriptor, target)
    # The control socket was descriptor 0. A supervisor holds a few dozen at most.
    os.closerange(len(keep), 256)
    _open_streams()
    _add_builtins()
    _forget_ourselves()
    if limits["processes"] > 1:
        for hooks in _AFTER_FORK:
            os.register_at_fork(**hooks)
    seen = os.path.exists("/proc/self/status")  # else nobody sees what a program touches of what it reserves
    reserved = _RESERVED_BYTES if seen and not closed else 0
    _limit(limits, rules._replace(address_space=rules.address_space + reserved))
    if rules.readable:
        landlock.restrict([*rules.readable], [])
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0 if closed else 1)
    if rules.seccomp:
        several = limits["processes"] > 1
        seccomp.install(seccomp.program_filter(several, os.getpid(), rules.namespaces, rules.execute))


def use_spare_memory() -> None:
    """Makes room to report a MemoryError."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _open_streams() -> None:
    """New objects for the new descriptors: those of the interpreter's start know other files."""

    def opened(descriptor: int, mode: str, errors: str) -> Any:
        return open(descriptor, mode, encoding="utf-8", errors=errors, closefd=False)

    sys.stdin = sys.__stdin__ = opened(0, "r", "surrogateescape")
    sys.stdout = sys.__stdout__ = opened(1, "w", "surrogateescape")
    sys.stderr = sys.__stderr__ = opened(2, "w", "backslashreplace")


def _add_builtins() -> None:
    """`exit` and `quit`, which Python adds only where it loads `site`.

    A script needs them as much as a program: a name that the checker lacks is looked up in the program.
    """
    for name in ("exit", "quit"):
        setattr(builtins, name, Quitter(name, "Ctrl-D"))


def _forget_ourselves() -> None:
    """Takes this package out of the modules."""
    for name in own_modules():
        sys.modules.pop(name, None)


@cache
def own_modules() -> tuple[str, ...]:
    """The modules of this package; asked for before a fork, since to look at a name copies its page."""
    package = __name__.split(".")[0]
    return tuple(name for name in sys.modules if name.split(".")[0] == package)


def _limit(limits: dict[str, Any], rules: Rules) -> None:
    cpu = math.ceil(limits["cpu_seconds"] * limits["tests"]) + 1  # the supervisor counts exactly
    wanted = {
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_NOFILE: (_OPEN_FILES, _OPEN_FILES),
        resource.RLIMIT_MEMLOCK: (0, 0),
        resource.RLIMIT_FSIZE: (limits["file_bytes"], limits["file_bytes"]),
        resource.RLIMIT_STACK: (_STACK_BYTES, _STACK_BYTES),
        resource.RLIMIT_MSGQUEUE: (0, 0),
        resource.RLIMIT_SIGPENDING: (_QUEUED_SIGNALS, _QUEUED_SIGNALS),
        resource.RLIMIT_AS: (rules.address_space, rules.address_space + _SPARE_BYTES),
    }
    if rules.count_processes:
        tasks = _SANDBOX_TASKS + (limits["processes"] if limits["processes"] > 1 else _THREADS)
        wanted[resource.RLIMIT_NPROC] = (tasks, tasks)
    for kind, (soft, hard) in wanted.items():
        ceiling = resource.getrlimit(kind)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        resource.setrlimit(kind, (soft, hard))
