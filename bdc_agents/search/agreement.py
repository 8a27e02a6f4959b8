"""Agreement: programs that pass the public tests are compared on further inputs, made from those tests.

A few public tests accept many wrong programs. Programs that were written apart and do the same on
other inputs are more often right, so the search ends when enough of them agree, and hands over the one
that agrees most: minimum Bayes risk by execution (arXiv 2204.11454), at no further call.
"""

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from random import Random
from typing import Any, cast

from bdc_agents.syntax import parse, syntax_tree
from bdc_agents.types import CallTest, Problem, Program, StdinTest, TestCase, Verdict, content_hash

INPUTS = 12
_TRIES = 8 * INPUTS
_UNMATCHED = "'no program gives this'"
_REFUSED = frozenset(("error", "timeout", "memory", "output", "killed"))
"""Outcomes of a test without a result."""
_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
_DECIMAL = re.compile(r"-?\d+\.\d+(?:e[+-]?\d+)?")


def further_inputs(problem: Problem) -> tuple[TestCase, ...]:
    """Tests with the inputs of the public ones slightly changed; what they expect matches nothing.

    The same problem gives the same inputs; none where no input can be read from its tests.
    """
    random = Random(content_hash(problem.model_dump_json()))
    sources = [source for test in problem.public_tests for source in _sources(test, problem.entry_point)]
    known = {_input_of(source) for source in sources}
    made: list[TestCase] = []
    for turn in range(_TRIES if sources else 0):
        changed = _changed(sources[turn % len(sources)], problem.entry_point, random)
        if _input_of(changed) not in known:
            known.add(_input_of(changed))
            made.append(changed)
        if len(made) == INPUTS:
            break
    return tuple(made)


def behaviour(verdict: Verdict) -> tuple[str, ...]:
    """What came out on each further input, as short hashes: equal where the outcome is."""
    return tuple(
        content_hash(_plain(result.actual))[:8] if result.outcome in ("wrong", "passed") else result.outcome
        for result in verdict.results
    )


def support(programs: Mapping[str, Program], attempts: Mapping[str, int]) -> dict[str, float]:
    """How much the attempts that pass agree with each of their programs.

    An attempt counts 1 where it does the same on all further inputs, -1 where it does so on none; a
    program's own attempts are counted too, so that k attempts that agree have support k. Inputs that
    both refuse say nothing, and a program that always gives the same shows little: programs that pass
    one test by always saying "True" agree, too.

    Args:
        programs: By key.
        attempts: How often each program that passes was written.
    """
    return {
        key: _telling(programs[key].behaviour)
        * sum(
            count * (2 * _share(programs[key].behaviour, programs[other].behaviour) - 1)
            for other, count in attempts.items()
        )
        for key in attempts
    }


def confirmed(programs: Mapping[str, Program], attempts: Mapping[str, int], wanted: int) -> bool:
    """Whether some program that passes has the support that is wanted, but for a small difference."""
    return max(support(programs, attempts).values(), default=0.0) >= wanted - 0.5


def _share(first: Sequence[str], second: Sequence[str]) -> float:
    pairs = [pair for pair in zip(first, second, strict=False) if not _REFUSED.issuperset(pair)]
    return sum(one == other for one, other in pairs) / len(pairs) if pairs else 1.0


def _telling(behaviour: Sequence[str]) -> float:
    """How much agreement with a program says, from 1/2 where it always gives the same to 1."""
    given = [outcome for outcome in behaviour if outcome not in _REFUSED]
    if not behaviour:
        return 1.0
    return 1.5 - max(0.5, *(count / len(given) for count in Counter(given).values())) if given else 0.5


def _plain(text: str) -> str:
    """Without what equal programs may differ in: the last digits of decimals, the order of dicts and sets."""
    # Printed output is no value, nor is a long one of which only the beginning is kept.
    with suppress(*_NO_LITERAL):
        text = repr(_ordered(ast.literal_eval(text)))
    return _DECIMAL.sub(lambda found: f"{float(found[0]):.6g}", text)


