"""What the pages of the site show runs as it stands, with scripted agents where there are models."""

import json
import os
import re
import shlex
import shutil
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from bdc_agents import load_tasks
from bdc_agents.cli.app import COMMANDS, command
from bdc_agents.config import Settings
from bdc_agents.testing import ScriptedEndpoint

from ..warm import Warm
from .fences import ROOT, Fence, commands, fences, pages

Run = Callable[..., CompletedProcess[str]]

WRITTEN = {
    "Write add": "def add(a, b):\n    return a + b\n",
    "Write double": "def double(x):\n    return 2 * x\n",
    "Write mean": "def mean(numbers):\n    return sum(numbers) / len(numbers)\n",
}
"""Programs for the problems that pages state in words."""


def name_of(page: Path) -> str:
    return page.relative_to(ROOT / "docs").as_posix()


RUN = [page for page in pages() if any(one.language in ("sh", "python") for one in fences(page))]


@cache
def shipped() -> dict[str, str]:
    """The known solutions of the demo problems, by their statements."""
    return {task.problem.statement: task.hidden.reveal_reference() or "" for task in load_tasks("demo")}


def in_files(folder: Path) -> Iterator[tuple[str, str]]:
    """The known solutions of a page's own problems, by their statements."""
    whole = [file.read_text(encoding="utf-8") for file in folder.glob("*.json")]
    lines = [
        line for file in folder.glob("*.jsonl") for line in file.read_text(encoding="utf-8").splitlines()
    ]
    for row in map(json.loads, (*whole, *lines)):
        if row.get("reference"):
            yield row["statement"], row["reference"]


def answering(folder: Path) -> Callable[[dict[str, Any]], str]:
    """An agent that is right, and has an idea where it is asked for one."""
    known = shipped() | dict(in_files(folder)) | WRITTEN

    def respond(body: dict[str, Any]) -> str:
        asked = "\n".join(str(message["content"]) for message in body["messages"])
        if "reasonableness" in asked:
            return json.dumps({"thoughts": [{"thought": f"idea {body.get('seed')}", "reasonableness": 0.5}]})
        code = next((code for statement, code in known.items() if statement in asked), "pass\n")
        return f"```python\n{code}```"

    return respond


def environment(folder: Path, url: str) -> dict[str, str]:
    """Each agent of the page's `bdc.toml` answers from the endpoint, as does OpenAI's address."""
    file = folder / "bdc.toml"
    if not file.exists():
        file.write_text("[agents.small]\n[agents.large]\n", encoding="utf-8")
    agents = tomllib.loads(file.read_text(encoding="utf-8")).get("agents", {})
    given = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k", "XDG_CACHE_HOME": str(folder / "cache")}
    for name in agents:
        given |= {
            f"BDC_AGENTS__{name.upper()}__MODEL": "scripted",
            f"BDC_AGENTS__{name.upper()}__BASE_URL": url,
            f"BDC_AGENTS__{name.upper()}__API_KEY": "k",
            f"BDC_AGENTS__{name.upper()}__PRICE_INPUT": "0",
            f"BDC_AGENTS__{name.upper()}__PRICE_OUTPUT": "0",
        }
    return os.environ | given


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_code_of_a_page_runs(page: Path, workplace: Path, python: Warm) -> None:
    found = [one for one in fences(page) if one.reason is None]
    for one in found:
        if one.title:
            (workplace / one.title).write_text(one.code, encoding="utf-8")
    (workplace / "experts").mkdir()
    shutil.copytree(ROOT / "experts/traces", workplace / "experts/traces")
    with ScriptedEndpoint(answering(workplace)) as endpoint:
        given = environment(workplace, endpoint.url)
        for words in (shlex.split(line) for one in found if one.language == "sh" for line in commands(one)):
            start = ["-m", "bdc_agents.cli"] if words[0] == "bdc" else []
            # As test_readme.py: a page may evaluate, which takes a minute on a busy machine.
            done = python.run([*start, *words[1:]], workplace, given, 240)
            assert done.returncode in allowed(words), f"{words}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        snippets = [one.code for one in found if one.language == "python" and not one.title]
        if snippets:
            (workplace / "snippets.py").write_text("\n".join(snippets), encoding="utf-8")
            done = python.run(["snippets.py"], workplace, given, 240)
            assert done.returncode == 0, done.stderr[-3000:]


def allowed(words: list[str]) -> tuple[int, ...]:
    """The exit codes that are no fault of the page: `bdc doctor` says by 1 that something is missing."""
    return (0, 1, 3) if words[:2] == ["bdc", "doctor"] else (0,)


def every(language: str) -> list[Any]:
    return [
        pytest.param(one, id=f"{name_of(page)}-{number}")
        for page in pages()
        for number, one in enumerate(fences(page))
        if one.language == language
    ]


@pytest.mark.parametrize("fence", every("toml"))
def test_settings_are_accepted(fence: Fence, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of TOML is a part of `bdc.toml`, unless it is a file of another name."""
    if fence.title in (None, "bdc.toml"):
        assert Settings(**tomllib.loads(fence.code))


@pytest.mark.parametrize("fence", every("json"))
def test_json_is_json(fence: Fence) -> None:
    for line in fence.code.splitlines() if (fence.title or "").endswith("l") else [fence.code]:
        assert json.loads(line)


@cache
def options(name: str) -> frozenset[str]:
    return frozenset(word for one in command(name).params for word in (*one.opts, *one.secondary_opts))


@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_commands_and_options_exist(page: Path) -> None:
    """Also of those that are not run."""
    for line in (line for one in fences(page) if one.language == "sh" for line in commands(one)):
        program, name, *words = shlex.split(line)
        if program == "bdc" and not name.startswith("-"):
            assert name in COMMANDS, line
            assert {word for word in words if re.match(r"--?[a-z]", word)} <= options(name) | {"--help"}, line


def test_what_is_not_run_says_why() -> None:
    assert all(len(one.reason) > 10 for page in pages() for one in fences(page) if one.reason is not None)
