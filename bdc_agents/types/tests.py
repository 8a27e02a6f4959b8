"""The three kinds of tests, as they are stored and run; `written` reads the forms that people write."""

from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from bdc_agents.types.base import Frozen
from bdc_agents.types.literals import source_of


def _texts(value: Any) -> Any:
    """One accepted text, or a list of them."""
    return (value,) if isinstance(value, str) else value


def _sources(value: Any) -> Any:
    """Accepted values: a text or a list of texts is Python source; other JSON is the value itself."""
    if isinstance(value, str):
        return (value,)
    items = cast("list[Any]", value)
    if isinstance(value, tuple) or (isinstance(value, list) and all(isinstance(one, str) for one in items)):
        return items
    return (source_of(value),)


def visible(text: str) -> str:
    """Text of stdin or stdout as people and models see it: as Python source where a line of it is blank.

    A blank line at the end, or in a text that is shown on one line, would not be seen.
    """
    blank = any(not line.strip() for line in text.removesuffix("\n").split("\n"))
    return repr(text) if blank else text


class StdinTest(Frozen):
    """A run of the whole program: text in on stdin, text out on stdout."""

    kind: Literal["stdin"] = "stdin"
    stdin: str
    expected: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(_texts, json_schema_input_type=str | list[str]),
    ]
    """Accepted outputs; one match is enough."""


class CallTest(Frozen):
    """An expression over the program's functions and the values it may have.

    The value leaves the sandbox and is compared outside the hostile process.
    """

    kind: Literal["call"] = "call"
    call: str
    """A Python expression, such as `add(1, 2)`."""
    expected: Annotated[
        tuple[str, ...],
        Field(min_length=1),
        BeforeValidator(_sources, json_schema_input_type=Any),
    ]
    """Accepted values as Python literals; one match is enough."""
    setup: str = ""
    """Code run after the program and before the call."""


class ScriptTest(Frozen):
    """Test code that passes when it runs to its end without an exception.

    For data sets whose own semantics are code: HumanEval's `check`, MBPP's general asserts.
    """

    kind: Literal["script"] = "script"
    code: str


TestCase = Annotated[StdinTest | CallTest | ScriptTest, Field(discriminator="kind")]
