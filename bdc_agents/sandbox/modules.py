"""Finds modules that code imports and the sandbox lacks, and says how to add them."""

import re
from collections.abc import Collection, Iterable, Mapping

from bdc_agents.syntax import modules_needed
from bdc_agents.types import CallTest, Verdict

from .protocol import Executor, Job

_MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)")


async def missing_modules(names: Iterable[str], executor: Executor) -> tuple[str, ...]:
    """The modules among these that programs cannot import."""
    asked = sorted(set(names))
    if not asked:
        return ()
    calls = (f"__import__('importlib.util').util.find_spec({name!r}) is not None" for name in asked)
    tests = tuple(CallTest(call=call, expected=("True",)) for call in calls)
    found = (await executor.run(Job(code="", tests=tests))).results
    # Only a plain "False" counts: other troubles of the sandbox must refuse nobody.
    return tuple(name for name, result in zip(asked, found, strict=True) if result.actual == "False")


def missed_by(code: str, verdict: Verdict) -> str | None:
    """The missing module because of which a program failed its tests; None if there is another cause."""
    for result in verdict.failures:
        found = _MISSING.search(result.error)
        # A program can forge an error's text, so its code must import the module too.
        if found and found[1] in modules_needed(code):
            return found[1]
    return None


def missing_packages(needed: Mapping[str, int], allowed: Collection[str]) -> str:
    """Says what to do if known solutions import packages that programs cannot; empty if there are none.

    Args:
        needed: Number of problems by the module that their known solutions import.
        allowed: Packages of `[sandbox] packages`.
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
    """Says how to add missing modules.

    Args:
        names: The modules.
        allowed: Packages that the settings name already, if known.
    """
    listed = ", ".join(f'"{name}"' for name in dict.fromkeys((*allowed, *names)))
    return (
        f"install what is missing and name it: packages = [{listed}] under [sandbox] in bdc.toml, or "
        f"SandboxConfig(packages=[{listed}])"
    )
