"""The search as a tool of other agents: a model states a problem, and gets a small text and the trace.

    agent = create_agent("openai:gpt-4o-mini", tools=[create_search_tool(load_agents())])

What the calling model reads is written here. It holds what programs printed, so it is cut to a size.
"""

import asyncio
import json
import re
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, cast

from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.config import get_stream_writer
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from bdc_agents.agents import as_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.data import task_from_dict
from bdc_agents.data.jsonl import stated_checker
from bdc_agents.errors import BDCError, ConfigError, ProblemError, in_words, unknown
from bdc_agents.prompts import trim
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.context import settings_of
from bdc_agents.search.events import Emit
from bdc_agents.search.solve import asolve
from bdc_agents.sync import run_sync
from bdc_agents.types import Problem, Solution, Task, TestResult, Trace, Verdict
from bdc_agents.types.names import called, with_short_names
from bdc_agents.types.written.forms import read_test
from bdc_agents.types.written.parts import Unread

SEARCH_TOOL = "solve_programming_problem"
DESCRIPTION = (
    "Writes a Python program that passes your tests: several language models search for it together, and "
    "every program is run on the tests. Slow and thorough: use it for a self-contained function, class or "
    "program that must be right, and give at least two tests, with edge cases."
)
PROGRAM_SHOWN = 20_000
"""Characters of a program in a result: longer than what agents write, and bearable in a model's context."""
_NOTES_SHOWN = 5
"""Warnings and notes in a result, each of which takes a line."""


# --- the arguments ----------------------------------------------------------------------------------


def listed(given: Any) -> Any:
    """Tests that a model gave as one text: as JSON, or a line each where every line is a test."""
    if not isinstance(given, str):
        return given
    try:
        value = json.loads(given)
    except ValueError:
        value = None
    if isinstance(value, list):
        return cast("list[Any]", value)
    lines = [line for line in given.splitlines() if line.strip()]
    return lines if all(map(is_test, lines)) else [given]


def is_test(text: str) -> bool:
    """Whether a text can be read as a test by itself."""
    try:
        return bool(read_test(text, own_checker=False))
    except (Unread, BDCError):
        return False


Tests = Annotated[
    list[Any], BeforeValidator(listed), WithJsonSchema({"type": "array", "items": {"type": "string"}})
]
"""Models are asked for texts, which none gets wrong; objects, which some send, are read as in files."""


class ProblemArguments(BaseModel):
    """What a model fills in to state a problem."""

    model_config = ConfigDict(extra="forbid", title="Problem")

    @model_validator(mode="before")
    @classmethod
    def _without_null(cls, given: Any) -> Any:
        return without_null(cast("dict[str, Any]", given)) if isinstance(given, dict) else given

    statement: str = Field(
        description="The task in words: what the program takes and gives, limits, edge cases."
    )
    tests: Tests = Field(
        default=[],
        description='Tests that the program must pass, each one line such as "f(2) == 4" or '
        '"assert f([]) is None"; for a program that reads stdin "2 3 -> 5", with \\n for a new line.',
    )
    entry_point: str | None = Field(
        default=None,
        description="Name of the function to write; leave it out where the tests call it, or for a program "
        "that reads stdin.",
    )
    starter_code: str = Field(default="", description="A signature or other code to start from.")


def read_task(given: Mapping[str, Any]) -> Task:
    """The problem that a model stated, with what is doubtful about its tests.

    Raises:
        ProblemError: If it cannot be read.
    """
    fields = {key: value for key, value in given.items() if value or key == "statement"}
    try:
        checker = stated_checker(str(fields.get("statement", "")))
        return task_from_dict({"id": "problem", **checker, **fields}, "problem", in_words=True)
    except BDCError as error:
        # The name of the argument, not of the field that it becomes, nor of a problem that it does not know.
        told = re.sub(r"^problem: ", "", str(error), flags=re.MULTILINE)
        raise type(error)(told.replace("public_tests", "tests")) from None


def doubtful(task: Task) -> list[str]:
    """What is doubtful of the tests that a model gave, a line each."""
    return [f"Doubtful: {one.replace('public_tests', 'tests')}" for one in task.warnings[:_NOTES_SHOWN]]


# --- the tools ----------------------------------------------------------------------------------------


