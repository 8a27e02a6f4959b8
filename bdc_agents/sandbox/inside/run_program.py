"""The process of a hostile program: runs it on input or on calls, and reports."""

import json
import os
import sys
import types
from typing import TYPE_CHECKING, Any, NoReturn

from . import reports, values, wire
from .calls import peer
from .isolation import confine

if TYPE_CHECKING:
    from .isolation.confine import Rules

PROGRAM, PREAMBLE, TEST = reports.PROGRAM, "preamble.py", reports.TEST

_REPORT, _TESTS = 3, 4  # Descriptors that `start` gives this process, after the three standard ones.


def run(job: dict[str, Any], kind: str, rules: "Rules", keep: tuple[int, ...]) -> NoReturn:
    """Runs the program and ends the process.

    Args:
        job: The program, its preamble and limits.
        kind: Of test: `stdin`, `call` or `script`.
        rules: What holds from here on.
        keep: Descriptors for input, output and error output; for the reports, or for a script
            the socket to its checker; and for calls, where they come from.
    """
    status = 1
    try:
        confine.confine(job["limits"], rules, keep)
        status = {"stdin": _on_input, "call": _on_calls, "script": _for_checker}[kind](job)
    except MemoryError:
        status = reports.OUT_OF_MEMORY
    except (EOFError, peer.Gone):
        status = 0  # nothing more is asked
    finally:
        os._exit(status)


# --- input ----------------------------------------------------------------------------------------


def _on_input(job: dict[str, Any]) -> int:
    try:
        in_thread = _whole_program(job)
        report: dict[str, Any] = {"done": True}
        if in_thread is not None:
            report["in_thread"] = reports.describe(in_thread)
    except BaseException as error:
        confine.use_spare_memory()
        report = reports.describe(error)
    reports.send(_REPORT, report)
    return 1 if "error" in report else 0


def _whole_program(job: dict[str, Any]) -> BaseException | None:
    """Runs the program as the main module; returns what ended one of its threads, if anything did."""
    module = types.ModuleType("__main__")
    failed_threads = _watch_threads(job)
    ours = sys.stdout
    try:
        load(job, module)
    except SystemExit as end:
        if end.code not in (None, 0):
            raise
    finally:
        _finish(module, ours)
    return failed_threads[0] if failed_threads else None


def _watch_threads(job: dict[str, Any]) -> list[BaseException]:
    """Keeps the exceptions that end a thread in the list that it returns: contest programs often run in one.

    As anywhere in Python they do not end the program, and `SystemExit` is not even reported.
    """
    failed: list[BaseException] = []
    if "threading" in job["code"]:
        import threading

        def keep(happened: Any) -> None:
            if happened.exc_type is not SystemExit:
                failed.append(happened.exc_value or SystemError())

        threading.excepthook = keep
    return failed


def _finish(module: types.ModuleType, ours: Any) -> None:
    """Does what an interpreter does at its end: joins threads, runs exit functions, flushes."""
    threading = sys.modules.get("threading")
    if threading is not None:
        threading._shutdown()
    import atexit

    atexit._run_exitfuncs()
    for stream in (sys.stdout, ours):
        try:
            stream.flush()
        except Exception:  # noqa: S112 - closed, or replaced by the program
            continue
    module.__dict__.clear()  # closes, and so flushes, files that were left open


# --- calls ----------------------------------------------------------------------------------------


def _on_calls(job: dict[str, Any]) -> int:
    """Loads the program once and runs one call after another on it, until there are no more."""
    test = wire.receive(_TESTS)
    module = types.ModuleType("program")
    broken: dict[str, Any] | None = None
    try:
        load(job, module)
    except BaseException as error:
        confine.use_spare_memory()
        broken = reports.describe(error)
    while True:
        reports.send(_REPORT, broken or _called(test, module))
        test = wire.receive(_TESTS)


def _called(test: dict[str, Any], module: types.ModuleType) -> dict[str, Any]:
    try:
        execute(test["setup"], TEST, module)
        code = compile(test["call"].strip(), TEST, "eval", dont_inherit=True)
        report = {"value": values.encode(eval(code, module.__dict__))}  # noqa: S307
        json.dumps(report["value"])
        return report
    except BaseException as error:
        confine.use_spare_memory()
        return reports.describe(error)


# --- scripts --------------------------------------------------------------------------------------


def _for_checker(job: dict[str, Any]) -> int:
    """Loads the program and does what the checker asks of it; see `run_script`."""
    module = types.ModuleType("program")
    served = peer.Peer(_REPORT, module.__dict__)
    try:
        load(job, module)
    except BaseException as error:
        confine.use_spare_memory()
        served.fail(error)
    else:
        served.serve()
    return 0


# --- loading --------------------------------------------------------------------------------------


def load(job: dict[str, Any], module: types.ModuleType) -> None:
    """Runs the preamble and the program in a module."""
    sys.modules[module.__name__] = module
    module.__file__ = PROGRAM
    execute(job["preamble"], PREAMBLE, module)
    execute(job["code"], PROGRAM, module)


def execute(source: str, name: str, module: types.ModuleType) -> None:
    """Runs some code in a module."""
    if source:
        exec(compile(source, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102
