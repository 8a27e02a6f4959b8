"""Notes what a script asserts: what could fail is counted, and both sides of an assert are kept."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from .. import reports

ASSERTED, CALLED, COUNTED = "__asserted__", "__called__", "__counted__"
"""What the script calls where it asserts something, where a test of its own begins, and with a function whose
name says that it asserts."""

_LONGER_THAN_ASSERT = re.compile(r"assert\w")
"""Matches every ASCII script that calls something whose name begins with `assert`."""


def watched(tree: ast.Module, code: str) -> ast.Module:
    """The tree of a script, which now notes what it asserts; it is changed in place.

    Args:
        tree: Of the script.
        code: Its source.
    """
    calls = not code.isascii() or _LONGER_THAN_ASSERT.search(code) is not None
    return _Watched(calls).visit(tree)


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
        count = [] if states_nothing(node.test) else [_statement(ASSERTED)]
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
        return [_located(_statement(ASSERTED), node), node] if tells else node

    def visit_Call(self, node: ast.Call) -> Any:
        self.generic_visit(node)
        if _called_name(node.func).startswith("assert"):
            node.func = _located(ast.Call(ast.Name(COUNTED, ast.Load()), [node.func], []), node)
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
        return [node, _located(_statement(ASSERTED), node)] if fails else node

    def visit_FunctionDef(self, node: Any) -> Any:
        self.generic_visit(node)
        if node.name.startswith("test") or node.name == "check":
            note = _located(_statement(CALLED, ast.Constant(node.name)), node.body[0])
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
