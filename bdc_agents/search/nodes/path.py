"""What a path of the tree holds: its thoughts and its latest program."""

from collections.abc import Mapping

from bdc_agents.config import SearchConfig
from bdc_agents.search.state import Json
from bdc_agents.types import Attempt, Program, Thought, Tree


def thoughts_of(tree: Tree, node_id: str) -> tuple[Thought, ...]:
    """The thoughts on the path to a node, first one first."""
    return tuple(node.thought for node in tree.path(node_id) if node.thought)


def latest_program(
    tree: Tree, node_id: str, programs: Mapping[str, Json], config: SearchConfig
) -> Program | None:
    """The best program of the nearest node towards the root that has one to learn from."""
    for node in reversed(tree.path(node_id)):
        written = [attempt for attempt in node.attempts if teaches(attempt, config)]
        if written:
            best = max(written, key=lambda attempt: attempt.reward)
            return Program.model_validate(programs[best.program])
    return None


def teaches(attempt: Attempt, config: SearchConfig) -> bool:
    """Whether a program is shown to those who think on: one that passes has no failures to learn from."""
    partly = attempt.reward > 0 or config.learn_from == "all"
    return bool(attempt.program) and partly and attempt.reward < 1
