"""Agent bandit: ask those agents whose work has improved on what was there.

Thompson sampling over the chance that a program beats the value of the node above it, counted for
those who wrote the program and for those who wrote its last thought. It starts from what is known
of the agents before: `skills`. The paper asks every agent; so do the first answers at the root.
"""

from collections.abc import Mapping, Sequence
from math import ceil
from random import Random
from typing import Literal

from bdc_agents.config import SearchConfig
from bdc_agents.search.round.calls import derive_seed

Credit = Mapping[str, Mapping[str, Sequence[float]]]
"""By author, then by coder: programs, their total reward, how many beat the parent's value."""

Role = Literal["author", "coder"]
BELIEF = 16.0
"""How many programs a skill counts for: more than the failures at one problem, which may be hard for all."""


def choose_agents(
    agents: Sequence[str],
    credit: Credit,
    place: tuple[str, str],
    config: SearchConfig,
    role: Role = "coder",
    evaluations: int = 0,
    leaves: int = 1,
) -> list[str]:
    """The agents to ask at a node, all of them where no bandit is wanted.

    Args:
        agents: Names of the agents that take part.
        credit: What their programs were worth so far.
        place: The problem and the node where they would be asked; with the seed they decide the draw.
            By the node alone, the same agent would be asked at the first thought of every problem.
        config: Carries how many to ask, and the agents' skills.
        role: Whether they would write thoughts or programs.
        evaluations: How often programs were written for the node before, each time with a draw of its own.
        leaves: How many leaves are evaluated at once; they need as many thoughts to choose from.
    """
    first_answers = place[1] == "0" and role == "coder" and not evaluations
    if config.bandit is None or first_answers:
        return list(agents)
    count = config.bandit if role == "coder" else max(config.bandit, ceil(leaves / config.width))
    random = Random(derive_seed(config.seed, *place, "bandit", role, evaluations))
    draws = {agent: _draw(agent, credit, config, role, random) for agent in agents}
    best = sorted(agents, key=lambda agent: draws[agent], reverse=True)[:count]
    return [agent for agent in agents if agent in best]


def _draw(agent: str, credit: Credit, config: SearchConfig, role: Role, random: Random) -> float:
    if role == "author":
        rows = [*credit.get(agent, {}).values()]
    else:
        rows = [coders[agent] for coders in credit.values() if agent in coders]
    tries, improved = sum(row[0] for row in rows), sum(row[2] for row in rows)
    if (skill := config.skills.get(agent)) is not None:
        tries, improved = tries + BELIEF, improved + BELIEF * skill
    return random.betavariate(1 + improved, 1 + tries - improved)
