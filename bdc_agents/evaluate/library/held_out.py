"""What is compared on: problems that the library has not seen, and the rows whose loss is measured."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bdc_agents.distill.lessons import KnownSolution
from bdc_agents.errors import UsageError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.library.config import CompareConfig
from bdc_agents.evaluate.setup import choose_tasks
from bdc_agents.runs.collect.left_out import LeftOut
from bdc_agents.types import Task


@dataclass(frozen=True)
class HeldOut:
    """The problems of a comparison.

    Args:
        tasks: In the order in which they are solved.
        seen: Ids of problems that were left out, since the library was made from them.
    """

    tasks: tuple[Task, ...]
    seen: tuple[str, ...] = ()


def eval_config(config: CompareConfig) -> EvalConfig:
    """The comparison as an evaluation: one greedy program for each problem."""
    return EvalConfig(
        datasets=config.problems,
        filters=config.filters,
        shuffle_seed=config.shuffle_seed,
        temperature=0.0,
    )


def hold_out(
    config: CompareConfig,
    seen: Iterable[str],
    data: Path | None = None,
    on_left_out: Callable[[LeftOut], object] | None = None,
) -> HeldOut:
    """The problems, without those that the library was made from.

    Args:
        seen: Ids of these.
        data: Folder of the data sets; None takes the one that `BDC_DATA` names.
        on_left_out: Called with each row that cannot be used.

    Raises:
        ProblemError: If a data set is not known or not there.
        UsageError: If no problem is left.
    """
    known, chosen = frozenset(seen), choose_tasks(eval_config(config), data, on_left_out=on_left_out)
    tasks = [task for task in chosen if task.problem.id not in known]
    if not tasks:
        raise UsageError(
            f"the library was made from all {len(chosen)} problems of {', '.join(config.problems)}, so none "
            "is held out; name others"
        )
    left_out = tuple(task.problem.id for task in chosen if task.problem.id in known)
    return HeldOut(tuple(tasks[: config.limit]), left_out)


def known_solutions(tasks: Iterable[Task]) -> tuple[KnownSolution, ...]:
    """The known solutions of some tasks; none of a task without one.

    They are read here alone: they are scored or learnt, and shown to no agent.
    """
    found = ((task.problem, task.hidden.reveal_reference()) for task in tasks)
    return tuple(KnownSolution(problem=problem, program=program) for problem, program in found if program)
