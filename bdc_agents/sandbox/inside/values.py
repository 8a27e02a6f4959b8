"""Python values as plain JSON data, and back: how a value crosses from one process to another.

What is decoded may come from a hostile process. Only built-in types are ever made of it here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

MAX_DEPTH = 100
"""Deepest nesting of a value that is sent: beyond any test's, and far from Python's limit on recursion."""

_AS_THEY_ARE = frozenset({str, float, bool, type(None)})
_ITEMS = _AS_THEY_ARE | {int}  # integers, if they are not too long
_INTEGERS = {int}
_TAGS: dict[type, str] = {list: "l", tuple: "t", set: "s", frozenset: "z"}
_BUILT_IN = frozenset({dict, bytes, complex, *_TAGS})
MUTABLE = (list, dict, set)

Other = Callable[[Any, "Encoder", int], Any]


def describe(value: Any, *_: object) -> list[Any]:
    """A value of another type as its type's name and its repr: `["o", name, repr]`."""
    return ["o", type(value).__name__, show(value)]


def encode(value: Any) -> Any:
    """A value as JSON data, for a reader outside of the sandbox: see `Encoder`."""
    return Encoder(describe).encode(value)


def content(value: Any) -> Any:
    """What the built-in base of an instance of a subclass holds, such as a Counter's dictionary.

    What the instance says about itself, `__eq__` above all, is never asked.

    Raises:
        TypeError: If its class has no built-in base that holds anything.
    """
    kind = type(value)
    if issubclass(kind, int):
        return int.__add__(value, 0)
    if issubclass(kind, str):
        return "".join(str.__iter__(value))
    if issubclass(kind, float):
        return float.__add__(value, 0.0)
    if issubclass(kind, dict):
        return dict(dict.items(value))
    if issubclass(kind, bytes):
        return bytes.fromhex(bytes.hex(value))
    if issubclass(kind, complex):
        return complex.__add__(value, 0)
    for base in (list, tuple, set, frozenset):
        if issubclass(kind, base):
            return base(base.__iter__(value))
    raise TypeError(kind)


class Encoder:
    """Makes JSON data of values.

    Args:
        other: What to send for a value that is of no built-in type and whose class has no built-in
            base either.
        unusual: Asked first about a value of no built-in type; None where it leaves the matter to
            this class, which sends the content of the built-in base.
        known: Containers, by their `id`, that are sent as a number only: the reader has them.
        meet: Called with every container that can change, after those that it holds.
    """

    def __init__(
        self,
        other: Other,
        unusual: Other | None = None,
        known: Mapping[int, int] | None = None,
        meet: Callable[[Any], object] = id,
    ) -> None:
        self._other, self._unusual, self._known, self.meet = other, unusual, known, meet

    def encode(self, value: Any, depth: int = 0) -> Any:
        """The data."""
        kind = type(value)
        if kind in _AS_THEY_ARE:
            return value
        if kind is int:
            # In decimal, a long integer would take time that grows with the square of its length.
            return value if value.bit_length() < 64 else ["i", hex(value)]
        if kind not in _BUILT_IN:
            return self._encode_other(value, depth)
        if depth >= MAX_DEPTH:
            return self._too_deep(kind)
        if self._known and id(value) in self._known:
            return ["r", self._known[id(value)]]
        if kind is dict or kind in _TAGS:
            data = self.holding(value, depth)
            if kind in MUTABLE:
                self.meet(value)
            return data
        if kind is bytes:
            return ["b", value.hex()]
        return ["c", value.real, value.imag]

    def encode_all(self, items: Iterable[Any], depth: int = 0) -> list[Any]:
        """The data of each of these."""
        return [item if type(item) in _AS_THEY_ARE else self.encode(item, depth) for item in items]

    def holding(self, value: Any, depth: int = 0) -> list[Any]:
        """The data of a container of a built-in type, with its items, even if it is a known one."""
        kind, items = type(value), value
        if not value:
            return ["d" if kind is dict else _TAGS[kind]]
        if kind is dict:
            items = [part for pair in value.items() for part in pair]
        sent = items if _as_they_are(items) else self.encode_all(items, depth + 1)
        return ["d" if kind is dict else _TAGS[kind], *sent]

    def _encode_other(self, value: Any, depth: int) -> Any:
        if depth >= MAX_DEPTH:
            return self._too_deep(type(value))
        if self._known and id(value) in self._known:
            return ["r", self._known[id(value)]]
        if self._unusual is not None:
            data = self._unusual(value, self, depth)
            if data is not None:
                return data
        try:
            plain = content(value)
        except TypeError:
            return self._other(value, self, depth)
        if type(plain) not in MUTABLE:
            return self.encode(plain, depth)
        data = self.holding(plain, depth)
        self.meet(value)  # what is changed there is to be changed in the value itself
        return data

    def _too_deep(self, kind: type, /) -> list[Any]:
        return ["o", kind.__name__, "nested too deeply to be compared"]


