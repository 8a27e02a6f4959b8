"""Budgets: what a set of calls may take at most is reserved before any of them is made."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError
from bdc_agents.types import Usage

ROLLOUTS = 16
"""Where neither `rollouts` nor a budget says when a search ends."""
ROLLOUTS_AT_MOST = 10_000
"""Where only time or money ends a search: replies from a cache take neither, and a tree takes memory."""


def rollouts_at_most(config: SearchConfig, budget: Budget, *, free: bool = False) -> int | None:
    """How many programs (leaves, in the published walk) are evaluated at most; None where the budget decides.

    Args:
        config: An explicit number holds beside any budget.
        budget: Of the search.
        free: Whether an agent costs no money, so that a cap on money may never be reached.
    """
    if config.rollouts is not None:
        return config.rollouts
    if budget.calls is not None or budget.tokens is not None:
        return None  # Every call takes a call and a token.
    timed = budget.seconds is not None or (budget.money is not None and not free)
    return ROLLOUTS_AT_MOST if timed else ROLLOUTS


def with_caps(
    config: SearchConfig, budget: Budget, caps: Mapping[str, float] | None
) -> tuple[SearchConfig, Budget]:
    """The settings with the caps that a person was shown or has set; as they are where there are none.

    Args:
        config: Of which `rollouts` is a cap as well.
        budget: The others.
        caps: All that hold, by name.
    """
    if not caps:
        return config, budget
    own = {name: cap for name, cap in caps.items() if name != "rollouts"}
    return config.model_copy(update={"rollouts": caps.get("rollouts")}), Budget.model_validate(own)


def is_free(agent: Agent) -> bool:
    """Whether an agent's calls cost no money."""
    return not agent.bound(Request(messages=())).cost


def total(usage: Mapping[str, Mapping[str, Any]]) -> Usage:
    """What all agents used together."""
    return sum((Usage.model_validate(used) for used in usage.values()), Usage())


def used_of(state: Mapping[str, Any]) -> dict[str, float]:
    """What a search has used of everything that there is a cap on, by the cap's name."""
    spent = Amount.of(total(state.get("usage", {})))._asdict()
    return spent | {"seconds": round(state.get("seconds", 0.0), 3), "rollouts": state.get("rollouts", 0)}


def passed(budget: Budget, used: Usage) -> str | None:
    """The cap on calls that leaves no room for another one, None while there is room."""
    spent = Amount.of(used)._asdict()
    return next((name for name, cap in caps_on_calls(budget).items() if spent[name] >= cap), None)


def caps_on_calls(budget: Budget) -> dict[str, float]:
    """The caps that may leave a call out, by name; none where none is set."""
    caps = {"calls": budget.calls, "tokens": budget.tokens, "money": budget.money}
    return {name: cap for name, cap in caps.items() if cap is not None}


class Amount(NamedTuple):
    """What calls take, by the name of the cap on it."""

    calls: int = 0
    tokens: int = 0
    money: float = 0.0

    @classmethod
    def of(cls, used: Usage) -> Self:
        """What was used, or may be at most."""
        return cls(used.calls, used.tokens, used.cost or 0.0)

    def plus(self, other: "Amount", times: int = 1) -> "Amount":
        """The sum of both, the other taken so many times."""
        return Amount(
            self.calls + times * other.calls,
            self.tokens + times * other.tokens,
            self.money + times * other.money,
        )


class Account:
    """What is left of a budget: reserved before a call is made, and settled after it.

    Every call in flight is counted at the most it can take, so the caps hold however many there are.

    Args:
        caps: Of `caps_on_calls`; none for no limit.
        used: What was settled before.
    """

    def __init__(self, caps: Mapping[str, float], used: Usage | None = None) -> None:
        self.limited = bool(caps)
        self._caps = caps
        self.used = Amount.of(used or Usage())

    def reserve(self, *bounds: Usage) -> str | None:
        """Reserves calls that are made once each, all or none; the cap that leaves no room for them."""
        after = self.used
        for bound in bounds:
            after = after.plus(Amount.of(bound)._replace(calls=1))
        over = next((name for name, cap in self._caps.items() if getattr(after, name) > cap), None)
        if over is None:
            self.used = after
        return over

    def hold(self, bound: Usage) -> None:
        """Reserves a call that was planned, so that there is room for it."""
        self.used = self.used.plus(Amount.of(bound)._replace(calls=1))

    def reserve_tries(self, wanted: int) -> int:
        """Reserves up to so many calls more, for one that may be made again, and says how many."""
        if "calls" not in self._caps:
            return wanted
        more = max(0, min(wanted, int(self._caps["calls"]) - self.used.calls))
        self.used = self.used.plus(Amount(calls=more))
        return more

    def settle(self, bound: Usage, used: Usage, tries: int = 1) -> None:
        """Replaces what was reserved for a call by what it took.

        Args:
            bound: What `reserve` was given.
            used: What the call took.
            tries: Calls that were reserved for it.
        """
        held = Amount.of(bound)._replace(calls=tries)
        self.used = self.used.plus(held, -1).plus(Amount.of(used))


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
