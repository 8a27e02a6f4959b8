"""Selects the problems of a run: from addresses such as `mbpp:train` and filters to jobs."""

import random
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from bdc_agents.data import dataset_names, has_task, load_tasks, task_names
from bdc_agents.data.catalog import DATASETS
from bdc_agents.errors import ProblemError, UsageError, unknown
from bdc_agents.runs.collect.left_out import MOST, LeftOut
from bdc_agents.runs.jobs.table import Job, problem_hash
from bdc_agents.syntax import modules_needed
from bdc_agents.types import UNJUDGED, Frozen, Problem, Task

_FILE = re.compile(r"(?P<name>.+?\.jsonl?(?:\.gz)?)(?::(?P<rest>.*))?", re.DOTALL)
_RANGE = re.compile(r"(\d{1,18})-(\d{1,18})")
_DIGITS = 18
"""Digits of a problem's number: they fit 64 bits. Python refuses to read numbers of thousands of digits."""
_FILTER = re.compile(r"(?:(?P<dataset>[^=]+):)?(?P<key>\w+)=(?P<values>.*)", re.DOTALL)
FILTERS = ("difficulty", "tag")


class Filter(Frozen):
    """Takes the problems that have one of the values.

    Args:
        dataset: The only data set that it filters; empty for all.
        key: One of `FILTERS`.
        values: Values in lower case; `none` stands for a problem without a difficulty.
    """

    dataset: str = ""
    key: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Filter":
        """Reads `difficulty=A,B`, or `apps:difficulty=introductory` for one of several data sets.

        Raises:
            UsageError: If the text has another form.
        """
        match = _FILTER.fullmatch(text.strip())
        if not match:
            raise UsageError(f"not a filter: {text!r}; write KEY=VALUE, such as difficulty=introductory")
        key = (
            match["key"].lower().removesuffix("s") if match["key"].lower() == "tags" else match["key"].lower()
        )
        if key not in FILTERS:
            raise UsageError(unknown("filter", match["key"], FILTERS))
        values = tuple(value.strip().lower() for value in match["values"].split(",") if value.strip())
        if not values:
            raise UsageError(f"the filter {text!r} names no value; write {key}=VALUE")
        return cls(dataset=match["dataset"] or "", key=key, values=values)

    def __str__(self) -> str:
        named = f"{self.dataset}:" if self.dataset else ""
        return f"{named}{self.key}={','.join(self.values)}"

    def concerns(self, dataset: str) -> bool:
        """Whether it filters the problems of a data set."""
        return self.dataset in ("", dataset)

    def found(self, problem: Problem) -> set[str]:
        """What a problem has of the filter's key, in lower case."""
        has = problem.tags if self.key == "tag" else (problem.difficulty or "none",)
        return {value.lower() for value in has}

    def takes(self, dataset: str, problem: Problem) -> bool:
        """Whether a problem passes the filter."""
        return not self.concerns(dataset) or not self.found(problem).isdisjoint(self.values)


class Selection(Frozen):
    """The jobs of a run, and what was left out.

    Args:
        jobs: The jobs in the order they are started.
        without_tests: Problems left out, since they have no public test for the search to aim at.
        interactive: Problems left out, since their program talks to a judge that is not there, so that
            no test tells right from wrong.
        left_out: Rows that cannot be used, with the reasons; at most `MOST` of them.
        unmatched: Values of filters that no problem has, with those there are, one line each.
        doubts: What a person should know of the problems before the search, one line each.
        packages: Modules outside the standard library that known solutions import, with the number of
            problems.
    """

    jobs: tuple[Job, ...]
    without_tests: tuple[str, ...] = ()
    interactive: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    unmatched: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    packages: dict[str, int] = {}


