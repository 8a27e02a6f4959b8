"""What the README shows works as it stands."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bdc_agents import load_task
from bdc_agents.config import Settings
from bdc_agents.testing import ScriptedEndpoint

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def reference(_: dict[str, Any]) -> str:
    """The right program for the problem that the README solves."""
    code = load_task("demo:longest-streak").hidden.reveal_reference()
    return f"```python\n{code}\n```"


def test_the_python_blocks_run_one_after_the_other(tmp_path: Path) -> None:
    """In one process, as a reader types them: a later block may use a name of an earlier one."""
    with ScriptedEndpoint(reference) as endpoint:
        agent = f'[agents.one]\nmodel = "any"\nbase_url = "{endpoint.url}"\n'
        (tmp_path / "bdc.toml").write_text(agent, encoding="utf-8")
        out = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks("python"))],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache")},
        )
    assert out.returncode == 0, out.stderr
    assert "def longest_streak" in out.stdout
    assert out.stdout.endswith("\nTrue\n")  # The last line that the graph of the second block prints.


@pytest.mark.parametrize("text", blocks("toml"))
def test_every_toml_block_is_accepted(text: str) -> None:
    assert Settings(**tomllib.loads(text)).agents


def commands() -> list[str]:
    lines = "\n".join(blocks("sh")).splitlines()
    return [line.split("#")[0].strip() for line in lines if line.startswith("bdc ")]


def pipeline() -> list[str]:
    """The commands of `make solver`."""
    done = subprocess.run(
        ["make", "--dry-run", "solver", "PROBLEMS=demo", "DATA=data"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return re.findall(r"(?<=/)bdc .+", done.stdout)


def test_the_full_pipeline_is_one_command() -> None:
    assert [command.split()[1] for command in pipeline()] == ["collect", "distill", "serve"]
    unnamed = subprocess.run(["make", "solver"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert unnamed.returncode == 2
    assert "make solver PROBLEMS=" in unnamed.stdout


@cache
def help_text(name: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "bdc_agents.cli", name, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"},
    ).stdout


@pytest.mark.parametrize("command", [*commands(), *pipeline()])
def test_every_command_and_option_exists(command: str) -> None:
    _, name, *words = shlex.split(command)
    for option in (word for word in words if word.startswith("--")):
        assert option in help_text(name)
    assert help_text(name)


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", README, flags=re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_the_langgraph_file_names_what_exists() -> None:
    graphs = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))["graphs"]
    for graph in graphs.values():
        file, name = graph["path"].split(":")
        assert re.search(rf"^{name} = ", (ROOT / file).read_text(encoding="utf-8"), flags=re.MULTILINE)
