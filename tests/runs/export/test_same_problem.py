"""A problem that is met again is no duplicate of itself, whether its text is the same or nearly so."""

from bdc_agents.runs.export.overlap import Problems, Texts
from bdc_agents.types import Problem

TEXT = " ".join(f"word{n}" for n in range(200))
NEARLY = TEXT.replace("word100", "another")


def test_the_same_id_is_never_a_duplicate() -> None:
    seen = Problems()
    for statement in (TEXT, TEXT, NEARLY, NEARLY):
        assert seen.duplicate_of(Problem(id="a", statement=statement)) is None


def test_another_id_is_a_duplicate_of_the_first_that_said_so() -> None:
    seen = Problems()
    assert seen.duplicate_of(Problem(id="a", statement=TEXT)) is None
    assert seen.duplicate_of(Problem(id="b", statement=TEXT)) == "a"
    assert seen.duplicate_of(Problem(id="c", statement=NEARLY)) == "a"
    assert seen.duplicate_of(Problem(id="d", statement="Add two numbers and print the sum.")) is None


def test_texts_are_counted() -> None:
    texts = Texts()
    assert len(texts) == 0
    texts.add("a", TEXT)
    texts.add("b", NEARLY)
    assert len(texts) == 2
