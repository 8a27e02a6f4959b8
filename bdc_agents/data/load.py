"""Loads tasks by an address such as `mbpp:601`.

A row that cannot be used is named in a warning and left out of its data set; a request for that very
problem raises an error with the reason.
"""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from bdc_agents.data.catalog import DATASETS, Dataset, Hub
from bdc_agents.data.faults import Faults
from bdc_agents.data.files import (
    DATA_ENV,
    RawRow,
    data_folder,
    find_files,
    is_array,
    no_file,
    read_rows,
    row_of,
)
from bdc_agents.data.hub import hub_available, hub_files, hub_rows
from bdc_agents.data.index import Finder
from bdc_agents.data.jsonl import task_from_dict
from bdc_agents.data.lines import Line
from bdc_agents.data.shapes import shape_of
from bdc_agents.errors import ProblemError, unknown
from bdc_agents.types import Task

log = logging.getLogger(__name__)

DEMO = Path(__file__).with_name("demo.jsonl")
NAMED_ROWS = 5
"""Unusable rows that are named one by one; of further ones only the number is reported."""
_ALONE = 11
"""Rows that are looked at where one alone is meant."""
_COMPARED = 2000
"""Ids that an unknown id is compared with to find similar ones; all of a large set would take seconds."""

_LONGEST_NUMBER = 100
"""Digits of an id that is a number: beyond any id, and far from the thousands that Python refuses."""

_FILE = re.compile(r"(?P<file>.+?\.jsonl?(?:\.gz)?)(?::(?P<id>.*))?", re.DOTALL)


def dataset_names() -> tuple[str, ...]:
    """The names of data sets that addresses may start with."""
    return ("demo", *DATASETS)


def load_task(address: str, *, data: Path | str | None = None) -> Task:
    """Loads one problem with its hidden tests; of a large file only its row is read.

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
    return selection.task(selection.find(problem_id))


def load_tasks(
    dataset: str,
    *,
    data: Path | str | None = None,
    split: str | None = None,
    limit: int | None = None,
    ids: Iterable[str] | None = None,
    on_left_out: Callable[[str, str], None] | None = None,
) -> Iterator[Task]:
    """Loads the problems of a data set, each when it is asked for.

    A row that cannot be used is left out, and named in a warning where `on_left_out` is not told of it.

    Args:
        dataset: A name such as `mbpp`, or a `.jsonl` or `.json` file.
        data: Folder of the data sets, as for `load_task`.
        split: A split: for MBPP `prompt`, `test`, `validation` or `train`, which are ranges of ids; for
            LeetCode `test` or `train`.
        limit: The most problems, from the start.
        ids: Only the problems with these ids, in the order of the data set; no other row is read.
        on_left_out: Called for each row that cannot be used with where it stands and why.

    Raises:
        ProblemError: If there is no such data set or problem, its data is not there, none of its rows
            can be used, or two of a file have the same id.
    """
    selection = _Selection(dataset, data, split, on_left_out)
    return islice(selection.tasks(selection.rows() if ids is None else selection.found(ids)), limit)


def task_ids(dataset: str, *, data: Path | str | None = None, split: str | None = None) -> Iterator[str]:
    """The ids of a data set's problems, in order, without building the problems.

    Args:
        dataset, data, split: As for `load_tasks`.

    Raises:
        ProblemError: If there is no such data set, or its data is not there.
    """
    return (names[0] for names in task_names(dataset, data=data, split=split))


def task_names(
    dataset: str, *, data: Path | str | None = None, split: str | None = None
) -> Iterator[tuple[str, ...]]:
    """As `task_ids`, with the other names that each problem answers to, such as its number."""
    selection = _Selection(dataset, data, split)
    rows = (item for item in selection.rows() if not isinstance(item, ProblemError))
    return (tuple(names) for _, row in rows if (names := selection.names(row)))


def has_task(dataset: str, problem_id: str, *, data: Path | str | None = None) -> bool:
    """Whether a data set has a problem of this id; whether its row can be used is another question.

    Raises:
        ProblemError: If there is no such data set, its data is not there, or two rows have this id.
    """
    return bool(_Selection(dataset, data).lookup(problem_id))


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
    if not colon and not (name.startswith("/dev/") or Path(name).suffix or _folder_instead(name)):
        raise ProblemError(f"not a problem's address: {address!r}; write NAME:ID or FILE.jsonl:ID")
    raise ProblemError(_unknown_set(name))


def _unknown_set(name: str) -> str:
    if folder := _folder_instead(name):
        return folder
    names = ", ".join(dataset_names())
    ends = "files of your own end in .jsonl or .json, or these with .gz"
    if name.startswith("/dev/"):
        return (
            f"{name!r} is a pipe or a device, and problems are read more than once: write them to a file; "
            "bdc solve - reads one problem from stdin"
        )
    if "/" in name or Path(name).suffix or name == "-":
        return f"{name!r} is no file of problems; {ends}"
    near = get_close_matches(name, dataset_names(), cutoff=0.5)
    meant = f"did you mean {', '.join(near)}?" if near else f"the data sets are {names};"
    return f"unknown data set {name!r}; {meant} {ends[0].upper() if near else ends[0]}{ends[1:]}"


def _folder_instead(name: str) -> str:
    """That a name is a folder's, and which files of problems there are in it; empty if it is none."""
    try:
        if not Path(name).is_dir():
            return ""
        found = sorted(str(file) for file in Path(name).iterdir() if _FILE.fullmatch(file.name))
    except (OSError, ValueError):  # one that may not be read, a NUL
        return ""
    held = [file for file in found if not file.endswith(("trace.jsonl", "run.json"))][:_FILES_NAMED]
    named = f", such as {', '.join(held)}" if held else ""
    return f"{name!r} is a folder; name a file of problems{named}"


