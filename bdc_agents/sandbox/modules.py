"""Modules that code needs and the sandbox may lack: found in the code, and asked of the sandbox itself."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator

from bdc_agents.syntax import parse
from bdc_agents.types import CallTest, Verdict

from .protocol import Executor, Job

_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


def needed_modules(code: str) -> frozenset[str]:
    """Modules beyond the standard library that some code imports, and cannot do without."""
    tree = parse(code)
    return frozenset(_imported(tree) if tree else ()) - sys.stdlib_module_names


def _imported(node: ast.AST) -> Iterator[str]:
    """The roots of all imports but those that may fail: in `try` with an `except`."""
    if isinstance(node, ast.Try | ast.TryStar) and node.handlers:
        return
    if isinstance(node, ast.Import):
        yield from (alias.name.partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield node.module.partition(".")[0]
    for child in ast.iter_child_nodes(node):
        yield from _imported(child)


async def missing_modules(names: Iterable[str], executor: Executor) -> tuple[str, ...]:
    """Those of some modules that programs cannot import."""
    asked = sorted(set(names))
    if not asked:
        return ()
    calls = (f"__import__('importlib.util').util.find_spec({name!r}) is not None" for name in asked)
    tests = tuple(CallTest(call=call, expected=("True",)) for call in calls)
    found = (await executor.run(Job(code="", tests=tests))).results
    # Only a plain answer counts: nobody is refused for a sandbox that has other troubles.
    return tuple(name for name, result in zip(asked, found, strict=True) if result.actual == "False")


def missed_by(code: str, verdict: Verdict) -> str | None:
    """The module for whose absence a program failed its tests; None where that is not why."""
    for result in verdict.failures:
        found = _MISSING.search(result.error)
        # What an error says is the program's to forge; what it imports is in its code.
        if found and found[1] in needed_modules(code):
            return found[1]
    return None


def remedy(names: Iterable[str]) -> str:
    """What to do where modules are missing."""
    listed = ", ".join(f'"{name}"' for name in names)
    return (
        f"install what is not there and name it: packages = [{listed}] under [sandbox] in bdc.toml, or "
        f"SandboxConfig(packages=[{listed}])"
    )
