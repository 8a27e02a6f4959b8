"""The checker, which is the process of a test script: runs it apart from the program, and calls that.

No code of the program runs here.
"""

import _thread
import os
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from . import reports, wire
from .calls import peer, standins, surroundings
from .isolation import confine
from .script.names import Main, Names, attributes_of, classes_of, import_only_from
from .script.tests import Script

if TYPE_CHECKING:
    from .isolation.confine import Rules

_REPORT, _PROGRAM = 3, 4  # Descriptors that `start` gives this process, after the three standard ones.
_STACK_BYTES = 2**20  # Of each thread of a script: all that a checker reserves counts as its memory.


def run(job: dict[str, Any], size: int, control: int, rules: "Rules", keep: tuple[int, ...]) -> NoReturn:
    """Reads the script, which no other process of the sandbox ever does, runs it and ends the process.

    Args:
        job: The preamble, the entry point and limits.
        size: Bytes of the script.
        control: The socket to the caller, from which it is read.
        rules: What holds from then on.
        keep: Descriptors for input, output and error output, for the note and to the program.
    """
    status = 1
    try:
        test = {"code": wire.read(control, size).decode("utf-8", "surrogatepass")}
        reports.note_heard(keep[_REPORT])
        confine.confine(job["limits"], rules, keep, closed=True)
        import_only_from(sys.path)
        _thread.stack_size(_STACK_BYTES)
        report = _attempt(job, test)
        status = 1 if "error" in report else 0
        reports.send(_REPORT, report)
    except MemoryError:
        status = reports.OUT_OF_MEMORY
    except peer.Gone:
        status = reports.PROGRAM_ENDED
    finally:
        os._exit(status)


def _attempt(job: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    program = peer.Peer(_PROGRAM)
    try:
        script = Script(test["code"])
        root = re.split(r"[.(]", job["entry_point"] or "")[0] or None  # of `Solution().two_sum`
        names = Names(program, root, classes_of(script.tree), attributes_of(script.tree))
        sys.modules[reports.MAIN] = Main(names, program)
        names.ask("")  # a program that does not load fails here
        names.run_preamble(job["preamble"])
        program.surroundings = surroundings.OfScript(names, test["code"])
        script.run(names, job["entry_point"])
        report: dict[str, Any] = {"done": True}
    except BaseException as error:
        confine.use_spare_memory()
        report = reports.describe(error)
    if program.gone:
        raise peer.Gone
    return _explained(report, program)


def _explained(report: dict[str, Any], program: peer.Peer) -> dict[str, Any]:
    """The report, with a sentence where two processes cannot do what one could."""
    if program.refused:
        return reports.describe(program.refused) | {"test_line": report.get("test_line")}
    if report.get("failed_assert") and program.compared_with_plain:
        report["message"] = f"{report['message']} ({_OBJECT_COMPARED})".strip()
    return report


_OBJECT_COMPARED = (
    "an object of the program's class was compared with a plain value, which it never equals in a script "
    f"test, whatever its class says; {standins.WAY_OUT}"
)
