"""A budget that many problems share."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.runs.sharing.pool import Ended, first_share, next_shares
from bdc_agents.search.round.budget import Amount


def ended(calls: int, cap: int, open_: bool) -> Ended:
    return Ended(used=Amount(calls=calls), caps=Budget(calls=cap), open=open_)


def test_each_problem_first_gets_an_even_share_within_its_own_budget() -> None:
    pool = Budget(calls=100, money=3.0)
    assert first_share(pool, 6, Budget(seconds=9)) == Budget(calls=16, money=0.5, seconds=9)
    assert first_share(pool, 6, Budget(calls=8, money=1)) == Budget(calls=8, money=0.5)
    with pytest.raises(ConfigError, match="100 calls in all are less than one for each of 101"):
        first_share(pool, 101, Budget())


def test_what_solved_problems_leave_goes_to_the_others_alike() -> None:
    pool = Budget(calls=30)
    found = next_shares(pool, {0: ended(2, 10, False), 1: ended(10, 10, True), 2: ended(9, 10, True)})
    assert found == {1: Budget(calls=15), 2: Budget(calls=13)}, "9 are left; the odd one goes to the first"


def test_nobody_gets_a_share_that_is_of_no_use() -> None:
    pool = Budget(calls=20)
    assert next_shares(pool, {0: ended(1, 10, False), 1: ended(10, 10, False)}) == {}
    assert next_shares(pool, {0: ended(10, 10, False), 1: ended(9, 10, True)}) == {}, (
        "it left that one itself"
    )
    both = Budget(calls=20, tokens=1000)
    spent = Ended(used=Amount(10, 1000), caps=Budget(calls=10, tokens=1000), open=True)
    assert next_shares(both, {0: spent, 1: ended(1, 10, False)}) == {}, "there are calls, but no tokens"


@settings(deadline=None)  # a machine that is busy is no fault
@given(
    needs=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    pool=st.integers(12, 400),
    step=st.integers(1, 3),
)
def test_a_pool_ends_within_its_bounds_and_is_used_where_it_can_be(
    needs: list[int], pool: int, step: int
) -> None:
    """Problems that take calls in steps until they have what they need."""
    budget = Budget(calls=pool)
    caps = dict.fromkeys(range(len(needs)), first_share(budget, len(needs), Budget()).calls or 0)
    done: dict[int, Ended] = {}
    for _ in range(200):
        for place, cap in caps.items():
            used = min(needs[place], cap // step * step)
            done[place] = ended(used, cap, used < needs[place])
        assert sum(one.used.calls for one in done.values()) <= pool
        more = next_shares(budget, done)
        assert all(found.calls > (done[place].caps.calls or 0) for place, found in more.items())  # type: ignore[operator]
        if not more:
            break
        caps = {place: found.calls or 0 for place, found in more.items()}
    else:
        pytest.fail("it never ends")
    left = pool - sum(one.used.calls for one in done.values())
    waiting = sum(one.open for one in done.values())
    assert not waiting or left < 2 * step * len(needs)
