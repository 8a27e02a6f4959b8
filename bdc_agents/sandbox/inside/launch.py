"""The start of the sandboxed process: it isolates itself, imports what programs use, and serves jobs.

In a warm tier this process, the zygote, never sees a job: for each it forks a supervisor, which
isolates itself further, says that it is ready, and reads the job from the socket. Of a script test
it reads the size only: the script is for its checker to read.
"""

import gc
import importlib.util
import os
import signal
import sys
from contextlib import suppress
from typing import Any

from . import commands, supervise, usage, wire
from .isolation import kernel, landlock, namespaces, seccomp
from .isolation.confine import Rules, load, own_modules
from .processes import end_all

CONTROL = 0
"""The socket to the caller; no program ever holds it."""

_SERVED, _CALLER_GONE, _FAILED = 0, 3, 1  # Exit statuses: 1 is also Python's own after an exception.
_MODULES = (
    *("ast", "atexit", "bisect", "collections", "collections.abc", "copy", "dataclasses", "datetime"),
    *("decimal", "enum", "fractions", "functools", "heapq", "importlib", "io", "itertools", "json", "math"),
    *("operator", "queue", "random", "re", "statistics", "string", "threading", "typing", "_sitebuiltins"),
)
"""Modules that programs often import, loaded once for all of them."""


class Broken(Exception):
    """The supervisor failed while a program ran, which may be that program's doing."""


def main() -> None:
    """Serves jobs until the caller is gone."""
    try:
        setup = wire.receive(CONTROL)
    except EOFError:
        sys.exit(0)
    try:
        owner = _isolate(setup)
        _warm_up(setup)
    except OSError as error:
        wire.send(CONTROL, f"{wire.FAILED} {error}\n".encode())
        sys.exit(_FAILED)
    if not setup["warm"]:
        _serve(setup, owner)
    try:
        while (status := _serve_in_child(setup, owner)) == _SERVED:
            continue
    finally:
        if not owner:
            end_all(())
    sys.exit(_SERVED if status == _CALLER_GONE else _FAILED)


def _isolate(setup: dict[str, Any]) -> namespaces.Owner | None:
    """Puts the walls up that stand for all jobs."""
    _prefer_for_oom()
    if setup["namespaces"]:
        owner = namespaces.enter(setup["folders"], setup["files"], setup["work"], setup["links"])
        if setup["commands"]:
            namespaces.furnish_for_all(owner, setup["work"], setup["work_mb"], setup["work_files"])
        return owner
    if setup["bubblewrap"]:
        return namespaces.adopt()
    if os.getpid() != 1:
        kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        signal.signal(signal.SIGTERM, _end_once)
    return None


