"""Pools: one budget for many problems, where those that are not solved get what the solved ones left.

Each problem first gets an even share. When all have ended, what is left is shared out among those that their
budget stopped, and so on, until nothing is left or nobody can use it. A round begins when the one before it
has ended, so that every share follows from what was used alone, whichever problem ended first.
"""

from collections.abc import Mapping

from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.search.round.budget import Amount, caps_on_calls
from bdc_agents.types import Frozen

LEAST_RISE = 0.01
"""A cap that rises by less than this part of the first share is not worth a round: no call fits in it."""


def shareable(pool: Budget) -> Budget:
    """The budget, if problems can share it.

    Raises:
        ValueError: If it caps seconds.
    """
    if pool.seconds is not None:
        raise ValueError("problems share calls, tokens or money; seconds are those of one problem ([budget])")
    return pool


class Pool(Frozen):
    """A budget for all problems of a run together.

    Args:
        whole: Calls, tokens and money of all problems; none for a budget of each problem alone.
        each: Of one problem; it gets no more at first.
    """

    whole: Budget = Budget()
    each: Budget = Budget()

    def __bool__(self) -> bool:
        """Whether problems share anything."""
        return bool(caps_on_calls(self.whole))

    def goes_on(self, solved: bool, stopped_by: str | None) -> bool:
        """Whether more of the pool may help a search that ended so."""
        return not solved and stopped_by in caps_on_calls(self.whole)

    def held(self, caps: Budget) -> Amount:
        """What a problem may still use that has not ended: all of its budget that comes from the pool."""
        return Amount(**{name: getattr(caps, name) for name in caps_on_calls(self.whole)})


class Ended(Frozen):
    """How a problem ended.

    Args:
        used: Calls, tokens and money of all its rounds.
        caps: Its budget in the last one.
        open: Whether it is not solved, and more of the budget may help.
    """

    used: Amount
    caps: Budget
    open: bool = False


def first_share(pool: Budget, problems: int, each: Budget) -> Budget:
    """What each problem gets at first: an even share, and no more than the budget of one problem.

    Raises:
        ConfigError: If there is less than one call or token for each.
    """
    shares: dict[str, float] = {}
    for name, whole in caps_on_calls(pool).items():
        share = whole / problems if name == "money" else whole // problems
        if not share:
            raise ConfigError(
                f"{whole:g} {name} in all are less than one for each of {problems} problems; allow more, or "
                "take fewer problems"
            )
        own = getattr(each, name)
        shares[name] = share if own is None else min(own, share)
    return each.model_copy(update=shares)


def next_shares(pool: Budget, ended: Mapping[int, Ended]) -> dict[int, Budget]:
    """The budgets of the next round, by problem; none where the pool is spent or nobody can use more.

    Args:
        pool: Of all problems.
        ended: How each problem ended, by its place.
    """
    open_ = sorted(place for place, one in ended.items() if one.open)
    found: dict[int, Budget] = {}
    for number, place in enumerate(open_):
        one = ended[place]
        raised = {
            name: _cap(name, whole, ended, number, len(open_), getattr(one.used, name))
            for name, whole in caps_on_calls(pool).items()
        }
        if all(_rises(name, cap, one.caps, pool, len(ended)) for name, cap in raised.items()):
            found[place] = one.caps.model_copy(update=raised)
    return found


def _cap(name: str, whole: float, ended: Mapping[int, Ended], number: int, many: int, used: float) -> float:
    """The cap of one of so many open problems: what it used, and its part of what is left."""
    left = max(0, whole - sum(getattr(one.used, name) for one in ended.values()))
    if name == "money":
        return used + left / many
    # What cannot be divided goes to the first ones, so that the last few calls are used too.
    return used + left // many + (number < left % many)


def _rises(name: str, cap: float, before: Budget, pool: Budget, problems: int) -> bool:
    least = 1 if name == "calls" else LEAST_RISE * getattr(pool, name) / problems
    return cap >= getattr(before, name) + least
