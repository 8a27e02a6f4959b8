"""What a command works on: settings with the options over them, the problem, the agents."""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from bdc_agents.config import OPTIONS, SearchConfig, Settings, explain, load_settings
from bdc_agents.data import dataset_names, load_task, task_from_dict, task_from_statement
from bdc_agents.data.rows import read_json
from bdc_agents.errors import ConfigError, NotInstalled, ProblemError
from bdc_agents.types import Frozen, Problem, Task
from bdc_agents.untrusted import json_fault

if TYPE_CHECKING:
    from bdc_agents.agents import Agent
    from bdc_agents.sandbox import Executor

LOCAL_PAIR = ("local:qwen2.5-coder-0.5b", "local:qwen2.5-coder-1.5b")
STDIN = "-"
_LONGEST_STDIN = 16 * 2**20
"""Bytes of a problem on stdin: sixteen times what a large contest problem has."""
_FILES = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
F = TypeVar("F", bound=Frozen)


def read_settings(
    config: Path | None,
    *,
    preset: str | None = None,
    search: Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
    beliefs: Path | None = None,
    cache: bool = True,
    allow_unsafe: bool = False,
) -> Settings:
    """The settings of a command: the file and environment, then its options.

    Args:
        config: A settings file; None for `bdc.toml` of the working directory.
        preset: Replaces all search settings.
        search, budget: Options by name; those that are None were not given.
        beliefs: A run or file whose beliefs the search starts from; None for those of the settings.
        cache: False leaves the reply cache out.
        allow_unsafe: True runs programs where there is no isolation.

    Raises:
        ConfigError: If a value is not accepted.
    """
    settings = load_settings(config)
    base = SearchConfig.preset(preset) if preset else settings.search
    known = {"beliefs": _beliefs(beliefs)} if beliefs else {}
    changes: dict[str, Any] = {
        "search": _changed(base, dict(search or {}) | known),
        "budget": _changed(settings.budget, budget or {}),
    }
    if not cache:
        changes["store"] = settings.store.model_copy(update={"cache": False})
    if allow_unsafe:
        changes["sandbox"] = settings.sandbox.model_copy(update={"allow_unsafe": True})
    return settings.model_copy(update=changes)


def _beliefs(path: Path) -> dict[str, Any]:
    from bdc_agents.runs.sharing.beliefs import (
        load_beliefs,  # It imports what searches, which takes two seconds.
    )

    return load_beliefs(path).model_dump()


def _changed(base: F, options: Mapping[str, Any]) -> F:
    given = {key: value for key, value in options.items() if value is not None}
    try:
        return type(base).model_validate(base.model_dump(exclude_unset=True) | given)
    except ValidationError as error:
        raise ConfigError(explain(error, OPTIONS, type(base))) from None


def find_task(target: str, tests: Sequence[str], data: Path | None) -> Task:
    """The task that a person means: an address, a file, or a statement in words.

    Args:
        target: As typed; `-` for a problem on stdin.
        tests: Public tests of a statement in their short form.
        data: Folder of the data sets.

    Raises:
        ProblemError: If it cannot be found or read.
    """
    if target == STDIN:
        return _from_stdin(tests)
    named = _is_address(target)
    if named and tests:
        raise ProblemError(f"{target!r} has tests of its own; --test is for a problem given in words")
    if named or not (tests or len(target.split()) > 1):
        return load_task(target, data=data)
    return task_from_statement(target, tests)


def _from_stdin(tests: Sequence[str]) -> Task:
    """The problem on stdin: an object of JSON, as a file holds it, or words."""
    data = sys.stdin.buffer.read(_LONGEST_STDIN + 1)
    if len(data) > _LONGEST_STDIN:
        raise ProblemError(f"stdin: more than {_LONGEST_STDIN:,} bytes, which are no single problem")
    try:
        text = data.decode("utf-8-sig")
        row: Any = read_json(text) if text.lstrip().startswith("{") else None
    except json.JSONDecodeError as error:
        raise ProblemError(f"stdin: not the JSON of one problem: {json_fault(error)}") from None
    except (ValueError, RecursionError) as error:
        raise ProblemError(f"stdin: cannot be read: {error}") from None
    if row is None:
        return task_from_statement(text, tests)
    if tests:
        raise ProblemError("the problem on stdin has tests of its own; --test is for one in words")
    return task_from_dict({"id": "problem", **row}, "stdin", folder=Path())


def _is_address(target: str) -> bool:
    name, colon, _ = target.partition(":")
    if colon and name in dataset_names():
        return True
    # Only one line without a blank before the ending can be meant as a file; a sentence may end so.
    file = name if name.endswith(_FILES) else target
    return file.endswith(_FILES) and (len(file.split()) == 1 or Path(file).is_file())


def check_tests(problem: Problem, search: SearchConfig) -> None:
    """Refuses a problem the search cannot aim at, before anything is downloaded or asked.

    Raises:
        ProblemError: If it has no public test and the agents may write none.
    """
    if not problem.public_tests and not search.self_tests:
        raise ProblemError(
            f"{problem.id}: no public test, so the search has nothing to aim at; add one, such as "
            '--test "assert add(1, 2) == 3", or let the agents write some: self_tests = true under '
            "[search] in bdc.toml"
        )


def agent_names(settings: Settings, asked: Sequence[str]) -> tuple[list[str], str]:
    """Which agents take part, and what to tell the person about that choice.

    Args:
        settings: Whose agents are the default.
        asked: Names or model strings of `--agent`.

    Raises:
        NotInstalled: If there are none and no local model can stand in.
    """
    if asked or settings.agents:
        return [*(asked or settings.agents)], ""
    from bdc_agents.agents.local import has_runtime

    if not has_runtime():
        raise NotInstalled(
            "no agents: name one, such as --agent openai:gpt-4o-mini, write a bdc.toml "
            "(bdc config --example), or run models on this machine: pip install 'bdc-agents[local]'"
        )
    return [*LOCAL_PAIR], f"no agents are configured: using {' and '.join(LOCAL_PAIR)} on this machine"


def closing(agents: "Sequence[Agent]", executor: "Executor") -> AsyncExitStack:
    """Frees agents and executor at its end, whatever one of them raises."""
    stack = AsyncExitStack()
    stack.push_async_callback(executor.aclose)
    for agent in agents:
        stack.push_async_callback(agent.aclose)
    return stack
