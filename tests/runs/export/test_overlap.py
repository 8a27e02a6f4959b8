"""Problems that say the same as others are found, and others are not."""

import ast
import json
import os
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.data import load_tasks
from bdc_agents.runs.export.overlap import (
    EvaluationSet,
    Problems,
    Texts,
    evaluation_set,
    program_key,
    words,
)
from bdc_agents.types import HiddenTests, Problem, Task

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("BDC_DATA", ROOT.parent / "shared" / "data"))
LONG = (
    "You are given the heights of hills along a road and the number of bottles of water that a hiker "
    "carries. Each climb of ten metres takes one bottle. Find the farthest hill that can be reached."
)
PROGRAM = """
def farthest(heights, bottles):
    at = 0
    for before, after in zip(heights, heights[1:]):
        climb = max(0, after - before)
        if climb > bottles * 10:
            return at
        bottles -= climb // 10
        at += 1
    return at
"""


def task(statement: str, id: str = "eval:1", reference: str | None = None) -> Task:
    return Task(problem=Problem(id=id, statement=statement), hidden=HiddenTests((), reference))


def problem(statement: str, id: str = "train:1") -> Problem:
    return Problem(id=id, statement=statement)


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (LONG, "statement"),
        (LONG.upper().replace(" ", "\n"), "statement"),
        (f"A new story. {LONG} Print it.", "words"),
        (LONG.replace("ten", "twelve").replace("farthest", "nearest"), "words"),
    ],
)
def test_a_copy_of_an_evaluation_problem_is_found(statement, why):
    overlap = EvaluationSet([task(LONG)]).overlap(problem(statement))
    assert overlap
    assert (overlap.problem, overlap.other, overlap.why) == ("train:1", "eval:1", why)
    assert 0 < overlap.share <= 1
    assert overlap.example in " ".join(words(statement))


@pytest.mark.parametrize(
    "statement",
    [
        "Write a function to find the largest of three numbers.",
        "Hills along a road have heights. Sort them and print the median of all of them on one line.",
    ],
)
def test_another_problem_is_not(statement):
    assert EvaluationSet([task(LONG)]).overlap(problem(statement)) is None


def test_stock_phrases_of_contests_are_no_overlap():
    stock = "The first line contains a single integer t, the number of test cases that follow below."
    one = f"{' '.join(f'alpha{n} beta{n}' for n in range(80))}. {stock}"
    other = f"{' '.join(f'gamma{n} delta{n}' for n in range(80))}. {stock}"
    assert EvaluationSet([task(one)]).overlap(problem(other)) is None


def test_the_same_id_is_an_overlap_whatever_it_says():
    overlap = EvaluationSet([task(LONG, id="mbpp:11")]).overlap(problem("Changed.", id="mbpp:11"))
    assert overlap
    assert overlap.why == "id"


def test_a_reference_program_is_found_through_comments_and_layout():
    evaluated = EvaluationSet([task("Hike.", reference=PROGRAM)])
    changed = PROGRAM.replace("    at = 0", '    """Climbs."""\n    at   = 0  # starts')
    overlap = evaluated.overlap(problem("Something else entirely."), changed)
    assert overlap
    assert overlap.why == "program"
    assert evaluated.overlap(problem("Something else entirely."), PROGRAM.replace("10", "11")) is None


def test_short_programs_are_the_same_by_chance():
    assert program_key("def add(a, b):\n    return a + b\n") is None
    assert program_key("def f(:") is None
    assert program_key(PROGRAM)


def test_near_duplicates_of_a_run_are_told_and_other_problems_are_not():
    seen = Problems()
    assert seen.duplicate_of(problem(LONG, "a")) is None
    assert seen.duplicate_of(problem(LONG, "a")) is None
    assert seen.duplicate_of(problem(LONG + "!", "b")) == "a"
    assert seen.duplicate_of(problem(LONG.replace("farthest hill", "last hill"), "c")) is None
    assert seen.duplicate_of(problem(f"{LONG} Print one number.", "d")) == "a"
    assert seen.duplicate_of(problem("Write a function to add two numbers.", "e")) is None
    assert seen.duplicate_of(problem("Write a function to add three numbers.", "f")) is None


