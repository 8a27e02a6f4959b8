"""Values like some examples: what agreement varies the inputs of public tests with.

The examples tell what an input may be: its types, the range of its numbers, the letters of its texts,
and whether its lists are sorted, free of duplicates, or all of one length. A value that breaks such a
rule may be no input at all, and right programs differ on it.
"""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random
from string import ascii_lowercase, ascii_uppercase
from typing import Any, cast

from bdc_agents.search.choice.domain import ANY, Bounds

_FEW = 4
"""Items up to which lists of one length, such as pairs, have columns with values of their own."""
_MANY = 6
"""Different letters of a case from which on texts are taken to hold any of it."""
_LONG = 200
"""Items from which on a list is not made longer, so that programs need no more time."""
_LARGE = 1_000
"""Up to here the largest number that a statement allows is an input: a program may count to its square."""
_LOOSE = 0.25
"""Share of texts with letters of no example, where the problem is to tell some texts from others. Chosen."""
_ANY_LETTERS = "aeZB 05.-_@"
_LARGER = 0.25
_EMPTY = 0.06
"""Share of the changes that make a list or text larger, or empty where no example is: most limits
exclude that, and yet many a wrong program fails there."""


class Like:
    """What the values at one place have in common.

    Args:
        examples: Values that stand at this place in the tests, of any types.
        bounds: What the statement says of them.
    """

    def __init__(self, examples: Sequence[Any], bounds: Bounds = ANY) -> None:
        self.bounds = bounds
        self.examples = list(examples)
        self.numbers = [one for one in self.examples if type(one) in (int, float)]
        self.texts = [one for one in self.examples if type(one) is str]
        self.lists = [cast("list[Any]", one) for one in self.examples if type(one) in (list, tuple)]
        lengths = {len(one) for one in self.lists}
        several = len(self.lists) > 1
        self.fixed = several and len(lengths) == 1
        self.columns = self.fixed and 0 < max(lengths, default=0) <= _FEW
        long = [one for one in self.lists if len(one) > 1]
        told = len(long) > 1 or any(len(one) > 3 for one in long)
        self.ascending = told and all(_ascending(one) for one in long)
        # A few different items are no rule: many a wrong program fails on equal ones.
        self.distinct = (
            len(long) > 1 and sum(map(len, long)) > 2 * _FEW and all(_distinct(one) for one in long)
        )
        self._items: dict[int, Like] = {}

    def item(self, place: int) -> "Like":
        """What the items of its lists have in common, column by column where they have columns."""
        key = place if self.columns else 0
        if key not in self._items:
            found = [one[key : key + 1] if self.columns else one for one in self.lists]
            inner = self.bounds._replace(fewest=None, most=None)
            self._items[key] = Like([item for one in found for item in one], inner)
        return self._items[key]

    def varied(self, value: Any, random: Random) -> Any:
        """Another value of the same type, within the bounds."""
        made = self._varied(value, random)
        if not isinstance(made, str | list | tuple | set | frozenset | dict):
            return made
        size, fewest, most = len(cast("Any", made)), self.bounds.fewest or 0, self.bounds.most
        return cast("Any", value if size < fewest or (most is not None and size > most) else made)

    def _varied(self, value: Any, random: Random) -> Any:
        kind: type[object] = type(cast("object", value))
        if kind is bool:
            return not value
        if kind is int:
            return self._number(value, random)
        if kind is float:
            low, high = map(float, self._range(value))
            moved = (
                value + random.choice((-1.0, -0.5, 0.5, 1.0)),
                random.uniform(low, high),
                float(round(value)),
            )
            return min(max(random.choice(moved), low), high)
        if kind is str:
            return self._text(value, random)
        if kind in (list, tuple):
            return cast("Any", kind)(self._list(list(value), random))
        if kind in (set, frozenset):
            # Their own order is another in every process.
            sets = [cast("set[Any]", one) for one in self.examples if type(one) is kind]
            inner = Like([sorted(one, key=repr) for one in sets], self.bounds)
            return cast("Any", kind)(inner._list(sorted(value, key=repr), random))
        if kind is dict:
            return self._dict(value, random)
        return value

    def _range(self, value: float) -> tuple[float, float]:
        """Where numbers may lie: as is stated, or as several examples do; a few tell little but a sign."""
        low, high = min([value, *self.numbers]), max([value, *self.numbers])
        least, most = self.bounds.low, self.bounds.high
        if least is None or most is None:
            if len(set(self.numbers)) > _FEW:
                return low, high
            least = low - max(abs(low), abs(high), 2) if low < 0 else min(int(low), 1)
            return least, high + max(abs(low), abs(high), 2)
        room = max(abs(low), abs(high), 2)
        return max(least, low - room), most if most <= _LARGE else min(most, high + room)

    def _number(self, value: int, random: Random) -> int:
        low, high = map(int, self._range(value))
        near = (value - 1, value + 1, value + 2, value * 2)
        seen = [one for one in self.numbers if type(one) is int] or [value]
        edges = (min(seen), max(seen), max(seen) + 1, low, *((high,) if self.bounds.high is not None else ()))
        chosen = random.choice(
            (
                random.choice(near),
                random.choice(edges),
                random.randint(min(seen), max(seen)),
                random.randint(low, high),
            )
        )
        if chosen == value:
            chosen = value + 1 if value < high else value - 1
        return min(max(chosen, low), high)

    def _text(self, text: str, random: Random) -> str:
        letters = sorted({char for one in (*self.texts, text) for char in one})
        if not letters:
            return random.choice(("a", "1", " "))
        if letters and all(char in "0123456789" for char in letters):
            return self._digits(text, random)
        if self.bounds.loose and random.random() < _LOOSE:
            letters = [*letters, *_ANY_LETTERS]
        elif not any(map(str.isalpha, letters)) and any(map(str.isdigit, letters)):
            return _NUMBER.sub(lambda found: _number_like(found[0], random), text)
        elif random.random() < 0.25:
            letters = _alphabet(letters)
        words = text.split(" ")
        if len(words) > 2 and random.random() < 0.5:
            return " ".join(_rearranged(words, random, lambda word, _: word[::-1]))
        chars = _rearranged(
            list(text or letters[0]), random, lambda _char, _place: random.choice(letters), self.texts
        )
        return "".join(chars)

    def _digits(self, text: str, random: Random) -> str:
        made = "".join(random.choice("0123456789") if random.random() < 0.4 else char for char in text) or "0"
        lengthened = random.choice((made, made, made + random.choice("0123456789"), made[1:] or made))
        leading = any(one.startswith("0") and len(one) > 1 for one in (*self.texts, text))
        return lengthened if leading else (lengthened.lstrip("0") or "0")

    def _list(self, items: list[Any], random: Random) -> list[Any]:
        def other(item: Any, place: int) -> Any:
            return self.item(place).varied(item, random)

        if not items:
            filled = [one for one in self.lists if one]
            return list(random.choice(filled)) if filled else items
        if self.fixed:
            made = [
                other(item, place) if random.random() < 1 / min(len(items), 3) else item
                for place, item in enumerate(items)
            ]
            if not self.columns and random.random() < 0.3:
                random.shuffle(made)
        else:
            made = _rearranged(items, random, other, self.lists)
        if self.distinct:
            made = [item for place, item in enumerate(made) if item not in made[:place]]
            if self.fixed and len(made) < len(items):
                made = items[::-1] if not self.ascending else items
        return sorted(made) if self.ascending and made else made

    def _dict(self, value: dict[Any, Any], random: Random) -> dict[Any, Any]:
        dicts = [cast("dict[Any, Any]", one) for one in self.examples if type(one) is dict]
        values = Like([item for one in dicts for item in one.values()])
        made = {
            key: values.varied(item, random) if random.random() < 0.6 else item for key, item in value.items()
        }
        if len(made) > 1 and random.random() < 0.3:
            made.pop(random.choice(list(made)))
        return made


