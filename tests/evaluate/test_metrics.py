from itertools import combinations, product
from math import sqrt
from statistics import NormalDist, fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.evaluate.matching import budgets
from bdc_agents.evaluate.metrics import (
    bootstrap,
    curve,
    mean_interval,
    paired,
    pass_at_k,
    reached,
    wilson,
)

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


@settings(max_examples=15, deadline=None)
@given(st.lists(st.sampled_from([-1.0, 0.0, 0.5, 1.0]), min_size=2, max_size=4))
def test_bootstrap_ends_cut_off_the_right_share_of_all_resamples(values: list[float]) -> None:
    interval = bootstrap(values, resamples=4000)
    everything = [fmean(draw) for draw in product(values, repeat=len(values))]

    def share(holds: list[bool]) -> float:
        return sum(holds) / len(everything)

    assert interval.low <= interval.value <= interval.high
    assert share([mean < interval.low - 1e-9 for mean in everything]) <= 0.025 + 0.015
    assert share([mean <= interval.low + 1e-9 for mean in everything]) >= 0.025 - 0.015
    assert share([mean > interval.high + 1e-9 for mean in everything]) <= 0.025 + 0.015
    assert share([mean >= interval.high - 1e-9 for mean in everything]) >= 0.025 - 0.015


def test_bootstrap_is_the_same_every_time_and_for_one_value_a_point() -> None:
    assert bootstrap([0.0, 1.0, 0.5]) == bootstrap([0.0, 1.0, 0.5])
    assert bootstrap([0.25]).low == bootstrap([0.25]).high == 0.25
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([])


def test_a_mean_of_yes_and_no_has_wilsons_interval() -> None:
    assert mean_interval([1.0, 0.0, 1.0, 1.0]) == wilson(3, 4)
    assert mean_interval([1.0, 0.5]) == bootstrap([1.0, 0.5])


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=20))
def test_paired_differences_turn_with_the_order(both: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in both], [float(b) for _, b in both]
    there, back = paired(first, second, resamples=300), paired(second, first, resamples=300)
    assert there.value == pytest.approx(-back.value)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.value == pytest.approx((there.better - there.worse) / len(both))
    assert there.low <= there.value <= there.high


def test_pairing_sees_what_unpaired_intervals_do_not() -> None:
    base = [float(number % 2) for number in range(100)]
    better = [1.0 if number < 16 else value for number, value in enumerate(base)]
    assert paired(better, base).clear
    assert wilson(58, 100).low < wilson(50, 100).high


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


def test_no_spend_gives_no_budgets() -> None:
    assert budgets([0.0, 0.0]) == []
