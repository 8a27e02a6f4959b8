"""Boost: every agent writes programs for a path, whoever wrote its thoughts."""

from collections import Counter
from collections.abc import Mapping, Sequence

from bdc_agents.agents.protocol import Request
from bdc_agents.agents.replies.asked import read_program
from bdc_agents.agents.replies.reading import MAX_CHARS, strip_thinking
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import mend_program, write_program
from bdc_agents.search.nodes.path import thoughts_of
from bdc_agents.search.policy.beliefs import MENDS
from bdc_agents.search.round.calls import Answer, Call, derive_seed
from bdc_agents.search.state import Json
from bdc_agents.types import Frozen, Move, Problem, Program, Thought, Tree

LONGEST = 600
"""Characters of a diagnosis, as many as a thought may have (see `thoughts_schema`)."""
_SHORTEST = 12
"""Characters below which what stands before a program is a label, such as `Here it is:`."""


class Draft(Frozen):
    """A program that was written and has not run.

    Args:
        code: Empty where the reply held none.
        sampled: Whether the same request could have given another one.
        move: The move that it was written in.
        thought: The diagnosis that comes with a repair, for which a child of the node is made.
    """

    node: str
    agent: str
    code: str
    sampled: bool = True
    move: Move | None = None
    thought: Thought | None = None


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


def move_calls(
    problem: Problem,
    tree: Tree,
    moves: Sequence[Move],
    programs: Mapping[str, Json],
    config: SearchConfig,
    made: Mapping[tuple[str, str], int],
) -> list[Call]:
    """The call of each move that writes a program, each with a seed of its own.

    Args:
        made: How often each agent has made each kind of move in this search.
    """
    numbers, calls = Counter(made), list[Call]()
    for move in moves:
        path = thoughts_of(tree, move.node)
        if move.kind in MENDS:
            program = Program.model_validate(programs[move.program])
            messages = mend_program(problem, path, program, config.failures_shown, code=move.kind == "repair")
        else:
            messages = write_program(problem, path)
        # The same prompt with the same seed would be answered from a cache, and say nothing new.
        number = numbers[move.kind, move.agent]
        numbers[move.kind, move.agent] += 1
        seed = derive_seed(config.seed, move.node, move.kind, move.agent, move.program, number)
        request = Request(messages=messages, temperature=config.temperature, seed=seed)
        purpose = "repair" if move.kind in MENDS else "boost"
        calls.append(Call(agent=move.agent, purpose=purpose, node=move.node, request=request, move=move))
    return calls


def read_diagnosis(text: str) -> str:
    """What a reply says before its program, or else behind it: the thought of a repair."""
    said, _, behind = strip_thinking(text)[:MAX_CHARS].partition("```")
    behind = behind.rpartition("```")[2]
    for part in (said, behind):
        words = " ".join(part.replace("**", "").replace("#", " ").split())
        if len(words) >= _SHORTEST:
            return words[:LONGEST]
    return "Write a program that passes the failing tests."


def read_draft(answer: Answer, problem: Problem) -> Draft | None:
    """The program in a reply; None where no reply came."""
    if answer.reply is None:
        return None
    reply, call = answer.reply, answer.call
    code = read_program(reply.text, problem, truncated=reply.truncated)
    sampled = reply.sampled and call.request.temperature > 0
    thought = None
    if call.purpose == "repair":
        thought = Thought(text=read_diagnosis(reply.text), agent=call.agent)
    return Draft(
        node=call.node, agent=call.agent, code=code, sampled=sampled, move=call.move, thought=thought
    )
