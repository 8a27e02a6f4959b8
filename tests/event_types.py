"""Checks that what a graph tells is one of the events that it promises."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_type_hints

from pydantic import Field, TypeAdapter
from typing_extensions import Annotated  # noqa: UP035


def types_of(union: Any) -> dict[str, Any]:
    """The types of events by their `type`."""
    found: dict[str, Any] = {}
    for one in get_args(union):
        (name,) = get_args(get_type_hints(one)["type"])
        found[name] = one
    return found


def check(events: Iterable[Mapping[str, Any]], union: Any) -> set[str]:
    """The kinds of events that were told; fails where one is not as its type says, or has a key more."""
    types, adapter = types_of(union), TypeAdapter(Annotated[union, Field(discriminator="type")])
    seen = set[str]()
    for event in events:
        adapter.validate_python(event, strict=True)
        assert event.keys() <= {*get_type_hints(types[event["type"]])}, event
        seen.add(event["type"])
    return seen
