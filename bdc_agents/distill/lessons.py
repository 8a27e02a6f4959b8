"""What a library is made from: training rows of solved problems, and the problems that they are of."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bdc_agents.distill.items import (
    CountTokens,
    Item,
    estimate_tokens,
    items_of_rows,
    labels_of,
    problem_text,
)
from bdc_agents.distill.recipe import RowsConfig
from bdc_agents.search.traces import Row, all_rows, direct_row, reply_with_program, row_key
from bdc_agents.types import Frozen, Problem, Trace


@dataclass(frozen=True)
class Lessons:
    """What experts and router learn from.

    Args:
        rows: Rows to imitate, each once.
        problems: The problems of the rows, by id.
        traces: Those of the problems that were searched, for pairs.
    """

    rows: tuple[Row, ...]
    problems: Mapping[str, Problem]
    traces: tuple[Trace, ...] = ()

    @property
    def solved(self) -> int:
        """How many problems have rows."""
        return len({row.problem_id for row in self.rows})

    @property
    def texts(self) -> dict[str, str]:
        """What is embedded of each problem, by id."""
        return {key: problem_text(problem) for key, problem in self.problems.items()}

    def items(self, count: CountTokens = estimate_tokens) -> tuple[Item, ...]:
        """The problems as clustering sees them.

        Args:
            count: Tokens of a text, by the base model's tokenizer.
        """
        labels = {key: labels_of(problem) for key, problem in self.problems.items()}
        return tuple(
            item.model_copy(update={"labels": labels[item.id]})
            for item in items_of_rows(self.rows, self.texts, count)
        )


class KnownSolution(Frozen):
    """A problem with a program that is known to be right and that no agent wrote."""

    problem: Problem
    program: str


def lessons_of(
    traces: Sequence[Trace], config: RowsConfig | None = None, references: Sequence[KnownSolution] = ()
) -> Lessons:
    """The lessons of the traces that may be trained on, and of problems with a known solution.

    Args:
        config: Which rows; None for the defaults.
        references: Solutions that give rows of kind `reference`.
    """
    config = config or RowsConfig()
    kept = tuple(trace for trace in traces if trace.decision is None or trace.decision.kept)
    found = [row for trace in kept for row in all_rows(trace) if row.rejected is None]
    problems = {trace.problem.id: trace.problem for trace in kept}
    solved = {row.problem_id for row in found}
    thin = [one for one in references if config.references == "all" or one.problem.id not in solved]
    found += reference_rows(thin)
    problems = {one.problem.id: one.problem for one in thin} | problems
    return Lessons(chosen_rows(found, config), problems, kept)


def chosen_rows(rows: Iterable[Row], config: RowsConfig) -> tuple[Row, ...]:
    """The rows of the kinds that are wanted, each text once, and of each kind and problem the first ones."""
    found, many = dict[str, Row](), Counter[tuple[str, str]]()
    for row in rows:
        key, place = row_key(row), (row.problem_id, row.kind)
        full = config.per_problem is not None and many[place] >= config.per_problem
        if row.kind in config.kinds and key not in found and not full:
            found[key] = row
            many[place] += 1
    return tuple(found.values())


def reference_rows(references: Iterable[KnownSolution]) -> tuple[Row, ...]:
    """Problem to known solution; none where no reply can hold the solution."""
    replies = ((one.problem, reply_with_program(one.program, one.problem)) for one in references)
    return tuple(direct_row(problem, reply, "reference") for problem, reply in replies if reply)
