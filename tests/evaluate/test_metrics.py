from fractions import Fraction
from itertools import combinations, product
from math import comb, fsum, sqrt
from statistics import NormalDist, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.evaluate.figures.groups import difference
from bdc_agents.evaluate.figures.matching import budgets
from bdc_agents.evaluate.figures.metrics import (
    curve,
    mean_interval,
    paired,
    pass_at_k,
    reached,
    swap_test,
    wilson,
)
from bdc_agents.evaluate.results import Row
from bdc_agents.types import Hidden

Z = NormalDist().inv_cdf(0.975)
spends = st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.0, 1.0])), max_size=5).map(
    lambda steps: sorted(steps, key=lambda step: step[0])
)


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_that_hold_a_right_program(case: tuple[int, int, int]) -> None:
    samples, solved, k = case
    right = [True] * solved + [False] * (samples - solved)
    draws = [any(draw) for draw in combinations(right, k)]
    assert pass_at_k(samples, solved, k) == pytest.approx(fmean(draws))


@pytest.mark.parametrize(("samples", "solved", "k"), [(3, 1, 4), (3, 4, 1), (3, -1, 1), (0, 0, 1), (3, 1, 0)])
def test_pass_at_k_of_what_makes_no_sense_is_refused(samples: int, solved: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(samples, solved, k)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_ends_are_where_the_score_test_turns(case: tuple[int, int]) -> None:
    successes, trials = case
    interval = wilson(successes, trials)
    share = successes / trials
    assert 0 <= interval.low <= share <= interval.high <= 1
    for end in (interval.low, interval.high):
        if 0 < end < 1:
            assert abs(share - end) == pytest.approx(Z * sqrt(end * (1 - end) / trials))


def test_wilson_as_published() -> None:
    interval = wilson(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.2553, 0.3662)


def test_a_mean_of_yes_and_no_has_wilsons_interval() -> None:
    assert mean_interval([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)
    assert mean_interval([1.0, 1.0]) == wilson(2, 2)
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])
    with pytest.raises(ValueError, match="from 0 to 1"):
        mean_interval([0.5, 1.5])


@given(st.lists(st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]), min_size=1, max_size=40))
def test_a_mean_of_rates_is_known_better_than_one_of_yes_and_no_but_never_exactly(
    values: list[float],
) -> None:
    interval, widest = mean_interval(values), wilson(fmean(values) * len(values), len(values))
    assert interval.value == fmean(values)
    assert widest.low - 1e-9 <= interval.low <= interval.value <= interval.high <= widest.high + 1e-9
    assert interval.high - interval.low > 0.5 / len(values) ** 1.5  # Also where all rates are the same.


# --- differences -----------------------------------------------------------------------------

yes_and_no = st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0]))
rates = st.tuples(*[st.sampled_from([0.0, 0.2, 0.25, 1 / 3, 0.6, 1.0])] * 2)