def _end_once(*_: object) -> None:
    """Ends this process after its children, as at any end; what comes later does not interrupt that."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(_FAILED)


def _warm_up(setup: dict[str, Any]) -> None:
    sys.argv[:] = ["program.py"]
    sys.set_int_max_str_digits(0)  # contests ask for longer integers; the CPU time is limited
    if setup["packages"]:
        sys.path += setup["packages"]
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # its threads would take memory for each core
        importlib.util.find_spec("nowhere")  # reads what is in these folders, before nobody may list them
    load(_MODULES)
    seccomp.prepare(_has_namespaces(setup), setup["commands"])
    own_modules()
    gc.collect()
    gc.freeze()  # so that a child's first collection does not copy all of this


def _serve_in_child(setup: dict[str, Any], owner: namespaces.Owner | None) -> int:
    """Serves one job in a process of its own; returns its exit status."""
    pid = namespaces.fork() if owner else os.fork()
    if pid == 0:
        try:
            kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
            _serve(setup, owner)
        finally:
            os._exit(_FAILED)
    status = kernel.outlast(pid)
    if not owner:
        end_all(())
    return status


def _serve(setup: dict[str, Any], owner: namespaces.Owner | None) -> None:
    """Puts up the walls of one job, reports that, serves the job, and ends the process."""
    status = _FAILED
    try:
        rules = _settle(setup, owner)
        wire.send(CONTROL, f"{wire.READY}\n".encode())
        job = wire.receive(CONTROL)
        wire.send(CONTROL, f"{wire.TAKEN}\n".encode())
        if setup["commands"]:
            commands.serve(job, rules, CONTROL)
            status = _SERVED
        elif _run_tests(job, rules, setup):
            status = _SERVED
    except (EOFError, ConnectionError):
        status = _CALLER_GONE
    except (OSError, Broken) as error:
        word = wire.BROKEN if isinstance(error, Broken) else wire.FAILED
        with suppress(OSError):
            wire.send(CONTROL, f"{word} {error}\n".encode())
    finally:
        if os.getpid() != 1:
            end_all(())
        os._exit(status)


def _settle(setup: dict[str, Any], owner: namespaces.Owner | None) -> Rules:
    if owner:
        work = (setup["work"], setup["work_mb"], setup["work_files"])
        namespaces.settle(owner, *work, shared=setup["commands"])
    else:
        if os.getpid() != 1:
            kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
        kernel.drop_capabilities()  # root would see into its checkers
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a handler would let programs signal process 1
    os.chdir(setup["work"])
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if setup["landlock"] and landlock.version() < landlock.NEEDED:
        raise OSError(landlock.lacking())
    if setup["landlock"] or (owner and landlock.version()):
        landlock.restrict(*_visible(setup), execute=setup["commands"])
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)  # its memory and descriptors are closed to programs
    return Rules(
        seccomp=_filter_calls(required=setup["isolated"], execute=setup["commands"]),
        namespaces=_has_namespaces(setup),
        address_space=usage.sizes()[0],
        count_processes=_has_namespaces(setup),
        readable=(*setup["folders"], *setup["files"]) if setup["landlock"] else (),
        execute=setup["commands"],
    )


def _has_namespaces(setup: dict[str, Any]) -> bool:
    return setup["isolated"] and not setup["landlock"]


def _visible(setup: dict[str, Any]) -> tuple[list[str], list[str]]:
    """What Landlock lets the supervisor read, and write: without namespaces, it writes nowhere.

    It has to see how much memory a program takes; the program itself then reads less, see `Rules`.
    """
    readable = [*setup["folders"], *setup["files"], "/proc"]
    if setup["landlock"]:
        return readable, []
    shared = ["/tmp"] if setup["commands"] else []  # noqa: S108 - inside the sandbox
    return [*readable, "/dev"], [setup["work"], *shared]


def _filter_calls(required: bool, execute: bool) -> bool:
    """Puts the supervisor's filter in force; returns whether there is one."""
    try:
        seccomp.install(seccomp.supervisor_filter(execute))
        return True
    except OSError:
        if required:
            raise
        return False


def _prefer_for_oom() -> None:
    """If the machine's memory runs out, this process and its children go before the caller."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")


def _run_tests(job: dict[str, Any], rules: Rules, setup: dict[str, Any]) -> bool:
    """Runs the tests that the caller sends, until it sends one of kind `end`.

    Returns:
        Whether another job can be read: not if a checker left a part of its script.

    Raises:
        OSError: If no program could be started.
        Broken: If anything fails later.
    """
    if setup["landlock"]:
        job["limits"]["processes"] = 1  # without namespaces, the end of others would not be certain
    rules = rules._replace(address_space=rules.address_space + job["limits"]["memory_mb"] * 2**20)
    session: supervise.Session | None = None
    several = False
    try:
        while (test := wire.receive(CONTROL))["kind"] != "end":
            if session and (test["fresh"] or test["kind"] != "call" or not session.alive):
                session.close()
                session = None
            if session is None:
                if several and not (setup["landlock"] or setup.get("keep_files")):
                    _renew(setup)
                session, several = supervise.Session(job, test, rules, CONTROL), True
            if not session.answer(test):
                return False
        return True
    except ConnectionError:
        raise
    except OSError as error:
        if not several:
            raise
        raise Broken(error) from None
    finally:
        if session:
            session.close()


def _renew(setup: dict[str, Any]) -> None:
    try:
        _empty(setup["work"])
    except OSError:
        if setup["isolated"]:
            raise  # without isolation, a program may well have removed the folder itself


def _empty(folder: str) -> None:
    """Removes all that is in a folder. It flattens as it goes: no depth, length or mode stops it."""
    moved, pending = 0, [folder]
    while pending:
        here = pending.pop()
        os.chmod(here, 0o700)
        for entry in list(os.scandir(here)):
            if not entry.is_dir(follow_symlinks=False):
                os.unlink(entry.path)
                continue
            os.chmod(entry.path, 0o700)
            moved += 1
            aside = f"{folder}/{os.urandom(8).hex()}-{moved}"
            os.rename(entry.path, aside)
            pending.append(aside)
        if here != folder:
            os.rmdir(here)
