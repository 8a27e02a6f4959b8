"""Problems, their public tests, and the hidden ones that score a solution afterwards."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field

from bdc_agents.errors import ProblemError
from bdc_agents.types.base import Frozen


class StdinTest(Frozen):
    """A run of the whole program: text in on stdin, text out on stdout."""

    kind: Literal["stdin"] = "stdin"
    stdin: str
    expected: tuple[str, ...] = Field(min_length=1)
    """Accepted outputs; one match is enough."""


class CallTest(Frozen):
    """An expression over the program's functions and the values it may have.

    The value leaves the sandbox and is compared outside the hostile process.
    """

    kind: Literal["call"] = "call"
    call: str
    """A Python expression, such as `add(1, 2)`."""
    expected: tuple[str, ...] = Field(min_length=1)
    """Accepted values as Python literals; one match is enough."""
    setup: str = ""
    """Code run after the program and before the call."""


class ScriptTest(Frozen):
    """Test code that passes when it runs to its end without an exception.

    For data sets whose own semantics are code: HumanEval's `check`, MBPP's general asserts.
    """

    kind: Literal["script"] = "script"
    code: str


TestCase = Annotated[StdinTest | CallTest | ScriptTest, Field(discriminator="kind")]


class Checker(Frozen):
    """How an output or a value is compared with an accepted one.

    `exact` compares text as it is; `lines` ignores trailing blanks and final newlines; `tokens`
    ignores all differences in whitespace.

    Args:
        tolerance: How far numbers may be apart.
        error: What is held against the tolerance: the difference, its ratio to the larger number, or
            `either`, where one of them within it is enough; of two whole numbers always the
            difference, unless the ratio is named, since no large one may be wrong by thousands.
        any_case: Words, in lower case, that may be printed in any letter case.
    """

    text: Literal["exact", "lines", "tokens"] = "tokens"
    tolerance: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    error: Literal["either", "absolute", "relative"] = "either"
    any_case: tuple[str, ...] = ()


WALL_PER_CPU = 20
"""Wall seconds for each second of CPU time: a program may get a twentieth of a processor, and still end."""


def _generous_wall(given: dict[str, Any]) -> float:
    return WALL_PER_CPU * given["cpu_seconds"]


class Limits(Frozen):
    """What one program may use; times in seconds, sizes in megabytes and bytes.

    CPU time decides. Wall time depends on what else the machine does, so there is much more of it: by
    default twenty times as much. A program that only waits is ended as soon as it has waited for as long
    as it might have worked.
    """

    cpu_seconds: float = Field(default=6.0, gt=0, le=600)
    """For each test."""
    wall_seconds: float = Field(default_factory=_generous_wall, gt=0, le=600 * WALL_PER_CPU)
    """For each test; where it is not given, it follows from `cpu_seconds`."""
    memory_mb: int = Field(default=512, ge=32, le=65536)
    """What the program takes into use on top of the interpreter; address space that it reserves is free."""
    output_bytes: int = Field(default=1_000_000, ge=1024, le=100_000_000)
    processes: int = Field(default=1, ge=1, le=256)


UNJUDGED: dict[str, str] = {
    "interactive": "the program talks to a judge that is not there",
    "any-answer": "other answers than the expected ones are right, too",
    "inexact": "the known solution does not give the expected answer, mostly since several are right",
}
"""Tags of problems whose tests may fail a right program, and why. What passes is right all the same,
but for interactive ones."""


class Problem(Frozen):
    """A programming problem as the search sees it: without its hidden tests.

    Args:
        id: Its address, such as `humaneval:HumanEval/31`.
        statement: The task in words; shown to the agents.
        entry_point: The function to write; None where the program reads stdin and prints.
        starter_code: Code shown to the agents as a start, such as a signature and docstring.
        preamble: Code that runs before every program, such as the imports of the starter code.
        public_tests: Tests the search may run and show; their pass rate is the reward.
        difficulty, tags: Labels for reports; never part of a prompt.
    """

    id: str = "problem"
    statement: str = Field(min_length=1)
    entry_point: str | None = None
    starter_code: str = ""
    preamble: str = ""
    public_tests: tuple[TestCase, ...] = ()
    checker: Checker = Checker()
    limits: Limits = Limits()
    difficulty: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def unjudged(self) -> tuple[str, ...]:
        """Its tags of `UNJUDGED`: with any, a failed test does not show that a program is wrong."""
        return tuple(tag for tag in self.tags if tag in UNJUDGED)


class HiddenTests:
    """The tests that score a solution afterwards, and the reference program where one is known.

    Deliberately not a pydantic model: it has no dump, its repr shows only a count, and pickling
    is refused, so it cannot enter a state, a prompt, a trace or a log. Only scoring reveals it.
    """

    __slots__ = ("_cases", "_reference")

    def __init__(self, cases: Iterable[TestCase] = (), reference: str | None = None) -> None:
        self._cases = tuple(cases)
        self._reference = reference

    def reveal(self) -> tuple[TestCase, ...]:
        """The tests themselves; for scoring only, as a test of the code base checks."""
        return self._cases

    def reveal_reference(self) -> str | None:
        """A program known to be right; for checking the data only."""
        return self._reference

    def __len__(self) -> int:
        return len(self._cases)

    def __repr__(self) -> str:
        return f"<HiddenTests: {len(self)}>"

    def __reduce__(self) -> NoReturn:
        raise ProblemError("hidden tests are never pickled; load the task again by its address")


class Task(BaseModel):
    """A problem together with the hidden tests that score its solutions."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    problem: Problem
    hidden: HiddenTests = Field(default_factory=HiddenTests, exclude=True, repr=False)
