"""Split: where programs that pass do different things, an agent is asked once which output is right.

Agreement has nothing new to say there. The agent sees the problem and the input on which the programs
differ most, not the programs, and its answer counts for as many attempts as its earlier answers were worth.
"""

import ast
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import log
from typing import Any, NamedTuple

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.reading import parse_json, under
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import TEXT_LIMIT, expect_output, expected_schema
from bdc_agents.search.choice.agreement import REFUSED, short_hash
from bdc_agents.search.choice.inputs import further_inputs, shown_input
from bdc_agents.search.round.calls import Answer, Call, derive_seed
from bdc_agents.types import Move, Problem, Program, Split

COINCIDENCE = 0.3
"""How likely an answer that is not right is what some program gives: both may misread alike. Chosen."""
_OF_ATTEMPTS = 0.8
"""How often an attempt that passes is right, about as often as recorded ones are: the unit that an answer is
counted in."""
_NEVER = 0.02
"""No answer is surer than that."""
_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)


class Question(NamedTuple):
    """The input on which programs that pass differ most.

    Args:
        place: Of the input among the further ones.
        text: The input as an agent reads it.
        answers: The programs by what they give there, as hashes.
    """

    place: int
    text: str
    answers: Mapping[str, tuple[str, ...]]


def question(
    problem: Problem, programs: Mapping[str, Program], attempts: Mapping[str, float]
) -> Question | None:
    """What to ask; None where the programs do the same wherever they give something.

    Args:
        problem: Its further inputs are those that the programs were compared on.
        programs: Those that pass, by key.
        attempts: How much the attempts that gave each of them count.
    """
    best: tuple[float, Question] | None = None
    for place, test in enumerate(further_inputs(problem)):
        answers: dict[str, tuple[str, ...]] = {}
        for key, program in programs.items():
            if place < len(program.behaviour) and program.behaviour[place] not in REFUSED:
                given = program.behaviour[place]
                answers[given] = (*answers.get(given, ()), key)
        text = shown_input(test)
        if len(answers) < 2 or len(text) > TEXT_LIMIT:
            continue
        shares = [sum(attempts.get(key, 0.0) for key in keys) for keys in answers.values()]
        # Of inputs that divide alike, the shortest is answered most surely.
        worth = round(_entropy(shares), 6) - len(text) / 1e6
        if best is None or worth > best[0]:
            best = worth, Question(place, text, answers)
    return best[1] if best else None


def _entropy(counts: list[float]) -> float:
    total = sum(counts)
    return -sum(count / total * log(count / total) for count in counts if count > 0)


def split_call(problem: Problem, asked: Question, move: Move, config: SearchConfig) -> Call:
    """Asks for the expected output on an input, without showing programs."""
    request = Request(
        messages=expect_output(problem, asked.text),
        temperature=0.0,
        seed=derive_seed(config.seed, "split", move.agent, asked.text),
        json_schema=expected_schema(),
    )
    return Call(agent=move.agent, purpose="split", node=move.node, request=request, move=move)


def read_expected(answer: Answer) -> str:
    """The output that a reply tells; empty where it tells none."""
    value = parse_json(answer.reply.text) if answer.reply else None
    expected: Any = under(value, "expected") if isinstance(value, dict | list) else None
    if expected is None:
        return ""
    return (expected if isinstance(expected, str) else repr(expected))[:TEXT_LIMIT]


def settled(asked: Question, agent: str, expected: str, accuracy: float) -> Split:
    """What is made of an answer.

    Args:
        asked: The question.
        agent: Who answered.
        expected: The output as it was told; empty where it could not be read.
        accuracy: How likely the agent's answers are right.
    """
    fits = next((one for one in _readings(expected) if one in asked.answers), "") if expected else ""
    return Split(
        input=asked.text,
        place=asked.place,
        agent=agent,
        expected=expected,
        answers=dict(asked.answers),
        fits=fits,
        weight=round(_worth(accuracy), 4) if fits else 0.0,
    )


def _worth(accuracy: float) -> float:
    """For how many attempts an answer counts that is what some program gives, by its odds to be right."""
    chance = min(max(accuracy, _NEVER), 1 - _NEVER)
    odds = chance / ((1 - chance) * COINCIDENCE)
    return max(log(odds) / log(_OF_ATTEMPTS / (1 - _OF_ATTEMPTS)), 0.0)


def _readings(text: str) -> Iterator[str]:
    """The outcomes that a text may stand for: a value, a text without quotes, a list for a tuple."""
    plain = text.strip()
    yield from map(short_hash, (plain, repr(plain), text, f"{plain}\n"))
    value: Any = None
    with suppress(*_NO_LITERAL):
        value = ast.literal_eval(plain)
    if isinstance(value, list | tuple):
        yield short_hash(repr(tuple(value) if isinstance(value, list) else list(value)))  # pyright: ignore
    if isinstance(value, str):
        yield short_hash(value)


def split_of(state: Mapping[str, Any]) -> Split | None:
    """The answer that the state of a search holds; None before."""
    return Split.model_validate(state["split"]) if state.get("split") else None


def votes(split: Split | None, programs: Mapping[str, Program]) -> dict[str, float]:
    """What the answer adds to the support of each program: its weight, for or against.

    Args:
        split: None where nobody was asked.
        programs: Those that pass, by key, also such as were written after it.
    """
    if split is None or not split.fits:
        return {}
    found: dict[str, float] = {}
    for key, program in programs.items():
        given = program.behaviour[split.place] if split.place < len(program.behaviour) else "error"
        if given not in REFUSED:
            found[key] = split.weight if given == split.fits else -split.weight
    return found
