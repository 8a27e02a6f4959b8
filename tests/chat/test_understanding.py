"""What a message means in a conversation, and what becomes of messages that mean nothing."""

import json
from typing import Any

import pytest

from bdc_agents.chat.reading import LONGEST
from bdc_agents.chat.understanding import CONFIRMED, UNTESTED, YOURS, Heard, Known, Waiting, hear
from bdc_agents.types import Problem

from .messages import shown

TOTAL = Problem(
    id="total",
    statement="Write total(xs), the sum of a list.",
    public_tests=["total([1, 2]) -> 3"],  # type: ignore[arg-type]
)
KNOWN = Known(TOTAL, (YOURS,))
BARE = Problem(id="total", statement="Write total(xs), the sum of a list.", entry_point="total")
PROPOSED = Problem(
    id="total",
    statement="x",
    public_tests=["total([1]) -> 1", "total([]) -> 0", "total([2, 2]) -> 5"],  # type: ignore[arg-type]
).public_tests
WAITING = Known(None, (), Waiting(BARE, PROPOSED))


def stated(heard: Heard) -> list[str]:
    assert heard.problem, heard.text
    return [shown(test) for test in heard.problem.public_tests]


@pytest.mark.parametrize(
    ("text", "tests", "remark"),
    [
        ("total([]) should be 0", ["total([]) -> 0"], False),
        ("it should also be that total([]) == 0", ["total([]) -> 0"], False),
        ("for the empty list it should return 0", ["total([]) -> 0"], False),
        ("it fails for total([-1]): it returns 1 but should be -1", ["total([-1]) -> -1"], False),
        ("assert total([5]) == 5", ["total([5]) -> 5"], False),
        ("[[[2, 3]], 5]", ["total([2, 3]) -> 5"], False),
        ("Use a loop, and total([]) should be 0", ["total([]) -> 0"], True),
        ("it fails for the empty list", [], True),
        ("without recursion", [], True),
        ("also for negative numbers", [], True),
        ("Please write it without the builtin sum", [], True),
        ("write a version that uses a generator", [], True),
        ("total should accept tuples as well", [], True),
        ("go on", [], False),
        ("try again!", [], False),
        ("please continue", [], False),
    ],
)
def test_a_follow_up_goes_on_with_the_problem(text: str, tests: list[str], remark: bool) -> None:
    heard = hear([text], KNOWN)
    assert (heard.does, heard.begins) == ("search", False), heard
    assert stated(heard) == ["total([1, 2]) -> 3", *tests]
    assert bool(heard.remark) == remark
    assert heard.problem
    assert heard.problem.statement.startswith(TOTAL.statement)
    assert (heard.problem.statement != TOTAL.statement) == remark


def test_a_test_of_a_known_input_replaces_what_was_said_before() -> None:
    heard = hear(["no, total([1, 2]) should be 4"], KNOWN)
    assert stated(heard) == ["total([1, 2]) -> 4"]


TWO = Known(hear(["total([4]) should be 4"], KNOWN).problem, (YOURS, YOURS))


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("test 2 should be 5", ["total([1, 2]) -> 3", "total([4]) -> 5"]),
        ("Test 1 is wrong, it should be 4.", ["total([1, 2]) -> 4", "total([4]) -> 4"]),
        ("the last test must return 5", ["total([1, 2]) -> 3", "total([4]) -> 5"]),
        ("change the first test to 4", ["total([1, 2]) -> 4", "total([4]) -> 4"]),
        ("Sorry, I made a mistake: total([1,2]) == 4", ["total([1,2]) -> 4", "total([4]) -> 4"]),
        ("test 2 is wrong: total([4]) should be 5", ["total([1, 2]) -> 3", "total([4]) -> 5"]),
        ("the second test was wrong. total([5]) should be 5", ["total([1, 2]) -> 3", "total([5]) -> 5"]),
        ("remove test 1 and add total([5]) == 5", ["total([4]) -> 4", "total([5]) -> 5"]),
        ("replace test 1 by `total([5]) == 5`", ["total([4]) -> 4", "total([5]) -> 5"]),
        ("drop test 1, 9", ["total([4]) -> 4"]),
    ],
)
def test_a_corrected_test_is_no_wish(text: str, tests: list[str]) -> None:
    heard = hear([text], TWO)
    assert (heard.does, heard.begins, heard.remark) == ("search", False, ""), heard
    assert stated(heard) == tests
    assert len(heard.sources) == len(tests)


