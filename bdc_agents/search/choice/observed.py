"""What the asserts of a script test look at: the parts that the program decides, without what is expected."""

import ast
import builtins
from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import Any

from bdc_agents.syntax import parse, syntax_tree
from bdc_agents.types import Problem, ScriptTest

SEEN = "__seen"
"""Where what the asserts of a whole script look at is kept, in turn."""

_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


def literal(node: ast.expr) -> Any:
    """The value of a literal; None where it is none, or `None` itself."""
    try:
        return ast.literal_eval(node)
    except _NO_LITERAL:
        return None


def expressions(test: ScriptTest, problem: Problem) -> Iterator[tuple[str, str]]:
    """The setup and the expression of each assert; one for all of them where a script keeps objects.

    Args:
        test: Test code, as `check(candidate)`, test functions, or statements.
        problem: Its entry point stands for the candidate; what its preamble defines is not the program's.
    """
    tree = parse(test.code)
    if tree is None:
        return
    body = _body(tree, problem.entry_point)
    asserts = [node for node in body if isinstance(node, ast.Assert)]
    rest = [node for node in body if not isinstance(node, ast.Assert)]
    preamble = parse(problem.preamble)
    made = _names_made([*(preamble.body if preamble else []), *rest])
    if asserts and all(map(_defines_only, rest)):
        setup = "\n".join(map(ast.unparse, rest))
        for node in asserts:
            yield from ((setup, ast.unparse(one)) for one in _observed(node.test, made))
        return
    watched = _Watch(made).visit(ast.Module(deepcopy(body), []))
    code = ast.unparse(ast.fix_missing_locations(watched))
    if f"{SEEN}.append" in code:
        yield f"{SEEN} = []\n{code}", SEEN


def _body(tree: ast.Module, entry_point: str | None) -> list[ast.stmt]:
    """The statements that test: those of `check(candidate)`, of test functions, or of the module."""
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {_name(call): call for node in tree.body if (call := _call(node))}
    body: list[ast.stmt] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and _tests(node):
            given = called[node.name].args if node.name in called else []
            candidate = (given or [syntax_tree(entry_point or "candidate", "eval").body])[0]
            names = {argument.arg: candidate for argument in node.args.args}
            body += [_Renamed(names).visit(deepcopy(one)) for one in node.body]
        elif not ((call := _call(node)) and _name(call) in functions):
            body.append(node)
    return body


def _tests(node: ast.FunctionDef) -> bool:
    """Whether a function is `check(candidate)`, or a test function without arguments."""
    return node.name.startswith("check" if len(node.args.args) == 1 else "test") and len(node.args.args) < 2


def _call(node: ast.stmt) -> ast.Call | None:
    return node.value if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None


def _defines_only(node: ast.stmt) -> bool:
    """Whether a statement only defines what all asserts may use."""
    if isinstance(node, ast.Assign):
        return literal(node.value) is not None and all(ast.unparse(name).isupper() for name in node.targets)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, ast.expr]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self._names.get(node.id, node))


class _Watch(ast.NodeTransformer):
    """Puts what an assert looks at into a list instead."""

    def __init__(self, made: set[str]) -> None:
        self._made = made

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        calls = [ast.unparse(one) for one in _observed(node.test, self._made)]
        return [syntax_tree(f"{SEEN}.append({call})").body[0] for call in calls]


def _observed(node: ast.expr, made: set[str]) -> list[ast.expr]:
    """The parts of an asserted expression that the program decides."""
    if isinstance(node, ast.BoolOp):
        return [one for value in node.values for one in _observed(value, made)]
    if isinstance(node, ast.UnaryOp):
        return _observed(node.operand, made)
    if isinstance(node, ast.Compare):
        sides = [side for side in (node.left, *node.comparators) if literal(side) is None]
        own = [side for side in sides if _program_calls(side, made)] or sides
        if isinstance(node.ops[0], ast.Eq):
            return own
        return [call for side in own for call in _program_calls(side, made) or [side]]
    return _program_calls(node, made) or [node]


def _program_calls(node: ast.AST, made: set[str]) -> list[ast.expr]:
    """The outermost calls of what the program defines."""
    if isinstance(node, ast.Call):
        root = _root(node.func)
        if root and root not in made and not hasattr(builtins, root):
            return [node]
    return [call for child in ast.iter_child_nodes(node) for call in _program_calls(child, made)]


def _names_made(body: Sequence[ast.stmt]) -> set[str]:
    """The names that some code defines or imports."""
    found: set[str] = set()
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _name(call: ast.expr) -> str:
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
