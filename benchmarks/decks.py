"""Agents that share replies between solvers: whoever asks a prompt for the n-th time gets its n-th reply.

Solvers derive the seeds of their calls in ways of their own, so that two of them never draw the same direct
answer. Behind a deck they do: an agent's replies to a prompt are one sequence, and each solver takes them
from the first on. Each draw of a solver is as independent of its others as before; what is shared between
two solvers costs no call, and makes their difference less noisy, as they met the same luck.
"""

import re

from bdc_agents.agents import Agent
from bdc_agents.agents.cache import reply_key
from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.search.round.calls import derive_seed
from bdc_agents.types import Usage


class Deck:
    """An agent for one solver on one problem, whose seeds count the draws of each prompt.

    A seed that is asked for again, as with more room for a reply that was cut off, is the same draw.

    Args:
        agent: Who answers.
        seed: Of the experiment.
    """

    def __init__(self, agent: Agent, seed: int = 0) -> None:
        self.name = agent.name
        self._agent = agent
        self._seed = seed
        self._drawn: dict[str, dict[int, int]] = {}

    def bound(self, request: Request) -> Usage:
        """The most that this call can take."""
        return self._agent.bound(request)

    async def reply(self, request: Request) -> Reply:
        """The prompt's next reply."""
        prompt = reply_key("", request.model_copy(update={"seed": 0, "max_tokens": None}))
        drawn = self._drawn.setdefault(prompt, {})
        number = drawn.setdefault(request.seed, len(drawn))
        seed = derive_seed(self._seed, "draw", number)
        return await self._agent.reply(request.model_copy(update={"seed": seed}))

    async def aclose(self) -> None:
        """Nothing: the agent behind it serves other decks, too."""


_FACTS = re.compile(
    r"fails these tests:\n.*?(?=\n\n(?:First say |The program:|Find |Think about |The last step )|\Z)",
    re.DOTALL,
)
"""The facts of failed tests in every prompt that shows some. Values may hold empty lines, so that only what a
prompt says next ends them."""


class Blind(Deck):
    """A deck whose agent hears that a program failed, and not on which test nor what it gave."""

    async def reply(self, request: Request) -> Reply:
        """The next reply to the prompt without facts."""
        told = tuple(
            message.model_copy(update={"content": without_facts(str(message.content))})
            for message in request.messages
        )
        return await super().reply(request.model_copy(update={"messages": told}))


def without_facts(text: str) -> str:
    """A prompt without what failed tests gave."""
    return _FACTS.sub("fails its tests.", text)
