"""Mutants in a process that has all tests loaded: what is loaded once need not be loaded for each mutant.

Loading the package and a few files of tests takes seconds; running the tests that run a line takes a
fraction of one. So all files are loaded once, and a process is forked for each mutant, in which the
functions of the module get the code of the mutant. What then fails is caught by a test for certain. What
then passes may be one that shows only where the module is loaded anew (a field of a model, a table, what a
cache has kept), or in another process: such a mutant needs the slower way.
"""

import ast
import gc
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from mutations import Mutant


def in_a_body(mutant: Mutant, source: str) -> bool:
    """Whether a change is within the body of a function, and not of its head or outside of any."""
    return any(
        node.body[0].lineno <= mutant.line and mutant.end <= (node.end_lineno or 0)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    )


def swap(path: Path, mutant: Mutant, functions: Sequence[FunctionType]) -> bool:
    """Gives the functions of a loaded module the code of a mutant; False where that cannot be done.

    Args:
        path: Of the module, as it was loaded.
        mutant: In the body of one of its functions.
        functions: All that live, of this module and others.
    """
    source = path.read_bytes()
    try:
        changed = compile(mutant.applied(source), str(path), "exec")
    except SyntaxError:
        return False
    old, new = _by_name(compile(source, str(path), "exec")), _by_name(changed)
    mine = [one for one in functions if one.__code__.co_filename == str(path)]
    for function in mine:
        code = function.__code__
        same, others = old[code.co_qualname], new.get(code.co_qualname, [])
        first = next((n for n, one in enumerate(same) if one.co_firstlineno == code.co_firstlineno), None)
        if first is None or len(same) != len(others) or others[first].co_freevars != code.co_freevars:
            return False
        function.__code__ = others[first]
    return bool(mine)


def _by_name(module: CodeType) -> dict[str, list[CodeType]]:
    """Every code of a module, those of one name in order."""
    found: dict[str, list[CodeType]] = defaultdict(list)
    for code in _codes(module):
        found[code.co_qualname].append(code)
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code and all that is defined in it, in order."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


class Loaded:
    """A plugin of pytest that, once all tests are collected, calls `work` instead of running them."""

    def __init__(self, work: Callable[["Loaded"], None]) -> None:
        self._work = work
        self._items: dict[str, Any] = {}
        self._failed: list[str] = []
        self.functions: list[FunctionType] = []

    def pytest_runtestloop(self, session: Any) -> bool:
        self._items = {item.nodeid: item for item in session.items}
        gc.unfreeze()  # What is frozen is not listed.
        found = (one for one in gc.get_objects() if type(one) is FunctionType)
        self.functions = [one for one in found if "/bdc_agents/" in one.__code__.co_filename]
        gc.freeze()  # A search for garbage would copy all memory into each process that is forked.
        self._work(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    def failing(
        self, tests: Sequence[str], cpu_seconds: Callable[[str], float], *, first: bool = True
    ) -> list[str]:
        """Runs some tests, up to the first that fails or all; gives those that do.

        One that takes more CPU time than it may ends this process.
        """
        items = [self._items[test] for test in tests if test in self._items]
        self._failed = []
        for item, following in zip_longest(items, items[1:]):
            signal.setitimer(signal.ITIMER_PROF, cpu_seconds(item.nodeid))
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if first and self._failed:
                break
        return [*dict.fromkeys(self._failed)]
