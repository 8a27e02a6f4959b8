"""Guesses whether a program keeps state between calls, so that each call needs a fresh process."""

import ast

from bdc_agents.syntax import parse

_TELLING = {"exec", "eval", "globals", "setattr", "vars", "open"}
"""Names whose use may change the module, or leave something in a file."""


def keeps_state(code: str) -> bool:
    """Whether a call may depend on earlier calls, so that each needs its own process.

    Looks for variables of the module that a call may change. The guess is safe: a program that fools it
    only spoils its own results.

    Args:
        code: The program.
    """
    tree = parse(code)
    if tree is None:
        return False
    try:
        return any(map(_variable, tree.body)) or any(map(_changes_module, ast.walk(tree)))
    except RecursionError:  # A sum of 1,000 terms parses, but its tree is too deep to walk.
        return True


def _variable(statement: ast.stmt) -> bool:
    """Whether a statement of a module or class makes a variable with a mutable value."""
    match statement:
        case (
            ast.Import()
            | ast.ImportFrom()
            | ast.Expr()
            | ast.FunctionDef()
            | ast.AsyncFunctionDef()
            | ast.Pass()
        ):
            return False
        case ast.ClassDef(body=body):
            return any(map(_variable, body))
        case ast.If(body=body, orelse=others):
            return any(map(_variable, (*body, *others)))
        case ast.Assign(value=value) | ast.AnnAssign(value=value):
            return value is not None and not _constant(value)
    return True


def _constant(value: ast.expr) -> bool:
    match value:
        case ast.Constant() | ast.Lambda() | ast.Name() | ast.Attribute() | ast.Subscript():
            return True
        case ast.Tuple(elts=parts):
            return all(map(_constant, parts))
        case ast.UnaryOp(operand=operand):
            return _constant(operand)
        case ast.BinOp(left=left, right=right):
            return _constant(left) and _constant(right)
    return False


def _changes_module(node: ast.AST) -> bool:
    match node:
        case ast.Global():
            return True
        case ast.arguments(defaults=defaults, kw_defaults=more):
            return not all(_constant(value) for value in (*defaults, *more) if value is not None)
        case ast.Name(id=name):
            return name in _TELLING
        case ast.Attribute(ctx=ast.Store(), value=ast.Name(id=name)):
            return name != "self"
    return False
