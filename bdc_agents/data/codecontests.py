"""CodeContests of DeepMind: reads the official rows, and rows with one Python solution each.

Time limits are those of the contest, which had compiled languages in mind: a Python program gets
`PYTHON_FACTOR` times as long, and never less memory than other problems do, since its objects are
larger. Hidden are the private and the generated tests. Where a contest read and wrote files, a
program finds its input under the file's name, and what it writes there is its output.

The official grader ignores letter case and whitespace everywhere, and takes numbers that differ by
less than 1e-5; here letter case and errors are free where the statement says so, since others count
on them: a program that prints "yes" for "YES" fails in the contest.
"""

from typing import Any

from bdc_agents.data.contest import Pairs, files_preamble, split_tests, stdin_checker, unjudged_tags
from bdc_agents.data.examples import stdin_examples
from bdc_agents.data.rows import Row, build_task, read_row
from bdc_agents.types import Limits, Task

PYTHON_FACTOR = 3.0
"""How many times a row's time limit, which was set for C++, a Python program gets. Chosen, not measured."""
LEAST_SECONDS = 3.0
"""CPU seconds that any program gets: starting the interpreter counts too."""
LONGEST_SECONDS = 100
LARGEST_MEMORY_MB = 65536
"""A limit above these is a mistake of the row; its problem gets the default instead."""
_PYTHON3 = 3  # The number of Python 3 among the languages of the data set.
_FIRST_LETTER = 7  # The number of A among the data set's difficulties; B, C and so on follow.
_LEVELS = {1: "easy", 2: "medium", 3: "hard", 4: "harder", 5: "hardest"}


class _TimeLimit(Row):
    seconds: int = 0
    nanos: int = 0


class _Solutions(Row):
    language: tuple[int, ...] = ()
    solution: tuple[str, ...] = ()


class _ContestRow(Row):
    name: str
    description: str
    id: str | None = None
    public_tests: Pairs = Pairs()
    private_tests: Pairs = Pairs()
    generated_tests: Pairs = Pairs()
    difficulty: int | None = None
    cf_tags: list[str] | None = None
    cf_rating: int | None = None
    cluster: int | None = None
    time_limit: _TimeLimit | None = None
    memory_limit_bytes: int | None = None
    input_file: str | None = None
    output_file: str | None = None
    solutions: _Solutions | None = None
    solution_python: str | None = None
    solution_passes_exact_match: bool | None = None


def codecontests_task(row: Any, source: str = "row") -> Task:
    """The task of one row of CodeContests.

    Tags are the row's `cf_tags`, then `rating:N` and `cluster:N` where they are known, and of
    `UNJUDGED`: `inexact` where the row's own solution does not print the expected text, mostly
    because several answers are right, and what the statement says.

    Args:
        row: Official, or with `id`, `cluster`, `solution_python` and `solution_passes_exact_match`.
        source: Where the row comes from; named in errors.

    Raises:
        ProblemError: If the row cannot be used.
    """
    fields = read_row(_ContestRow, row, source)
    tests = [*fields.private_tests.tests(), *fields.generated_tests.tests()]
    public, hidden = split_tests(tests, fields.public_tests.tests(), stdin_examples(fields.description))
    return build_task(
        source,
        hidden=hidden,
        reference=fields.solution_python or _python_solution(fields.solutions),
        id=f"codecontests:{fields.id or fields.name}",
        statement=fields.description.strip(),
        preamble=files_preamble(fields.input_file or "", fields.output_file or ""),
        public_tests=public,
        checker=stdin_checker(fields.description, public),
        limits=_limits(fields),
        difficulty=_difficulty(fields.difficulty),
        tags=_tags(fields),
    )


def _limits(fields: _ContestRow) -> Limits:
    chosen: dict[str, Any] = {}
    limit = fields.time_limit
    seconds = limit.seconds + limit.nanos / 1e9 if limit else 0.0
    if 0 < seconds <= LONGEST_SECONDS:
        chosen["cpu_seconds"] = max(LEAST_SECONDS, PYTHON_FACTOR * seconds)
    megabytes = (fields.memory_limit_bytes or 0) // 1_000_000
    if Limits().memory_mb < megabytes <= LARGEST_MEMORY_MB:
        chosen["memory_mb"] = megabytes
    return Limits(**chosen)


def _difficulty(code: int | None) -> str | None:
    """A contest letter such as `C`, or a level in words; the official file has numbers."""
    if code is not None and _FIRST_LETTER <= code < _FIRST_LETTER + 26:
        return chr(ord("A") + code - _FIRST_LETTER)
    return _LEVELS.get(code or 0)


def _tags(fields: _ContestRow) -> tuple[str, ...]:
    known = [
        (fields.cf_rating, f"rating:{fields.cf_rating}"),
        (fields.cluster is not None, f"cluster:{fields.cluster}"),
        (fields.solution_passes_exact_match is False, "inexact"),
    ]
    named = (*(tag for tag in fields.cf_tags or [] if tag), *(tag for holds, tag in known if holds))
    return tuple(dict.fromkeys((*named, *unjudged_tags(fields.description))))


def _python_solution(solutions: _Solutions | None) -> str | None:
    pairs = zip(solutions.language, solutions.solution, strict=False) if solutions else ()
    return next((code for language, code in pairs if language == _PYTHON3), None)