def create_search_tool(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    *,
    executor: Executor | None = None,
    search: SearchConfig | Mapping[str, Any] | None = None,
    budget: Budget | Mapping[str, Any] | None = None,
    name: str = SEARCH_TOOL,
    description: str = DESCRIPTION,
) -> BaseTool:
    """The search as a LangChain tool, for `create_agent` and every client of tools.

    The model that calls it reads a small text: the program, how many tests it passes, who wrote it and what
    it cost; where none passes them all, the best program, its first failing test and what to add. The
    message's artifact is the `Trace` as plain data. Bad arguments, and a search that cannot run, come back
    as a message that the model can act on. Events of the search reach whoever streams the calling graph with
    `stream_mode="custom"`.

    Args:
        agents: Agents of `load_agents`, or chat models by name.
        executor: Runs the programs; None creates the strongest sandbox of this machine for the first call,
            and it lasts as long as the process.
        search: Settings of the search.
        budget: Caps on one call; without any, a search makes 16 rollouts.
        name: What models call it.
        description: What models are told of it.

    Raises:
        ConfigError: If there is no agent, or two have one name.
    """
    return problem_tool(search_by(agents, executor, search, budget), name, description)


Solve = Callable[[Problem, Emit | None], Awaitable[tuple[str, dict[str, Any]]]]
"""From a problem, and what to tell of events, to the text that the calling model reads and the artifact."""


def search_by(
    agents: Mapping[str, Answering] | Sequence[Agent | Answering],
    executor: "Executor | Sandbox | None",
    search: SearchConfig | Mapping[str, Any] | None,
    budget: Budget | Mapping[str, Any] | None,
) -> Solve:
    """Searches as `create_search_tool` does; its artifact is the trace as plain data.

    Raises:
        ConfigError: If there is no agent, or two have one name.
    """
    found = as_agents(agents)
    if not found:
        raise ConfigError('no agents: give at least one, as in create_search_tool({"a": model})')
    sandbox = executor if isinstance(executor, Sandbox) else Sandbox(executor)
    settings, caps = settings_of(search, budget)

    async def solve(problem: Problem, emit: Emit | None) -> tuple[str, dict[str, Any]]:
        if not problem.public_tests and not settings.self_tests:
            raise ProblemError(
                'tests: there is none, so nothing tells a right program; give lines such as "f(2) == 4"'
            )
        trace = await asolve(
            problem,
            found,
            executor=await sandbox.get(),
            search=settings,
            budget=caps,
            on_event=emit,
        )
        return told_of_search(trace), trace.model_dump(mode="json")

    return solve


def problem_tool(solve: Solve, name: str, description: str) -> BaseTool:
    """A tool that reads a problem and hands over what becomes of it.

    Args:
        solve: Solves a problem. Its errors of this package are told to the calling model.
        name: What models call it.
        description: What models are told of it.
    """

    async def work(given: Mapping[str, Any], emit: Emit | None) -> tuple[str, dict[str, Any]]:
        try:
            task = await asyncio.to_thread(read_task, given)  # Many tests take a while to parse.
            text, artifact = await solve(task.problem, emit)
        except BDCError as error:
            raise ToolException(f"{error}") from error
        return "\n".join([text, *doubtful(task)]), artifact

    async def acall(**given: Any) -> tuple[str, dict[str, Any]]:
        return await work(given, writer())

    def call(**given: Any) -> tuple[str, dict[str, Any]]:
        return run_sync(work(given, writer()))

    return StructuredTool.from_function(
        func=call,
        coroutine=acall,
        name=name,
        description=description,
        args_schema=ProblemArguments,
        response_format="content_and_artifact",
        handle_tool_error=refusal,
        handle_validation_error=_wrong_arguments,
    )


def writer() -> Emit | None:
    """The stream of the graph that calls the tool, where its readers see the search go on; None elsewhere."""
    try:
        return get_stream_writer()
    except (RuntimeError, KeyError):
        return None


def refusal(error: Exception) -> str:
    """What the calling model reads where nothing could begin."""
    return f"Not solved, since it could not begin: {trim(str(error), 2000)}"


def _wrong_arguments(error: ValidationError | Any) -> str:
    known = ProblemArguments.model_json_schema()["properties"]
    told = wrong_arguments(error, known) if isinstance(error, ValidationError) else str(error)
    return f"Not solved, since the arguments cannot be used: {trim(told, 2000)}"