def select_jobs(
    datasets: Sequence[str],
    *,
    data: Path | None = None,
    filters: Sequence[Filter] = (),
    shuffle_seed: int | None = None,
    untested: bool = False,
) -> Selection:
    """Selects the problems of some data sets, each once.

    Args:
        datasets: Addresses such as `humaneval`, `mbpp:train` (a split), `mbpp:601-974` (numbers of
            ids), `demo:NAME,NAME` (ids), `tasks.jsonl`.
        data: Folder of the data sets.
        filters: Filters that a problem must pass, all of them.
        shuffle_seed: Puts the problems into a random order, which depends on this seed alone.
        untested: Whether to take problems without public tests too.

    Raises:
        ProblemError: If there is no such data set, split or problem, or its data is missing.
        UsageError: If nothing is left, or a filter is for a data set that is not among them.
    """
    parts = [(address, *_split(address)) for address in datasets]
    for one in filters:
        if one.dataset and not any(one.concerns(name) for _, name, _ in parts):
            raise UsageError(
                f"the filter {str(one)!r} filters nothing: "
                + unknown("data set", one.dataset, {name for _, name, _ in parts})
            )
    # The values that problems have, for each filter: what a misspelled one may have meant.
    there: list[set[str]] = [set() for _ in filters]
    jobs: dict[str, Job] = {}
    without: list[str] = []
    dialogues: list[str] = []
    doubtful: list[str] = []
    packages: Counter[str] = Counter()
    left_out: list[LeftOut] = []
    for address, name, rest in parts:
        for task in _tasks(name, rest, data, left_out):
            problem = task.problem
            for one, values in zip(filters, there, strict=True):
                values |= one.found(problem) if one.concerns(name) else set()
            if not all(one.takes(name, problem) for one in filters):
                continue
            if "interactive" in problem.unjudged:
                dialogues.append(problem.id)
            elif problem.public_tests or untested:
                if problem.id not in jobs:
                    packages.update(modules_needed(task.hidden.reveal_reference() or ""))
                    doubtful += task.warnings
                content, hidden = problem_hash(problem), task.hidden.digest()
                job = Job(id=problem.id, dataset=address, content=content, hidden=hidden)
                jobs.setdefault(problem.id, job)
            else:
                without.append(problem.id)
    if not jobs:
        raise UsageError(_nothing(datasets, filters, there, without, dialogues))
    chosen = list(jobs.values())
    if shuffle_seed is not None:
        random.Random(shuffle_seed).shuffle(chosen)
    return Selection(
        jobs=tuple(chosen),
        without_tests=tuple(without),
        interactive=tuple(dialogues),
        left_out=tuple(left_out),
        unmatched=tuple(_absent(filters, there)),
        doubts=tuple(doubtful),
        packages=dict(packages),
    )


def _split(address: str) -> tuple[str, str]:
    """Splits an address into the data set and the part of it, which is empty for all."""
    match = _FILE.fullmatch(address)
    if match and address.partition(":")[0] not in dataset_names():
        return match["name"], (match["rest"] or "").strip()
    name, _, rest = address.partition(":")
    return name, rest.strip()


def _tasks(name: str, rest: str, data: Path | None, left_out: list[LeftOut]) -> Iterator[Task]:
    splits = DATASETS[name].splits if name in DATASETS else {}
    own = name not in dataset_names()

    def leave_out(where: str, reason: str) -> None:
        if len(left_out) < MOST:
            left_out.append(LeftOut(where=where or name, reason=reason, own=own))

    if not rest or rest in splits:
        yield from load_tasks(name, data=data, split=rest or None, on_left_out=leave_out)
        return
    yield from load_tasks(name, data=data, ids=_wanted(name, rest, data, splits), on_left_out=leave_out)


def _wanted(name: str, rest: str, data: Path | None, splits: Collection[str]) -> list[str]:
    """The ids that a list of ids and ranges means. Only a range needs the names of all problems."""
    if has_task(name, rest, data=data):
        return [rest]
    parts = [part.strip() for part in rest.split(",")]
    ranges = {part: match for part in parts if (match := _RANGE.fullmatch(part))}
    known = list(task_names(name, data=data)) if ranges else []
    chosen: list[str] = []
    for part in parts:
        if part in ranges and not any(part in names for names in known):
            low, high = int(ranges[part][1]), int(ranges[part][2])
            chosen += [names[0] for names in known if low <= _number(names) <= high]
        elif has_task(name, part, data=data):
            chosen.append(part)
        elif near := get_close_matches(part, splits):
            raise ProblemError(unknown(f"split or problem of {name}", part, near))
        else:
            chosen.append(part)  # If it is unknown, `load_tasks` says so and names the nearest id.
    return chosen


def _number(names: Iterable[str]) -> int:
    """The number in a problem's names; -1 if there is none."""
    return next((int(name) for name in names if name.isdecimal() and len(name) <= _DIGITS), -1)


def _absent(filters: Sequence[Filter], there: Sequence[Collection[str]]) -> list[str]:
    """Says of each value of a filter that no problem has which ones there are."""
    return [
        f"the filter {str(one)!r}: no problem has {one.key} {value!r}; {_instead(one.key, value, known)}"
        for one, known in zip(filters, there, strict=True)
        for value in one.values
        if value not in known
    ]


def _instead(key: str, value: str, known: Collection[str]) -> str:
    """What may have been meant by a value that no problem has; `none` stands for a problem without one."""
    if set(known) <= {"none"}:
        return f"none of them has a {key} at all"
    return unknown(key, value, known).partition("; ")[2]


def _nothing(
    datasets: Sequence[str],
    filters: Sequence[Filter],
    there: Sequence[Collection[str]],
    without: Sequence[str],
    dialogues: Sequence[str],
) -> str:
    named = ", ".join(datasets)
    if dialogues and not without:
        return (
            f"{named}: {UNJUDGED['interactive']}, so no test can tell right from wrong; name other problems"
        )
    if without:
        return (
            f"{named}: none of the problems has a public test, so a search has nothing to aim at; let the "
            "agents write some: self_tests = true under [search] in bdc.toml"
        )
    if absent := _absent(filters, there):
        return "\n".join(f"{named}: {line}" for line in absent)
    if filters:
        told = " and ".join(map(str, filters))
        return f"{named}: no problem passes the filters {told} at once; leave one out to see what there is"
    return f"{named}: there is no problem in it"
