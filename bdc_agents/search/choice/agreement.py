"""Agreement: programs that pass the public tests are compared on further inputs, made from those tests.

A few public tests accept many wrong programs. Programs that were written apart and do the same on
other inputs are more often right, so the search ends when enough of them agree, and hands over the one
that agrees most: minimum Bayes risk by execution (arXiv 2204.11454), at no further call.
"""

import ast
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from bdc_agents.types import Program, Verdict, content_hash

REFUSED = frozenset(("error", "timeout", "memory", "output", "killed"))
"""Outcomes of a test without a result."""
_SLOW = "timeout"
"""An input has less time than a test: a program that is slow there is not shown to be another one."""
WITHIN = 0.5
"""What a further attempt of one agent counts: it shares the mistakes of the first. Of recorded programs that
pass and do the same on all inputs, 90 % are right where two agents wrote them, and 84 and 58 % where one did
(of 1.5 and 0.5 billion parameters)."""
_MANY = 0.25
"""Share of inputs. Of 333 pairs of recorded programs that are right by their hidden tests 20 differ only in
that one refuses one or two of 16 inputs, such as an empty list; where one of two is right, none refuses fewer
than 4."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
_EXACT = 2.0**53
"""Whole numbers up to here are themselves as decimals."""
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


def behaviour(verdict: Verdict) -> tuple[str, ...]:
    """What came out on each further input, as short hashes: equal where the outcome is."""
    return tuple(
        short_hash(result.actual) if result.outcome in ("wrong", "passed") else result.outcome
        for result in verdict.results
    )


def short_hash(actual: str) -> str:
    """Of a value or output; equal where these are, however they are written."""
    return content_hash(_plain(actual))[:8]


def support(
    programs: Mapping[str, Program], attempts: Mapping[str, float], votes: Mapping[str, float] | None = None
) -> dict[str, float]:
    """How much the attempts that pass agree with each of their programs.

    An attempt counts 1 where it does the same on all further inputs, -1 where it does so on none; a
    program's own attempts are counted too, so that k attempts that agree have support k. Inputs that
    both refuse say nothing, and a program that always gives the same shows little: programs that pass
    one test by always saying "True" agree, too.

    Args:
        programs: By key.
        attempts: How often each program that passes was written.
        votes: What else speaks for a program, or against it, in attempts.
    """
    more = votes or {}
    return {
        key: _telling(programs[key].behaviour)
        * sum(
            count * (2 * share(programs[key].behaviour, programs[other].behaviour) - 1)
            for other, count in attempts.items()
        )
        + more.get(key, 0.0)
        for key in attempts
    }


def weighed(attempts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """How much the attempts that gave each program count, as `support` takes them.

    Those of one agent count 1 for the first and `WITHIN` for each further one, whichever programs they gave.

    Args:
        attempts: How often each agent wrote each program that passes.
    """
    made = Counter[str]()
    for row in attempts.values():
        made.update(row)
    worth = {agent: (1 + WITHIN * (count - 1)) / count for agent, count in made.items() if count > 0}
    return {
        key: sum(count * worth.get(name, 0) for name, count in row.items()) for key, row in attempts.items()
    }


def confirmed(
    programs: Mapping[str, Program],
    attempts: Mapping[str, int],
    wanted: int,
    votes: Mapping[str, float] | None = None,
) -> bool:
    """Whether some program that passes has the support that is wanted, but for a small difference."""
    return max(support(programs, attempts, votes).values(), default=0.0) >= wanted - 0.5


def share(first: Sequence[str], second: Sequence[str]) -> float:
    """On how many inputs two programs do the same, of those that say something."""
    silent = _silent(first), _silent(second)
    pairs = [
        (one, other)
        for one, other in zip(first, second, strict=False)
        if not (one in silent[0] or other in silent[1] or REFUSED.issuperset((one, other)))
    ]
    return sum(one == other for one, other in pairs) / len(pairs) if pairs else 1.0


def _silent(behaviour: Sequence[str]) -> frozenset[str]:
    """Outcomes of a program that say nothing: an input that it refuses may be none of the problem's.

    A program that refuses many inputs is another one than those that do not.
    """
    refused = sum(outcome in REFUSED for outcome in behaviour)
    return REFUSED if refused < _MANY * len(behaviour) else frozenset((_SLOW,))


def _telling(behaviour: Sequence[str]) -> float:
    """How much agreement with a program says, from 1/2 where it always gives the same to 1."""
    given = [outcome for outcome in behaviour if outcome not in REFUSED]
    if not behaviour:
        return 1.0
    return 1.5 - max(0.5, *(count / len(given) for count in Counter(given).values())) if given else 0.5


def _plain(text: str) -> str:
    """Without what equal programs may differ in: the last digits of decimals, the order of dicts and sets."""
    # Printed output is no value, nor is a long one of which only the beginning is kept.
    with suppress(*_NO_LITERAL):
        text = repr(_ordered(ast.literal_eval(text)))
    text = _ADDRESS.sub("", text)
    return _DECIMAL.sub(lambda found: f"{float(found[0]):.6g}", text)


def _ordered(value: Any) -> Any:
    """The value as tests compare it: 1, 1.0 and True are equal."""
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer() and abs(value) < _EXACT):
        return int(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {"items": sorted(([_ordered(key), _ordered(own)] for key, own in items), key=repr)}
    if isinstance(value, set | frozenset):
        return {"items": sorted(map(_ordered, cast("set[Any]", value)), key=repr)}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return type(items)(map(_ordered, items))
    return value
