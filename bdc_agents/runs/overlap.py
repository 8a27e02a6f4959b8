"""Overlap: problems that say the same as others, in the same run or in an evaluation set.

Two texts overlap where they share runs of words. Words are letters and digits, in lower case, so
layout and punctuation do not matter. A text that is shorter than one run is compared as a whole, with
others as short, and an evaluation problem also with all parts of a longer text; one without any word,
only with the id of its problem. A text is compared with every other one: the largest share counts.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Literal, NamedTuple

from bdc_agents.data import load_tasks
from bdc_agents.syntax import parse
from bdc_agents.types import Frozen, Problem, Task, content_hash

WORDS = 13
"""Words of a run, for decontamination."""
CONTAINED = 0.1
"""Share of its runs from which a problem is contained; contests share less in stock phrases."""
SHINGLE = 5
"""Words of a run, for near duplicates."""
NEAR = 0.8
"""Share of all their runs that near duplicates have in common."""
SHORTEST = 8
"""Words of a text that is looked for within longer ones: shorter ones are common phrases."""
_SHORTEST = 40
"""Nodes of a syntax tree: shorter programs are the same by chance."""
_WORD = re.compile(r"[^\W_]+")


class Overlap(Frozen):
    """That a problem overlaps another one.

    Args:
        problem: Its id.
        other: The id of the other.
        why: `id`, `statement`, `words` or `program`.
        share: Of the runs of words of the shorter text, how many are in both; 1 for `id`,
            `statement` and `program`.
        example: One that is.
    """

    problem: str
    other: str
    why: str
    share: float = 1.0
    example: str = ""


class Shared(NamedTuple):
    """What a text shares with a kept one.

    Args:
        name: Of the kept text.
        contained: Share of the runs of the shorter text.
        alike: Share of the runs of both together.
        example: One run that they share.
    """

    name: str
    contained: float
    alike: float
    example: str


class Texts:
    """Texts by name, found again by the runs of words that they share with another text.

    Args:
        words: Length of a run.
    """

    def __init__(self, words: int = WORDS) -> None:
        self._words = words
        self._where: dict[int, list[int]] = {}
        self._names: list[str] = []
        self._sizes: list[int] = []
        self._short: dict[int, set[int]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def add(self, name: str, text: str) -> None:
        """Keeps a text; of its runs only the hashes."""
        number, found = len(self._names), words(text)
        if SHORTEST <= len(found) < self._words:
            self._short.setdefault(hash(tuple(found[:SHORTEST])), set()).add(len(found))
        grams = {hash(gram) for gram in _runs(found, self._words)}
        self._names.append(name)
        self._sizes.append(len(grams))
        for gram in grams:
            self._where.setdefault(gram, []).append(number)

    def nearest(self, text: str, by: Literal["contained", "alike"] = "contained") -> Shared | None:
        """The kept text with the largest share, of several the first; None where none shares a run."""
        return max(self._sharing(text), key=attrgetter(by), default=None)

    def _sharing(self, text: str) -> Iterator[Shared]:
        """Every kept text that shares a run, in the order in which they were kept."""
        found = words(text)
        grams = {hash(gram): gram for gram in _runs(found, self._words)}
        within = {hash(gram): gram for gram in self._within(found)}
        shared: dict[int, list[int]] = {}
        for key in (*grams, *within):
            for number in self._where.get(key, ()):
                shared.setdefault(number, []).append(key)
        for number, keys in sorted(shared.items()):
            count, size = len(keys), self._sizes[number]
            example = grams.get(keys[0]) or within[keys[0]]
            yield Shared(
                self._names[number],
                count / min(len(grams), size),
                count / (len(grams) + size - count),
                " ".join(example),
            )

    def _within(self, found: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The parts of a text that may be a kept one which is shorter than a run: they begin like it."""
        for start in range(len(found) - SHORTEST if self._short else 0):
            head = hash(tuple(found[start : start + SHORTEST]))
            for length in self._short.get(head, ()):
                yield tuple(found[start : start + length])