_FILES_NAMED = 3


class _Found(NamedTuple):
    """A row that was looked up: where it comes in its data set, what names it, and what it holds."""

    order: tuple[int, int]
    source: str
    row: dict[str, Any]


class _Selection:
    """A data set that was found: its rows, their names, and the tasks they make."""

    def __init__(
        self,
        name: str,
        data: Path | str | None,
        split: str | None = None,
        on_left_out: Callable[[str, str], None] | None = None,
    ) -> None:
        self._name = name
        self._on_left_out = on_left_out
        self._dataset = DATASETS.get(name)
        self._read: Callable[[Any, str], Task] = self._dataset.read if self._dataset else self._read_plain
        self._data = data
        if self._dataset is None and name != "demo" and not _FILE.fullmatch(name):
            raise ProblemError(_unknown_set(name))
        known = self._dataset.splits if self._dataset else {}
        if split is not None and split not in known:
            raise ProblemError(unknown(f"split of {name}", split, known))
        self._split = known[split] if split is not None else None

    # --- rows -----------------------------------------------------------------------------------

    def rows(self) -> Iterator[RawRow | ProblemError]:
        """The rows of the split, with what a joined file adds; an error for one that cannot be read."""
        sources = map(read_rows, self._files) if self._files else [self._hub_rows()]
        for rows in sources:
            for item in rows:
                if isinstance(item, ProblemError):
                    yield item
                elif self._in_split(self.names(item[1])):
                    yield item[0], self._joined(item[1])

    def names(self, row: Mapping[str, Any]) -> list[str]:
        """The ids a row answers to, the canonical one first; `HumanEval/31` also as `31`."""
        fields = self._dataset.id_fields if self._dataset else ("id",)
        found = (_field(row, key) for key in fields)
        names = [name for value in found if (name := _name(value)) is not None]
        numbers = [name.rpartition("/")[2] for name in names if re.fullmatch(r"\w+/\d+", name)]
        return list(dict.fromkeys([*names, *numbers]))

    def lookup(self, problem_id: str) -> list[_Found]:
        """The rows of this id, or else those that have it as another name.

        Raises:
            ProblemError: If two rows of a file of the user's own have this id.
        """
        files = enumerate(self._files)
        found = [one for order, file in files for one in self._in_file(order, file, problem_id)]
        if not self._files:
            found = list(islice(self._in_rows(0, self._hub_rows(), problem_id), 1))
        found = [one for one in found if self.names(one.row)[0] == problem_id] or found
        if len(found) > 1 and self._dataset is None:
            raise ProblemError(_twice(problem_id, found[0].source, found[1].source))
        return found[:1]

    def find(self, problem_id: str) -> RawRow:
        """The row of a problem.

        Raises:
            ProblemError: If there is none.
        """
        [found] = self.lookup(problem_id) or [self._not_found(problem_id)]
        return found.source, self._joined(found.row)

    def _not_found(self, problem_id: str) -> NoReturn:
        known: dict[str, None] = {}
        unread: list[ProblemError] = []
        for item in self.rows():
            if isinstance(item, ProblemError):
                unread.append(item)
            else:
                known |= dict.fromkeys(self.names(item[1]))
        raise ProblemError(_unknown_problem(self._name, problem_id, known) + _perhaps(unread))

    def found(self, ids: Iterable[str]) -> Iterator[RawRow]:
        """The rows of these problems, in their order.

        Raises:
            ProblemError: If there is none of one of these ids.
        """
        rows: dict[tuple[int, int], RawRow] = {}
        wanted = list(dict.fromkeys(ids))
        at_once = self._in_one_pass(wanted) if not self._files else {}
        for problem_id in wanted:
            looked_up = at_once.get(problem_id) or self.lookup(problem_id)
            for order, source, row in looked_up or [self._not_found(problem_id)]:
                if self._in_split(self.names(row)):
                    rows[order] = source, row
        return ((source, self._joined(row)) for _, (source, row) in sorted(rows.items()))

    def _in_one_pass(self, ids: Iterable[str]) -> dict[str, list[_Found]]:
        """The rows of these ids from the hub, whose rows may come over the network each time."""
        left, found = set(ids), dict[str, list[_Found]]()
        for number, (source, row) in enumerate(self._hub_rows()):
            for name in left.intersection(self.names(row)[:1]):
                found[name] = [_Found((0, number), source, row)]
            left -= found.keys()
            if not left:
                break
        return found

    @cached_property
    def _files(self) -> list[Path]:
        """The files that hold the rows; none where the hub hands them out one by one."""
        if self._dataset is None:
            return [DEMO if self._name == "demo" else Path(self._name)]
        files = find_files(self._folder, self._dataset.files) if self._folder else []
        if not files and not hub_available():
            raise ProblemError(_absent(self._name, self._dataset, self._folder))
        files = files or hub_files(self._dataset.hub)
        # Of a split that is a file's, the other files need not be read.
        return [file for file in files if not isinstance(self._split, str) or self._split in file.name]

    @cached_property
    def _folder(self) -> Path | None:
        return data_folder(self._data)

    @cached_property
    def _joined_files(self) -> list[Path]:
        return find_files(self._folder, self._dataset.joined) if self._dataset and self._folder else []

    def _joined(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with what a joined file says of it."""
        for name in self.names(row)[:1]:
            for one in (one for file in self._joined_files for one in self._in_file(0, file, name)):
                row = row | one.row
        return row

    def _in_file(self, order: int, file: Path, name: str) -> Iterator[_Found]:
        if is_array(file):
            yield from self._in_rows(order, read_rows(file), name)
            return
        kind = ",".join(self._dataset.id_fields if self._dataset else ("id",))
        try:
            rows = Finder(file, lambda line: _row(line, file), self.names, kind).find(name)
        except FileNotFoundError:
            raise ProblemError(no_file(file)) from None
        except OSError as error:
            raise ProblemError(f"{file}: cannot be read: {error}") from None
        for where, row in rows:
            yield _Found((order, where.number), f"{file}:{where.number}", row)

    def _in_rows(self, order: int, rows: Iterable[RawRow | ProblemError], name: str) -> Iterator[_Found]:
        for number, item in enumerate(rows):
            if not isinstance(item, ProblemError) and name in self.names(item[1]):
                yield _Found((order, number), *item)

    def _hub_rows(self) -> Iterator[RawRow]:
        if self._dataset is None:
            return iter(())
        hub: Hub = self._dataset.hub
        return hub_rows(replace(hub, split=self._split) if isinstance(self._split, str) else hub)

    def _in_split(self, names: list[str]) -> bool:
        if not isinstance(self._split, range):
            return True
        numbers = [int(name) for name in names if name.isdecimal() and len(name) < 19]
        return bool(numbers) and numbers[0] in self._split

    # --- tasks ----------------------------------------------------------------------------------

    def task(self, found: RawRow) -> Task:
        """The task of a row.

        Raises:
            ProblemError: If the row cannot be used.
        """
        source, row = found
        try:
            return self._read(row, source)
        except ProblemError:
            raise
        # Rows come from outside, and an adapter reaches into fields of any type: a KeyError, TypeError or
        # RecursionError that it did not think of is the row's fault, and must not cost the other rows.
        except Exception as error:
            raise ProblemError(f"{source}: cannot be used: {type(error).__name__}: {error!s:.200}") from error

    def tasks(self, rows: Iterable[RawRow | ProblemError]) -> Iterator[Task]:
        """The tasks of those rows that can be used; the others are named.

        Raises:
            ProblemError: If there are rows and none can be used, or two of a file have the same id.
        """
        left_out, untold = 0, list[ProblemError]()
        faults = Faults()
        sources: dict[str, str] = {}
        twice = False
        for item in rows:
            task, source = self._usable(item), "" if isinstance(item, ProblemError) else item[0]
            if isinstance(task, ProblemError):
                left_out += 1
                faults.add(*_placed(task))
                if left_out <= NAMED_ROWS and not self._on_left_out:
                    untold.append(task)
                if self._on_left_out:
                    self._on_left_out(*_placed(task))
                elif sources:
                    _warn_all(untold)
                continue
            _warn_all(untold)  # nothing is told before: if no row can be used, that is an error
            name = task.problem.id
            if name in sources and self._dataset is None:
                # No further task comes, and whoever mends the file wants to know all that is wrong in it.
                twice = True
                faults.add("", _twice(name.removeprefix(f"{self._name}:"), sources[name], source))
                continue
            if name in sources:
                _warn_all([ProblemError(_twice(name, sources[name], source))])
                continue
            sources[name] = source
            if not twice:
                yield task
        if twice or (left_out and not sources):
            raise ProblemError(f"{faults}{'' if twice else self._shape()}")
        if left_out > NAMED_ROWS and not self._on_left_out:
            log.warning("%s: %d more rows are left out", self._name, left_out - NAMED_ROWS)

    def _usable(self, item: RawRow | ProblemError) -> Task | ProblemError:
        """The task of a row, or why it makes none."""
        try:
            return item if isinstance(item, ProblemError) else self.task(item)
        except ProblemError as error:
            return error

    def _shape(self) -> str:
        """What the caller's own file seems to be, where no row of it can be used."""
        if self._dataset or self._name == "demo":
            return ""
        found = shape_of(Path(self._name))
        return f"; {found}" if found else ""

    def only_task(self) -> Task:
        """The task of a file that holds one problem."""
        items = list(islice(self.rows(), _ALONE))
        rows = [item for item in items if not isinstance(item, ProblemError)]
        if len(items) > len(rows):  # whether one that cannot be read is meant, nobody knows
            faults = Faults()
            for item in items:
                if isinstance(fault := self._usable(item), ProblemError):
                    faults.add(*_placed(fault))
            raise ProblemError(f"{faults}{'' if rows else self._shape()}")
        if len(rows) == 1:
            return self.task(rows[0])
        if not rows:
            raise ProblemError(f"{self._name} holds no problem: it is empty{self._shape()}")
        names = ", ".join(name for _, row in rows[:10] for name in self.names(row)[:1])
        more = " and more" if len(rows) > 10 else ""
        raise ProblemError(
            f"{self._name} holds several problems ({names}{more}); name one as {self._name}:ID"
        )

    def _read_plain(self, row: Any, source: str) -> Task:
        return task_from_dict(row, source, prefix=f"{self._name}:", folder=Path(self._name).parent)


def _row(line: Line, file: Path) -> dict[str, Any] | None:
    item = row_of(line, file)
    return None if isinstance(item, ProblemError) else item[1]


def _name(value: Any) -> str | None:
    """An id as a text; None for what is none, such as a number that Python refuses to write out."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**_LONGEST_NUMBER:
        return str(value)
    return value if isinstance(value, str) else None


def _field(row: Mapping[str, Any], key: str) -> Any:
    """The value of a field, or of one within another."""
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


# --- what is told -------------------------------------------------------------------------------------


def _warn_all(untold: list[ProblemError]) -> None:
    """Warns of rows that are left out, each once."""
    for error in untold:
        log.warning("left out: %s", str(error).splitlines()[0])
    untold.clear()


def _placed(error: ProblemError) -> tuple[str, str]:
    """Where a row stands, and why it cannot be used: its errors begin with its place, such as `a.jsonl:3`."""
    text = str(error)
    place, _, reason = text.partition(": ")
    return (place, reason.replace(f"\n{place}: ", "\n")) if reason else ("", text)


def _twice(name: str, first: str, second: str) -> str:
    return f"{first} and {second} have the same id {name!r}; give each problem one of its own"


def _unknown_problem(dataset: str, problem_id: str, names: Iterable[str]) -> str:
    """That there is no such problem, and those that come nearest."""
    known = [*names]
    begun = [text for text in known if text.lower().startswith(problem_id.lower())] if problem_id else []
    numbers = sorted(int(text) for text in known if text.isdecimal() and len(text) < 19)
    if not begun and numbers and problem_id.isdecimal() and len(problem_id) < 19:
        near = sorted(sorted(numbers, key=lambda number: abs(number - int(problem_id)))[:3])
        told = ", ".join(map(str, near))
        return (
            f"unknown problem of {dataset} {problem_id!r}: its numbers go from {numbers[0]} to "
            f"{numbers[-1]}; the nearest are {told}"
        )
    return unknown(f"problem of {dataset}", problem_id, begun or _alike(problem_id, known))


def _alike(text: str, known: list[str]) -> list[str]:
    """The names that are worth comparing: all of few, of many those that share a word or the beginning."""
    if len(known) <= _COMPARED:
        return known
    words = [word for word in re.split(r"[\W_]+", text.lower()) if len(word) > 2]
    starts = text[:3].lower()
    lower = ((name, name.lower()) for name in known)
    shared = [name for name, low in lower if low.startswith(starts) or any(word in low for word in words)]
    return shared[:_COMPARED] or known[:_COMPARED]


def _perhaps(unread: list[ProblemError]) -> str:
    """That a row which cannot be read may be the one that is looked for."""
    if not unread:
        return ""
    more = f" (and {len(unread) - 1} more)" if len(unread) > 1 else ""
    return f"; one row that cannot be read may be it: {unread[0]}{more}"


def _absent(name: str, dataset: Dataset, folder: Path | None) -> str:
    looked = ", ".join(dataset.files)
    where = (
        f"{str(folder)!r} has none of {looked} (or these with .gz)" if folder else "no data folder is named"
    )
    return (
        f"the data set {name!r} was not found: {where}; name the folder that has it with --data DIR or "
        f"{DATA_ENV} ({dataset.origin}), or install what downloads it from the hub: "
        "pip install 'bdc-agents[hub]'"
    )
