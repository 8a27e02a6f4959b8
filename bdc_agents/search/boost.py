"""Boost: every agent writes programs for a path, whoever wrote its thoughts."""

from collections.abc import Sequence

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies import extract_code
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import write_program
from bdc_agents.search.calls import Answer, Call, derive_seed
from bdc_agents.search.path import thoughts_of
from bdc_agents.types import Frozen, Problem, Tree


class Draft(Frozen):
    """A program that was written and has not run; `code` is empty where the reply held none."""

    node: str
    agent: str
    code: str


def boost_calls(
    problem: Problem,
    tree: Tree,
    leaf: str,
    agents: Sequence[str],
    config: SearchConfig,
) -> list[Call]:
    """Asks each agent for `programs_per_agent` programs, beside those it has written for the path.

    The first of every agent comes first.

    What failed before reaches the coder through the thoughts alone: small models that are shown a
    wrong program mostly write it again.
    """
    node = tree[leaf]
    messages = write_program(problem, thoughts_of(tree, leaf))
    version = "refined" if node.refined else "first"
    written = node.evaluations * config.programs_per_agent
    return [
        Call(
            agent=agent,
            purpose="boost",
            node=leaf,
            request=Request(
                messages=messages,
                temperature=config.temperature,
                seed=derive_seed(config.seed, leaf, "boost", agent, version, written + number),
            ),
        )
        for number in range(config.programs_per_agent)
        for agent in agents
    ]


def read_draft(answer: Answer, problem: Problem) -> Draft | None:
    """The program in a reply; None where no reply came."""
    if answer.reply is None:
        return None
    code = extract_code(answer.reply.text, problem.entry_point) or ""
    return Draft(node=answer.call.node, agent=answer.call.agent, code=code)
