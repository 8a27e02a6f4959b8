"""Boost: every agent writes programs for a path, whoever wrote its thoughts."""

from collections import Counter
from collections.abc import Sequence

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.reading import extract_code
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import write_program
from bdc_agents.search.calls import Answer, Call, derive_seed
from bdc_agents.search.path import thoughts_of
from bdc_agents.types import Frozen, Problem, Tree


class Draft(Frozen):
    """A program that was written and has not run.

    Args:
        code: Empty where the reply held none.
        sampled: Whether the same request could have given another one.
    """

    node: str
    agent: str
    code: str
    sampled: bool = True


def boost_calls(
    problem: Problem,
    tree: Tree,
    leaf: str,
    agents: Sequence[str],
    config: SearchConfig,
) -> list[Call]:
    """Asks for a program each time an agent is named, beside those it has written for the path.

    What failed before reaches the coder through the thoughts alone: small models that are shown a
    wrong program mostly write it again.
    """
    node = tree[leaf]
    messages = write_program(problem, thoughts_of(tree, leaf))
    version = "refined" if node.refined else "first"
    written = Counter(dict.fromkeys(agents, node.evaluations * config.programs_per_agent))
    calls: list[Call] = []
    for agent in agents:
        seed = derive_seed(config.seed, leaf, "boost", agent, version, written[agent])
        request = Request(messages=messages, temperature=config.temperature, seed=seed)
        calls.append(Call(agent=agent, purpose="boost", node=leaf, request=request))
        written[agent] += 1
    return calls


def read_draft(answer: Answer, problem: Problem) -> Draft | None:
    """The program in a reply; None where no reply came."""
    if answer.reply is None:
        return None
    reply, call = answer.reply, answer.call
    code = extract_code(reply.text, problem.defines, truncated=reply.truncated) or ""
    sampled = reply.sampled and call.request.temperature > 0
    return Draft(node=call.node, agent=call.agent, code=code, sampled=sampled)
