"""The board: the state of a search that all views draw, updated event by event.

An event costs the same however large the tree is.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Self

from bdc_agents.types import Attempt, Node, Program, Trace, Usage
from bdc_agents.view.text import passes

BRIEF_SECONDS = 0.01
"""A shorter time gives no speed: a reply from a cache or a test's endpoint would show millions of tokens."""


@dataclass
class AgentRow:
    """What one agent did so far.

    Args:
        usage: Usage of its answered calls.
        in_flight: Calls that wait for an answer.
        busy: Seconds with at least one call in flight.
        since: When the first of the calls in flight was made.
        fresh: Completion tokens that did not come from the cache.
        cut_at: The token limit at which its last long reply was cut off; 0 if none was.
        short: By node, the token limit at which its last reply there ended before it was whole.
        set_aside: Why it takes no further part; empty if it does.
    """

    usage: Usage = field(default_factory=Usage)
    in_flight: int = 0
    busy: float = 0.0
    since: float = 0.0
    fresh: int = 0
    cut_at: int = 0
    short: dict[str, int] = field(default_factory=dict[str, int])
    set_aside: str = ""

    def speed(self, now: float) -> float | None:
        """Completion tokens a second while it was asked; None before the first answer."""
        busy = self.busy + (now - self.since if self.in_flight else 0.0)
        return self.fresh / busy if self.fresh and busy > BRIEF_SECONDS else None


class Board:
    """The tree, the agents and the best program of one search.

    Args:
        agents: Names known beforehand.
        clock: Seconds, monotonic.
    """

    def __init__(self, agents: Iterable[str] = (), clock: Callable[[], float] = monotonic) -> None:
        self.clock = clock
        self.problem = ""
        self.agents: dict[str, AgentRow] = {name: AgentRow() for name in agents}
        self.nodes: dict[str, Node] = {}
        self.passes: dict[str, tuple[int, int]] = {}
        self.waiting: Counter[str] = Counter()
        self.recent: dict[str, None] = {}
        self.best: Attempt | None = None
        self.best_node: str | None = None
        self.rollouts = 0
        self.stopped_by = ""
        self.started = clock()
        self.ended: float | None = None
        self._waited, self._since = 0.0, 0.0

    @classmethod
    def of(cls, trace: Trace) -> Self:
        """The board of a finished search."""
        board = cls(trace.solution.usage)
        board.problem = trace.problem.id
        for key, program in trace.programs.items():
            board.add_program(key, program)
        for node in trace.nodes:
            board.add_node(node)
        board._finish(trace.solution.usage, trace.solution.set_aside, trace.solution.stopped_by)
        board._choose(trace.solution.node, trace.solution.agent)
        board.rollouts = trace.solution.tree.rollouts
        board.started, board.ended = 0.0, trace.solution.seconds
        return board

    @property
    def seconds(self) -> float:
        """Wall time of the search so far."""
        return (self.clock() if self.ended is None else self.ended) - self.started

    @property
    def in_flight(self) -> int:
        """Calls that wait for an answer."""
        return sum(row.in_flight for row in self.agents.values())

    @property
    def waited(self) -> float:
        """Seconds of the search with at least one call in flight: the rest is the sandbox's."""
        return self._waited + (self.clock() - self._since if self.in_flight else 0.0)

    @property
    def usage(self) -> Usage:
        """Of all agents together."""
        return sum((row.usage for row in self.agents.values()), Usage())

    def on_event(self, event: Mapping[str, Any]) -> None:
        """Takes in one event of a search; ignores unknown ones."""
        handler = getattr(self, f"_on_{event.get('type')}", None)
        if handler:
            handler(event)

    def on_state(self, state: Mapping[str, Any]) -> None:
        """Takes in what events lack: rollouts done, and unreadable replies."""
        self.rollouts = state.get("rollouts", self.rollouts)
        for name, used in state.get("usage", {}).items():
            row = self._agent(name)
            row.usage = row.usage.model_copy(update={"malformed": used.get("malformed", 0)})

    def add_node(self, node: Node) -> None:
        """Adds or replaces a node, and keeps the best attempt in mind."""
        known = self.nodes.get(node.id)
        self.nodes[node.id] = node
        self.recent.pop(node.id, None)
        self.recent[node.id] = None
        for attempt in node.attempts[len(known.attempts) if known else 0 :]:
            if self.best is None or attempt.reward > self.best.reward:
                self.best, self.best_node = attempt, node.id

    def add_program(self, key: str, program: Program) -> None:
        """Keeps how many tests a program passed."""
        self.passes[key] = passes(program.verdict)

    def passed(self, node: Node) -> tuple[int, int]:
        """The tests that the node's best program passed, and all tests."""
        return self.passes.get(node.best.program, (0, 0)) if node.best else (0, 0)

    def _agent(self, name: str) -> AgentRow:
        return self.agents.setdefault(name, AgentRow())

    def _on_started(self, event: Mapping[str, Any]) -> None:
        self.problem = event["problem"]
        for name in event["agents"]:
            self._agent(name)

    def _on_asked(self, event: Mapping[str, Any]) -> None:
        row = self._agent(event["agent"])
        if not self.in_flight:
            self._since = self.clock()
        if not row.in_flight:
            row.since = self.clock()
        row.in_flight += 1
        self.waiting[event["node"]] += 1

    def _on_answered(self, event: Mapping[str, Any]) -> None:
        row, used = self._agent(event["agent"]), Usage.model_validate(event["usage"])
        row.in_flight = max(0, row.in_flight - 1)
        if not row.in_flight:
            row.busy += self.clock() - row.since
        if not self.in_flight:
            self._waited += self.clock() - self._since
        row.short.pop(event["node"], None)
        row.short |= {event["node"]: cut} if (cut := event.get("cut_at", 0)) else {}
        row.fresh += 0 if used.cached else used.completion_tokens
        row.usage = row.usage + used
        self.waiting[event["node"]] -= 1
        if self.waiting[event["node"]] <= 0:
            del self.waiting[event["node"]]

    def _on_truncated(self, event: Mapping[str, Any]) -> None:
        self._agent(event["agent"]).cut_at = event["max_tokens"]

    def _on_program(self, event: Mapping[str, Any]) -> None:
        self.add_program(event["key"], Program.model_validate(event["program"]))

    def _on_node(self, event: Mapping[str, Any]) -> None:
        self.add_node(Node.model_validate(event["node"]))

    def _on_set_aside(self, event: Mapping[str, Any]) -> None:
        self._agent(event["agent"]).set_aside = event["reason"]

    def _on_stopped(self, event: Mapping[str, Any]) -> None:
        self.stopped_by = event["by"]

    def _on_finished(self, event: Mapping[str, Any]) -> None:
        solution = event["solution"]
        usage = {name: Usage.model_validate(used) for name, used in solution["usage"].items()}
        self._finish(usage, solution["set_aside"], solution["stopped_by"])
        self._choose(solution["node"], solution["agent"])
        self.ended = self.clock()

    def _choose(self, node_id: str | None, agent: str | None) -> None:
        """Shows the answer that the search chose, which decides among equally good programs."""
        if node_id in self.nodes and node_id is not None:
            attempts = self.nodes[node_id].attempts
            self.best = max(attempts, key=lambda one: (one.reward, one.agent == agent), default=None)
            self.best_node = node_id

    def _finish(self, usage: Mapping[str, Usage], set_aside: Mapping[str, str], stopped_by: str) -> None:
        self.stopped_by = stopped_by
        for name, used in usage.items():
            self._agent(name).usage = used
        for name, reason in set_aside.items():
            self._agent(name).set_aside = reason