def without_null(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a model gave; many send null for what they leave out."""
    return {name: value for name, value in given.items() if value is not None}


def wrong_arguments(
    error: ValidationError | None, known: Mapping[str, Any], unread: Sequence[str] = ()
) -> str:
    """What is wrong with the arguments of a call, for the model that made it.

    Args:
        error: What is wrong with those that are read.
        known: The properties of the tool's schema, by name.
        unread: Names that the tool does not have.
    """
    items = error.errors() if error else []
    extra = [str(item["loc"][-1]) for item in items if item["type"] == "extra_forbidden"]
    told = [unknown("argument", name, known) for name in (*unread, *extra)]
    for item in items:
        name = ".".join(map(str, item["loc"]))
        if item["type"] == "missing":
            told.append(f"{name}: it is missing. {known.get(name, {}).get('description', '')}".strip())
        elif item["type"] != "extra_forbidden":
            told.append(f"{name}: {in_words(item)}")
    return "\n".join(told[:_NOTES_SHOWN])


class Sandbox:
    """The caller's executor, or this machine's strongest, created once when a program is to run.

    Args:
        executor: The caller's; None for one of its own.
    """

    def __init__(self, executor: Executor | None) -> None:
        self._executor, self._lock = executor, threading.Lock()

    async def get(self) -> Executor:
        """The executor; the first call creates it.

        Raises:
            SandboxRefused: If this machine offers no isolation.
        """
        return self._executor or await asyncio.to_thread(self._create)

    def _create(self) -> Executor:
        with self._lock:
            self._executor = self._executor or create_executor()
            return self._executor


# --- what the calling model reads ---------------------------------------------------------------------


def told_of_search(trace: Trace) -> str:
    """The result of a search in a few lines, for the model that asked for it."""
    solution = trace.solution
    calls = sum(used.calls for used in solution.usage.values())
    names = {*solution.usage, *solution.set_aside}
    by = f"Written by {called(solution.agent, names)}." if solution.agent else ""
    facts = [by, f"Calls of agents: {calls}."]
    if not solution.solved:
        facts.append(_why_ended(solution))
    elif solution.confirmed is False:
        facts.append("No second program agrees with it on further inputs: add a test for what is unsure.")
    notes = [f"{called(name, names)} was set aside: {why}" for name, why in solution.set_aside.items()]
    notes += [with_short_names(note, names) for note in solution.notes]
    return told(solution.code, solution.verdict, facts, notes)


def _why_ended(solution: Solution) -> str:
    ended = {
        "agents": "The search ended since no agent answers any more.",
        "exhausted": "The search ended with nothing left to try.",
    }
    by_limit = f"The search reached its limit ({solution.stopped_by})."
    return ended.get(solution.stopped_by, by_limit)


def told(code: str, verdict: Verdict | None, facts: Sequence[str], notes: Sequence[str] = ()) -> str:
    """A program and what became of it, for the model that asked for it.

    Args:
        code: The program; empty if there is none.
        verdict: Of the program; None if it was not run.
        facts: Sentences on how it came about.
        notes: What went wrong on the way.
    """
    passed = bool(verdict and verdict.passed)
    lines = [" ".join([_headline(code, verdict), *filter(None, facts)])]
    if code:
        lines.append(f"```python\n{trim(code.strip(), PROGRAM_SHOWN)}\n```")
    if verdict and verdict.failures:
        lines.append(f"First failing test:\n{shown_failure(verdict.failures[0])}")
    if verdict and not passed:
        lines.append(
            "To go on, call this tool again with a statement that settles what this test shows (edge cases, "
            "an idea to follow), with further tests, or with this test mended if it is wrong."
        )
    return "\n".join([*lines, *(f"Note: {trim(note, 300)}" for note in notes[:_NOTES_SHOWN])])


def _headline(code: str, verdict: Verdict | None) -> str:
    if not code:
        return "Not solved: no program was written."
    if verdict is None:
        return "A program that was not run, since no test was given."
    passed, total = len(verdict.results) - len(verdict.failures), len(verdict.results)
    if verdict.passed:
        return f"Solved: the program passes all tests ({total})."
    return f"Not solved: the best program passes {passed} of {total} tests."


def shown_failure(result: TestResult) -> str:
    """A test that failed, in a few lines."""
    parts = {"expected": result.expected, "got": result.actual, "error": result.error}
    lines = [f"  {name}: {trim(text)}" for name, text in parts.items() if text]
    return "\n".join([trim(result.shown), *(lines or [f"  {result.outcome}"])])
