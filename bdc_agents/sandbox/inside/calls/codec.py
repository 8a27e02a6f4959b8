"""Encodes and decodes the values that cross: plain data by content, all else by number.

`values` writes built-in types. What it does not know gets one of these tags:

| tag | parts | stands for |
|---|---|---|
| `m` | number, class, content | an object that stays on the sender's side |
| `k` | number | a class that stays there |
| `y` | number | an object or class of the receiver, which comes home |
| `r` | number | a mirrored container that the receiver has |
| `L` | module, name, parts | a value of the standard library |
| `n` | name, fields, items | a named tuple of the script |
| `x` | module, name, arguments, attributes, cause | an exception |
| `N`, `C`, `X` | module, name | a function, a class, an exception class that both sides have |
"""

import types
from collections.abc import Callable
from typing import Any, NoReturn

from .. import values
from . import classes, exceptions, mirror, standins, stdlib
from .standins import Kind, is_class, own


class Codec:
    """Encodes and decodes for one side, and keeps what the numbers of both sides stand for.

    Args:
        peer: The connection, which stand-ins ask.
        careful: Whether this is the script's side, whose objects tell nothing of themselves.
    """

    def __init__(self, peer: Any, careful: bool) -> None:
        self._peer, self._careful = peer, careful
        self.mirror = mirror.Mirror(even=careful)
        self.shared: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._remotes: dict[int, Any] = {}
        self._contents: dict[int, list[Any]] = {}
        self._encoder = _Encoder(self._object, self._unusual, self.mirror.numbers, self.mirror.add_sent)
        self._decoder = self._make_decoder(self.mirror.add_received)
        # For the content of an object with content: a container in it is a copy, and mirrored by nobody.
        self._apart = _Encoder(self._object, self._unusual), self._make_decoder()

    def share(self, value: Any) -> int:
        """The number by which the other side knows an object."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self.shared)
            self.shared.append(value)  # kept alive, so that its id stays its own
        return self._numbers[id(value)]

    def adopt(self, number: int, kind: Kind) -> None:
        """Registers a class of the script as the stand-in for its twin in the program."""
        self._remotes[number] = kind

    # --- sending

    def encode_all(self, parts: list[Any]) -> list[Any]:
        """Values as JSON data."""
        return self._encoder.encode_all(parts)

    def changes(self, mark: int) -> list[Any]:
        """The changes on this side: of containers, and of objects with content.

        Args:
            mark: Of the message, see `Mirror.changed`.
        """
        if not (self.mirror.numbers or self._contents):
            return []
        changed = [[number, self._held(value)] for number, value in self.mirror.changed(mark)]
        renewed = []
        for number, before in self._contents.items():
            now = mirror.items(self.shared[number])
            if not mirror.same_items(now, before):
                self._contents[number] = now
                renewed.append([number, self._content(self.shared[number])])
        return [changed, renewed]

    def _held(self, value: Any) -> Any:
        if isinstance(value, values.MUTABLE) and type(value) not in values.MUTABLE:
            form = stdlib.form_of(value)
            value = mirror.content(value) if form is None else value
        if type(value) in values.MUTABLE:
            return self._encoder.holding(value)
        module, name, form = stdlib.written(value)
        return ["L", module, name, *self._encoder.encode_all(form.parts(value))]

    def _unusual(self, value: Any, encoder: values.Encoder, depth: int) -> Any:
        kind = type(value)
        if type(kind) is Kind or kind is Kind:
            return ["y", own(value, "_number_")]
        fixed = classes.fixed_name(value)
        if fixed is not None:
            name = stdlib.name_of(value)
            return ["N", *name] if name else ["m", self.share(value), fixed]
        if isinstance(value, type):
            return class_name(value) or ["k", self.share(value)]
        found = stdlib.form_of(value)
        if found is not None:
            module, name, form = found
            data = ["L", module, name, *encoder.encode_all(form.parts(value), depth + 1)]
            if form.changes:
                encoder.meet(value)
            return data
        if isinstance(value, BaseException):
            return self._exception(value, encoder, depth)
        if self._careful:
            return self._named_tuple(value, encoder, depth)
        if classes.content_base(kind) is None:
            return None
        if isinstance(value, mirror.CHANGING):
            self._contents.setdefault(self.share(value), mirror.items(value))
        return [*self._object(value), self._content(value)]

    def _content(self, value: Any) -> Any:
        """The content of an object as one of its built-in class, without asking its own class."""
        return self._apart[0].encode(mirror.content(value))

    def _named_tuple(self, value: Any, encoder: values.Encoder, depth: int) -> Any:
        fields = getattr(type(value), "_fields", None) if isinstance(value, tuple) else None
        if not fields:
            return None
        items = encoder.encode_all(tuple.__iter__(value), depth + 1)
        return ["n", type(value).__name__, list(fields), items]

    def _exception(self, error: BaseException, encoder: values.Encoder, depth: int) -> list[Any]:
        arguments, attributes, cause = exceptions.parts(error, self._careful)
        if not exceptions.is_named(type(error)):
            held = self._apart[0].encode(arguments)
            return [*self._object(error), held]
        parts = (arguments, tuple(attributes.items()), cause)
        sent = encoder.encode_all(parts, depth + 1)
        return ["x", type(error).__module__, type(error).__qualname__, *sent]

    def _object(self, value: Any, *_: object) -> list[Any]:
        return ["m", self.share(value), self.share(type(value))]

    # --- receiving

    def decode_all(self, data: list[Any]) -> list[Any]:
        """The values.

        Raises:
            TypeError, ValueError, LookupError, OverflowError, RecursionError: If one encodes none.
        """
        return self._decoder.decode_all(data)

    def take_changes(self, changes: list[Any]) -> None:
        """Makes the changes here that were made on the other side."""
        if not changes:
            return
        changed, renewed = changes
        news = []
        for number, data in changed:
            news.append((number, self._decoder.decode(data)))
            self.mirror.take_back_received()
        for number, holding in news:
            self.mirror.change(number, holding)
        for number, data in renewed:
            mirror.changed_in_place(self._remotes[number], self._apart[1].decode(data))

    def _make_decoder(self, meet: Callable[[Any], object] = id) -> values.Decoder:
        decoder = values.Decoder(None, lambda tag, parts: self._decode_other(decoder, tag, parts), meet)
        return decoder

    def _decode_other(self, decoder: values.Decoder, tag: str, parts: list[Any]) -> Any:
        match tag:
            case "m":
                return self._remote(*parts)
            case "y":
                return self.shared[int(parts[0])]
            case "r":
                return self.mirror[int(parts[0])]
            case "k":
                return self._kind(int(parts[0]))
            case "N":
                return stdlib.named(*parts)
            case "C":
                return stdlib.class_of(*parts)
            case "X":
                return exceptions.class_named(*parts, otherwise=Exception)
            case "L":
                module, name, *data = parts
                form = stdlib.FORMS[module, name]
                made = form.make(stdlib.class_of(module, name), *map(decoder.decode, data))
                return decoder.make(made) if form.changes else made
            case "x":
                module, name, *data = parts
                return self._made_exception(module, name, *map(decoder.decode, data))
            case "n":
                name, fields, items = parts
                return stdlib.named_tuple(str(name), fields, [decoder.decode(item) for item in items])
        raise ValueError(tag)

    def _remote(self, number: int, kind: Any, held: Any = None) -> Any:
        if number not in self._remotes:  # one for each object, so that `is` works
            holding = self._apart[1].decode(held)
            self._remotes[number] = classes.instance(self._peer, number, self._kind(kind), holding)
        return self._remotes[number]

    def _kind(self, name: Any) -> Kind:
        if isinstance(name, str):
            return classes.FIXED[name]
        number = int(name)
        if number not in self._remotes:
            description = self._peer.ask("describe", number)
            self._remotes[number] = classes.made(self._peer, number, description)
        return self._remotes[number]

    def _made_exception(self, module: str, name: str, arguments: Any, attributes: Any, cause: Any) -> Any:
        error = exceptions.make(exceptions.class_named(module, name, Exception), arguments, dict(attributes))
        if isinstance(cause, BaseException):
            error.__cause__ = cause
        return error


def class_name(kind: type) -> list[Any] | None:
    """The form in which a class that both sides have is sent; None for one that only this side has."""
    if is_class(kind):
        return ["y", own(kind, "_number_")]
    module, name = kind.__module__, kind.__qualname__
    if stdlib.BUILTINS.get(name) is kind:
        return ["N", "builtins", name]
    if (module, name) in stdlib.FORMS and stdlib.class_of(module, name) is kind:
        return ["C", module, name]
    return ["X", module, name] if exceptions.is_named(kind) else None


def member(value: Any) -> list[Any]:
    """A name in a class of the script: its sort, and what the twin in the program calls."""
    if isinstance(value, types.FunctionType):
        return ["function", value]
    if isinstance(value, (staticmethod, classmethod)):
        return [type(value).__name__, value.__func__]
    if isinstance(value, property):
        return ["property", (value.fget, value.fset, value.fdel)]
    return ["value", value]


class _Encoder(values.Encoder):
    def _too_deep(self, _: type) -> NoReturn:
        raise ValueError(
            f"a value that is nested more than {values.MAX_DEPTH} deep, or holds itself, does not cross "
            f"between a script test and its program; {standins.WAY_OUT}"
        )
