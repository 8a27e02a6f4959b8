"""Budgets: what a set of calls may take at most is reserved before any of them is made."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.search.calls import Call
from bdc_agents.types import Usage


def total(usage: Mapping[str, Mapping[str, Any]]) -> Usage:
    """What all agents used together."""
    return sum((Usage.model_validate(used) for used in usage.values()), Usage())


def passed(budget: Budget, used: Usage, seconds: float) -> str | None:
    """The cap that leaves no room for anything more, None while there is room."""
    spent = _spent(used) | {"seconds": seconds}
    return next((name for name, cap in _caps(budget) if spent[name] >= cap), None)


def _spent(used: Usage) -> dict[str, float]:
    """What was used, by the name of the cap on it."""
    return {"calls": used.calls, "tokens": used.tokens, "money": used.cost or 0.0}


def _caps(budget: Budget) -> list[tuple[str, float]]:
    """The caps that are set."""
    caps: list[tuple[str, float | None]] = list(budget)
    return [(name, cap) for name, cap in caps if cap is not None]


def limits_calls(budget: Budget) -> bool:
    """Whether a call may have to be left out."""
    return any(cap is not None for cap in (budget.calls, budget.tokens, budget.money))


class Want(NamedTuple):
    """A call, and what makes no sense without it: reserved with it and asked for later."""

    call: Call
    then: tuple[Call, ...] = ()


def afford(
    wants: Sequence[Want], agents: Mapping[str, Agent], used: Usage, budget: Budget
) -> tuple[list[Call], str | None]:
    """The calls that fit into the budget together, in order, and the cap that left others out.

    Every call is counted at the most it can take, so the caps hold however many are in flight.

    Args:
        wants: Wanted calls, the most important first.
        agents: By name.
        used: What was settled so far.
        budget: The caps.
    """
    fitting: list[Call] = []
    cut = None
    for call, then in wants:
        after = used + sum((agents[c.agent].bound(c.request) for c in (call, *then)), Usage())
        over = _over(budget, after)
        if over is None:
            fitting.append(call)
            used = after
        else:
            cut = over
    return fitting, cut


def _over(budget: Budget, used: Usage) -> str | None:
    spent = _spent(used)
    return next((name for name, cap in _caps(budget) if name in spent and spent[name] > cap), None)


def check_prices(budget: Budget, bounds: Iterable[tuple[str, Usage]]) -> None:
    """Refuses a cap on money over agents whose price is not known.

    Args:
        budget: The caps.
        bounds: Name of each agent and the bound of some call of it.

    Raises:
        ConfigError: If a price is missing.
    """
    if budget.money is None:
        return
    unpriced = [name for name, bound in bounds if bound.cost is None]
    if unpriced:
        raise ConfigError(
            f"a cap on money needs the price of every agent; none is known of {', '.join(unpriced)}: "
            "set price_input and price_output (US dollars for a million tokens) in bdc.toml"
        )
