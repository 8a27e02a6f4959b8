"""From an address such as `mbpp:601` to a task."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from bdc_agents.data.catalog import DATASETS, Dataset
from bdc_agents.data.files import DATA_ENV, RawRow, data_folder, find_files, read_rows
from bdc_agents.data.hub import hub_available, hub_rows
from bdc_agents.data.jsonl import task_from_dict
from bdc_agents.errors import ProblemError, unknown
from bdc_agents.types import Task

DEMO = Path(__file__).with_name("demo.jsonl")

_FILE = re.compile(r"(?P<file>.+?\.jsonl?(?:\.gz)?)(?::(?P<id>.*))?", re.DOTALL)


def dataset_names() -> tuple[str, ...]:
    """The names of data sets that addresses may start with."""
    return ("demo", *DATASETS)


def load_task(address: str, *, data: Path | str | None = None) -> Task:
    """Loads one problem with its hidden tests.

    Args:
        address: `NAME:ID`, such as `humaneval:HumanEval/31`, `mbpp:601` or `demo:NAME`; or
            `FILE.jsonl:ID`; or a `.json` file that holds one problem.
        data: The folder that holds the data sets; None takes the one that `BDC_DATA` names.

    Raises:
        ProblemError: If there is no such data set or problem, its data is not there, or its row
            cannot be used.
    """
    name, problem_id = _split(address)
    selection = _Selection(name, data)
    if problem_id is None:
        return selection.only_task()
    for source, row in selection.rows(containing=_json_text(problem_id)):
        if problem_id in selection.names(row):
            return selection.task(source, row)
    # The text may be written with other escapes in the file: read every row before giving up.
    known = set[str]()
    for source, row in selection.rows():
        names = selection.names(row)
        if problem_id in names:
            return selection.task(source, row)
        known.update(names)
    begun = {text for text in known if text.lower().startswith(problem_id.lower())}
    raise ProblemError(unknown(f"problem of {name}", problem_id, begun or known))


def load_tasks(
    dataset: str,
    *,
    data: Path | str | None = None,
    split: str | None = None,
    limit: int | None = None,
) -> Iterator[Task]:
    """Loads the problems of a data set, each when it is asked for.

    Args:
        dataset: A name such as `mbpp`, or a `.jsonl` or `.json` file.
        data: As for `load_task`.
        split: Of MBPP: `prompt`, `test`, `validation` or `train`, which are ranges of its ids.
        limit: At most so many, from the start.

    Raises:
        ProblemError: If there is no such data set, its data is not there, or a row cannot be used.
    """
    selection = _Selection(dataset, data, split)
    return (selection.task(source, row) for source, row in islice(selection.rows(), limit))


def task_ids(dataset: str, *, data: Path | str | None = None, split: str | None = None) -> Iterator[str]:
    """The ids of a data set's problems, in order, without building the problems.

    Args:
        dataset, data, split: As for `load_tasks`.

    Raises:
        ProblemError: If there is no such data set, or its data is not there.
    """
    selection = _Selection(dataset, data, split)
    return (selection.names(row)[0] for _, row in selection.rows() if selection.names(row))


def _split(address: str) -> tuple[str, str | None]:
    """The data set and the problem's id; the id is None where the address is a file alone."""
    name, colon, problem_id = address.partition(":")
    if colon and name in dataset_names():
        return name, problem_id.strip()
    match = _FILE.fullmatch(address)
    if match:
        return match["file"], match["id"]
    if name in dataset_names():
        raise ProblemError(f"{address!r} is a whole data set; name one of its problems, such as {name}:ID")
    if "/" in name or not colon:
        raise ProblemError(f"not a problem's address: {address!r}; write NAME:ID or FILE.jsonl:ID")
    raise ProblemError(unknown("data set", name, dataset_names()))


class _Selection:
    """A data set that was found: its rows, their names, and the tasks they make."""

    def __init__(self, name: str, data: Path | str | None, split: str | None = None) -> None:
        self._name = name
        self._dataset = DATASETS.get(name)
        self._read: Callable[[Any, str], Task] = self._dataset.read if self._dataset else self._read_plain
        self._data = data
        self._split = split
        if self._dataset is None and name != "demo" and not _FILE.fullmatch(name):
            raise ProblemError(unknown("data set", name, dataset_names()))
        known = self._dataset.splits if self._dataset else {}
        if split is not None and split not in known:
            raise ProblemError(unknown(f"split of {name}", split, known))

    def rows(self, containing: str | None = None) -> Iterator[RawRow]:
        """The rows of the split, with what a joined file adds."""
        if self._dataset is None:
            yield from read_rows(DEMO if self._name == "demo" else Path(self._name), containing)
            return
        folder = data_folder(self._data)
        files = find_files(folder, self._dataset.files) if folder else []
        if not files and not hub_available():
            raise ProblemError(_absent(self._name, self._dataset, folder))
        joined = self._joined(self._dataset, folder)
        sources = [read_rows(file, containing) for file in files] or [hub_rows(self._dataset.hub, containing)]
        for rows in sources:
            for source, row in rows:
                names = self.names(row)
                if self._in_split(names):
                    yield source, row | joined.get(names[0] if names else "", {})

    def names(self, row: Mapping[str, Any]) -> list[str]:
        """The ids a row answers to, the canonical one first; `HumanEval/31` also as `31`."""
        fields = self._dataset.id_fields if self._dataset else ("id",)
        names = [str(row[key]) for key in fields if isinstance(row.get(key), str | int)]
        numbers = [name.rpartition("/")[2] for name in names if re.fullmatch(r"\w+/\d+", name)]
        return list(dict.fromkeys([*names, *numbers]))

    def task(self, source: str, row: dict[str, Any]) -> Task:
        """The task of a row."""
        return self._read(row, source)

    def only_task(self) -> Task:
        """The task of a file that holds one problem."""
        rows = list(islice(self.rows(), 11))
        if len(rows) == 1:
            return self.task(*rows[0])
        names = ", ".join(name for _, row in rows[:10] for name in self.names(row)[:1])
        more = " and more" if len(rows) > 10 else ""
        found = f"several problems ({names}{more})" if rows else "no problem"
        raise ProblemError(f"{self._name} holds {found}; name one as {self._name}:ID")

    def _read_plain(self, row: Any, source: str) -> Task:
        return task_from_dict(row, source, prefix=f"{self._name}:", folder=Path(self._name).parent)

    def _in_split(self, names: list[str]) -> bool:
        if self._split is None or self._dataset is None:
            return True
        numbers = [int(name) for name in names if name.isdecimal()]
        return bool(numbers) and numbers[0] in self._dataset.splits[self._split]

    def _joined(self, dataset: Dataset, folder: Path | None) -> dict[str, dict[str, Any]]:
        files = find_files(folder, dataset.joined) if folder else []
        rows = (row for file in files for _, row in read_rows(file))
        return {names[0]: row for row in rows if (names := self.names(row))}


def _json_text(problem_id: str) -> str:
    """The id as it stands inside its row's JSON text."""
    return json.dumps(problem_id, ensure_ascii=False)[1:-1]


def _absent(name: str, dataset: Dataset, folder: Path | None) -> str:
    looked = ", ".join(dataset.files)
    where = (
        f"{str(folder)!r} has none of {looked} (or these with .gz)" if folder else "no data folder is named"
    )
    return (
        f"the data set {name!r} was not found: {where}; name the folder that has it with --data DIR or "
        f"{DATA_ENV}, or install what downloads it from the hub: pip install 'bdc-agents[hub]'"
    )
