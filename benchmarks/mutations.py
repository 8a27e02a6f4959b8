"""Small changes to a program, each of which a good test notices.

Not changed are what says nothing about behaviour or is true by declaration: annotations, decorators,
docstrings, `assert`, `__all__`, code for type checkers, and prose. Of texts only those that look like a
name or a key are changed: a test that repeats a sentence word for word would notice every improvement.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARED: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")


@dataclass(frozen=True)
class Mutant:
    """One change.

    Args:
        operator: Its kind.
        line: First line of what is changed.
        end: Last line of it.
        start, stop: What is replaced, in bytes of the source.
        before, after: The text of it.
        inside: Function or class around it, as Python names it.
    """

    operator: str
    line: int
    end: int
    start: int
    stop: int
    before: str
    after: str
    inside: str

    def applied(self, source: bytes) -> bytes:
        """The whole source with this change."""
        return source[: self.start] + self.after.encode() + source[self.stop :]


def mutants(source: str) -> list[Mutant]:
    """Every change to a module, in the order of the source."""
    found = _Finder(source)
    found.visit(ast.parse(source))
    unique = {(one.start, one.stop, one.after): one for one in found.mutants}
    return sorted(unique.values(), key=lambda one: (one.start, one.stop, one.after))


class _Finder(ast.NodeVisitor):
    def __init__(self, source: str) -> None:
        self.mutants: list[Mutant] = []
        self._data = source.encode()
        self._lines = [0]
        for line in self._data.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._names: list[str] = []

    # --- what is left alone -------------------------------------------------------------------

    def visit_Assert(self, node: ast.Assert) -> None:
        """States what cannot be."""

    def visit_Import(self, node: ast.Import) -> None:
        """Without it nothing runs."""

    visit_ImportFrom = visit_Import  # type: ignore[assignment]

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Prose, whose places have no columns of their own in this Python."""

    def visit_arguments(self, node: ast.arguments) -> None:
        for default in (*node.defaults, *filter(None, node.kw_defaults)):
            self.visit(default)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        self._names.append(node.name)
        if not isinstance(node, ast.ClassDef):
            self.visit(node.args)
        self._block(node.body)
        self._names.pop()

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]
    visit_ClassDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
                self.visit(statement)

    # --- statements ---------------------------------------------------------------------------

    def visit_If(self, node: ast.If) -> None:
        if ast.unparse(node.test).endswith("TYPE_CHECKING"):
            return
        self._negated(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negated(node.test)
        self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negated(node.test)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        for condition in node.ifs:
            self._negated(condition)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._replaced(node.value, "None", "return value")
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call | ast.Yield | ast.YieldFrom):
            self._replaced(node, "pass", "removed statement")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets):
            return
        if any(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._replaced(node, "pass", "removed statement")
        self.visit(node.value)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._replaced(node, "pass", "removed statement")
        self.visit(node.value)

    def visit_Raise(self, node: ast.Raise) -> None:
        self._replaced(node, "pass", "removed statement")

    def visit_Continue(self, node: ast.Continue) -> None:
        self._replaced(node, "break", "loop")

    def visit_Break(self, node: ast.Break) -> None:
        self._replaced(node, "continue", "loop")

    # --- expressions --------------------------------------------------------------------------

    def visit_Compare(self, node: ast.Compare) -> None:
        for place, op in enumerate(node.ops):
            for other in _COMPARED[type(op)]:
                ops = [*node.ops[:place], other(), *node.ops[place + 1 :]]
                self._changed(node, ast.Compare(node.left, ops, node.comparators), "comparison")
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if other := _COMPUTED.get(type(node.op)):
            self._changed(node, ast.BinOp(node.left, other(), node.right), "arithmetic")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        self._changed(node, ast.BoolOp(other, node.values), "boolean")
        for place in range(len(node.values)):
            rest = [*node.values[:place], *node.values[place + 1 :]]
            self._changed(node, rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest), "boolean operand")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            self._changed(node, node.operand, "unary")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, bool):
            self._replaced(node, repr(not value), "constant")
        elif isinstance(value, int):
            for other in (value + 1, value - 1):
                self._replaced(node, repr(other), "constant")
        elif isinstance(value, float):
            self._replaced(node, repr(value + 1), "constant")
        elif isinstance(value, str) and (value == "" or _KEY.fullmatch(value)):
            self._replaced(node, repr(f"XX{value}"), "constant")

    def visit_Call(self, node: ast.Call) -> None:
        if len(node.args) >= 2 and not any(isinstance(one, ast.Starred) for one in node.args[:2]):
            first, second, *rest = node.args
            self._changed(
                node, ast.Call(node.func, [second, first, *rest], node.keywords), "swapped arguments"
            )
        self.generic_visit(node)

    def visit_Slice(self, node: ast.Slice) -> None:
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant):
                self._changed(bound, ast.BinOp(bound, ast.Add(), ast.Constant(1)), "off by one")
        self.generic_visit(node)

    # --- how it is written down ---------------------------------------------------------------

    def _negated(self, test: ast.expr) -> None:
        self._changed(test, ast.UnaryOp(ast.Not(), test), "negated condition")

    def _changed(self, node: ast.expr, other: ast.expr, operator: str) -> None:
        self._replaced(node, f"({ast.unparse(ast.fix_missing_locations(other))})", operator)

    def _replaced(self, node: ast.expr | ast.stmt, after: str, operator: str) -> None:
        end_line, end_column = node.end_lineno or node.lineno, node.end_col_offset or 0
        start = self._lines[node.lineno - 1] + node.col_offset
        stop = self._lines[end_line - 1] + end_column
        self.mutants.append(
            Mutant(
                operator=operator,
                line=node.lineno,
                end=end_line,
                start=start,
                stop=stop,
                before=self._data[start:stop].decode(),
                after=after,
                inside=".".join(self._names),
            )
        )


def first_lines(source: str) -> dict[int, int]:
    """For each line the first of the statement that it is part of: where Python says it runs."""
    lines: dict[int, int] = {}
    for node in _statements(ast.parse(source)):
        body = getattr(node, "body", None)
        last = (
            body[0].lineno - 1 if body and isinstance(body[0], ast.stmt) else node.end_lineno or node.lineno
        )
        for line in range(node.lineno, max(last, node.lineno) + 1):
            lines[line] = node.lineno
    return lines


def _statements(tree: ast.AST) -> Iterator[ast.stmt]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.stmt))
