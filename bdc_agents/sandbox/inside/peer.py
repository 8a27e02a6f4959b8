"""Calls between a test script and a program in two processes; values cross as plain data.

What is no plain data, such as a function or an object, stays where it is, and the other side gets
what stands for it; see `remote`. Both sides run this class. The checker's side is careful: what it
serves to the program is what `granted` says; nothing that leads to the script itself.
"""

import builtins
import importlib
import json
import os
import struct
import sys
import types
from collections.abc import Mapping
from typing import Any, NoReturn

from . import granted, kinds, library, raised, remote, reports, served, surroundings, values
from .remote import Kind, is_class, own

_LONGEST = 64 * 2**20
_BUILTINS = {
    name: value
    for name, value in vars(builtins).items()
    if (isinstance(value, type) and name not in ("type", "super"))
    or name in ("abs", "all", "any", "bin", "chr", "divmod", "hex", "len", "max", "min", "ord", "pow")
    or name in ("repr", "round", "sorted", "sum", "callable", "format", "hash", "iter", "next", "oct")
}
"""Sent by name, and then each side's own; a type that makes code or reads files is not among them."""
_BY_NAME = frozenset("math cmath operator _operator statistics".split())
"""Modules whose functions only calculate: sent by name, too."""


class Gone(BaseException):
    """The other side has closed the connection; no `except Exception` of a script hides it."""


