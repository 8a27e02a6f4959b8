"""`Program`, and the `Verdict` of running it on tests."""

from hashlib import sha256
from typing import ClassVar, Literal

from pydantic import Field

from bdc_agents.types.base import Count, Frozen, Number

Outcome = Literal["passed", "wrong", "error", "timeout", "memory", "output", "killed"]
"""Of one test; see `TestResult`."""
ProgramOutcome = Literal["error", "wrong", "part", "pass"]
"""Of a program, the worst first: none of its tests gave a result; none the right one; some did; all."""


class TestResult(Frozen):
    """The result of one test of a program; texts are trimmed to a budget.

    Args:
        outcome: `wrong` is a value or output that differs; `error` an exception; `timeout`,
            `memory` and `output` name the limit that was passed; `killed` any other end.
        shown: The test's input or call, as a person would read it.
        expected: The accepted output or value.
        actual: The program's output or value.
        error: Exception type and message.
        line: Line of the program that raised, counted from 1.
        seconds: Wall time of this test.
    """

    __test__: ClassVar[bool] = False  # not a test class, whatever its name says to pytest

    outcome: Outcome
    shown: str = ""
    expected: str = ""
    actual: str = ""
    error: str = ""
    line: Count | None = None
    seconds: Number = 0.0


class Verdict(Frozen):
    """The results of all tests of a program, and the tier that isolated it."""

    results: tuple[TestResult, ...] = Field(fail_fast=True)
    tier: str
    seconds: Number = 0.0

    @property
    def reward(self) -> float:
        """Share of tests passed, in [0, 1]; 0 without tests."""
        passed = sum(result.outcome == "passed" for result in self.results)
        return passed / len(self.results) if self.results else 0.0

    @property
    def passed(self) -> bool:
        """Whether there are tests and every one passed."""
        return bool(self.results) and self.reward == 1.0

    @property
    def outcome(self) -> ProgramOutcome:
        """What the tests say of the program as a whole."""
        if self.passed:
            return "pass"
        if self.reward > 0:
            return "part"
        return "wrong" if any(result.outcome == "wrong" for result in self.results) else "error"

    @property
    def failures(self) -> tuple[TestResult, ...]:
        """Results of the tests that did not pass, in order."""
        return tuple(result for result in self.results if result.outcome != "passed")


class Program(Frozen):
    """A program an agent wrote, with its verdict once it has run.

    Args:
        behaviour: Hashes of a passing program's outputs on further inputs, to compare it with others;
            empty if it was not run on any.
    """

    code: str
    agent: str
    verdict: Verdict | None = None
    behaviour: tuple[str, ...] = ()

    @property
    def reward(self) -> float:
        """Share of public tests passed; 0 before it has run."""
        return self.verdict.reward if self.verdict else 0.0


def content_hash(text: str) -> str:
    """First 16 hexadecimal digits of the text's SHA-256: the key under which a body is kept.

    64 bits: among a million texts, two share a key with a chance of one in 37 million.
    """
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
