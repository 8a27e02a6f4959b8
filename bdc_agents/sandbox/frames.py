"""What is sent to the sandbox about a job: the program and its tests, never an expected value.

A test says whether it needs a fresh process, or may run in the one that the test before it has used.
"""

import ast
from typing import Any

from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, ScriptTest, StdinTest, TestCase

from .inside import wire
from .protocol import Job
from .tiers import WORK_MB

_TELLING = {"exec", "eval", "globals", "setattr", "vars", "open"}
"""Names whose use may change the module, or leave something in a file."""


def frames_of(job: Job) -> list[bytes]:
    """The frames of a job: the program, then its tests."""
    return [wire.pack(_job_frame(job)), *_test_frames(job)]


def _job_frame(job: Job) -> dict[str, Any]:
    limits = {"file_bytes": WORK_MB * 2**20, "tests": len(job.tests)}
    return {
        "code": job.code.removeprefix("\ufeff"),  # Python accepts this mark in a file, but not in a text.
        "preamble": job.preamble,
        "entry_point": job.entry_point,
        "limits": job.limits.model_dump() | limits,
    }


def _test_frames(job: Job) -> list[bytes]:
    """The frames of the tests; each says whether it needs a fresh process or may reuse the last one."""
    apart = job.limits.processes > 1 or keeps_state(f"{job.preamble}\n{job.code}")
    setups = {test.setup for test in job.tests if isinstance(test, CallTest)}
    fresh = {"fresh": apart or len(setups) > 1}
    return [_test_frame(test, fresh) for test in job.tests]


def _test_frame(test: TestCase, fresh: dict[str, Any]) -> bytes:
    if isinstance(test, ScriptTest):  # Only the test's checker process reads the script that follows.
        script = test.code.encode("utf-8", "surrogatepass")
        return wire.pack({"kind": test.kind, "size": len(script)} | fresh) + script
    return wire.pack(_shown_to_program(test) | fresh)


def _shown_to_program(test: StdinTest | CallTest) -> dict[str, Any]:
    match test:
        case StdinTest():
            return {"kind": test.kind, "stdin": test.stdin.encode("utf-8", "surrogatepass")}
        case CallTest():
            return {"kind": test.kind, "call": test.call, "setup": test.setup}


# --- fresh processes ------------------------------------------------------------------------------


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
