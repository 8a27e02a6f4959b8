"""One search of one command: watched, interruptible, and scored on the hidden tests afterwards."""

import asyncio
import signal
import sqlite3
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bdc_agents.agents import Agent
from bdc_agents.cli.exits import note
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.disk import own_database
from bdc_agents.errors import BDCError, UsageError
from bdc_agents.locks import one_process
from bdc_agents.runs.hidden import right_programs, score_hidden
from bdc_agents.runs.store import decide
from bdc_agents.sandbox import Executor
from bdc_agents.search import SearchEvent, asolve, trace_of
from bdc_agents.search.resume.checkpoints import PlainSerializer
from bdc_agents.search.solve import has_begun
from bdc_agents.search.state import SearchState
from bdc_agents.types import Hidden, Program, Task, Trace, Tree, Usage
from bdc_agents.view.board import AgentRow
from bdc_agents.view.live import View

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


@dataclass(frozen=True)
class Finished:
    """What came of a search.

    Args:
        trace: Of the search; None where it was interrupted before its first step.
        hidden: None where the task has no hidden tests, or the search was interrupted.
        interrupted: Whether a person stopped it.
    """

    trace: Trace | None
    hidden: Hidden | None = None
    interrupted: bool = False


async def search(
    task: Task,
    agents: Sequence[Agent],
    executor: Executor,
    config: SearchConfig,
    budget: Budget,
    view: View,
    keep: Callable[[Trace], None],
    checkpoint: Path | None = None,
    resumes: bool = False,
) -> Finished:
    """Searches a task and hands its trace to `keep`, also where the search is cut off.

    Args:
        task: Its hidden tests score the result afterwards.
        agents, executor, config, budget: As for `asolve`.
        view: Watches the search.
        keep: Stores the trace.
        checkpoint: File that keeps every step; an unfinished search in it goes on.
        resumes: Whether it is refused to start anew, where the file holds no step.

    Raises:
        UsageError: If the file holds another search, or none where there must be one.
    """
    so_far = _SoFar(view)

    def rescue() -> Trace | None:
        trace = so_far.trace(_settings(config, budget))
        if trace:
            keep(trace)
        return trace

    try:
        async with open_checkpoints(checkpoint, resumes) as checkpointer:
            with view, _stoppable():
                trace = await asolve(
                    task.problem,
                    agents,
                    executor=executor,
                    search=config,
                    budget=budget,
                    on_event=so_far.on_event,
                    on_state=so_far.on_state,
                    checkpointer=checkpointer,
                )
    except asyncio.CancelledError:
        if (current := asyncio.current_task()) is not None:
            current.uncancel()
        return Finished(rescue(), interrupted=True)
    except BaseException:
        rescue()
        raise
    hidden = None
    try:
        hidden = await score_hidden(task, trace.solution.code, executor)
        if hidden is not None:  # Without hidden tests whoever trains on it decides.
            right = await right_programs(task, trace, hidden, executor)
            trace = trace.model_copy(update={"decision": decide(trace, hidden, right)})
    finally:
        keep(trace)
    return Finished(trace, hidden)


class _SoFar:
    """What a running search has computed: its last state, and what its unfinished step has told.

    Args:
        view: Is told everything too; its board has what calls took.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._state: SearchState = {}
        self._nodes: dict[str, Any] = {}
        self._programs: dict[str, Any] = {}

    def on_event(self, event: SearchEvent) -> None:
        match event["type"]:
            case "node":
                self._nodes[event["node"]["id"]] = event["node"]
            case "program":
                self._programs[event["key"]] = event["program"]
        self._view.on_event(event)

    def on_state(self, state: SearchState) -> None:
        if not self._state:
            self._catch_up(state)
        self._state = state
        self._view.on_state(state)

    def _catch_up(self, state: SearchState) -> None:
        """Shows what a resumed search had found before."""
        board = self._view.board
        board.started -= state.get("seconds", 0.0)
        for name, used in state.get("usage", {}).items():
            board.agents.setdefault(name, AgentRow()).usage = Usage.model_validate(used)
        for key, program in state.get("programs", {}).items():
            board.add_program(key, Program.model_validate(program))
        for node in Tree(state.get("tree")).nodes():
            board.add_node(node)

    def trace(self, settings: dict[str, Any]) -> Trace | None:
        """The trace up to now; None before the first step."""
        if not self._state.get("tree"):
            return None
        usage = {name: row.usage.model_dump() for name, row in self._view.board.agents.items()}
        state = self._state | {
            "tree": self._state.get("tree", {}) | self._nodes,
            "programs": self._state.get("programs", {}) | self._programs,
            "usage": usage,
            "seconds": self._view.board.seconds,
        }
        return trace_of(cast("SearchState", state), settings)


def _settings(config: SearchConfig, budget: Budget) -> dict[str, Any]:
    return {"search": config.model_dump(mode="json"), "budget": budget.model_dump()}


@asynccontextmanager
async def open_checkpoints(file: Path | None, resumes: bool) -> AsyncIterator["AsyncSqliteSaver | None"]:
    """Keeps every step of a search in a file; none keeps nothing.

    Raises:
        UsageError: If the file is damaged, or holds no step of a search that is to go on.
        BDCError: If the file cannot be written.
    """
    if file is None:
        yield None
        return
    import aiosqlite
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    there = await to_thread(file.is_file)
    refusal = (
        f"another process is at work on the search in {str(file.parent)!r}: wait until it has ended, or "
        "write this one to another folder"
    )
    try:
        with one_process(file.with_suffix(".lock"), refusal):
            await to_thread(own_database, file)
            async with aiosqlite.connect(file) as connection:
                saver = AsyncSqliteSaver(connection, serde=PlainSerializer())
                if there:
                    _tell(file, await has_begun(saver), resumes)
                yield saver
    except sqlite3.Error as error:
        # What is more special than this class, such as a full disk, is not the file's fault.
        damaged = type(error) is sqlite3.DatabaseError
        kind, what = (UsageError, "read") if damaged else (BDCError, "keep")
        raise kind(f"cannot {what} the steps of the search in {str(file)!r}: {error}") from error


def _tell(file: Path, begun: bool, resumes: bool) -> None:
    """Says whether a search goes on: SQLite keeps the last steps in a second file, which may be lost."""
    if begun:
        note(f"going on with the search of {file.parent}")
        return
    lost = f"{str(file)!r} holds no step of it: it ended before the first one, or was copied without its -wal"
    if resumes:
        raise UsageError(
            f"the search cannot go on: {lost}; copy the whole folder again, or start anew with "
            "bdc solve TARGET --out RUN"
        )
    note(f"the search starts over: {lost}")


@contextmanager
def _stoppable() -> Iterator[None]:
    """Makes a polite request to end, as `timeout` and service managers send it, act like Ctrl-C."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
