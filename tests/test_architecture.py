"""The layers: who may import whom, and who may read hidden tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bdc_agents

PACKAGE = Path(bdc_agents.__file__).parent

# Each part may import itself and these.
BASE = {"errors", "types", "config", "disk", "syntax", "extras", "foreign"}
TOOLS = BASE | {"agents", "sandbox", "data", "prompts"}
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "disk": {"errors"},
    "extras": {"errors"},
    "foreign": set(),
    "syntax": set(),
    "types": {"errors", "syntax"},
    "config": {"types", "errors", "foreign"},
    "page": set(),
    "prompts": BASE,
    "agents": BASE,
    "sandbox": BASE,
    "data": BASE,
    "search": TOOLS,
    "testing": BASE | {"agents", "sandbox"},
    "runs": TOOLS | {"search"},
    "view": TOOLS | {"search", "runs", "page"},
    "distill": TOOLS | {"search", "page", "runs"},
    "serve": TOOLS | {"search", "distill", "runs"},
    "evaluate": TOOLS | {"search", "runs", "distill", "serve", "page"},
    "compare": TOOLS | {"search", "runs", "distill", "serve", "evaluate", "page"},
    "cli": TOOLS | {"search", "runs", "view", "distill", "serve", "evaluate", "compare"},
}
# `compare` reads reference programs, to measure their loss.
REVEALS = {"data", "runs", "types", "compare"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(file: Path) -> set[str]:
    """Parts of the package that a module imports, lazily or not."""
    parts: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
            if node.module == "bdc_agents":
                names = [f"bdc_agents.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts |= {name.split(".")[1] for name in names if name.startswith("bdc_agents.")}
    return parts


@pytest.mark.parametrize("file", modules(), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_point_down(file: Path) -> None:
    part = part_of(file)
    if part == "__init__":
        return
    assert part in ALLOWED, f"{part} has no layer: name it in this test"
    assert imported(file) - {part} <= ALLOWED[part]


def test_hidden_tests_are_revealed_to_scoring_alone() -> None:
    reveals = {part_of(file) for file in modules() if ".reveal" in file.read_text(encoding="utf-8")}
    assert reveals <= REVEALS


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