class Problems:
    """The problems that were seen, so that one that says the same is told from a new one."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        self._texts = Texts(SHINGLE)

    def duplicate_of(self, problem: Problem) -> str | None:
        """The id of an earlier problem that says nearly the same; else keeps this one.

        A problem is no duplicate of itself: other traces of the same id are not told apart.
        """
        key = _key(problem)
        exact = self._statements.get(key)
        if exact is not None:
            return exact if exact != problem.id else None
        found = self._texts.nearest(problem.statement, by="alike")
        if found and found.alike >= NEAR and found.name != problem.id:
            return found.name
        self._statements[key] = problem.id
        self._texts.add(problem.id, problem.statement)
        return None


class EvaluationSet:
    """The problems of evaluation sets, none of which may be trained on.

    Args:
        tasks: Their problems; a reference program, where one is known, counts too.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._ids: set[str] = set()
        self._statements: dict[str, str] = {}
        self._programs: dict[str, str] = {}
        self._texts = Texts(WORDS)
        for task in tasks:
            self._add(task)

    def __len__(self) -> int:
        return len(self._ids)

    def _add(self, task: Task) -> None:
        problem, reference = task.problem, task.hidden.reveal_reference()
        self._ids.add(problem.id)
        self._statements.setdefault(_key(problem), problem.id)
        self._texts.add(problem.id, problem.statement)
        program = program_key(reference) if reference else None
        if program:
            self._programs.setdefault(program, problem.id)

    def overlap(self, problem: Problem, *codes: str) -> Overlap | None:
        """How a problem, or one of its programs, overlaps one of the sets; None where none does."""
        if problem.id in self._ids:
            return Overlap(problem=problem.id, other=problem.id, why="id")
        same = self._statements.get(_key(problem))
        if same:
            return Overlap(problem=problem.id, other=same, why="statement")
        found = self._texts.nearest(problem.statement)
        if found and found.contained >= CONTAINED:
            share = round(found.contained, 3)
            return Overlap(
                problem=problem.id, other=found.name, why="words", share=share, example=found.example
            )
        for code in codes:
            if written := self._programs.get(program_key(code) or ""):
                return Overlap(problem=problem.id, other=written, why="program")
        return None


def evaluation_set(names: Iterable[str], data: Path | str | None = None) -> EvaluationSet:
    """The problems of named sets.

    Args:
        names: Such as `humaneval`, `mbpp:test` for one split, or a `.jsonl` file.
        data: Folder of the data sets.

    Raises:
        ProblemError: If there is no such set or split, or its data is not there.
    """
    return EvaluationSet(task for name in names for task in _tasks(name, data))


def _tasks(name: str, data: Path | str | None) -> Iterator[Task]:
    if name.endswith((".json", ".jsonl", ".gz")):
        return load_tasks(name, data=data)
    dataset, _, split = name.partition(":")
    return load_tasks(dataset, data=data, split=split or None)


def words(text: str) -> list[str]:
    """The words of a text, without case, layout and punctuation."""
    return _WORD.findall(text.lower())


def _key(problem: Problem) -> str:
    """What problems share whose statements have the same words."""
    return " ".join(words(problem.statement)) or f"no words: {problem.statement}"


def program_key(code: str) -> str | None:
    """A hash that programs share which differ in comments, docstrings and layout only.

    None for a program that does not parse, or is so short that others are the same by chance.
    """
    tree = parse(code)
    if tree is None or sum(1 for _ in ast.walk(tree)) < _SHORTEST:
        return None
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and _is_text(body[0]):
            node.body = body[1:] or [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]
    try:
        return content_hash(ast.unparse(tree))
    except RecursionError:
        return None


def _is_text(stmt: ast.AST) -> bool:
    return isinstance(stmt, ast.Expr) and isinstance(stmt.value, ast.Constant)


def _runs(found: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    """The runs of this many words, each as often as it stands there; all words where there are fewer."""
    for start in range(max(1, len(found) - length + 1) if found else 0):
        yield tuple(found[start : start + length])