_NUMBER = re.compile(r"\d+")


def _number_like(digits: str, random: Random) -> str:
    """Another number in a text such as a date, as wide and no larger, so that the text keeps its form."""
    number = int(digits[:30])
    return str(random.randint(min(1, number), number)).zfill(len(digits)) if random.random() < 0.6 else digits


def _alphabet(letters: Sequence[str]) -> list[str]:
    """The letters with all others of their case, where so many were seen that any may stand there."""
    found = set(letters)
    for case in (ascii_lowercase, ascii_uppercase):
        if len(found & set(case)) >= _MANY:
            found |= set(case)
    return sorted(found)


def _rearranged(
    items: list[Any],
    random: Random,
    other: Callable[[Any, int], Any],
    examples: Sequence[Sequence[Any]] = (),
) -> list[Any]:
    """Items changed, left out, doubled, all alike, in another order, with those of an example, or none.

    Args:
        items: One or more.
        other: Another item for one at a place.
        examples: Other values of this kind.
    """
    if random.random() < (_EMPTY if all(examples) else 3 * _EMPTY):
        return []
    if random.random() < _LARGER and len(items) < _LONG:
        more = random.choice([one for one in (*examples, items) if 0 < len(one) < _LONG])
        return [*items, *(other(item, place) for place, item in enumerate(more))]
    made, at = [*items], random.randrange(len(items))
    match random.choice(_KINDS):
        case "change":
            made[at] = other(made[at], at)
        case "change some":
            made = [other(item, place) if random.random() < 0.5 else item for place, item in enumerate(made)]
        case "leave out" if len(made) > 1:
            del made[at]
        case "double":
            made.insert(at, made[at])
        case "shuffle":
            random.shuffle(made)
        case "alike":
            made = [made[at]] * len(made)
        case "one":
            made = [other(made[at], at)]
        case "swap":
            made[at], made[0] = made[0], made[at]
        case _:
            made.reverse()
    return made


_KINDS = (
    *("change", "change", "change some", "change some", "leave out", "double", "shuffle"),
    *("alike", "turn", "one", "swap"),
)


def _ascending(items: Sequence[Any]) -> bool:
    try:
        return all(one <= other for one, other in pairwise(items))
    except TypeError:
        return False


def _distinct(items: Sequence[Any]) -> bool:
    return all(item not in items[:place] for place, item in enumerate(items[:100]))
