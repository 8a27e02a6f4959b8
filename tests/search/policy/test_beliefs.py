"""What is believed of moves: counts that add up, and chances that follow from them."""

import json
import math
import re
from itertools import permutations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bdc_agents.errors import ConfigError
from bdc_agents.search.policy.beliefs import OUTCOMES, START, Beliefs, Outlook, Told, read_beliefs

MOVES = (
    ("answer", ""),
    ("answer", "pass"),
    ("write", ""),
    ("write", "pass"),
    ("repair", "wrong"),
    ("rethink", "part"),
    ("repair", "error+"),
)
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


# --- reckoned plainly -------------------------------------------------------------------------

Row = tuple[float, ...]


def plain_spread(known: list[Told], kind: str) -> float:
    """Of the six, the one under which what the tries gave is most likely."""
    known = [told for told in known if told.kind == kind and told.before != "pass"]
    if not known:
        return 4.0

    def likely(spread: float) -> float:
        found = -abs(math.log2(spread / 4))
        for before, agent in sorted({(told.before, told.agent) for told in known if told.kind == kind}):
            mine = [one for one in known if (one.kind, one.before, one.agent) == (kind, before, agent)]
            shares = [spread / (spread + min(one.tries, 7)) for one in mine]
            mean = (sum(one.after == "pass" for one in mine) + 0.1) / (sum(shares) + 0.5)
            for one, share in zip(mine, shares, strict=True):
                chance = min(max(mean * share, 1e-6), 1 - 1e-6)
                found += math.log(chance if one.after == "pass" else 1 - chance)
        return found

    return max((1.0, 2.0, 4.0, 8.0, 16.0, 32.0), key=likely)


def plain_counts(known: list[Told], kind: str, before: str, agent: str | None = None) -> list[float]:
    """What came out, of one agent or of all: of one's failures, a later try's count less than a first's.

    Answers that confirm another one count as answers, too.
    """
    spread, found = plain_spread(known, kind), [0.0] * 4
    if (kind, before) == ("answer", ""):
        found = plain_counts(known, kind, "pass", agent)
    for one in sorted({told.agent for told in known}):
        mine = [told for told in known if (told.kind, told.before, told.agent) == (kind, before, one)]
        if agent not in (None, one):
            continue
        failed = [told for told in mine if told.after != "pass"]
        worth = sum(spread / (spread + min(told.tries, 7)) for told in failed)
        for told in mine:
            found[OUTCOMES.index(told.after)] += 1 if told.after == "pass" else worth / len(failed)
    return found


def plain_scaled(chances: Row, factor: float) -> Row:
    if chances[3] >= 0.95:
        return chances
    passes = min(chances[3] * factor, 0.95)
    return (*(one * (1 - passes) / (1 - chances[3]) for one in chances[:3]), passes)


def plain_share(row: list[float]) -> Row:
    return tuple(one / sum(row) for one in row)


def plain_move(known: list[Told], kind: str, before: str) -> tuple[Row, float]:
    """The table (four observations), in so far as it holds for the kind, and what all agents saw."""
    if before.endswith("+"):
        start, worth = plain_move(known, kind, before[:-1])[0], 8.0
    else:
        moves = sorted({(told.kind, told.before) for told in known if told.kind == kind})
        if ("answer", "pass") in moves:
            moves = sorted({*moves, ("answer", "")})
        moves = [move for move in moves if move[1] != "pass"]
        rows = {move: plain_counts(known, *move) for move in moves}
        passed = 4 + sum(row[3] for row in rows.values())
        thought = 4 + sum(
            START[f"{one}/{other.strip('+')}"][3] * sum(row) for (one, other), row in rows.items()
        )
        start, worth = plain_scaled(START[f"{kind}/{before}"], min(passed / thought, 1.0)), 4.0
    row = [worth * one + seen for one, seen in zip(start, plain_counts(known, kind, before), strict=True)]
    return plain_share(row), sum(row)


def plain_chances(
    known: list[Told], here: list[Told], skills: dict[str, float], kind: str, agent: str, before: str
) -> Row:
    """The levels of `Outlook`, one around the other, without anything that is kept."""
    around, strength = plain_move(known, kind, before)
    if agent in skills and any(skills.values()):
        mean = sum(skills.values()) / len(skills)
        around = plain_scaled(around, min(max(skills[agent] / mean, 0.25), 4.0))
    own = plain_counts(known, kind, before, agent)
    row = [8 * one + seen for one, seen in zip(around, own, strict=True)]
    strength = 1 / (1 / strength + 1 / sum(row) + 1 / plain_spread(known, kind))
    now = [strength * one for one in plain_share(row)]
    for told in here:
        if (told.kind, told.before) == (kind, before):
            now[OUTCOMES.index(told.after)] += 1.0 if told.agent == agent else 0.5
    return plain_share(now)