def test_statements_in_any_script_are_told_apart():
    seen = Problems()
    texts = ["Найдите сумму чисел.", "Найдите произведение чисел.", "求和", "求积", "???", "!!!"]
    assert [seen.duplicate_of(problem(text, text)) for text in texts] == [None] * len(texts)
    assert seen.duplicate_of(problem(texts[0].upper(), "again")) == texts[0]
    evaluated = EvaluationSet([task(text, id=text) for text in texts])
    assert evaluated.overlap(problem("Напишите программу.")) is None
    assert evaluated.overlap(problem("..")) is None


TEXTS = st.lists(st.sampled_from(["one", "two", "three", "four", "five"]), min_size=1, max_size=30).map(
    " ".join
)


@settings(max_examples=100, deadline=None)
@given(st.lists(TEXTS, max_size=12))
def test_leaving_duplicates_out_twice_changes_nothing(texts):
    def distinct(given: list[tuple[str, str]]) -> list[tuple[str, str]]:
        seen = Problems()
        return [(name, text) for name, text in given if seen.duplicate_of(problem(text, name)) is None]

    once = distinct([(f"p:{number}", text) for number, text in enumerate(texts)])
    assert distinct(once) == once
    assert bool(once) == bool(texts)


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS, st.integers(1, 6))
def test_shares_are_symmetric_and_whole_for_equal_texts(one, other, length):
    def shares(kept: str, text: str):
        texts = Texts(length)
        texts.add("kept", kept)
        found = texts.nearest(text)
        return found and found[1:3]

    assert shares(one, one) == (1.0, 1.0)
    assert shares(one, other) == shares(other, one)
    found = shares(one, other)
    assert found is None or 0 < found[1] <= found[0] <= 1


# --- every kept text counts, not the one that shares most runs -----------------------------------

BABBLE = st.lists(st.sampled_from("ab"), max_size=12).map(" ".join)


def runs_of(text: str, length: int) -> set[tuple[str, ...]]:
    found = words(text)
    return (
        {tuple(found[at : at + length]) for at in range(max(1, len(found) - length + 1))} if found else set()
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(BABBLE, max_size=6), BABBLE, st.integers(1, 4))
def test_the_largest_share_of_all_texts_is_found(kept, text, length):
    texts, mine = Texts(length), runs_of(text, length)
    for number, one in enumerate(kept):
        texts.add(str(number), one)
    others = [(str(number), runs_of(one, length)) for number, one in enumerate(kept)]
    both = [(name, len(mine & own), own) for name, own in others if mine & own]
    contained = [(count / min(len(mine), len(own)), name) for name, count, own in both]
    alike = [(count / len(mine | own), name) for name, count, own in both]
    measures: tuple[tuple[Literal["contained", "alike"], Any], ...] = (
        ("contained", contained),
        ("alike", alike),
    )
    for by, shares in measures:
        found = texts.nearest(text, by=by)
        best = max((share for share, _ in shares), default=None)
        assert (found and getattr(found, by)) == best
        assert found is None or found.name == next(name for share, name in shares if share == best)


def test_a_problem_that_stands_whole_in_a_text_is_found_beside_a_longer_one_that_shares_more():
    numbers = " ".join(f"word{n}" for n in range(200))
    short = "Given a list of heights count the pairs of hills that see each other over all between them"
    sharing = " ".join(numbers.split()[:16]) + " " + " ".join(f"else{n}" for n in range(400))
    evaluated = EvaluationSet([task(sharing, "eval:long"), task(short, "eval:short")])
    overlap = evaluated.overlap(problem(f"{numbers} {short} {numbers[:300]}"))
    assert overlap
    assert (overlap.other, overlap.share) == ("eval:short", 1.0)


