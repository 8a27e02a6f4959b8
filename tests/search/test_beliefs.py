"""What is believed of moves: counts that add up, and chances that follow from them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.errors import ConfigError
from bdc_agents.search.beliefs import OUTCOMES, Beliefs, Outlook, Told, read_beliefs

MOVES = (("answer", ""), ("write", ""), ("repair", "wrong"), ("rethink", "part"), ("repair", "error+"))
tolds = st.lists(
    st.builds(
        lambda move, agent, after, tries: Told(move[0], agent, move[1], after, tries),
        st.sampled_from(MOVES),
        st.sampled_from(["ann", "a/b"]),
        st.sampled_from(OUTCOMES),
        st.integers(0, 12),
    ),
    max_size=30,
)


@given(tolds, tolds)
def test_beliefs_add_up_in_any_order_and_survive_a_file(one: list[Told], other: list[Told]) -> None:
    both = Beliefs().tell([*one, *other])
    assert both == Beliefs().tell(one).plus(Beliefs().tell(other)) == Beliefs().tell([*other, *one])
    assert read_beliefs(json.loads(both.model_dump_json())) == both
    assert sum(map(sum, both.counts.values())) == len(one) + len(other)


@given(tolds, tolds)
def test_chances_are_chances(known: list[Told], here: list[Told]) -> None:
    outlook = Outlook(Beliefs().tell(known), Beliefs().tell(here))
    for kind, before in MOVES:
        for agent in ("ann", "a/b", "new"):
            chances = outlook.chances(kind, agent, before)
            assert sum(chances) == pytest.approx(1)
            assert all(0 <= chance <= 1 for chance in chances)


@given(tolds, st.sampled_from(MOVES))
def test_a_failure_here_makes_a_move_less_likely_and_for_others_a_little(
    known: list[Told], move: tuple[str, str]
) -> None:
    outlook = Outlook(Beliefs().tell(known))
    before = {agent: outlook.chances(move[0], agent, move[1])[-1] for agent in ("ann", "bob")}
    outlook.see(Told(move[0], "ann", move[1], "wrong"))  # pyright: ignore[reportArgumentType]
    after = {agent: outlook.chances(move[0], agent, move[1])[-1] for agent in ("ann", "bob")}
    assert after["ann"] < before["ann"]
    assert after["bob"] < before["bob"]
    assert after["bob"] / before["bob"] > after["ann"] / before["ann"] or before["bob"] != before["ann"]


def test_a_few_problems_overrule_the_table() -> None:
    never = Beliefs().tell([Told("repair", "ann", "wrong", "wrong")] * 30)
    often = Beliefs().tell([Told("repair", "ann", "wrong", "pass")] * 30)
    fresh = Outlook(Beliefs()).chances("repair", "ann", "wrong")[-1]
    assert Outlook(never).chances("repair", "ann", "wrong")[-1] < fresh / 4
    assert Outlook(often).chances("repair", "ann", "wrong")[-1] > 0.8
    # What is known of one agent's repairs says something of another's, and of repairs of other outcomes.
    assert Outlook(never).chances("repair", "bob", "wrong")[-1] < fresh / 2
    assert (
        Outlook(never).chances("repair", "ann", "error")[-1]
        < Outlook(Beliefs()).chances("repair", "ann", "error")[-1]
    )


def test_how_far_problems_differ_is_learnt() -> None:
    """Where a second try never passes, problems are easy or hopeless; where it does, they are alike."""
    easy_or_hopeless = Beliefs().tell(
        [Told("answer", "ann", "", "pass", 0)] * 50
        + [Told("answer", "ann", "", "wrong", tries) for tries in range(8) for _ in range(50)]
    )
    alike = Beliefs().tell(
        Told("answer", "ann", "", "pass" if turn % 4 == 0 else "wrong", tries)
        for tries in range(8)
        for turn in range(40)
    )
    assert easy_or_hopeless.spread("answer") < Beliefs().spread("answer") < alike.spread("answer")
    once = Beliefs().tell([Told("answer", "ann", "", "wrong")])

    def left(known: Beliefs) -> float:
        return (
            Outlook(known, once).chances("answer", "ann", "")[-1]
            / Outlook(known).chances("answer", "ann", "")[-1]
        )

    assert left(easy_or_hopeless) < 0.6 < 0.8 < left(alike)


def test_skills_say_whose_moves_pass_until_they_are_seen() -> None:
    skills = {"small": 0.05, "large": 0.2}
    outlook = Outlook(Beliefs(), skills=skills)
    small, large, other = (outlook.chances("answer", agent, "")[-1] for agent in ("small", "large", "other"))
    assert small < other < large
    told = [Told("answer", "large", "", "wrong")] * 40 + [Told("answer", "small", "", "pass")] * 40
    known = Outlook(Beliefs().tell(told), skills=skills)
    assert known.chances("answer", "large", "")[-1] < known.chances("answer", "small", "")[-1]
    assert Outlook(Beliefs(), skills={"a": 0.0}).chances("answer", "a", "")[-1] > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"counts": {"repair/wrong/ann": [1, 2, 3]}},
        {"counts": {"repair/wrong": [1, 2, 3, 4]}},
        {"counts": {"mend/wrong/ann": [1, 2, 3, 4]}},
        {"counts": {"repair/bad/ann": [1, 2, 3, 4]}},
        {"counts": {"repair/wrong/ann": [1, 2, -3, 4]}},
        {"counts": {"repair/wrong/ann": [1, 2, float("nan"), 4]}},
        {"tries": {"repair/wrong/ann": [float("inf")] * 16}},
        {"counts": 3},
        {"count": {}},
    ],
)
def test_what_is_no_belief_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="beliefs"):
        read_beliefs(fields)


def test_repairs_start_from_what_is_published_of_them() -> None:
    """Four repairs in a row mend 45 % of wrong programs (arXiv 2604.10508), and more of those that raise."""

    def within_four(before: str) -> float:
        outlook, failed = Outlook(Beliefs()), 1.0
        for _ in range(4):
            failed *= 1 - outlook.chances("repair", "ann", before)[-1]
            outlook.see(Told("repair", "ann", before, "wrong"))
        return 1 - failed

    assert within_four("wrong") == pytest.approx(0.45, abs=0.1)
    assert within_four("wrong") < within_four("error") < 0.77
