"""Prepares a test script: counts its assertions, and calls the tests that it only defines."""

import ast
import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from . import reports

_ASSERTED, _CALLED, _COUNTED = "__asserted__", "__called__", "__counted__"

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
        calls = not code.isascii() or _LONGER_THAN_ASSERT.search(code) is not None
        tree = _Watched(calls).visit(self.tree)
        self._compiled = compile(tree, reports.TEST, "exec", dont_inherit=True)

    def run(self, names: dict[str, Any], entry_point: str | None) -> None:
        """Runs the script, and then what it defines as a test and has not called.

        Raises:
            BaseException: What the script raises; the first failure of a test; `UnassertedError`.
        """
        names |= {_ASSERTED: self._count, _CALLED: self._called.add, _COUNTED: self._counted}
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


# --- watching ---------------------------------------------------------------------------------------


def _name_of_test(node: ast.stmt) -> str | None:
    """The name of what pytest would take for a test."""
    if isinstance(node, ast.ClassDef):
        return node.name if node.name.startswith("Test") else None
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    return node.name if is_function and node.name.startswith("test") else None


_LONGER_THAN_ASSERT = re.compile(r"assert\w")
"""Matches every ASCII script that calls something whose name begins with `assert`."""


class _Watched(ast.NodeTransformer):
    """Keeps both sides of each `assert L == R` in variables, and counts what asserts something.

    Args:
        calls: Whether to look into expressions, which may call what asserts. Otherwise they stay
            unvisited: most of a script is expressions, and they hold no statements.
    """

    def __init__(self, calls: bool) -> None:
        self._calls = calls

    def visit(self, node: ast.AST) -> Any:
        return super().visit(node) if self._calls or not isinstance(node, ast.expr) else node

    def visit_Assert(self, node: ast.Assert) -> Any:
        self.generic_visit(node)
        count = [] if states_nothing(node.test) else [_statement(_ASSERTED)]
        test, kept = node.test, list[ast.stmt]()
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq):
            sides = ((reports.LEFT, test.left), (reports.RIGHT, test.comparators[0]))
            kept = [ast.Assign([ast.Name(name, ast.Store())], side) for name, side in sides]
            kept = [_located(one, node) for one in kept]
            test.left = _located(ast.Name(reports.LEFT, ast.Load()), node)
            test.comparators = [_located(ast.Name(reports.RIGHT, ast.Load()), node)]
        return [*kept, node, *(_located(one, node) for one in count)]

    def visit_Expr(self, node: ast.Expr) -> Any:
        """Counts an end whose status tells a result: `sys.exit(0 if ok else 1)`."""
        tells = (
            isinstance(node.value, ast.Call) and _exits(node.value) and any(map(_decides, node.value.args))
        )
        self.generic_visit(node)
        return [_located(_statement(_ASSERTED), node), node] if tells else node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if _called_name(node.func).startswith("assert"):
            node.func = _located(ast.Call(ast.Name(_COUNTED, ast.Load()), [node.func], []), node)
        return node

    def visit_If(self, node: ast.If) -> Any:
        return self._counted_if(node, [*node.body, *node.orelse], not states_nothing(node.test))

    def visit_Try(self, node: ast.Try) -> Any:
        return self._counted_if(node, [*node.body, *node.orelse], True)

    def visit_Match(self, node: ast.Match) -> Any:
        return self._counted_if(node, [part for case in node.cases for part in case.body], True)

    def _counted_if(self, node: ast.stmt, branches: list[ast.stmt], matters: bool) -> Any:
        """Counts a statement that may raise: `if f(1) != 2: raise ValueError`."""
        fails = matters and any(_fails(part) for branch in branches for part in _within(branch))
        self.generic_visit(node)
        return [node, _located(_statement(_ASSERTED), node)] if fails else node

    def visit_FunctionDef(self, node: Any) -> Any:
        self.generic_visit(node)
        if node.name.startswith("test") or node.name == "check":
            note = _located(_statement(_CALLED, ast.Constant(node.name)), node.body[0])
            start = 1 if ast.get_docstring(node, clean=False) is not None and len(node.body) > 1 else 0
            node.body.insert(start, note)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef


def _located(new: Any, where: ast.stmt | ast.expr) -> Any:
    """Gives a new node, and the new nodes in it, the place of an old one."""
    ast.copy_location(new, where)
    for child in ast.iter_child_nodes(new):
        if not hasattr(child, "lineno"):
            _located(child, where)
    return new


def _statement(name: str, *arguments: ast.expr) -> ast.Expr:
    return ast.Expr(ast.Call(ast.Name(name, ast.Load()), list(arguments), []))


def states_nothing(test: ast.expr) -> bool:
    """Whether a condition has the same truth whatever a program does: `True`, `(f(1) == 1, "text")`."""
    if isinstance(test, ast.Tuple) and test.elts:
        return True
    return not any(
        isinstance(part, (ast.Name, ast.Attribute, ast.Call, ast.Await)) for part in ast.walk(test)
    )


def _within(node: ast.AST) -> Iterator[ast.AST]:
    """A statement and what runs in it, without what it only defines."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _within(child)


def _fails(node: ast.AST) -> bool:
    if isinstance(node, ast.Raise):
        return True
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and not node.test.value
    return isinstance(node, ast.Call) and (_exits(node) or _called_name(node.func) == "fail")


def _exits(node: ast.Call) -> bool:
    return _called_name(node.func) in ("exit", "quit", "_exit")


def _decides(status: ast.expr) -> bool:
    return isinstance(status, (ast.IfExp, ast.Compare, ast.BoolOp, ast.UnaryOp)) and not states_nothing(
        status
    )


def _called_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