def test_near_duplicates_are_looked_for_beside_longer_texts_that_share_more():
    seen = Problems()
    told = " ".join(f"part{n}" for n in range(60))
    assert seen.duplicate_of(problem(f"{told} {' '.join(f'more{n}' for n in range(40))}", "p:long")) is None
    assert seen.duplicate_of(problem(" ".join(told.split()[3:]), "p:near")) is None
    assert seen.duplicate_of(problem(told, "p:again")) == "p:near"


@pytest.mark.parametrize(
    ("short", "is_found"),
    [("Write a function to reverse the words of a string", True), ("Return the sum of two numbers", False)],
)
def test_an_evaluation_problem_of_few_words_is_found_within_a_text_unless_it_is_a_phrase(short, is_found):
    evaluated = EvaluationSet([task(short), task(LONG, "eval:2")])
    whole = evaluated.overlap(
        problem(f"First, an easy one. {short}. Then print how long it is, and its words.")
    )
    assert bool(whole) == is_found
    assert (
        evaluated.overlap(problem(f"Then {' '.join(short.split()[:-1])} list, which is another task."))
        is None
    )


def test_evaluation_sets_are_named_by_file_too(tmp_path):
    file = tmp_path / "eval.jsonl"
    file.write_text(json.dumps({"id": "e", "statement": LONG}) + "\n")
    evaluated = evaluation_set([str(file)])
    assert len(evaluated) == 1
    assert evaluated.overlap(problem(LONG))


@pytest.mark.skipif(not (DATA / "mbpp").is_dir(), reason="the data sets are not here")
def test_the_splits_of_mbpp_share_problems_and_this_is_found():
    evaluated = evaluation_set(["mbpp:test"], DATA)
    assert len(evaluated) == 500
    copied = "Write a python function to find the first repeated character in a given string."
    overlap = evaluated.overlap(problem(copied, "mbpp:602"))
    assert overlap
    assert overlap.other == "mbpp:217"


def test_statements_without_words_are_equal_where_their_signs_are():
    seen = Problems()
    assert seen.duplicate_of(problem("→ ?", "a")) is None
    assert seen.duplicate_of(problem("→ !", "b")) is None
    assert seen.duplicate_of(problem("→ ?", "c")) == "a"


def test_a_set_is_named_whole_too():
    first = next(load_tasks("demo"))
    found = evaluation_set(["demo"]).overlap(first.problem)
    assert found is not None
    assert found.why == "id"


@pytest.mark.parametrize(("count", "near"), [(49, True), (48, False)])
def test_one_changed_word_of_forty_nine_leaves_a_near_duplicate(count, near):
    """It breaks five runs of five words: 40 of 50 are in both, as far as the limit goes."""
    text = [f"word{n}" for n in range(count)]
    changed = [*text[:20], "another", *text[21:]]
    seen = Problems()
    assert seen.duplicate_of(problem(" ".join(text), "a")) is None
    assert (seen.duplicate_of(problem(" ".join(changed), "b")) == "a") is near


@pytest.mark.parametrize(("constants", "known"), [(34, True), (33, False)])
def test_a_program_of_forty_nodes_is_told_from_others(constants, known):
    code = f"x = [{', '.join(['1'] * constants)}]"
    assert sum(1 for _ in ast.walk(ast.parse(code))) == constants + 6
    assert (program_key(code) is not None) is known


def test_a_set_is_named_by_a_split_of_it(tmp_path):
    rows = [
        {"task_id": n, "text": f"Number {n}.", "code": "", "test_list": [f"assert f({n}) == 1"]}
        for n in (11, 601)
    ]
    (tmp_path / "mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [len(evaluation_set([name], tmp_path)) for name in ("mbpp", "mbpp:test", "mbpp:train")] == [
        2,
        1,
        1,
    ]
    assert evaluation_set(["mbpp:test"], tmp_path).overlap(problem("x", "mbpp:11"))
    assert not evaluation_set(["mbpp:test"], tmp_path).overlap(problem("x", "mbpp:601"))
