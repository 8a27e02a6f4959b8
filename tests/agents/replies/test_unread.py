"""Why a reply without a program is one, and what of it is kept."""

import pytest

from bdc_agents.agents.replies.unread import excerpt, why_unread


@pytest.mark.parametrize(
    ("text", "truncated", "why"),
    [
        ("  \n", False, "empty"),
        ("", True, "cut off"),
        ("<think>First we sort", False, "all thoughts"),
        ("<think>First we sort", True, "cut off at its token limit"),
        ("Here it is:\n```python\ndef f(x):\n    return (", True, "before a closed code block"),
        ("```javascript\nfunction f(x) { return x }\n```", False, "marked javascript"),
        ("#include <iostream>\nint main() {}", False, "looks like C"),
        ("I am sorry, I cannot help with that.", False, "no code block"),
    ],
)
def test_the_reason_is_told(text: str, truncated: bool, why: str) -> None:
    assert why in why_unread(text, "program", truncated=truncated)


def test_what_was_wanted_is_told() -> None:
    assert "thoughts" in why_unread("Well, no.", "thought")
    assert "output" in why_unread("Well, no.", "output")


def test_an_excerpt_is_short_and_has_both_ends() -> None:
    text = excerpt("begin " + "x" * 1_000_000 + " end\ud800")
    assert len(text) < 700
    assert text.startswith("begin")
    assert "more characters" in text
    assert text.endswith("end?")
    assert excerpt(" short \n") == "short"
