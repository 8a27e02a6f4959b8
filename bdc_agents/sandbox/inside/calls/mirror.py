"""Mirrors containers in two processes: a list that one changes is changed in the other.

Each side has its own list, dictionary or set under a number that both know. Every message says what
has changed since the last one. A container that one side no longer uses is no longer mirrored.
"""

import collections
import operator
import sys
import types
from typing import Any

from .. import values

_MOST_CONTAINERS, _MOST_ITEMS = 2_000, 50_000
"""Bounds on what is mirrored, since each message looks at all of it. Chosen, not measured."""

_OWN_REFERENCES = 3  # Those of the table, of the loop variable and of `getrefcount` itself.


class Mirror:
    """One side's containers.

    A side numbers the containers that it sends: one side by even numbers, the other by odd ones, so that
    the two never meet.

    Args:
        even: Whether this side's numbers are the even ones.
    """

    def __init__(self, even: bool) -> None:
        self._held: dict[int, Any] = {}
        self._before: dict[int, list[Any]] = {}
        self.numbers: dict[int, int] = {}
        self._next_mine, self._next_theirs = (0, 1) if even else (1, 0)

    def __getitem__(self, number: int) -> Any:
        return self._held[number]

    def add_sent(self, value: Any) -> None:
        """Registers a container that is sent, under this side's next number."""
        self._add(self._next_mine, value)
        self._next_mine += 2

    def add_received(self, value: Any) -> None:
        """Takes in a container that was received."""
        self._add(self._next_theirs, value)
        self._next_theirs += 2

    def _add(self, number: int, value: Any) -> None:
        self._held[number], self.numbers[id(value)] = value, number
        self._before[number] = items(value)

    def take_back_received(self) -> None:
        """Forgets the last container that was received: it only carried the content of another."""
        self._next_theirs -= 2
        self.drop([self._next_theirs])

    def mark(self) -> int:
        """Where `take_back_sent` goes back to."""
        return self._next_mine

    def take_back_sent(self, mark: int) -> None:
        """Forgets the containers of a message that is not sent in the end."""
        self.drop(list(range(mark, self._next_mine, 2)))
        self._next_mine = mark

    def changed(self, mark: int) -> list[tuple[int, Any]]:
        """The containers that hold other things than when the sides last spoke.

        Args:
            mark: Where the numbers of those begin that are sent just now: what they hold goes with them.
        """
        found = []
        for number, value in list(self._held.items()):
            if number >= mark and number % 2 == mark % 2:
                continue
            now = items(value)
            if not same_items(now, self._before[number]):
                self._before[number] = now
                found.append((number, value))
        return found

    def change(self, number: int, holding: Any) -> None:
        """Gives a container the content of the other side's."""
        changed_in_place(self._held[number], holding)
        self._before[number] = items(self._held[number])

    def unused(self) -> list[int]:
        """Drops the containers that nothing here refers to any more, and returns their numbers."""
        if not self._held:
            return []
        found = []
        for number in reversed(list(self._held)):  # a list before those that it holds
            value = self._held[number]
            if sys.getrefcount(value) <= _OWN_REFERENCES:
                found.append(number)
                del value
                self.drop([number])
        if len(self._held) > _MOST_CONTAINERS or sum(map(len, self._before.values())) > _MOST_ITEMS:
            found += self._held
            self.drop(list(self._held))
        return found

    def drop(self, numbers: list[int]) -> None:
        """Takes containers out: each side goes on with its own."""
        for number in numbers:
            if number in self._held:
                self.numbers.pop(id(self._held.pop(number)), None)
                self._before.pop(number)


# --- one container -----------------------------------------------------------------------------------

CHANGING = (list, dict, set, bytearray, collections.deque)
"""Mutable built-in containers."""


def content(value: Any) -> Any:
    """What the built-in base of an object holds, as one of that base."""
    if isinstance(value, collections.deque):
        return collections.deque(collections.deque.__iter__(value))
    return values.content(value)


def items(container: Any) -> list[Any]:
    """The content of a container as a list, to notice changes later."""
    if type(container) is list:
        return container[:]
    if isinstance(container, dict):
        return [*dict.keys(container), *dict.values(container)]
    if isinstance(container, types.SimpleNamespace):
        return items(vars(container))
    return list(type(container).__iter__(container))


def same_items(ones: list[Any], others: list[Any]) -> bool:
    """Whether two lists of `items` hold the very same objects; runs no code of theirs."""
    return len(ones) == len(others) and all(map(operator.is_, ones, others))


def changed_in_place(mine: Any, theirs: Any) -> None:
    """Gives a container the other side's new content; does nothing if the two differ in kind.

    The methods of the built-in classes do it: those of a subclass are not run.
    """
    if isinstance(mine, list) and isinstance(theirs, list):
        list.__setitem__(mine, slice(None), theirs)
    elif isinstance(mine, dict) and isinstance(theirs, dict):
        base: Any = collections.OrderedDict if isinstance(mine, collections.OrderedDict) else dict
        base.clear(mine)
        for key, item in dict.items(theirs):
            base.__setitem__(mine, key, item)
    elif isinstance(mine, set) and isinstance(theirs, set):
        set.clear(mine)
        set.update(mine, theirs)
    elif isinstance(mine, collections.deque) and isinstance(theirs, collections.deque):
        collections.deque.clear(mine)
        collections.deque.extend(mine, theirs)
    elif isinstance(mine, types.SimpleNamespace) and isinstance(theirs, types.SimpleNamespace):
        vars(mine).clear()
        vars(mine).update(vars(theirs))
    elif type(mine) is type(theirs) and type(mine).__name__ in ("bytearray", "array"):
        container: Any = mine
        container[:] = theirs