def _ordered(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {"items": sorted(([_ordered(key), _ordered(own)] for key, own in items), key=repr)}
    if isinstance(value, set | frozenset):
        return {"items": sorted(map(_ordered, cast("set[Any]", value)), key=repr)}
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return type(items)(map(_ordered, items))
    return value


def _sources(test: TestCase, entry_point: str | None) -> Iterator[TestCase]:
    """What inputs can be made from; of a script, each of its calls of the entry point."""
    if isinstance(test, StdinTest):
        yield test.model_copy(update={"expected": (_UNMATCHED,)})
    elif isinstance(test, CallTest):
        if _changeable(parse(test.call.strip()), entry_point):
            yield test.model_copy(update={"expected": (_UNMATCHED,)})
    elif entry_point:
        for call in _changeable(parse(test.code), "candidate"):
            if _name(call) not in (entry_point, "candidate"):
                continue
            call.func = ast.Name(entry_point)
            yield CallTest(call=ast.unparse(call), expected=(_UNMATCHED,))


def _input_of(test: TestCase) -> str:
    return test.stdin if isinstance(test, StdinTest) else getattr(test, "call", "")


def _changed(test: TestCase, entry_point: str | None, random: Random) -> TestCase:
    if isinstance(test, StdinTest):
        return test.model_copy(update={"stdin": _changed_text(test.stdin, random)})
    assert isinstance(test, CallTest)
    tree = syntax_tree(test.call.strip())
    call = _changeable(tree, entry_point)[0]
    places = [number for number, node in enumerate(call.args) if _is_literal(node)]
    for number in random.sample(places, random.randint(1, len(places))):
        value = _mutated(ast.literal_eval(call.args[number]), random)
        call.args[number] = syntax_tree(repr(value), "eval").body
    return test.model_copy(update={"call": ast.unparse(tree)})


def _changeable(tree: ast.Module | None, entry_point: str | None) -> list[ast.Call]:
    """The calls of the entry point that have an argument to change; where there are none, any such calls."""
    calls = [
        node
        for node in (ast.walk(tree) if tree else ())
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and any(map(_is_literal, node.args))
    ]
    return [call for call in calls if _name(call) == entry_point] or calls


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_literal(node: ast.expr) -> bool:
    try:
        return ast.literal_eval(node) is not None
    except _NO_LITERAL:
        return False


def _changed_text(text: str, random: Random) -> str:
    """The text with one word changed; the first, often the size of what follows, only where it is alone."""
    words = list(re.finditer(r"\S+", text))
    if not words:
        return text
    word = random.choice(words[1:] or words)
    try:
        changed = str(_mutated(int(word[0]), random))
    except ValueError:
        changed = "".join(_mutated(word[0], random).split()) or word[0]
    return text[: word.start()] + changed + text[word.end() :]


def _mutated(value: Any, random: Random) -> Any:
    """A value like the given one, of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((value - 1, value + 1, value + 2, -value, random.randint(0, 2 * abs(value) + 5)))
    if isinstance(value, float):
        return value + random.choice((-1.0, -0.5, 0.5, 1.0))
    if isinstance(value, str):
        return "".join(_mutated_list(list(value) or ["a"], random, lambda char: _other(char, value, random)))
    if isinstance(value, list | tuple | set | frozenset):
        items = list(cast("list[Any]", value))
        if isinstance(value, set | frozenset):
            items.sort(key=repr)  # Their own order is another in every process.
        return type(cast("list[Any]", value))(
            _mutated_list(items, random, lambda item: _mutated(item, random))
        )
    if isinstance(value, dict):
        return {key: _mutated(item, random) for key, item in cast("dict[Any, Any]", value).items()}
    return value


def _other(char: str, text: str, random: Random) -> str:
    return random.choice((random.choice(text), char.swapcase(), "a")) if text else char


def _mutated_list(items: list[Any], random: Random, mutated: Callable[[Any], Any]) -> list[Any]:
    """One item changed, left out or doubled, or all in another order."""
    if not items:
        return items
    items, at = [*items], random.randrange(len(items))
    kind = random.choice(("change", "change", "leave out", "double", "shuffle"))
    if kind == "change":
        items[at] = mutated(items[at])
    elif kind == "leave out":
        del items[at]
    elif kind == "double":
        items.insert(at, items[at])
    else:
        random.shuffle(items)
    return items
