"""Runs a script, and then the tests that it defines and does not call, as pytest and unittest would."""

import ast
import importlib
import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from .. import reports
from .asserted import ASSERTED, CALLED, COUNTED, watched

NOTHING_ASSERTED = (
    "the script ended without asserting anything, so it would pass any program: "
    'state what must hold, as in "assert f(1) == 2"'
)


class UnassertedError(Exception):
    """A script that accepts every program; no verdict follows from it."""


class Script:
    """One script, to be run in its names.

    Args:
        code: Its source.

    Raises:
        SyntaxError: If it is no Python.
    """

    def __init__(self, code: str) -> None:
        self.tree = ast.parse(code, reports.TEST)
        self._tests = list(filter(None, map(_name_of_test, self.tree.body)))
        self._called: set[str] = set()
        self._failures: list[BaseException] = []
        self._cases_run: set[type] = set()
        self._asserted = 0
        self._uses_unittest = "unittest" in code
        self._uses_doctest = "doctest" in code
        self._compiled = compile(watched(self.tree, code), reports.TEST, "exec", dont_inherit=True)

    def run(self, names: dict[str, Any], entry_point: str | None) -> None:
        """Runs the script, and then what it defines as a test and has not called.

        Raises:
            BaseException: What the script raises; the first failure of a test; `UnassertedError`.
        """
        names |= {ASSERTED: self._count, CALLED: self._called.add, COUNTED: self._counted}
        if self._uses_unittest:
            self._watch_unittest()
        if self._uses_doctest:
            self._watch_doctest()
        try:
            exec(self._compiled, names)  # noqa: S102
        except SystemExit as end:
            if hasattr(end, reports.TOLD) or end.code not in (None, 0, False):
                raise self._failures[0] if self._failures else end from None
        if not self._failures:
            self._call_the_rest(names, entry_point)
        if self._failures:
            raise self._failures[0]
        if not self._asserted:
            raise UnassertedError(NOTHING_ASSERTED)

    # --- counting

    def _count(self) -> None:
        self._asserted += 1

    def _counted(self, function: Any) -> Any:
        """A function whose name says that it asserts something; one of the program's says nothing."""
        if not hasattr(type(type(function)), "_number_"):
            self._asserted += 1
        return function

    # --- tests that are only defined

    def _call_the_rest(self, names: dict[str, Any], entry_point: str | None) -> None:
        for name in self._tests:
            found = dict.get(names, name)
            if isinstance(found, types.FunctionType) and name not in self._called:
                _call(found, name)
            elif isinstance(found, type) and not self._is_case(found):
                self._call_methods(found)
        for found in [value for value in names.values() if isinstance(value, type)]:
            if self._is_case(found) and found.__module__ == reports.MAIN and found not in self._cases_run:
                self._run_case(found)
        check = dict.get(names, "check")
        if (
            not self._asserted
            and isinstance(check, types.FunctionType)
            and entry_point
            and "check" not in self._called
        ):
            check(eval(entry_point, names))  # noqa: S307 - a name, or that of a method

    def _call_methods(self, kind: type) -> None:
        for name in [name for name in dir(kind) if name.startswith("test")]:
            made = kind()
            for first in ("setup_method", "setUp"):
                if hasattr(made, first):
                    _call(getattr(made, first), first)
            _call(getattr(made, name), f"{kind.__name__}.{name}")

    # --- unittest and doctest

    def _is_case(self, kind: type) -> bool:
        unittest: Any = sys.modules.get("unittest")
        return unittest is not None and issubclass(kind, unittest.TestCase)

    def _run_case(self, kind: Any) -> None:
        unittest: Any = sys.modules["unittest"]
        unittest.defaultTestLoader.loadTestsFromTestCase(kind).run(unittest.TestResult())

    def _watch_unittest(self) -> None:
        """Takes note of every test case that is run, and of every failure, whoever runs it."""
        unittest: Any = importlib.import_module("unittest")
        result, case = unittest.TestResult, unittest.TestCase
        for name in ("addFailure", "addError"):
            setattr(result, name, self._noted(getattr(result, name)))
        added, unexpected, run = result.addSubTest, result.addUnexpectedSuccess, case.run

        def add_sub_test(this: Any, test: Any, subtest: Any, error: Any) -> None:
            if error is not None:
                self._failures.append(error[1])
            added(this, test, subtest, error)

        def add_unexpected(this: Any, test: Any) -> None:
            self._failures.append(AssertionError(f"{test}: expected to fail, but passed"))
            unexpected(this, test)

        def run_case(this: Any, found: Any = None) -> Any:
            self._cases_run.add(type(this))
            return run(this, found)

        result.addSubTest = add_sub_test
        result.addUnexpectedSuccess = add_unexpected
        case.run = run_case

    def _noted(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(this: Any, test: Any, error: Any) -> None:
            self._failures.append(error[1])
            method(this, test, error)

        return noted

    def _watch_doctest(self) -> None:
        doctest: Any = importlib.import_module("doctest")
        run = doctest.DocTestRunner.run

        def run_examples(this: Any, *arguments: Any, **keywords: Any) -> Any:
            found = run(this, *arguments, **keywords)
            self._asserted += found.attempted
            if found.failed:
                self._failures.append(AssertionError(f"{found.failed} of {found.attempted} doctests failed"))
            return found

        doctest.DocTestRunner.run = run_examples


_MAY_BE_EMPTY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _call(function: Any, name: str) -> None:
    """Calls a test that needs nothing; awaits it if it is a coroutine function."""
    needed = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty and parameter.kind not in _MAY_BE_EMPTY
    ]
    if needed:
        raise UnassertedError(
            f"the test function {name!r} needs {', '.join(needed)}, and nothing calls it: fixtures and "
            "parameters of pytest are not supported; give it no parameters, or call it in the script"
        )
    result = function()
    if inspect.iscoroutine(result):
        import asyncio

        asyncio.run(result)
    elif inspect.isgenerator(result):
        raise UnassertedError(f"the test function {name!r} is a generator, which runs nothing; use no yield")


def _name_of_test(node: ast.stmt) -> str | None:
    """The name of what pytest would take for a test."""
    if isinstance(node, ast.ClassDef):
        return node.name if node.name.startswith("Test") else None
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return node.name if is_function and node.name.startswith("test") else None
