"""What is read from statements: sentences of the real data sets, and the same things in other words."""

# ruff: noqa: E501, RUF001 - sentences stand as the data sets have them

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.data.contest import stdin_checker, unjudged_tags
from bdc_agents.data.statement import Reading, free_words, readings, sentences
from bdc_agents.types import CallTest, Checker, StdinTest


def read(statement: str, kind: str) -> list[Reading]:
    return [reading for reading in readings(statement) if reading.kind == kind]


def allowed(statement: str) -> float | None:
    found = read(statement, "tolerance")
    return found[0].tolerance if found else None


def printed(*outputs: str) -> list[StdinTest]:
    return [StdinTest(stdin="1\n", expected=(text,)) for text in outputs]


# --- errors -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "error", "kind"),
    [
        # Codeforces, as CodeContests and APPS have it.
        ("Your answer will be considered correct if its absolute or relative error doesn’t exceed $10^{-5}$.", 1e-5, "either"),
        ("Relative or absolute error should not be greater than 10 - 9.", 1e-9, "either"),
        ("The answer will be considered correct, if the absolute or relative error doesn't exceed 10 - 4.", 1e-4, "either"),
        ("The answer will be considered valid if it differs from the correct one by at most 10 - 9.", 1e-9, "absolute"),
        ("The absolute or relative measure of the inaccuracy of your answer should not exceed 10 - 6.", 1e-6, "either"),
        ("The answer will be considered valid if its absolute or relative inaccuracy does not exceed 10 - 6.", 1e-6, "either"),
        ("Your answer is considered correct if \\frac {|a-b|} {max(1, b)} ≤ 10^{-6}.", 1e-6, "either"),
        ("Your answer is accepted if and only if \\frac{|a - b|}{max{(1, |b|)}} ≤ 10^{-6}.", 1e-6, "either"),
        ("The absolute or relative error mustn't exceed 10 - 6.", 1e-6, "either"),
        ("Your output must have relative or absolute error less than 10 - 6.", 1e-6, "either"),
        # Kattis, as APPS has it.
        ("Your answer should be correct up to an absolute or relative precision of $10^{-6}$.", 1e-6, "either"),
        ("Answers with absolute or relative precision $10^{-5}$ of the actual value will be accepted.", 1e-5, "either"),
        ("This probability should be given with an absolute error of at most $10^{-9}$.", 1e-9, "absolute"),
        # LeetCode.
        ("Any answer with a calculation error less than 10-5 will be accepted.", 1e-5, "absolute"),
        ("Solutions within 10-5 from the actual answer are considered accepted.", 1e-5, "absolute"),
        ("Your answer will be accepted if it differs from the correct answer by at most 1e-5.", 1e-5, "absolute"),
        # The same in other forms.
        ("Print the volume with a relative error of at most 10\u207b\u00b9\u2070.", 1e-10, "relative"),
        ("Answers within 10<sup>-5</sup> of the actual answer will be accepted.", 1e-5, "absolute"),
        ("Print the answer with a precision of at least 0.0001.", 1e-4, "absolute"),
        ("Your answer must be accurate to within 0.01.", 1e-2, "absolute"),
        ("The error of your answer may be up to\n$10^{\u22127}$.", 1e-7, "absolute"),
        ("Print the answer correct to four decimal places.", 1e-4, "absolute"),
        ("Your output must not differ from the jury's by more than 1e-3.", 1e-3, "absolute"),
        ("The checker tolerates a difference of 1E-8.", 1e-8, "absolute"),
        ("For the given input, print the area; the absolute error must be below 10**-4.", 1e-4, "absolute"),
        ("It is correct if |x - x'| / |x'| is at most 1e-6, the relative error.", 1e-6, "relative"),
    ],
)  # fmt: skip
def test_a_sentence_that_allows_an_error_is_read(sentence, error, kind):
    found = read(f"Compute it. {sentence} Good luck.", "tolerance")
    assert [round(one.tolerance / error, 9) for one in found] == [1.0]
    assert found[0].error == kind
    checker = stdin_checker(f"Compute it.\n\n{sentence}", printed("3"))
    assert (checker.tolerance, checker.error) == (found[0].tolerance, kind)


@pytest.mark.parametrize(
    "sentence",
    [
        # Real ones, about the input or about something else.
        "All probabilities are given with at most 6 decimal places.",
        "Numbers n and t are integers, number p is real, given with exactly two digits after the decimal point.",
        "All given in the input coordinates are real numbers, given with at most two digits after decimal point.",
        "- a real number $p$ ($0 < p < 1$ and $p$ has at most $6$ digits after the decimal point), the probability",
        "Print the coordinates of the required point with five digits after the decimal point.",
        "Unfortunately, due to some error, one of the numbers in s got duplicated to another number in the set.",
        "Print one integer - the answer modulo 10^9 + 7.",
        # On the precision of an input.
        "Input values have precision 10^{-2}.",
        "The weights have a precision of 10^{-2}.",
        "Each measurement has an error of at most 0.01.",
        "The thermometer has an error of at most 0.01.",
        "The coordinates are given with an absolute error of at most 10^{-3}.",
        "It is guaranteed that the answer does not change if each radius changes by at most 10^{-6}.",
        "The sensor differs from the exact temperature by at most 0.05.",
        "There are 10 - 3 errors.",
        "Numbers are at least 10^{-3}.",
        "You walk within 0.01 kilometres of the shore.",
        "The error counter is increased by 1.",
    ],
)
def test_a_sentence_about_something_else_allows_nothing(sentence):
    assert allowed(sentence) is None
    assert stdin_checker(f"{sentence} Print how many.", printed("3")) == Checker()


