"""`Problem` with its public tests, `Task` with the hidden tests that score a solution, limits, checkers."""

import ast
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, NoReturn, Self, cast

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)

from bdc_agents.errors import ProblemError, unknown
from bdc_agents.syntax import PARSE_ERRORS, syntax_fault, syntax_tree
from bdc_agents.types.base import Frozen, Given, with_suggestions
from bdc_agents.types.program import content_hash
from bdc_agents.types.tests import CallTest, ScriptTest, StdinTest, TestCase
from bdc_agents.types.written.entry_point import is_entry_point
from bdc_agents.types.written.fields import COMPARISONS, read_fields, unknown_field

__all__ = [
    "UNJUDGED",
    "WALL_PER_CPU",
    "CallTest",
    "Checker",
    "HiddenTests",
    "Limits",
    "Problem",
    "ScriptTest",
    "StdinTest",
    "Task",
    "TestCase",
]


LONGEST_CHECKER = 100_000
"""Most characters of a checker's code, which is part of every checkpoint and trace of its problem."""

_CHECKERS = (
    'write "tokens", "lines" or "exact", an object such as {"tolerance": 1e-6}, the address of a function '
    'beside the problem\'s file, such as "check.py:check", or Python code that defines '
    "check(stdin, printed, expected)"
)
_NO_CHECKER = f"not a checker: {_CHECKERS}"
_CHECKER_FILE = re.compile(r"[^\n(){}\[\]]+\.py(?::\w+)?")


