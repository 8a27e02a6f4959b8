"""Overlap: finds problems that say the same as others, in the same run or in an evaluation set.

Two texts overlap if they share runs of words. Words are letters and digits in lower case, so layout
and punctuation do not matter. A text shorter than one run is compared whole: with texts as short, and
an evaluation problem also with all parts of a longer text. A text without words is compared by the id
of its problem alone. Each text is compared with every other; the largest share counts.
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
"""Words of a run for decontamination: the most that GPT-3's check takes (arXiv 2005.14165, appendix C)."""
CONTAINED = 0.1
"""Share of common runs from which a problem counts as contained. The stock phrases of contests stay
below it; copies of MBPP's test problems among its training problems begin at 0.2."""
SHINGLE = 5
"""Words of a run for near duplicates, as in NearDup (arXiv 2107.06499): a changed word breaks few of them."""
NEAR = 0.8
"""Share of common runs, of all runs of both, from which problems count as near duplicates: NearDup's limit
for the Jaccard index. NearDup then also compares edits; the texts here are short, and these runs exact."""
FEWEST_WORDS = 8
"""Words of a short text that is looked for within longer ones. Fewer collide by chance too often: it is the
least that GPT-3's check takes (appendix C)."""
_FEWEST_NODES = 40
"""Nodes of the syntax tree of a program that is compared: smaller ones are equal by chance. Chosen, not
measured."""
_WORD = re.compile(r"[^\W_]+")


class Overlap(Frozen):
    """The overlap of one problem with another.

    Args:
        problem: Id of the problem.
        other: Id of the other problem.
        why: `id`, `statement`, `words` or `program`.
        share: Share of the shorter text's runs of words that are in both; 1 for `id`, `statement`
            and `program`.
        example: A run that is in both.
    """

    problem: str
    other: str
    why: str
    share: float = 1.0
    example: str = ""


class Shared(NamedTuple):
    """What a text shares with a kept text.

    Args:
        name: Name of the kept text.
        contained: Common runs as a share of the shorter text's.
        alike: Common runs as a share of all runs of both.
        example: One common run.
    """

    name: str
    contained: float
    alike: float
    example: str


class Texts:
    """Keeps texts by name, and finds those that share runs of words with another text.

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
        """Keeps a text, as the hashes of its runs."""
        number, found = len(self._names), words(text)
        if FEWEST_WORDS <= len(found) < self._words:
            self._short.setdefault(hash(tuple(found[:FEWEST_WORDS])), set()).add(len(found))
        grams = {hash(gram) for gram in _runs(found, self._words)}
        self._names.append(name)
        self._sizes.append(len(grams))
        for gram in grams:
            self._where.setdefault(gram, []).append(number)

    def nearest(self, text: str, by: Literal["contained", "alike"] = "contained") -> Shared | None:
        """The kept text with the largest share, the first among equals; None if none shares a run."""
        return max(self._sharing(text), key=attrgetter(by), default=None)

    def _sharing(self, text: str) -> Iterator[Shared]:
        """Every kept text that shares a run, in the order they were kept."""
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
        """The parts of a text that begin like a kept text shorter than a run."""
        for start in range(len(found) - FEWEST_WORDS if self._short else 0):
            head = hash(tuple(found[start : start + FEWEST_WORDS]))
            for length in self._short.get(head, ()):
                yield tuple(found[start : start + length])


class Problems:
    """Remembers problems, and finds earlier ones that say the same."""

    def __init__(self) -> None:
        self._statements: dict[str, str] = {}
        self._texts = Texts(SHINGLE)

    def duplicate_of(self, problem: Problem) -> str | None:
        """The id of an earlier problem that says nearly the same; None if there is none, and keeps this one.

        A problem is no duplicate of itself: several traces may have its id.
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
        tasks: Their problems; reference programs count too.
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
        """How a problem, or one of its programs, overlaps one of the sets; None if nothing does."""
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
    """Loads the problems of named sets.

    Args:
        names: Sets such as `humaneval`, `mbpp:test` for one split, or a `.jsonl` file.
        data: Folder of the data sets.

    Raises:
        ProblemError: If there is no such set or split, or its data is missing.
    """
    return EvaluationSet(task for name in names for task in _tasks(name, data))


def _tasks(name: str, data: Path | str | None) -> Iterator[Task]:
    if name.endswith((".json", ".jsonl", ".gz")):
        return load_tasks(name, data=data)
    dataset, _, split = name.partition(":")
    return load_tasks(dataset, data=data, split=split or None)


def words(text: str) -> list[str]:
    """The words of a text in lower case, without layout and punctuation."""
    return _WORD.findall(text.lower())


def _key(problem: Problem) -> str:
    """A key that is equal for statements with the same words."""
    return " ".join(words(problem.statement)) or f"no words: {problem.statement}"


def program_key(code: str) -> str | None:
    """A hash that is equal for programs that differ only in comments, docstrings and layout.

    None for a program that does not parse, or is so short that others equal it by chance.
    """
    tree = parse(code)
    if tree is None or sum(1 for _ in ast.walk(tree)) < _FEWEST_NODES:
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
    """All runs of this many words, repeated ones too; a shorter text is one run."""
    for start in range(max(1, len(found) - length + 1) if found else 0):
        yield tuple(found[start : start + length])