def test_a_correction_with_a_wish_is_both() -> None:
    heard = hear(["test 2 is wrong, and without recursion please"], TWO)
    assert stated(heard) == ["total([1, 2]) -> 3"]
    assert "without recursion" in heard.remark


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("test 9 is wrong", "There are tests 1 to 2"),
        ("tests 1 and 2 are wrong", "no test left"),
        ("it is wrong", "Say what should change"),
        ("tests 1-2 are wrong", "no test left"),
        ("tests 1 to 9999 are wrong", "no test left"),
        *((word, "Say what should change") for word in ("help", "stop", "undo", "null", "budget 100")),
        ("remove all tests", "Say what should change"),
        ("go on without", "Say what should change"),
        ("please correct it", "Say what should change"),
    ],
)
def test_a_correction_that_says_nothing_is_asked_about(text: str, says: str) -> None:
    heard = hear([text], TWO)
    assert heard.does == "say"
    assert says in heard.text


def test_remarks_stand_below_the_statement_one_after_the_other() -> None:
    heard = hear(["without recursion", "and  without\nloops"], KNOWN)
    assert heard.problem
    assert heard.problem.statement == (
        f"{TOTAL.statement}\n\nThe person who asked adds:\n- without recursion\n- and without loops"
    )
    assert heard.remark == "without recursion\nand  without\nloops"


@pytest.mark.parametrize(
    "text",
    [
        "Write mean(xs). mean([2, 4]) should be 3",
        "mean([2, 4]) should be 3",
        "Now write a function mean(xs) that returns the mean",
        "Next: implement mean(xs).",
        "Please write a program that reads numbers and prints their mean. Input: 2 4 Output: 3",
        '{"statement": "Write total(xs).", "tests": ["total([9]) -> 9"]}',
        "new problem: the same, but total([9]) should be 8",
        "```python\ndef mean(xs):\n    ...\n```",
    ],
)
def test_another_problem_starts_anew(text: str) -> None:
    heard = hear([text], KNOWN)
    assert heard.begins
    assert heard.does in ("search", "propose")
    assert heard.problem
    assert heard.problem.statement != TOTAL.statement
    assert "total([1, 2]) -> 3" not in stated(heard)


@pytest.mark.parametrize("text", ["test 2 is wrong", "Please remove test 2.", "drop tests 2 and 9"])
def test_a_test_is_taken_out_by_its_number(text: str) -> None:
    both = hear(["total([]) should be 1"], KNOWN)
    heard = hear([text], Known(both.problem, both.sources))
    assert heard.does == "search"
    assert not heard.begins
    assert stated(heard) == ["total([1, 2]) -> 3"]
    assert heard.sources == (YOURS,)


@pytest.mark.parametrize("text", ["test 1 is wrong", "remove test 7"])
def test_the_last_test_is_not_taken_out(text: str) -> None:
    assert hear([text], KNOWN).does == "say"


@pytest.mark.parametrize(
    "text", ["Why does this work?", "explain the program", "What is a list?", "what can you do?"]
)
def test_questions_are_answered_with_what_can_be_asked(text: str) -> None:
    heard = hear([text], KNOWN)
    assert heard.does == "say"
    assert heard.text.startswith("I search for programs, and answer no questions")
    if text.endswith("?"):
        assert hear([text], Known()).does == "say"


@pytest.mark.parametrize("text", ["thanks", "Great, thank you!", "ok", "yes", "hi", "\U0001f44d", "", "   "])
def test_small_talk_spends_nothing(text: str) -> None:
    for known in (KNOWN, Known()):
        heard = hear([text], known)
        assert heard.does == "say"
        assert heard.text
        assert heard.problem is None


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        ("yes", [0, 1, 2]),
        ("Yes, please.", [0, 1, 2]),
        ("looks good", [0, 1, 2]),
        ("they are right", [0, 1, 2]),
        ("1 and 2", [0, 1]),
        ("only 2", [1]),
        ("1, 2", [0, 1]),
    ],
)
def test_proposed_tests_are_confirmed(text: str, tests: list[int]) -> None:
    heard = hear([text], WAITING)
    assert heard.does == "search"
    assert heard.resumes
    assert stated(heard) == [shown(PROPOSED[number]) for number in tests]
    assert set(heard.sources) == {CONFIRMED}


def test_a_list_of_ones_own_replaces_what_was_proposed() -> None:
    heard = hear(["- total([1]) == 1\n- total([2, 2]) == 4"], WAITING)
    assert stated(heard) == ["total([1]) -> 1", "total([2, 2]) -> 4"]
    assert set(heard.sources) == {YOURS}


def test_a_yes_with_a_correction_keeps_the_others() -> None:
    heard = hear(["yes, but total([2, 2]) should be 4"], WAITING)
    assert stated(heard) == ["total([1]) -> 1", "total([]) -> 0", "total([2, 2]) -> 4"]
    assert heard.sources == (CONFIRMED, CONFIRMED, YOURS)


def test_going_on_without_tests_asks_only_that_a_program_loads() -> None:
    heard = hear(["go on without"], WAITING)
    assert heard.does == "search"
    assert stated(heard) == ["assert callable(total)"]
    assert heard.sources == (UNTESTED,)


