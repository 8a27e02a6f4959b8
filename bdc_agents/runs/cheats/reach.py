"""Which statements of a program take part in its answer: not its own examples and asserts."""

import ast
from collections.abc import Iterator
from copy import deepcopy

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def reached(tree: ast.Module, entry: str | None) -> list[ast.stmt]:
    """The statements of the module that the entry point needs, in order.

    Args:
        tree: The program.
        entry: The function that is called; None where the whole module runs, and only
            definitions that it never names are left out.
    """
    body = [stmt for stmt in tree.body if not (entry and _is_main(stmt))]
    wanted = {entry} if entry else set[str]()
    taken = [not entry and not isinstance(stmt, _DEFINITIONS) for stmt in body]
    for stmt, is_taken in zip(body, taken, strict=True):
        wanted |= _read_names(stmt) if is_taken else set()
    grew = True
    while grew:
        grew = False
        for at, stmt in enumerate(body):
            if not taken[at] and _bound_names(stmt) & wanted:
                taken[at] = grew = True
                wanted |= _read_names(stmt)
    return [stmt for stmt, is_taken in zip(body, taken, strict=True) if is_taken]


def opened(tree: ast.Module, entry: str) -> tuple[ast.Module, str]:
    """The program with the methods of a class as functions of the module, and the name of the one called.

    Args:
        tree: The program.
        entry: A method, as in `Solution().two_sum`.
    """
    name, method = entry.partition("(")[0].partition(".")[0], entry.rpartition(".")[2]
    body: list[ast.stmt] = []
    for stmt in tree.body:
        if isinstance(stmt, ast.ClassDef) and stmt.name == name:
            body += [_as_function(deepcopy(one)) for one in stmt.body]
        else:
            body.append(stmt)
    return ast.Module(body, []), method


def _as_function(stmt: ast.stmt) -> ast.stmt:
    """A statement of a class without its object: `self.helper(x)` calls `helper(x)`."""
    if not isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef) or not stmt.args.args:
        return stmt
    if any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in stmt.decorator_list):
        return stmt
    return _WithoutObject(stmt.args.args.pop(0).arg).visit(stmt)


class _WithoutObject(ast.NodeTransformer):
    def __init__(self, name: str) -> None:
        self._name = name

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id == self._name:
            return ast.copy_location(ast.Name(node.attr, node.ctx), node)
        self.generic_visit(node)
        return node


def entry_definition(body: list[ast.stmt], entry: str | None) -> Definition | None:
    """The function or lambda that the entry point's name is bound to, the last of several."""
    found: Definition | None = None
    for stmt in body:
        if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef) and stmt.name == entry:
            found = stmt
        elif (
            isinstance(stmt, ast.Assign)
            and isinstance(stmt.value, ast.Lambda)
            and entry in _bound_names(stmt)
        ):
            found = stmt.value
    return found


def parameters(definition: Definition) -> list[str]:
    """The names of a function's parameters."""
    given = definition.args
    some = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [argument.arg for argument in some if argument]


def own_nodes(definition: Definition) -> Iterator[ast.AST]:
    """The nodes of a function's body, without those of functions inside it."""
    stack: list[ast.AST] = [*definition.body] if isinstance(definition.body, list) else [definition.body]
    while stack:
        node = stack.pop()
        yield node
        if not isinstance(node, (*_DEFINITIONS, ast.Lambda)):
            stack.extend(ast.iter_child_nodes(node))


def _is_main(stmt: ast.stmt) -> bool:
    return isinstance(stmt, ast.If) and any(
        isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(stmt.test)
    )


def _bound_names(stmt: ast.stmt) -> set[str]:
    """Names that a statement binds, or whose objects it changes, as `TABLE[1] = 2` does."""
    if isinstance(stmt, _DEFINITIONS):
        return {stmt.name}
    names: set[str] = set()
    for node in ast.walk(stmt):
        if isinstance(node, _DEFINITIONS):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            names |= _root(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            names |= _root(node.func.value) if isinstance(stmt, ast.Expr | ast.For | ast.If) else set()
    return names


def _root(node: ast.expr) -> set[str]:
    return {node.id} if isinstance(node, ast.Name) else set()


def _read_names(stmt: ast.stmt) -> set[str]:
    """Names of the module that a statement reads; those local to a function are not."""
    if isinstance(stmt, ast.FunctionDef | ast.AsyncFunctionDef):
        local = {*parameters(stmt)}
        shared: set[str] = set()
        for node in own_nodes(stmt):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                local.add(node.id)
            elif isinstance(node, ast.Global):
                shared |= {*node.names}
        return (_loaded(stmt) - local) | shared
    return _loaded(stmt)


def _loaded(tree: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
