"""The process of a test script: runs it away from the program, and calls the program from there.

No code of the program runs here. A name that the script does not define itself stands for, in
this order: what the preamble defines, a built-in, a module of the standard library that the
program imported, and then the program's own; the entry point is always the program's.
"""

import ast
import builtins
import importlib
import os
import sys
import types
from typing import TYPE_CHECKING, Any, NoReturn

from . import confine, note, peer, reports, wire

if TYPE_CHECKING:
    from .confine import Rules

_REPORT, _PROGRAM = 3, 4


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
        note.heard(keep[_REPORT])
        confine.confine(job["limits"], rules, keep, closed=True)
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
        script = compile(_with_sides_kept(test["code"]), reports.TEST, "exec", dont_inherit=True)
        names = Names(program, job["entry_point"])
        names.ask("")  # a program that does not load fails here
        names.run_preamble(job["preamble"])
        exec(script, names)  # noqa: S102
        report: dict[str, Any] = {"done": True}
    except BaseException as error:
        confine.use_spare_memory()
        report = reports.describe(error)
    if program.gone:
        raise peer.Gone
    return report


class Names(dict[str, Any]):
    """The global names of a script; those that it lacks are looked up as the module says.

    Args:
        program: The connection to the program.
        entry_point: The name that is the program's, even if it is that of a built-in.
    """

    def __init__(self, program: peer.Peer, entry_point: str | None) -> None:
        super().__init__(__name__=reports.TEST, __builtins__=builtins)
        self._program, self._entry_point = program, entry_point

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) and name != self._entry_point:
            raise KeyError(name)
        value = self[name] = self._look_up(name)
        return value

    def _look_up(self, name: str) -> Any:
        found = self.ask(name)
        if not found:
            raise KeyError(name)
        if len(found) == 1:
            return found[0]
        return importlib.import_module(name if name in sys.stdlib_module_names else str(found[1]))

    def ask(self, name: str) -> list[Any]:
        """What the program has under a name, as a list of one item; a module as two."""
        return list(self._program.ask("name", name))

    def run_preamble(self, code: str) -> None:
        """Defines here what the preamble does, but for what the program has to define."""
        if not code:
            return
        exec(compile(code, "preamble.py", "exec", dont_inherit=True), self)  # noqa: S102
        for name, value in list(self.items()):
            defined = isinstance(value, (types.FunctionType, type)) and value.__module__ == reports.TEST
            if name == self._entry_point or (defined and self._entry_point is None):
                del self[name]


def _with_sides_kept(code: str) -> ast.Module:
    """The script's syntax tree with both sides of each `assert L == R` kept in a variable."""
    return ast.fix_missing_locations(_Keep().visit(ast.parse(code, reports.TEST)))


class _Keep(ast.NodeTransformer):
    def visit_Assert(self, node: ast.Assert) -> Any:
        test = node.test
        if not (isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq)):
            return node
        sides = ((reports.LEFT, test.left), (reports.RIGHT, test.comparators[0]))
        kept = [ast.Assign([ast.Name(name, ast.Store())], side) for name, side in sides]
        test.left, test.comparators = (
            ast.Name(reports.LEFT, ast.Load()),
            [ast.Name(reports.RIGHT, ast.Load())],
        )
        for new in (*kept, test.left, test.comparators[0]):
            ast.copy_location(new, node)
        return [*kept, node]