class Checker(Given):
    """How an output or a value is compared with an accepted one.

    `exact` compares text as it is; `lines` ignores trailing blanks and final newlines; `tokens`
    ignores all differences in whitespace.

    Args:
        tolerance: How far numbers may be apart.
        error: Which error the tolerance bounds: the difference (`absolute`), its ratio to the larger
            number (`relative`), or `either`, if one of them suffices. With `either`, whole numbers are
            compared by their difference, since a large one must not be wrong by thousands.
        any_case: Words, in lower case, that may be printed in any letter case.
        code: The problem's own checker, for programs on stdin: Python code that defines
            `check(stdin, printed, expected)`, which returns True, False, or a sentence on what is wrong.
            It runs in the sandbox and decides alone; nothing above counts then.
        function: Name of the function in `code`.
    """

    text: Literal["exact", "lines", "tokens"] = "tokens"
    tolerance: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    error: Literal["either", "absolute", "relative"] = "either"
    any_case: tuple[str, ...] = ()
    code: str = Field(default="", max_length=LONGEST_CHECKER)
    function: str = "check"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, str):
            if not isinstance(given, Mapping | cls):
                raise ValueError(_NO_CHECKER)
            return cast(Any, given)
        if given in COMPARISONS:
            return {"text": given}
        if _CHECKER_FILE.fullmatch(given.strip()):
            raise ValueError(
                f"the file {given.strip()!r} is read only where the problem comes from a file beside "
                'or above it; give the code itself here: {"code": "def check(stdin, printed, expected): ..."}'
            )
        if "def " not in given:
            near = get_close_matches(given, COMPARISONS, n=1)
            meant = f'not a checker; did you mean "{near[0]}"? Else {_CHECKERS}' if near else ""
            raise ValueError(meant or _NO_CHECKER)
        return checker_of(given)

    @model_validator(mode="after")
    def _check(self) -> "Checker":
        defined = _functions(self.code) if self.code else []
        if self.code and self.function not in defined:
            if get_close_matches(self.function, defined):
                raise ValueError(unknown("function of the checker", self.function, defined))
            others = f", but {', '.join(defined[:3])}; name that one, or" if defined else ";"
            raise ValueError(
                f"the checker's code defines no function {self.function!r}{others} write "
                f"def {self.function}(stdin, printed, expected): ..., which returns True, or False or a "
                "sentence on what is wrong"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Problems without a checker of their own are hashed, and read by older versions, as before.
        fields = write(self)
        return fields if self.code else {k: v for k, v in fields.items() if k not in ("code", "function")}


def checker_of(code: str, function: str = "") -> dict[str, str]:
    """The fields of a problem's own checker.

    Args:
        code: The code that defines it.
        function: Its name; without one `check`, or the only function there is.
    """
    defined = _functions(code)
    only = defined[0] if len(defined) == 1 else "check"
    return {"code": code, "function": function or ("check" if "check" in defined else only)}


def _functions(code: str) -> list[str]:
    try:
        tree = syntax_tree(code)
    except SyntaxError:
        raise ValueError(f"the checker's code has a syntax error: {syntax_fault(code)}") from None
    except PARSE_ERRORS:
        raise ValueError(_NO_CHECKER) from None
    return [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]


WALL_PER_CPU = 20
"""Wall seconds for each second of CPU time: on a busy machine a program may get a twentieth of a core."""


def _generous_wall(given: dict[str, Any]) -> float:
    return WALL_PER_CPU * given["cpu_seconds"]


class Limits(Given):
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
    """What the program prints, and what the value of a call takes when it is sent."""
    processes: int = Field(default=1, ge=1, le=256)
    """Processes at once; threads count where there may be several."""


UNJUDGED: dict[str, str] = {
    "interactive": "the program talks to a judge that is not there",
    "any-answer": "other answers than the expected ones are right, too",
    "inexact": "the known solution does not give the expected answer, mostly since several are right",
}
"""Tags of problems whose tests may fail a right program, and why. What passes is right all the same,
but for interactive ones."""


def _as_it_is(given: Any) -> Any:
    """What is read elsewhere, so that the schema can tell every form of it."""
    return given


Written = Annotated[
    tuple[TestCase, ...],
    BeforeValidator(_as_it_is, json_schema_input_type=list[TestCase | str | list[Any] | dict[str, Any]]),
]
"""Tests, read before by `written.fields`; in the schema every form that they may have."""


class Problem(Frozen):
    """A programming problem as the search sees it: without its hidden tests.

    Tests may be given in every form that a file may have: see docs/problems.md.

    Args:
        id: Its address, such as `humaneval:HumanEval/31`.
        statement: The task in words; shown to the agents.
        entry_point: The function to write, or the method as in `Solution().two_sum`; None where the program
            reads stdin and prints. Where it is left out, it is what the tests call.
        starter_code: Code shown to the agents as a start, such as a signature and docstring.
        preamble: Code that runs before every program, such as the imports of the starter code.
        public_tests: Tests the search may run and show; their pass rate is the reward.
        difficulty, tags: Labels for reports; never part of a prompt.
    """

    id: str = "problem"
    """A short name; in a file, unique there."""
    statement: str = Field(min_length=1)
    """The task in words."""
    entry_point: str | None = None
    """The function to write, or the method as in `Solution().two_sum`; taken from the tests where it is left
    out."""
    starter_code: str = ""
    """A signature or other code to start from."""
    preamble: str = ""
    """Code that runs before every program."""
    public_tests: Written = ()
    """Tests that the search may run and show."""
    checker: Annotated[Checker, BeforeValidator(_as_it_is, json_schema_input_type=Checker | str)] = Checker()
    """How outputs and values are compared."""
    limits: Limits = Limits()
    """What one program may use."""
    difficulty: Annotated[str, Field(coerce_numbers_to_str=True)] | None = None
    """A label for reports."""
    tags: tuple[str, ...] = ()
    """Labels for reports."""

    @model_validator(mode="wrap")
    @classmethod
    def _suggest(cls, given: Any, read: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return read(given)
        except ValidationError as error:
            raise with_suggestions(error, cls.model_fields, unknown_field) from None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        for name in ("hidden_tests", "reference"):
            if name in given and name not in cls.model_fields:
                raise ValueError(
                    f"{name}: no search may see them, so they are no part of a problem; leave them out, or "
                    "put the problem into a file, whose hidden tests score what a search has found"
                )
        return read_fields(cast("Mapping[str, Any]", given), cls.__name__, cls.model_fields)

    @field_validator("entry_point")
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and not is_entry_point(name):
            raise ValueError(
                'not a function\'s name; write it alone, such as "add", or for a method "Solution().two_sum"'
            )
        return name

    @property
    def defines(self) -> str | None:
        """The name that a program must define: the entry point, or the class whose method that is."""
        return self.entry_point and re.split(r"[.(]", self.entry_point)[0]

    @property
    def is_class(self) -> bool:
        """Whether the entry point is a class, as starter code or a name in capital words says."""
        name = self.entry_point or ""
        stated = re.search(rf"^class {re.escape(name)}\b", self.starter_code, re.MULTILINE)
        return bool(name) and (
            stated is not None or re.fullmatch(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*", name) is not None
        )

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

    def digest(self) -> str:
        """A hash that tells whether they were edited, and nothing of what they are; empty without any."""
        return content_hash(repr([case.model_dump() for case in self._cases])) if self._cases else ""

    def __len__(self) -> int:
        return len(self._cases)

    def __repr__(self) -> str:
        return f"<HiddenTests: {len(self)}>"

    def __reduce__(self) -> NoReturn:
        raise ProblemError("hidden tests are never pickled; load the task again by its address")


class Task(BaseModel):
    """A problem together with the hidden tests that score its solutions.

    Args:
        warnings: What a person should know of the problem before it is searched, one line each.
        names: Names of the tests where they were written, the public ones first; tests without a name are
            called by their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    problem: Problem
    hidden: HiddenTests = Field(default_factory=HiddenTests, exclude=True, repr=False)
    warnings: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