def by_counting(differences: list[float]) -> float:
    """The share of all ways to swap the two that set them as far apart."""
    ways = [
        abs(fsum(sign * one for sign, one in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(way >= abs(fsum(differences)) - 1e-9 for way in ways) / len(ways)


@settings(deadline=None)
@given(st.lists(yes_and_no | rates, min_size=1, max_size=10))
def test_p_is_the_share_of_ways_to_swap_the_two(both: list[tuple[float, float]]) -> None:
    differences = [a - b for a, b in both]
    assert swap_test(differences) == pytest.approx(by_counting(differences))


@given(st.integers(0, 400), st.integers(0, 400))
def test_of_yes_and_no_it_is_mcnemars_exact_test(better: int, worse: int) -> None:
    differing = better + worse
    tail = Fraction(sum(comb(differing, k) for k in range(min(better, worse) + 1)), 2**differing)
    expected = float(min(Fraction(1), 2 * tail))
    assert swap_test([1.0] * better + [-1.0] * worse + [0.0] * 7) == pytest.approx(expected, rel=1e-9)


def test_what_is_drawn_comes_close_to_what_is_counted() -> None:
    sizes = [1 + number % 5 for number in range(60)]
    counts = {0: 1}
    for size in sizes:  # Every sum by the number of ways to it.
        counts = {at: counts.get(at, 0) + counts.get(at - size, 0) for at in range(max(counts) + size + 1)}
    for lost in (8, 14, 18):
        differences = [float(-size if number < lost else size) for number, size in enumerate(sizes)]
        least = sum(size for one, size in zip(differences, sizes, strict=True) if one > 0)
        exact = 2 * sum(ways for at, ways in counts.items() if at >= least) / 2 ** len(sizes)
        drawn = swap_test(differences, seed=lost)
        assert drawn == swap_test(differences, seed=lost)
        assert drawn == pytest.approx(exact, rel=0.25, abs=1e-3)


@pytest.mark.parametrize("problems", range(1, 13))
def test_chance_is_called_clear_in_no_more_than_five_of_a_hundred(problems: int) -> None:
    """Two solvers that do equally well, of which one solves each problem: every such evaluation."""
    alarms = [
        paired([float(one) for one in mine], [float(not one) for one in mine]).clear
        for mine in product((True, False), repeat=problems)
    ]
    assert fmean(alarms) <= 0.05
    assert any(alarms) == (problems >= 6)  # Five cannot tell anything: 2 / 2^5 is more than 0.05.


@pytest.mark.parametrize(("problems", "same"), [(1, 0), (5, 0), (5, 5), (20, 20), (120, 120)])
def test_few_problems_and_no_difference_leave_room_for_one(problems: int, same: int) -> None:
    ones = [1.0] * problems
    found = paired(ones, [1.0] * same + [0.0] * (problems - same))
    assert not found.clear
    assert found.low <= 0 <= found.high
    assert found.high - found.low > 1 / problems
    assert -1 <= found.low <= found.value <= found.high <= 1


@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 30))
def test_of_yes_and_no_the_interval_is_that_of_bonett_and_price(same: int, better: int, worse: int) -> None:
    first = [1.0] * same + [1.0] * better + [0.0] * worse
    second = [1.0] * same + [0.0] * better + [1.0] * worse
    found, n = paired(first, second), len(first)
    one, other = (better + 1) / (n + 2), (worse + 1) / (n + 2)  # As published, with their added counts.
    reach = Z * sqrt((one + other - (one - other) ** 2) / (n + 2))
    low, high = max(-1.0, one - other - reach), min(1.0, one - other + reach)
    if found.clear:
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
        assert low > 0 or high < 0
    else:
        assert (found.low, found.high) == (pytest.approx(min(low, 0)), pytest.approx(max(high, 0)))


@settings(deadline=None)
@given(st.lists(yes_and_no, min_size=1, max_size=40) | st.lists(rates, min_size=1, max_size=40))
def test_paired_differences_turn_with_the_order(both: list[tuple[float, float]]) -> None:
    first, second = [a for a, _ in both], [b for _, b in both]
    there, back = paired(first, second), paired(second, first)
    assert there.value == pytest.approx(-back.value)
    assert (there.better, there.worse, there.p) == (back.worse, back.better, back.p)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert there.low <= there.value <= there.high
    assert there.clear or there.low <= 0 <= there.high
    assert not there.clear or there.low >= 0 or there.high <= 0


def test_differences_of_losses_have_no_bounds() -> None:
    found = paired([9.0, 8.0, 9.5, 7.0, 9.0, 8.5, 9.9], [2.0, 1.0, 3.0, 2.5, 2.0, 1.0, 2.0], shares=False)
    assert found.clear
    assert 1 < found.low < found.value < found.high
    with pytest.raises(ValueError, match="at least one"):
        paired([], [])
    with pytest.raises(ValueError, match="shorter"):
        paired([1.0], [])


def test_pairing_sees_what_unpaired_intervals_do_not() -> None:
    base = [float(number % 2) for number in range(100)]
    better = [1.0 if number < 16 else value for number, value in enumerate(base)]
    assert paired(better, base).clear
    assert wilson(58, 100).low < wilson(50, 100).high


def test_solvers_are_paired_by_problem_in_whatever_order_their_rows_came() -> None:
    def row(solver: str, problem: int, solved: bool) -> Row:
        return Row(
            problem=f"p{problem}",
            solver=solver,
            code="",
            public=Hidden(passed=int(solved), total=1),
            stopped_by="solved",
        )

    first = [row("one", number, number < 6) for number in range(10)]
    second = [row("two", number, number < 3) for number in reversed(range(10))]
    second += [row("two", 77, True)]  # A problem that only one of them has done.
    found = difference(first, second, lambda row: float(row.solved))
    assert found is not None
    assert (found.problems, found.better, found.worse) == (10, 3, 0)
    assert found.value == pytest.approx(0.3)


# --- what was reached with how much ----------------------------------------------------------


@given(st.lists(spends, min_size=1, max_size=6))
def test_a_curve_is_the_mean_of_what_each_problem_reached(courses: list[list[tuple[float, float]]]) -> None:
    steps = curve(courses)
    assert [at for at, _ in steps] == sorted({at for at, _ in steps})
    for budget in range(11):
        expected = fmean(reached(course, budget) for course in courses)
        assert reached(steps, budget) == pytest.approx(expected)


@given(st.lists(st.floats(0.001, 1e6), min_size=1, max_size=60))
def test_budgets_are_few_round_and_reach_the_dearest(totals: list[float]) -> None:
    found = budgets(totals)
    assert found == sorted(set(found))
    assert 1 <= len(found) <= 6
    assert found[-1] >= max(totals)
    assert all(f"{budget:.0e}"[0] in "125" for budget in found)


def test_budgets_begin_where_a_twentieth_of_the_rows_has_ended() -> None:
    """One cheap row in twenty or fewer is no reason for budgets at which nothing else is solved."""
    assert budgets([1.0] * 4 + [100.0] * 96) == [100.0]
    assert budgets([1.0] * 6 + [100.0] * 94)[0] == 1.0
    assert budgets([1000.0, 3.0, 1000.0])[0] == 2.0  # Of few rows the cheapest.


def test_no_spend_gives_no_budgets() -> None:
    assert budgets([0.0, 0.0]) == []


def test_of_nineteen_rows_the_cheapest_counts_and_of_twenty_the_next() -> None:
    assert budgets([1.0] + [100.0] * 18)[0] == 1.0
    assert budgets([1.0] + [100.0] * 19) == [100.0]


def test_rows_that_took_nothing_have_no_budget() -> None:
    assert budgets([0.0, 3.0]) == budgets([3.0])


def test_a_budget_below_the_cheapest_row_is_shown_where_the_next_is_far() -> None:
    assert budgets([1.4, 5.0]) == [2.0, 5.0]
    assert budgets([1.3, 5.0]) == [1.0, 2.0, 5.0]


def test_the_ends_of_wilson_are_exact() -> None:
    for trials in range(1, 400):
        assert wilson(0, trials).low == 0.0
        assert wilson(trials, trials).high == 1.0


def test_more_budgets_than_fit_leave_out_every_other() -> None:
    assert budgets([1.0, 200.0]) == [1.0, 5.0, 20.0, 100.0, 200.0]
    assert budgets([1.0, 100.0]) == [1.0, 5.0, 20.0, 100.0]


def test_losses_that_never_differ_have_no_room_for_a_difference() -> None:
    found = paired([2.5] * 9, [2.5] * 9, shares=False)
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_difference_over_no_problems_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one problem"):
        paired([], [])


@settings(deadline=None)
@given(st.lists(rates, min_size=1, max_size=9), st.sampled_from([0.3, 0.5, 7.0]))
def test_p_does_not_depend_on_the_unit(both: list[tuple[float, float]], unit: float) -> None:
    differences = [a - b for a, b in both]
    assert swap_test([unit * one for one in differences]) == pytest.approx(swap_test(differences))
    signs = [float((one > 0) - (one < 0)) for one in differences]
    assert swap_test([unit * one for one in signs]) == pytest.approx(swap_test(signs))


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5), (0, -1), (1, 0.5)])
def test_what_is_no_share_has_no_interval(successes: float, trials: float) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson(successes, trials)


def test_a_trial_may_count_less_than_one() -> None:
    assert wilson(0.25, 0.5).value == 0.5
    with pytest.raises(ValueError, match="from 0 to 1"):
        mean_interval([-0.1, 0.5])