class Peer:
    """One end of the connection.

    Args:
        descriptor: A connected socket.
        namespace: The program's names, on the side of the program; None on the checker's side.
    """

    def __init__(self, descriptor: int, namespace: dict[str, Any] | None = None) -> None:
        self._descriptor = descriptor
        self.careful = namespace is None
        self._program = served.Program(namespace, self.share) if namespace is not None else None
        self.surroundings: surroundings.OfScript | None = None
        self.gone = self.compared_with_plain = False
        self.refused: remote.UnsupportedError | None = None
        self._shared: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._remotes: dict[int, Any] = {}
        self._contents: dict[int, Any] = {}
        self._trusted: set[int] = set()

    # --- asking

    def ask(self, operation: str, *operands: Any, **keywords: Any) -> Any:
        """What the other side's operation gives; an exception there is raised here.

        Raises:
            Gone: If the other side is.
        """
        met: list[Any] = []
        data = self._encoder(met=met).encode((operands, keywords))
        around = self.surroundings.changes() if self.surroundings else {}
        self._send(["ask", operation, data, self._encode(around) if around else None, *self._extras()])
        while True:
            kind, *parts = self._receive()
            if kind == "ask":
                self._answer(*parts)
                continue
            answer, changed, *extras = parts
            self._take_over(met, changed)
            self._take_extras(*extras)
            if kind == "value":
                return self._decoder(met).decode(answer)
            self._raise(answer, _asks_for_next(operation, operands))

    def _raise(self, answer: list[Any], iterating: bool) -> NoReturn:
        told, data = answer
        error = self._decoder().decode(data)
        if not isinstance(error, BaseException):
            error = RuntimeError(str(told["message"]))
        if self.careful:
            error = raised.surfaced(error, iterating)
            line = told.get("line")
            known = {key: str(told[key]) for key in ("error", "message")}
            object.__setattr__(error, reports.TOLD, known | {"line": line if type(line) is int else None})
        raise error

    def _take_over(self, met: list[Any], changed: list[Any]) -> None:
        """Containers that the other side changed in place are changed here too."""
        news = [(met[int(index)], self._decoder(met).decode(data)) for index, data in changed]
        for mine, theirs in news:
            library.changed_in_place(mine, theirs)

    # --- answering

    def serve(self) -> None:
        """Answers until the other side is gone."""
        while True:
            _, *parts = self._receive()
            self._answer(*parts)

    def fail(self, error: BaseException) -> None:
        """Answers the first request, whatever it is, by an exception."""
        self._receive()
        self._send(["error", self._report(error), [], *self._extras()])

    def _answer(self, operation: str, data: Any, around: Any, *extras: Any) -> None:
        made: list[Any] = []
        before: list[Any] = []
        known: dict[int, int] = {}
        try:
            self._take_extras(*extras)
            operands, keywords = self._decoder(made=made).decode(data)
            before = list(map(library.items, made))
            known = {id(one): index for index, one in enumerate(made)}
            value = self._perform(operation, list(operands), keywords, around)
            answer = ["value", self._encode(value, known)]
        except Gone:
            raise
        except BaseException as error:
            answer = ["error", self._report(error)]
        self._send([*answer, self._changed(made, before, known), *self._extras()])

    def _perform(self, operation: str, operands: list[Any], keywords: dict[str, Any], around: Any) -> Any:
        if operation == "describe":
            kind = self._shared[operands[0]]
            return granted.described(kind) if self.careful else kinds.described(kind)
        if self._program is None:
            return granted.use(operation, operands, keywords)
        if around:
            self._program.surroundings.change(self._decoder().decode(around))
        return self._program.perform(operation, operands, keywords)

    def _changed(self, made: list[Any], before: list[Any], known: dict[int, int]) -> list[Any]:
        """The containers among the operands that have changed, with what they hold now."""
        found = zip(made, before, strict=True)
        changed = [one for one, then in found if not library.same_items(library.items(one), then)]
        return [[known[id(one)], self._encoder(known).held(one)] for one in changed]

    def _report(self, error: BaseException) -> list[Any]:
        told = reports.describe(error)
        if self.careful:
            told = {"error": type(error).__name__, "message": "", "line": None}
        try:
            data = self._encode(error)
        except Exception:
            data = None
        return [{key: told[key] for key in ("error", "message", "line")}, data]

    def _extras(self) -> list[Any]:
        """What goes with every message of a program: objects that hold other things now, and prints."""
        if self._program is None:
            return []
        renewed = []
        for number, before in self._contents.items():
            now = library.items(self._shared[number])
            if not library.same_items(now, before):
                self._contents[number] = now
                renewed.append([number, self._held(self._shared[number])])
        return [renewed, self._program.surroundings.printed()]

    def _take_extras(self, *extras: Any) -> None:
        if not extras:
            return
        renewed, printed = extras
        for number, data in renewed:
            library.changed_in_place(self._remotes[number], self._decoder().decode(data))
        if printed and self.surroundings:
            self.surroundings.take(printed)

    # --- classes

    def trust(self, kind: Kind) -> None:
        """Lets plain values meet the operators of a class's objects: the script names it itself."""
        self._trusted.add(own(kind, "_number_"))

    def trusts(self, kind: type) -> bool:
        """Whether the script names a class, or one that it inherits from, itself."""
        numbers = (own(one, "_number_") for one in own(kind, "__mro__") if is_class(one))
        return bool(self._trusted) and not self._trusted.isdisjoint(numbers)

    def refuse(self, reason: str) -> remote.UnsupportedError:
        """The exception to raise; what is refused once cannot pass, whoever catches it."""
        self.refused = self.refused or remote.UnsupportedError(reason)
        return self.refused

    def adopt(self, number: int, kind: Kind) -> None:
        """Takes a class of the script for what stands for its twin in the program."""
        self._remotes[number] = kind

    def subclass(self, name: str, bases: tuple[type, ...], space: dict[str, Any], keywords: Any) -> int:
        """Makes, in the program, the twin of a class that the script derives from one of its classes."""
        for base in bases:
            if not is_class(base) and self._named_class(base) is None:
                raise self.refuse(
                    f"the class {name!r} of the test inherits from one of the program and from "
                    f"{base.__name__!r} of the test; {remote.WAY_OUT}"
                )
        members = [[key, *_member(value)] for key, value in space.items() if key not in _OF_THE_STATEMENT]
        return int(self.ask("subclass", name, tuple(bases), members, dict(keywords)))

    def share(self, value: Any) -> int:
        """The number by which the other side knows an object."""
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._shared)
            self._shared.append(value)  # kept alive, so that its id stays its own
        return self._numbers[id(value)]

    def _kind(self, name: Any) -> Kind:
        if isinstance(name, str):
            return kinds.FIXED[name]
        number = int(name)
        if number not in self._remotes:
            description = self.ask("describe", number)
            self._remotes[number] = kinds.made(self, number, description)
        return self._remotes[number]

    # --- values

    def _encoder(self, known: Any = None, met: list[Any] | None = None) -> values.Encoder:
        return _Encoder(self._object, self._unusual, known, met)

    def _encode(self, value: Any, known: Mapping[int, int] | None = None) -> Any:
        return self._encoder(known).encode(value)

    def _decoder(self, met: list[Any] | None = None, made: list[Any] | None = None) -> values.Decoder:
        decoder = values.Decoder(None, lambda tag, parts: self._decode_other(decoder, tag, parts, met), made)
        return decoder

    def _unusual(self, value: Any, encoder: values.Encoder, depth: int) -> Any:
        kind = type(value)
        if type(kind) is Kind or kind is Kind:
            return ["y", own(value, "_number_")]
        fixed = kinds.fixed_name(value)
        if fixed is not None:
            return self._function(value, fixed)
        if isinstance(value, type):
            return self._named_class(value) or ["k", self.share(value)]
        form = library.form_of(value)
        if form is not None:
            module, name, (parts, _, changes) = form
            data = ["L", module, name, *(encoder.encode(part, depth + 1) for part in parts(value))]
            return encoder.meet(value, data) if changes else data
        if isinstance(value, BaseException):
            return self._exception(value, encoder, depth)
        if self.careful:
            fields = getattr(kind, "_fields", None) if isinstance(value, tuple) else None
            return (
                ["n", kind.__name__, list(fields), [encoder.encode(one, depth + 1) for one in value]]
                if fields
                else None
            )
        if kinds.content_base(kind) is None:
            return None
        if isinstance(value, library.CHANGING):
            self._contents.setdefault(self.share(value), library.items(value))
        return [*self._object(value, encoder, depth), self._held(value)]

    def _held(self, value: Any) -> Any:
        """What an object holds as one of a built-in class, without what its own class says about it."""
        return self._encoder().encode(library.content(value))

    def _function(self, value: Any, fixed: str) -> list[Any]:
        name, module = getattr(value, "__name__", None), getattr(value, "__module__", None)
        if module == "builtins" and _BUILTINS.get(str(name)) is value:
            return ["B", name]
        if module in _BY_NAME and getattr(sys.modules[module], str(name), None) is value:
            return ["F", module, name]
        return ["m", self.share(value), fixed]

    def _named_class(self, kind: type) -> list[Any] | None:
        """A class that both sides have; None for one that only this side has."""
        module, name = kind.__module__, kind.__qualname__
        if _BUILTINS.get(name) is kind:
            return ["B", name]
        if (module, name) in library.FORMS and library.class_of(module, name) is kind:
            return ["C", module, name]
        return ["X", module, name] if raised.is_named(kind) else None

    def _exception(self, error: BaseException, encoder: values.Encoder, depth: int) -> list[Any]:
        parts = raised.parts(error, self.careful)
        if not raised.is_named(type(error)):
            return [*self._object(error, encoder, depth), self._encoder().encode(parts[0])]
        sent = [encoder.encode(part, depth + 1) for part in parts]
        return ["x", type(error).__module__, type(error).__qualname__, *sent]

    def _object(self, value: Any, encoder: values.Encoder, depth: int) -> list[Any]:
        return ["m", self.share(value), self.share(type(value))]

    def _decode_other(self, decoder: values.Decoder, tag: str, parts: list[Any], met: Any) -> Any:
        match tag:
            case "m":
                return self._remote(*parts)
            case "y":
                return self._shared[int(parts[0])]
            case "r":
                return met[int(parts[0])]
            case "k":
                return self._kind(int(parts[0]))
            case "B":
                return _BUILTINS[parts[0]]
            case "C":
                return library.class_of(parts[0], parts[1])
            case "X":
                return raised.class_named(parts[0], parts[1], Exception)
            case "F":
                return _function_named(*parts)
            case "L":
                module, name, *data = parts
                form = library.FORMS[module, name]
                made = form.make(library.class_of(module, name), *map(decoder.decode, data))
                return decoder.make(made) if form.changes else made
            case "x":
                return self._made_exception(decoder, *parts)
            case "n":
                name, fields, items = parts
                return library.named_tuple(str(name), fields, [decoder.decode(item) for item in items])
        raise ValueError(tag)

    def _remote(self, number: int, kind: Any, held: Any = None) -> Any:
        if number not in self._remotes:  # one for each object, so that `is` works
            self._remotes[number] = kinds.instance(
                self, number, self._kind(kind), self._decoder().decode(held)
            )
        return self._remotes[number]

    def _made_exception(self, decoder: values.Decoder, module: str, name: str, *data: Any) -> BaseException:
        arguments, attributes, cause = map(decoder.decode, data)
        error = raised.make(raised.class_named(module, name, Exception), arguments, attributes)
        if isinstance(cause, BaseException):
            error.__cause__ = cause
        return error

    # --- messages

    def _send(self, message: list[Any]) -> None:
        body = json.dumps(message).encode()
        view = memoryview(struct.pack(">I", len(body)) + body)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._lose()

    def _receive(self) -> list[Any]:
        (length,) = struct.unpack(">I", self._read(4))
        if length > _LONGEST:
            raise MemoryError
        message = json.loads(self._read(length))
        if not isinstance(message, list) or not message:
            self._lose()
        return message

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                chunk = os.read(self._descriptor, length - len(parts))
            except OSError:
                chunk = b""
            if not chunk:
                self._lose()
            parts += chunk
        return bytes(parts)

    def _lose(self) -> NoReturn:
        self.gone = True
        raise Gone


class _Encoder(values.Encoder):
    def _too_deep(self, kind: type) -> NoReturn:
        raise ValueError(
            f"a value that is nested more than {values.MAX_DEPTH} deep, or holds itself, does not cross "
            f"between a script test and its program; {remote.WAY_OUT}"
        )


_OF_THE_STATEMENT = ("__module__", "__qualname__", "__classcell__", "__orig_bases__")


def _member(value: Any) -> list[Any]:
    """A name of a class of the script: of which sort it is, and what its twin calls."""
    if isinstance(value, types.FunctionType):
        return ["function", value]
    if isinstance(value, (staticmethod, classmethod)):
        return [type(value).__name__, value.__func__]
    if isinstance(value, property):
        return ["property", [value.fget, value.fset, value.fdel]]
    return ["value", value]


def _asks_for_next(operation: str, operands: tuple[Any, ...]) -> bool:
    return operation in ("step", "await_next") or (operation == "special" and operands[1] == "__next__")


def _function_named(module: str, name: str) -> Any:
    found = getattr(importlib.import_module(module), name) if module in _BY_NAME else None
    if not isinstance(found, (types.BuiltinFunctionType, types.FunctionType)):
        raise ValueError(name)
    return found
