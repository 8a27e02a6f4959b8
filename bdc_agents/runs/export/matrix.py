"""The author-by-coder matrix: which agent's thoughts help which agent's programs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bdc_agents.types import Attempt, Trace


@dataclass
class _Cell:
    programs: int = 0
    reward: float = 0.0
    passed: int = 0
    helped: int = 0
    problems: set[str] = field(default_factory=set)


class Matrix:
    """How the programs of each coder did on the thoughts of each author, over many searches."""

    def __init__(self) -> None:
        self._cells: dict[tuple[str, str], _Cell] = {}

    @classmethod
    def of(cls, traces: Iterable[Trace]) -> "Matrix":
        """The matrix of some traces."""
        matrix = cls()
        for trace in traces:
            matrix.add(trace)
        return matrix

    def add(self, trace: Trace) -> None:
        """Counts the programs of one search."""
        values = {node.id: node.value or 0.0 for node in trace.nodes}
        for node in trace.nodes:
            before = values.get(node.parent, 0.0) if node.parent else 0.0
            for attempt in node.attempts:
                self._count(attempt, attempt.reward > before, trace.problem.id)

    def _count(self, attempt: Attempt, helped: bool, problem: str) -> None:
        cell = self._cells.setdefault((attempt.author, attempt.agent), _Cell())
        cell.programs += 1
        cell.reward += attempt.reward
        cell.passed += attempt.reward == 1.0
        cell.helped += helped
        cell.problems.add(problem)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row for each cell, in the order of author and coder.

        Returns:
            `author` of the last thought, empty for a direct answer; `coder`; `programs` written
            for `problems`; their `mean_reward` on the public tests; the share that `passed` all
            of them; and the share that `helped`: better than the parent's programs on average.
        """
        for (author, coder), cell in sorted(self._cells.items()):
            yield {
                "author": author,
                "coder": coder,
                "problems": len(cell.problems),
                "programs": cell.programs,
                "mean_reward": cell.reward / cell.programs,
                "passed": cell.passed / cell.programs,
                "helped": cell.helped / cell.programs,
            }