def _as_they_are(items: Any) -> bool:
    """Whether these are their own encoding: looked up for all at once, since there may be many."""
    kinds = set(map(type, items))
    if not kinds <= _ITEMS:
        return False
    if int not in kinds:
        return True
    whole = items if kinds == _INTEGERS else [item for item in items if type(item) is int]
    return max(whole).bit_length() < 64 > min(whole).bit_length()


class Decoder:
    """Makes values of what an `Encoder` made of them.

    Args:
        room: Members of sets and keys of dictionaries that are taken at most: their hashes may
            collide, and then they are slow to build. None for any number.
        other: From a tag and its parts to a value, for tags that are not known here.
        meet: Called with every container that can change, in the order of the encoder's calls.
    """

    def __init__(
        self,
        room: int | None,
        other: Callable[[str, list[Any]], Any],
        meet: Callable[[Any], object] = id,
    ) -> None:
        self._room, self._other, self._meet = room, other, meet

    def decode(self, data: Any) -> Any:
        """The value.

        Raises:
            TypeError, ValueError, IndexError, OverflowError, RecursionError: If it encodes none.
        """
        if type(data) in _ITEMS:
            return data
        if type(data) is not list:
            raise TypeError(type(data))
        tag, *parts = data
        match tag:
            case "l":
                return self.make(self._items(parts))
            case "t":
                return tuple(self._items(parts))
            case "s" | "z":
                self._take(len(parts))
                members = map(self.decode, parts)
                return self.make(set(members)) if tag == "s" else frozenset(members)
            case "d":
                self._take(len(parts) // 2)
                pairs = zip(parts[::2], parts[1::2], strict=True)
                return self.make({self.decode(key): self.decode(value) for key, value in pairs})
            case "i":
                return int(parts[0], 16)
            case "c":
                return complex(float(parts[0]), float(parts[1]))
            case "b":
                return bytes.fromhex(parts[0])
        return self._other(tag, parts)

    def decode_all(self, parts: list[Any]) -> list[Any]:
        """The values of what `Encoder.encode_all` made.

        Raises:
            TypeError, ValueError, IndexError, OverflowError, RecursionError: If one encodes none.
        """
        return [part if type(part) in _ITEMS else self.decode(part) for part in parts]

    def make(self, value: Any) -> Any:
        """Takes note of a container that can change; gives it back."""
        self._meet(value)
        return value

    def _items(self, parts: list[Any]) -> list[Any]:
        return parts if set(map(type, parts)) <= _ITEMS else self.decode_all(parts)

    def _take(self, count: int) -> None:
        if self._room is None:
            return
        self._room -= count
        if self._room < 0:
            raise ValueError("too many members")


def show(value: Any, length: int = 2000) -> str:
    """The value's repr, cut to a length; never raises an ordinary exception."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<{type(value).__name__}, whose repr raised {type(error).__name__}>"
    return text if len(text) <= length else f"{text[: length // 2]} … {text[-length // 2 :]}"
