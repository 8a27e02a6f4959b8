"""Packages that a known solution imports, and that programs can import only where a person allows it."""

import ast
import sys
from collections.abc import Collection, Mapping

from bdc_agents.syntax import parse
from bdc_agents.types import Task


def packages_needed(task: Task) -> frozenset[str]:
    """The modules outside the standard library that the known solution of a problem imports."""
    code = task.hidden.reveal_reference() or ""
    tree = parse(code) if "import" in code else None
    found: set[str] = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found - sys.stdlib_module_names)


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
    listed = ", ".join(f'"{name}"' for name in (*allowed, *missing))
    return (
        f"known solutions of some problems import packages that programs cannot: {told}; to allow them, "
        f"pip install {' '.join(missing)}, and write packages = [{listed}] under [sandbox] in bdc.toml"
    )
