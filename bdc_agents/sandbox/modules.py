"""Modules that code needs and the sandbox may lack: found in the code, and asked of the sandbox itself."""

import re
from collections.abc import Collection, Iterable, Mapping

from bdc_agents.syntax import modules_needed
from bdc_agents.types import CallTest, Verdict

from .protocol import Executor, Job

_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


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
        if found and found[1] in modules_needed(code):
            return found[1]
    return None


def missing_packages(needed: Mapping[str, int], allowed: Collection[str]) -> str:
    """What to do where known solutions import what programs may not; empty where there is nothing.

    Args:
        needed: Problems by the module that their known solutions import.
        allowed: What `[sandbox] packages` names.
    """
    missing = {name: count for name, count in sorted(needed.items()) if name not in allowed}
    if not missing:
        return ""
    told = ", ".join(f"{name} ({count})" for name, count in missing.items())
    return (
        f"known solutions of some problems import packages that programs cannot: {told}; "
        f"to allow them, {remedy(missing, allowed)}"
    )


def remedy(names: Iterable[str], allowed: Iterable[str] = ()) -> str:
    """What to do where modules are missing.

    Args:
        names: The modules.
        allowed: Those that the settings name already, where that is known.
    """
    listed = ", ".join(f'"{name}"' for name in dict.fromkeys((*allowed, *names)))
    return (
        f"install what is not there and name it: packages = [{listed}] under [sandbox] in bdc.toml, or "
        f"SandboxConfig(packages=[{listed}])"
    )
