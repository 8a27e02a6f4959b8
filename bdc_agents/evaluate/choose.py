"""Which problems are evaluated."""

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from bdc_agents.data import dataset_names, load_task, load_tasks
from bdc_agents.errors import ProblemError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.runs.selection import Filter, select_jobs
from bdc_agents.sandbox.modules import missing_packages
from bdc_agents.types import Task

log = logging.getLogger(__name__)


def choose_tasks(
    config: EvalConfig, data: Path | None = None, packages: Collection[str] | None = None
) -> list[Task]:
    """The problems of an evaluation, in the order in which they are solved.

    Args:
        config: Its data sets, filters, shuffle and limit.
        data: The folder that holds the data sets; None takes the one that `BDC_DATA` names.
        packages: What programs may import; None tells nothing of packages that known solutions need.

    Raises:
        ProblemError: If a data set is not known or not there, or its problems have no tests.
        UsageError: If a filter is malformed or leaves nothing.
    """
    if not config.datasets:
        raise ProblemError(
            f"no data set: name one or more, such as humaneval; known: {', '.join(dataset_names())}"
        )
    chosen = select_jobs(
        config.datasets,
        data=data,
        filters=[Filter.parse(text) for text in config.filters],
        shuffle_seed=config.shuffle_seed,
        untested=not config.public_only,
    )
    for line in chosen.unmatched:
        log.warning("%s", line)
    if chosen.interactive:
        log.warning("left out, since no test can judge a dialogue: %s", ", ".join(chosen.interactive))
    if packages is not None and (missing := missing_packages(chosen.packages, packages)):
        log.warning("%s", missing)
    tasks = _load([job.id for job in chosen.jobs], data)
    testable = [task for task in tasks if task.problem.public_tests or len(task.hidden)]
    if not testable:
        raise ProblemError(
            f"none of the {len(tasks)} problems of {', '.join(config.datasets)} has a test, so there is "
            "nothing to measure"
        )
    return testable[: config.limit]


def _load(addresses: Sequence[str], data: Path | None) -> list[Task]:
    """The tasks of these addresses; of a data set all at once, as it may come over the network."""
    ids: dict[str, list[str]] = {}
    for name, _, problem_id in (address.partition(":") for address in addresses):
        ids.setdefault(name, []).append(problem_id)
    named = {name: some for name, some in ids.items() if name in dataset_names()}
    tasks = (task for name, some in named.items() for task in load_tasks(name, data=data, ids=some))
    found = {task.problem.id: task for task in tasks}
    return [found[one] if one in found else load_task(one, data=data) for one in addresses]
