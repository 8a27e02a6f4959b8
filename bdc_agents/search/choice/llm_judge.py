"""Judge: an agent rates programs that pass, since public tests are few. Off by default."""

from collections.abc import Mapping, Sequence

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.reading import parse_json, under
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import judge_program, judge_schema
from bdc_agents.search.policy.ratings import read_rating
from bdc_agents.search.round.calls import Answer, Call, derive_seed
from bdc_agents.types import Problem, Program

TESTS_WEIGHT, JUDGE_WEIGHT = 0.8, 0.2
"""Of RethinkMCTS (arXiv 2409.09584)."""


def judge_calls(
    problem: Problem,
    node: str,
    programs: Mapping[str, Program],
    agents: Sequence[str],
    config: SearchConfig,
) -> dict[str, Call]:
    """Asks an agent other than the coder, where there is one, about each program that passes."""
    return {
        key: _judge_call(problem, node, key, program, agents, config)
        for key, program in programs.items()
        if program.reward >= 1
    }


def _judge_call(
    problem: Problem, node: str, key: str, program: Program, agents: Sequence[str], config: SearchConfig
) -> Call:
    seed = derive_seed(config.seed, node, "judge", key)
    others = [agent for agent in agents if agent != program.agent] or list(agents)
    messages = judge_program(problem, program)
    request = Request(messages=messages, temperature=0.0, seed=seed, json_schema=judge_schema())
    return Call(agent=others[seed % len(others)], purpose="judge", node=node, request=request)


def read_score(answer: Answer) -> float | None:
    """The score in [0, 1] of a reply; None where it holds none."""
    value = parse_json(answer.reply.text) if answer.reply else None
    return read_rating(under(value, "score") if isinstance(value, dict | list) else value)


def judged_reward(score: float | None) -> float:
    """0.8 r + 0.2 judge for a program that passes all tests; 1 where the judge said nothing."""
    return 1.0 if score is None else TESTS_WEIGHT + JUDGE_WEIGHT * score