@settings(deadline=None, max_examples=50)
@given(
    tolds,
    tolds,
    tolds,
    st.dictionaries(st.sampled_from(["ann", "a/b", "new"]), st.sampled_from([0.0, 0.05, 0.5, 0.9])),
)
@example(  # So few that how far problems differ turns on what is thought before anything is seen.
    known=[Told("answer", "ann", "", "wrong")] + [Told("answer", "ann", "", "pass", 1)] * 2,
    here=[Told("answer", "ann", "", "wrong")],
    later=[],
    skills={},
)
def test_chances_are_those_of_the_levels_reckoned_plainly(
    known: list[Told], here: list[Told], later: list[Told], skills: dict[str, float]
) -> None:
    """With nothing kept from one question to the next, also where more is seen between them."""
    outlook = Outlook(Beliefs().tell(known), Beliefs().tell(here), skills)
    seen = here
    for more in ([], later[:1], later[1:]):
        for told in more:
            outlook.see(told)
        seen = [*seen, *more]
        for kind, before in MOVES:
            for agent in ("ann", "a/b", "new"):
                expected = plain_chances(known, seen, skills, kind, agent, before)
                assert outlook.chances(kind, agent, before) == pytest.approx(expected)


def test_what_is_known_does_not_depend_on_the_order_in_which_it_came() -> None:
    """To the last digit: problems of a run end in any order, and in processes that hash differently."""
    told = [Told("repair", f"agent {tried}", "wrong", "wrong", tried) for tried in (1, 2, 3, 5, 6, 7)]
    found = [Beliefs().tell(order).by_move["repair/wrong"] for order in permutations(told)]
    assert len({*found}) == 1


def test_the_table_holds_chances_of_every_move_and_start() -> None:
    assert all(sum(row) == pytest.approx(1) and min(row) >= 0 for row in START.values())
    moves = {move: row for move, row in START.items() if not move.startswith("split")}
    failed = [f"{kind}/{before}" for kind in ("repair", "rethink", "write") for before in OUTCOMES[:3]]
    passed = [f"{kind}/pass" for kind in ("answer", "write", "repair", "rethink")]
    assert sorted(moves) == sorted(["answer/", "write/", *passed, *failed])
    assert min(min(row) for row in moves.values()) > 0, "nothing is impossible"
    likely = sorted(moves, key=lambda move: -moves[move][3])
    assert likely[4] == "answer/", "what has passed is easier, what has failed is harder"


def test_a_further_try_than_the_eighth_counts_as_the_eighth() -> None:
    def told(tries: int) -> Beliefs:
        return Beliefs().tell([Told("repair", "ann", "wrong", "pass", tries)])

    assert told(6) != told(7) == told(8) == told(500)
    assert told(0).times("repair", "wrong", "ann") == 1
    assert told(0) == Beliefs().tell([Told("repair", "ann", "wrong", "pass")]), (
        "the first, where none is said"
    )
    assert told(0).times("repair", "wrong", "bob") == told(0).times("rethink", "wrong", "ann") == 0


@pytest.mark.parametrize("key", ["repair/wrong+/ann", "answer//a/b", "write/pass/ann", "think//a"])
def test_every_move_may_be_believed_in(key: str) -> None:
    fields = {"counts": {key: (0.0, 1.0, 2.0, 0.5)}, "tries": {key: (0.0,) * 16}}
    assert read_beliefs(fields).model_dump() == fields


@pytest.mark.parametrize(
    "key", ["", "repair", "repair/", "repair//", "repair/wrong/", "/wrong/ann", "+/wrong/a"]
)
def test_a_key_that_leaves_something_out_is_refused_by_its_name(key: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"{key!r} is no KIND/BEFORE/AGENT")):
        read_beliefs({"tries": {key: [1.0] * 16}})


def test_what_is_refused_says_which_count() -> None:
    with pytest.raises(ConfigError, match="'repair/wrong/ann': counts are 0 or more, not -3"):
        read_beliefs({"counts": {"repair/wrong/ann": [1, 2, -3, 4]}})