def test_a_whole_program_cannot_go_on_without_an_example() -> None:
    program = Problem(statement="Read n and print its square.")
    heard = hear(["go on without"], Known(None, (), Waiting(program)))
    assert heard.does == "say"
    assert "Input: 2 3" in heard.text
    assert heard.waiting


@pytest.mark.parametrize("text", ["no", "they are wrong", "99"])
def test_a_no_asks_for_the_right_ones_and_keeps_waiting(text: str) -> None:
    heard = hear([text], WAITING)
    assert heard.does == "say"
    assert heard.waiting == WAITING.waiting


def test_another_problem_ends_the_waiting() -> None:
    heard = hear(["Write mean(xs): mean([2, 4]) should be 3"], WAITING)
    assert (heard.begins, heard.resumes) == (True, False)
    assert stated(heard) == ["mean([2, 4]) -> 3"]


def test_a_conversation_of_which_nothing_was_kept_is_heard_as_a_whole() -> None:
    heard = hear(["Hello", "Write total(xs): total([1]) should be 1", "without recursion", "thanks"], Known())
    assert heard.does == "search"
    assert heard.begins
    assert heard.problem
    assert heard.problem.statement.endswith("- without recursion")


# --- what cannot be understood --------------------------------------------------------------------------


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"statement": "Write f.", "tests": ["f(1) -> 2"], "hidden_tests": ["f(3) -> 4"]}', "hidden_tests"),
        ('{"statement": "Write f.", "tests": ["f(1)"]}', "test 1"),
        ('{"statement": "Write f.", "tsets": ["f(1) -> 2"]}', "tsets"),
        ('{"statement": "Write f.", "tests": ["f(1) -> 2"', "mend"),
        ('{"tests": 3, "statement": "x"}', "test"),
        ("x" * (LONGEST + 1), "characters"),
        ("\n".join(f"assert f({n}) == {n}" for n in range(201)), "201 tests"),
        ("greet('Bob') should return Hello Bob", "quotes"),
        ("Write f. f(2) returns 3, not 4", "what is right"),
    ],
)
def test_what_cannot_be_used_gets_a_sentence_on_what_to_write(text: str, says: str) -> None:
    heard = hear([text], Known())
    told = heard.text + "\n".join(heard.notes)
    assert says in told
    assert "Traceback" not in told
    assert len(heard.text) < 2500


HOSTILE: list[Any] = [
    nested(100_000),
    nested(20_000),
    '{"statement": ' * 3000 + "1" + "}" * 3000,
    json.dumps({"statement": "Write f.", "tests": [[[1], 2]] * 20_000}),
    '{"statement": "Write f(x).", "tests": [{"args": [' + nested(400) + '], "expected": 1}]}',
    '{"statement": "f", "tests": [{"call": "f(' + "(" * 300 + '", "expected": 1}]}',
    '{"statement": "f", "tests": ["f(1) -> ' + "9" * 9000 + '"]}',
    "\x00\x1b[2J\u202e Write f: f(1) should be 2 \ud800",
    "f(" * 12_000,
    "f(1) should be " * 3000,
    ")" * 40_000,
    "assert (" * 5000,
    "assert f(\n" * 5000,
    "Input: " * 7000,
    "Input: a\n" * 5000,
    "a -> b\n" * 7000,
    "tests a -> b\n" * 3500,
    "`f(" * 15_000,
    "```\n" * 12_000,
    ">>> f(1)\n" * 5000,
    ">>> f(1)\n\ud800\n",
    "def f(:\n" * 5000,
    "import x\n" * 5000,
    "hi " * 15_000,
    "hi" + " " * 40_000 + "x",
    ("hi" + " " * 5000) * 8 + "x",
    "*" * 49_000,
    "f(1)" + " " * 49_000 + "x",
    "write f " * 6000,
    "for " * 12_000,
    "class A:\n" + "    x = 1\n" * 4000,
    "| f(1) | " * 5000,
    "f('" + "\\" * 40_000,
    "a" * 49_000,
    "A" * 25_000 + " " + "b" * 24_000,
]


@pytest.mark.parametrize("number", range(len(HOSTILE)), ids=[f"{text[:12]!a}" for text in HOSTILE])
def test_nothing_hostile_breaks_the_reading(number: int) -> None:
    text, known = HOSTILE[number], (Known(), KNOWN, WAITING)[number % 3]
    text = text if text.startswith(("{", "[")) else text[: LONGEST - 1]
    heard = hear([text], known)
    assert heard.text or heard.problem
    told = json.dumps([heard.text, heard.notes, heard.remark])
    assert "\\u001b" not in told
    assert "\\u0000" not in told
    if heard.problem:
        heard.problem.model_dump_json()
