"""Text in pieces is the text, cut at the first stop text, with nothing shown too early."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.serve.backends.transformers.detokenize import Detokenizer

letters = st.text(alphabet="abc \n\u00e9\u4e2d\U0001f600", max_size=40)
stops = st.lists(st.text(alphabet="abc \n\u00e9", min_size=1, max_size=4), max_size=3)


def pieces(tokenizer: Any, text: str, stop: list[str]) -> tuple[Detokenizer, list[str]]:
    detokenizer = Detokenizer(tokenizer, stop)
    shown = []
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        shown.append(detokenizer.add(token))
        if detokenizer.stopped:
            break
    return detokenizer, [*shown, detokenizer.finish()]


@given(text=letters, stop=stops)
def test_the_pieces_are_the_text_up_to_the_first_stop(tokenizer: Any, text: str, stop: list[str]) -> None:
    detokenizer, shown = pieces(tokenizer, text, stop)
    # Tokens are bytes: the text ends where a stop text is first whole.
    ends = [text.find(one) + len(one) for one in stop if one in text]
    expected = text
    if ends:
        seen = text[: min(ends)]
        expected = seen[: min(seen.find(one) for one in stop if one in seen)]
    assert "".join(shown) == detokenizer.text == expected
    assert detokenizer.stopped == bool(ends)


@given(text=letters)
def test_half_a_character_is_never_shown(tokenizer: Any, text: str) -> None:
    _, shown = pieces(tokenizer, text, [])
    assert not any("\ufffd" in piece for piece in shown)


def test_bytes_that_are_no_text_are_shown_in_the_end(tokenizer: Any) -> None:
    broken = tokenizer("\u4e2d", add_special_tokens=False)["input_ids"][:1]
    detokenizer = Detokenizer(tokenizer, [])
    shown = [detokenizer.add(token) for token in broken * 20]
    assert "".join([*shown, detokenizer.finish()]) == "\ufffd" * 20
