"""What holds between the values of a call in every example, and is kept where they are varied.

A number may be the length of a list, or a place in it; one text may stand in another; two numbers may be the
ends of a range. An input that breaks such a rule is none of the problem's, and right programs differ on it.
"""

from collections.abc import Iterator, Sequence
from typing import Any

_SURE = 3
"""Items of a list from which a number that is its length is no chance, though there is one example."""


def keep_relations(
    values: list[Any], before: Sequence[Any], examples: Sequence[Sequence[Any]], ordered: bool
) -> None:
    """Changes varied values so that they stand to each other as in the examples.

    Args:
        values: By place; changed.
        before: What they were before they were varied.
        examples: For each example, the values at its places.
        ordered: Whether the order of two numbers counts, even if only one example shows it.
    """
    if not examples:
        return
    sized = {*same_sizes(examples)}
    places = range(len(values))
    for one, other in ((one, other) for one in places for other in places if one != other):
        shown = [(example[one], example[other]) for example in examples]
        if (one, other) in sized:
            continue
        if _all_texts(shown) and all(first and first in second for first, second in shown):
            _keep_part(values, one, other)
        elif all(_is_place(*pair) for pair in shown):
            _keep_place(values, one, other, before)
        elif one < other and (ordered or len(shown) > 1):
            _keep_order(values, one, other, shown)
    _keep_sizes(values, examples)


def same_sizes(values: Sequence[Sequence[Any]]) -> Iterator[tuple[int, int]]:
    """Places whose values belong together in every example: a number and the length of a list, or two lists.

    Args:
        values: For each example, the values at its places.

    Yields:
        The place of a number or list, and that of the list whose length it has.
    """
    if not values or len({len(one) for one in values}) != 1:
        return
    for list_place in range(len(values[0])):
        for place in range(len(values[0])):
            if place != list_place and _told(
                [(one[place], one[list_place]) for one in values], place < list_place
            ):
                yield place, list_place


def _told(pairs: Sequence[tuple[Any, Any]], before: bool) -> bool:
    """Whether all say the same, and enough of them that it is no chance."""
    if not all(type(second) in (list, tuple, str) for _, second in pairs):
        return False
    sizes = [len(second) for _, second in pairs]
    sure = len(set(sizes)) > 1 or min(sizes) >= _SURE
    if all(type(first) is int for first, _ in pairs):
        return sure and [first for first, _ in pairs] == sizes
    if all(type(first) in (list, tuple) for first, _ in pairs) and before:
        return sure and [len(first) for first, _ in pairs] == sizes
    return False


def _keep_sizes(values: list[Any], examples: Sequence[Sequence[Any]]) -> None:
    """Makes numbers and lists fit to the lists that they belong to."""
    for place, listed in same_sizes(examples):
        size = len(values[listed])
        if type(values[place]) is int:
            values[place] = size
        elif len(values[place]) != size:
            longer, shorter = (listed, place) if size > len(values[place]) else (place, listed)
            values[longer] = values[longer][: len(values[shorter])]


def _all_texts(pairs: Sequence[tuple[Any, Any]]) -> bool:
    return all(type(first) is str and type(second) is str for first, second in pairs)


def _keep_part(values: list[Any], part: int, whole: int) -> None:
    """Makes one text a part of another, of about its length."""
    if values[part] and values[part] not in values[whole]:
        size = min(len(values[part]), len(values[whole]))
        start = (len(values[whole]) - size) // 2
        values[part] = values[whole][start : start + size]


def _is_place(number: Any, listed: Any) -> bool:
    """Whether a number may be a place in a list, or a count of its items: in each row, where it has rows."""
    return type(number) is int and type(listed) in (list, tuple) and 0 <= number <= _shortest(listed)


def _shortest(listed: Sequence[Any]) -> int:
    rows = [len(row) for row in listed if type(row) in (list, tuple)]
    return min([len(listed), *rows])


def _keep_place(values: list[Any], number: int, listed: int, before: Sequence[Any]) -> None:
    inside, least = before[number] < _shortest(before[listed]), min(before[number], 1)
    if _shortest(values[listed]) - inside < least:
        values[listed] = before[listed]
    values[number] = max(min(values[number], _shortest(values[listed]) - inside), least)


def _keep_order(values: list[Any], one: int, other: int, shown: Sequence[tuple[Any, Any]]) -> None:
    if not all(type(first) in (int, float) and type(second) in (int, float) for first, second in shown):
        return
    rising, falling = (
        all(first <= second for first, second in shown),
        all(first >= second for first, second in shown),
    )
    if rising != falling and (values[one] > values[other] if rising else values[one] < values[other]):
        values[one], values[other] = values[other], values[one]
