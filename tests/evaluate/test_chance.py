"""The p of differences that are too many, and too different, to be counted out."""

import pytest

from bdc_agents.evaluate.figures.metrics import DRAWS, EXACT, swap_test

MANY = [1 + n / 1000 for n in range(2 * EXACT)]


def test_what_no_draw_reaches_is_as_rare_as_the_draws_can_tell_and_never_impossible() -> None:
    assert swap_test(MANY) == 1 / (DRAWS + 1)
    assert swap_test([-one for one in MANY]) == 1 / (DRAWS + 1)


def test_of_as_many_as_can_be_counted_out_p_is_exact() -> None:
    assert swap_test(MANY[:EXACT]) == pytest.approx(2 / 2**EXACT, rel=1e-9), "all one way: 2 of 2^32"
    assert swap_test(MANY[: EXACT + 1]) == 1 / (DRAWS + 1)


def test_differences_that_cancel_out_are_chance() -> None:
    assert swap_test([*MANY, *(-one for one in MANY)]) == 1
