"""Errors arrive: their kinds, what an extra that is missing is called, and messages through pydantic."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from bdc_agents import errors
from bdc_agents.config import load_settings
from bdc_agents.errors import (
    AgentError,
    BDCError,
    ConfigError,
    ModelError,
    NotInstalled,
    SandboxRefused,
    UsageError,
)
from bdc_agents.evaluate.library.config import CompareConfig, write_config
from bdc_agents.experts.manifest import (
    ADAPTER,
    ADAPTER_CONFIG,
    ExpertRecord,
    FileRecord,
    Manifest,
    write_manifest,
)
from bdc_agents.extras import EXTRAS, missing, need
from bdc_agents.runs import open_run, write_trace
from bdc_agents.runs.ray import connect
from bdc_agents.types import Node, Problem, Solution, Trace, TreeStats

ROOT = Path(__file__).parents[1]
Told = Callable[[Iterable[tuple[str, ...]]], list[tuple[str, str]]]


def kinds() -> list[type[BDCError]]:
    found = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, BDCError)]
    from bdc_agents.serve.backends.protocol import PromptTooLong
    from bdc_agents.serve.http.openai import Refused

    return [*found, PromptTooLong, Refused]


@pytest.mark.parametrize("kind", kinds())
def test_servers_of_langgraph_pass_on_every_message(kind: type[BDCError]) -> None:
    """`langgraph dev` says "An internal error occurred" for what is neither of these."""
    assert issubclass(kind, RuntimeError)
    assert issubclass(kind, ValueError) == issubclass(kind, UsageError)


def test_an_error_says_what_it_said_before() -> None:
    assert str(ConfigError("no such key")) == "no such key"
    assert str(AgentError("a", "gone")) == "agent 'a': gone"
    with pytest.raises(ValueError, match="no"):
        raise ModelError("no")
    with pytest.raises(RuntimeError, match="no"):
        raise SandboxRefused("no")


def test_an_error_of_ours_comes_through_pydantic_in_its_own_words(tmp_path: Path) -> None:
    file = tmp_path / "bdc.toml"
    file.write_text('[search]\npreset = "papr"\n')
    with pytest.raises(ConfigError, match=r"unknown search preset 'papr'; did you mean paper\?$") as refused:
        load_settings(file)
    assert "Value error" not in str(refused.value)


# --- what is not installed -------------------------------------------------------------------------------


def test_every_extra_and_what_it_brings_is_known() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    # Nobody who uses the package needs what checks it or builds its site.
    assert set(EXTRAS) == set(told) - {"dev", "docs"}


@pytest.mark.parametrize(("extra", "module"), [(e, m) for e, modules in EXTRAS.items() for m in modules])
def test_what_is_missing_is_named_with_the_extra_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, extra: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    for name in (module, f"{module}.deeper.still"):
        with pytest.raises(ModelError) as refused:
            need(name)
        assert str(refused.value) == f"{module} is not installed; run: pip install 'bdc-agents[{extra}]'"


def test_a_module_of_ours_that_is_missing_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(ModuleNotFoundError("x", name="bdc_agents.nowhere")) is None
    assert missing(ModuleNotFoundError("x", name="langgraph")) is None
    assert missing(ModuleNotFoundError("x")) is None
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        need("bdc_agents.nowhere")


HIDDEN = """
import sys
from bdc_agents.extras import EXTRAS
for modules in EXTRAS.values():
    for module in modules:
        sys.modules[module] = None
from bdc_agents.cli.app import app
for words in COMMANDS:
    try:
        app(words, prog_name="bdc")
    except SystemExit as ended:
        print(f"code {ended.code}", file=sys.stderr)
"""
NOWHERE = (
    ("distill", "nowhere", "--out", "made"),
    ("distill", "--update", "library", "nowhere"),
    ("distill", "--update", "nowhere", "run"),
    ("compare", "nowhere", "--problems", "demo"),
    ("serve", "nowhere"),
    ("export", "run", "nowhere", "--kind", "traces", "--out", "t.parquet"),
)
COMMANDS = {
    ("distill", "run", "--out", "made"): "distill",
    ("distill", "--update", "library", "run"): "distill",
    ("compare", "library", "--problems", "demo"): "distill",
    ("serve", "library"): "serve",
    ("solve", "demo:longest-streak"): "local",
    ("solve", "demo:longest-streak", "--agent", "local:qwen2.5-coder-0.5b"): "local",
    ("export", "run", "--kind", "traces", "--out", "t.parquet"): "parquet",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Runs commands where no extra is installed, beside a run and a library; gives errors and exit codes."""
    place = tmp_path_factory.mktemp("core")
    tree = TreeStats(nodes=1, evaluated=0, pruned=0, refined=0, depth=0, programs=0, rollouts=0)
    solution = Solution(problem_id="p", solved=False, code="", reward=0.0, stopped_by="calls", tree=tree)
    problem = Problem(id="p", statement="s")
    trace = Trace(problem=problem, solution=solution, nodes=(Node(),), programs={})
    write_trace(open_run(place / "run"), trace)
    (place / "library").mkdir()
    files = {f"experts/one/{part}": FileRecord(sha256="0" * 64, size=1) for part in (ADAPTER, ADAPTER_CONFIG)}
    one = ExpertRecord(name="one", cluster=-1)
    manifest = Manifest(created="", base={"name": "b"}, adapters={}, experts=(one,), files=files)
    write_manifest(place / "library", manifest)

    def run(commands: Iterable[tuple[str, ...]]) -> list[tuple[str, str]]:
        script = HIDDEN.replace("COMMANDS", repr([list(words) for words in commands]))
        ran = subprocess.run(
            [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, timeout=60
        )
        assert "fault of bdc" not in ran.stderr
        said = [line for line in ran.stderr.splitlines() if line.startswith(("error:", "code"))]
        return list(zip(said[::2], said[1::2], strict=True))

    return run


def test_every_command_of_a_core_install_names_the_extra_it_needs(told: Told) -> None:
    for (words, extra), (error, code) in zip(COMMANDS.items(), told(COMMANDS), strict=True):
        assert f"pip install 'bdc-agents[{extra}]'" in error, words
        assert code == "code 3"


def test_a_folder_that_is_not_there_is_told_before_a_package_that_is_not(told: Told) -> None:
    for words, (error, code) in zip(NOWHERE, told(NOWHERE), strict=True):
        assert re.match(r"error: no (run|library) at 'nowhere'", error), (words, error)
        assert code == "code 2"


def test_ray_that_is_not_installed_is_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(_: str) -> None:
        raise NotInstalled("ray is not installed")

    monkeypatch.setattr(connect, "need", lacking)
    with pytest.raises(NotInstalled, match="needs Ray here and on every node: ray is not installed"):
        connect._import()


def test_a_comparison_whose_file_is_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "compare.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*compare\.json': Is a directory"):
        write_config(tmp_path, CompareConfig(library="x", problems=("demo",)))
