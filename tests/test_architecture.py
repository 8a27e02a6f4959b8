"""The layers: who may import whom, and who may read hidden tests."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import bdc_agents

PACKAGE = Path(bdc_agents.__file__).parent

# Each part may import itself and these; ARCHITECTURE.md says what each is for.
BASE = {"errors", "types", "config", "disk", "syntax", "extras", "untrusted", "locks", "sync"}
TOOLS = BASE | {"agents", "weights", "sandbox", "data", "prompts"}
SEARCHES = TOOLS | {"search", "runs"}
LEARNS = SEARCHES | {"embed", "experts", "page"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "disk": set(),
    "extras": {"errors"},
    "untrusted": set(),
    "locks": {"disk", "errors"},
    "sync": set(),
    "syntax": set(),
    "types": {"errors", "syntax"},
    "config": {"types", "errors", "untrusted"},
    "page": set(),
    "prompts": BASE,
    "weights": BASE,
    "agents": BASE | {"weights"},
    "sandbox": BASE,
    "data": BASE,
    "search": TOOLS,
    "testing": BASE | {"agents", "sandbox"},
    "runs": TOOLS | {"search"},
    "view": SEARCHES | {"page"},
    "chat": SEARCHES | {"page", "view"},
    "web": SEARCHES | {"page", "view"},
    "embed": BASE | {"agents", "weights"},
    "experts": BASE | {"agents", "weights", "embed"},
    "distill": LEARNS,
    "serve": LEARNS | {"distill", "chat", "view"},
    "evaluate": LEARNS | {"distill", "serve"},
    "compare": {"evaluate", "extras"},
    "cli": LEARNS | {"distill", "serve", "evaluate", "view", "web"},
}
# `evaluate` reads reference programs, to measure their loss.
REVEALS = {"data", "runs", "types", "evaluate"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(file): file for file in modules()}


def imported(file: Path) -> set[str]:
    """The modules that a module imports: lazily or not, by a statement or by a string.

    A string counts if it is all of a module's name, or `module:function`; a package's name alone may
    be a place of files.
    """
    found: set[str] = set()
    package = name_of(file).split(".")
    if file.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            names = [f"{module}.{alias.name}" for alias in node.names]
            found |= {full if full in NAMES else module for full in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            name = node.value.partition(":")[0]
            found |= {name} if name in NAMES and NAMES[name].name != "__init__.py" else set()
    return {name for name in found if name in NAMES} - {name_of(file)}


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    part = part_of(file)
    if part == "__init__":
        return
    assert part in ALLOWED, f"{part} has no layer: name it in this test"
    parts = {name.split(".")[1] for name in imported(file) if "." in name}
    assert parts - {part} <= ALLOWED[part]


def test_no_module_imports_itself_by_a_detour() -> None:
    graph = {name: imported(file) for name, file in NAMES.items()}
    TopologicalSorter(graph).prepare()  # Raises a CycleError that names the circle.


def test_hidden_tests_are_revealed_to_scoring_alone() -> None:
    reveals = {part_of(file) for file in modules() if ".reveal" in file.read_text(encoding="utf-8")}
    assert reveals <= REVEALS


def test_one_module_knows_the_names_of_peft() -> None:
    spelled = [file for file in modules() if "base_model.model" in file.read_text(encoding="utf-8")]
    assert [name_of(file) for file in spelled] == ["bdc_agents.experts.tensors"]


@pytest.mark.parametrize("module", ["bdc_agents", "bdc_agents.search", "bdc_agents.cli"])
def test_the_core_imports_without_torch_and_local_runtimes(module: str) -> None:
    heavy = "torch transformers xllamacpp datasets numpy openai"
    if module == "bdc_agents.search":
        heavy = "torch transformers xllamacpp datasets"
    code = f"import sys, {module}; print([m for m in '{heavy}'.split() if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_everything_public_can_be_imported() -> None:
    for name in bdc_agents.__all__:
        assert getattr(bdc_agents, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = bdc_agents.nonsense
