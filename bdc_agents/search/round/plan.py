"""The plan of a round: which calls its steps make, and what each of them may spend.

It is made once, where the round begins, and kept in the state. `expand` and `boost` run side by side;
what the budget has left beside their calls is divided between them, so that neither a merged thought
nor a reply that is asked for again makes both together pass a cap.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from bdc_agents.agents.protocol import Agent
from bdc_agents.search.round.budget import Account, Amount
from bdc_agents.search.round.calls import Call
from bdc_agents.search.state import Json
from bdc_agents.types import Frozen, Move

Side = Literal["boost", "expand"]


class Plan(Frozen):
    """The calls of a round, as the agents to ask at each leaf.

    Args:
        write: Who writes programs, once for each time a name comes.
        refine: Who writes a better thought.
        rewrite: Who writes programs for it.
        expand: Who proposes children.
        moves: What writes programs where a policy of moves plans the round.
        caps: What calls may have taken in all when a step ends, by step and cap; a step that is left
            out has the whole budget.
    """

    write: dict[str, tuple[str, ...]] = {}
    refine: dict[str, str] = {}
    rewrite: dict[str, tuple[str, ...]] = {}
    expand: dict[str, tuple[str, ...]] = {}
    moves: tuple[Move, ...] = ()
    caps: dict[Side, dict[str, float]] = {}

    @property
    def calls(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self.write or self.refine or self.expand or self.moves)


def stored(plan: Plan) -> Json:
    """The plan as the state keeps it: what there is of it."""
    return plan.model_dump(mode="json", exclude_defaults=True)


class Want(NamedTuple):
    """A call, and what makes no sense without it: reserved with it and asked for later."""

    call: Call
    then: tuple[Call, ...] = ()


def afford(
    wants: Sequence[Want], agents: Mapping[str, Agent], account: Account, *, one_for_all: bool = False
) -> tuple[list[Call], str | None]:
    """The calls that fit into the budget together, in order, and the cap that left others out.

    They are reserved.

    Args:
        wants: Wanted calls, the most important first.
        agents: By name.
        account: What is left.
        one_for_all: Whether what is asked for later is reserved once: with the first call that fits.
    """
    fitting: list[Call] = []
    cut = None
    for call, then in wants:
        needed = (call,) if one_for_all and fitting else (call, *then)
        bounds = [agents[one.agent].bound(one.request) for one in needed] if account.limited else ()
        if over := account.reserve(*bounds):
            cut = over
        else:
            fitting.append(call)
    return fitting, cut


def names(calls: Sequence[Call], purpose: str) -> dict[str, tuple[str, ...]]:
    """Who is asked at each node, by calls of one purpose."""
    found: dict[str, tuple[str, ...]] = {}
    for call in calls:
        if call.purpose == purpose:
            found[call.node] = (*found.get(call.node, ()), call.agent)
    return found


def shares(
    caps: Mapping[str, float], before: Amount, boost: Amount, expand: Amount
) -> dict[Side, dict[str, float]]:
    """The caps on two steps that run side by side: what is reserved for each, and half of the rest.

    Args:
        caps: On both together.
        before: What was used before.
        boost, expand: What is reserved for each.
    """
    found: dict[Side, dict[str, float]] = {"boost": {}, "expand": {}}
    for name, cap in caps.items():
        used, own, other = (getattr(amount, name) for amount in (before, boost, expand))
        left = cap - used - own - other
        half = left / 2 if name == "money" else left // 2
        found["boost"][name] = used + own + left - half
        found["expand"][name] = used + other + half
    return found