def test_the_sentence_on_the_answer_counts_beside_one_on_the_input():
    statement = (
        "The input has a precision of 10^{-2}.\n\nAn absolute error of 10^{-4} in your answer is allowed."
    )
    assert allowed(statement) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("expected", "checker"),
    [
        (["3"], Checker()),
        (["3.5"], Checker(tolerance=1e-6)),
        (["3.50", "YES 0.123456789"], Checker(tolerance=1e-6)),
        (["0.33333"], Checker(tolerance=1e-5, error="absolute")),
        (["v1.5"], Checker()),
        (["1.2.3.4"], Checker()),
    ],
)
def test_without_a_sentence_public_answers_tell(expected, checker):
    assert stdin_checker("Compute it.", printed(*expected)) == checker
    calls = [CallTest(call="f(1)", expected=(text,)) for text in expected]
    assert stdin_checker("Compute it.", calls) == checker


# --- letter case ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentence",
    [
        "You can print each letter in any case (upper or lower).",
        "You can print each character in any case (either upper or lower).",
        "You can choose the case (lower or upper) for each letter arbitrary.",
        "Print YES (case insensitive) if it's possible to build t and NO (case insensitive) otherwise.",
        'You may print every letter of "YES" in any case you want (so, the strings yEs, yes and Yes are recognized).',
        "The output is not case-sensitive.",
        "The checker ignores the case of the answer.",
        "The case of the letters in the output does not matter.",
        "You can print the word in upper or lower case.",
    ],
)
def test_a_sentence_that_frees_letter_case_is_read(sentence):
    statement = f'Print "YES" or "NO". {sentence}'
    assert len(read(sentence, "any case")) == 1
    assert stdin_checker(statement, printed("YES")).any_case == ("no", "yes")


@pytest.mark.parametrize(
    "sentence",
    [
        "In any case, print the sum.",
        "Ignore numbers and spaces in licensePlate, and treat letters as case insensitive.",
        "When a query matches a word in the wordlist (case-insensitive), the answer is the word.",
        "Please note that the case of the letters matters.",
        "The string consists of upper or lower case letters.",
        "In the best case, print 0.",
        "For each test case print the answer.",
    ],
)
def test_letter_case_counts_where_no_sentence_frees_it(sentence):
    assert not read(sentence, "any case")
    assert stdin_checker(sentence, printed("YES")).any_case == ()


@pytest.mark.parametrize(
    ("said", "answers", "free"),
    [
        (['Print "Alice" or "Bob".'], ["Alice"], ("alice", "bob")),
        (["Print YES or NO, and then the string."], ["YES\nabc"], ("no", "yes")),
        (["Print whether it is even."], ["Even\n", "Odd\n"], ("even", "odd")),
        (["Print it."], ["No"], ("no", "yes")),
        (["Print it."], ["3 4"], ()),
    ],
)
def test_the_free_words_are_those_that_are_named_and_printed(said, answers, free):
    assert free_words(said, answers) == free


# --- several answers, dialogues -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentence",
    [
        "If there are multiple answers, print any of them.",
        "If there are several possible answers, you can print any.",
        "If there are many such operation sequences possible, print any.",
        "If there are many valid solutions, any one will be accepted.",
        "If there are several such sequences, any of them is acceptable.",
        "If there are several partitions, Petya will be satisfied by any of them.",
        "If there are several ways to achieve it, print any of them.",
        "The order of the edges in the output doesn't matter.",
        "These $M$ lines can be output in any order.",
        "You can print the paths and the ends of each path in arbitrary order.",
        "You may return the answer in any order.",
        "In case the answer is not unique, return any valid array.",
        "Given an integer n, return any valid n-bit gray code sequence.",
    ],
)
def test_several_answers_are_told(sentence):
    assert unjudged_tags(f"Do it. {sentence}") == ("any-answer",)


@pytest.mark.parametrize(
    "sentence",
    [
        "If there are multiple solutions, print the lexicographically smallest one.",
        "If there are multiple possible roots of the multigram, output the shortest.",
        "He can drink cups in any order.",
        "The edges are given in any order.",
        "Return the largest multiple of three that can be formed by concatenating some of the digits in any order.",
        "Find the number of pairs of cities x and y such that any path goes through a and b (in any order).",
        "If he cannot find any such snack, he fails the mission.",
        "Print -1 if it is impossible to get any other number.",
        "In how many ways can he choose any two of them?",
        "Return the maximum score of any valid set of words.",
        "It is possible to get from any city to any other one.",
    ],
)
def test_one_answer_is_not_taken_for_several(sentence):
    assert unjudged_tags(sentence) == ()


@pytest.mark.parametrize(
    ("sentence", "tags"),
    [
        ("This is an interactive problem.", ("interactive",)),
        ("Do not forget to flush the output after each query.", ("interactive",)),
        ("Your program must interact with the judge.", ("interactive",)),
        ("He studied the interaction protocol of the two applications.", ()),
        ("The toilet is flushed every hour.", ()),
    ],
)
def test_a_dialogue_is_told(sentence, tags):
    assert unjudged_tags(sentence) == tags


# --- sentences --------------------------------------------------------------------------------------


def test_sentences_go_on_over_lines_but_not_over_empty_ones():
    text = "One goes\non here. Two (e.g. this) ends.Three is glued.\n\nFour\nFive stands on a line"
    assert sentences(text) == [
        *("One goes\non here.", "Two (e.g. this) ends.", "Three is glued.", "Four", "Five stands on a line")
    ]


@given(st.text("10 -^{}.eE\n|ab/ errorwithinanswer", max_size=200))
def test_any_text_is_read(text):
    for reading in readings(text):
        assert reading.sentence in text
        assert reading.kind != "tolerance" or 0 < reading.tolerance <= 0.1
