"""Shows a running search: a live picture in a terminal, plain lines everywhere else."""

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from bdc_agents.config import Budget
from bdc_agents.types import Attempt, Node, Problem, Solution
from bdc_agents.view.board import Board
from bdc_agents.view.rows import AgentsView, TreeView, footer
from bdc_agents.view.text import called, clock, colour_of, count, ending, one_line, plural, with_short_names

REFRESHES = 8
"""Pictures a second, however many events come: smooth for the eye, and cheap to draw."""
CHROME = 5
"""Lines of the live view beside tree and agents, with one free for the cursor."""


class View(Protocol):
    """A view of a search: a context manager that takes events and states.

    Args:
        board: The state of the search.
    """

    board: Board

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event of `asolve`."""
        ...

    def on_state(self, state: Mapping[str, Any]) -> None:
        """Takes in one state of `asolve`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def watch(
    problem: Problem,
    console: Console,
    *,
    rollouts: int | None,
    budget: Budget | None = None,
    plain: bool = False,
) -> View:
    """The view that suits the console.

    Args:
        problem: The problem of the search.
        console: A terminal gets the live picture, anything else plain lines.
        rollouts: The most rollouts; None if open.
        budget: What the search may spend; shown beside what it has.
        plain: Plain lines in a terminal too.
    """
    if plain or not console.file.isatty() or console.is_dumb_terminal:
        return PlainView(problem, lambda line: print(line, file=console.file, flush=True), rollouts)
    return LiveView(problem, console, rollouts, budget=budget)


class LiveView:
    """The tree, the agents and the totals of a running search, redrawn a few times a second.

    Args:
        problem: The problem of the search.
        console: Where to draw.
        rollouts: How many there will be at most.
        board: The state of the search; a new one by default.
        budget: As for `watch`.
    """

    def __init__(
        self,
        problem: Problem,
        console: Console,
        rollouts: int | None,
        board: Board | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.problem = problem
        self.budget = budget
        self.console = console
        self.rollouts = rollouts
        self.board = board or Board()
        # A separate thread draws, so that the picture moves while the event loop computes.
        self._lock = RLock()
        self._live = Live(
            self,
            console=console,
            refresh_per_second=REFRESHES,
            transient=True,
            vertical_overflow="crop",
        )

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event of `asolve`; nothing is drawn here."""
        with self._lock:
            self.board.on_event(event)

    def on_state(self, state: Mapping[str, Any]) -> None:
        """Takes in one state of `asolve`; nothing is drawn here."""
        with self._lock:
            self.board.on_state(state)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            drawn = list(console.render(self._picture(options), options))
        yield from drawn

    def _picture(self, options: ConsoleOptions) -> Group:
        height = options.size.height
        agents = min(len(self.board.agents) + 1, max(height // 3, 2))
        return Group(
            self._header(),
            Rule(style="dim"),
            TreeView(self.board, max(height - CHROME - agents, 2), self.board.clock()),
            Rule(style="dim"),
            AgentsView(self.board, agents),
            footer(self.board, self.budget),
        )

    def _header(self) -> Text:
        board = self.board
        of = f"/{self.rollouts}" if self.rollouts else ""
        head = [(one_line(self.problem.id, 60), "bold"), f"   rollout {board.rollouts}{of}   "]
        names = list(board.agents)
        for name in names:
            shown = f"{one_line(called(name, names), 30)}  "
            head += [("● ", colour_of(name, names)), (shown, colour_of(name, names))]
        head.append((one_line(self.problem.statement, 200), "dim"))
        return Text.assemble(*head, no_wrap=True, overflow="ellipsis")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class PlainView:
    """One line for each thing worth knowing, without any escape code.

    Args:
        problem: The problem of the search.
        write: Takes one line.
        rollouts: How many there will be at most.
        board: The state of the search; a new one by default.
    """

    def __init__(
        self, problem: Problem, write: Callable[[str], None], rollouts: int | None, board: Board | None = None
    ) -> None:
        self.problem = problem
        self.write = write
        self.rollouts = rollouts
        self.board = board or Board()

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event of `asolve` and writes what it changed."""
        known = self.board.nodes.get(event["node"]["id"]) if event.get("type") == "node" else None
        self.board.on_event(event)
        for line in self._tell(event, known):
            self.write(f"[{clock(self.board.seconds)}] {line}")

    def on_state(self, state: Mapping[str, Any]) -> None:
        """Takes in one state of `asolve`."""
        self.board.on_state(state)

    def _tell(self, event: Mapping[str, Any], known: Node | None) -> list[str]:
        match event.get("type"):
            case "started":
                names = ", ".join(map(self._called, event["agents"]))
                return [f"{_safe(self.problem.id)}: searching with {_safe(names)}"]
            case "node":
                return self._tell_node(Node.model_validate(event["node"]), known)
            case "answered" if event.get("error"):
                return [f"{self._called(event['agent'])} did not answer: {_safe(event['error'])}"]
            case "set_aside":
                return [f"{self._called(event['agent'])} takes no further part: {_safe(event['reason'])}"]
            case "truncated":
                return [self._tell_cut(event)]
            case "finished":
                solution = Solution.model_validate(event["solution"])
                notes = (with_short_names(note, solution.usage) for note in solution.notes)
                return [self._tell_end(solution), *map(_safe, notes)]
        return []

    def _tell_node(self, node: Node, known: Node | None) -> list[str]:
        lines: list[str] = []
        old = known.thought if known else None
        if node.thought and node.thought != old:
            verb = "refines" if known else "thinks"
            lines.append(f"{self._called(node.thought.agent)} {verb} ({node.id}): {_safe(node.thought.text)}")
        lines += [self._tell_attempt(node, a) for a in node.attempts[len(known.attempts) if known else 0 :]]
        if node.pruned and not (known and known.pruned):
            lines.append(f"pruned {node.id}: no better than its parent")
        return lines

    def _tell_attempt(self, node: Node, attempt: Attempt) -> str:
        passed, total = self.board.passes.get(attempt.program, (0, 0))
        result = (
            f"{passed} of {plural(total, 'test')}" if attempt.program else self._why_no_code(node, attempt)
        )
        return f"{self._called(attempt.agent)} programs ({node.id}): {result}"

    def _why_no_code(self, node: Node, attempt: Attempt) -> str:
        row = self.board.agents.get(attempt.agent)
        cut_at = row.short.get(node.id) if row else None
        if not cut_at:
            return "no code in the reply"
        return f"no code, as the reply was cut off at {cut_at:,} tokens: give the agent a larger max_tokens"

    def _tell_cut(self, event: Mapping[str, Any]) -> str:
        again = f"; asked again with {event['again']:,}" if event["again"] else ""
        limit = f"{event['max_tokens']:,} tokens"
        return f"{self._called(event['agent'])} was cut off at its limit of {limit}{again}"

    def _called(self, name: str) -> str:
        return _safe(called(name, self.board.agents))

    def _tell_end(self, solution: Solution) -> str:
        used = self.board.usage
        return f"{ending(solution, used.calls)}; {count(used.tokens)} tokens"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _safe(text: str) -> str:
    return one_line(text, 160)
