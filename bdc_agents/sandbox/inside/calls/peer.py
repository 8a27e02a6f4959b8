"""One end of the connection between a test script and its program: asks, and answers.

Both sides run this class. Values cross as plain data; what is none, such as a function or an object, stays
where it is, and the other side gets a stand-in. The script's side is careful: it does for the program what
`script_side` grants.

One thread of each side speaks at a time: from its question to the answer, except while it performs what
the other side asks in between. Then another may ask, and the last question is answered first.

A message is a list of six:

kind     `ask`, `value` or `error`
said     of an ask the operation and the names of its keywords; of an error what is told about it
data     encoded values: of an ask the surroundings and the operands; the value; the exception
changes  of mirrored containers and of objects with content, since the last message
unused   numbers of containers that the sender mirrors no more
printed  what the program printed to the streams that the script has redirected
"""

import time
from _thread import RLock
from typing import Any, NoReturn

from .. import reports
from . import classes, codec, exceptions, program_side, script_side, standins, surroundings
from .channel import Channel, Gone
from .standins import Kind, is_class, own

_LOOK_SECONDS = (
    0.001  # Between two looks whether other threads' questions are answered; a call takes as long.
)
_OF_THE_STATEMENT = ("__module__", "__qualname__", "__classcell__", "__orig_bases__")
"""Names that a `class` statement itself defines: the twin in the program gets its own."""


class Peer:
    """One end of the connection.

    Args:
        descriptor: A connected socket.
        namespace: The program's names, on the side of the program; None on the checker's side.
    """

    def __init__(self, descriptor: int, namespace: dict[str, Any] | None = None) -> None:
        self._channel = Channel(descriptor)
        self._turn, self._open = RLock(), 0
        self.careful = namespace is None
        self._codec = codec.Codec(self, self.careful)
        share = self._codec.share
        self._program = None if namespace is None else program_side.Program(namespace, share)
        self.surroundings: surroundings.OfScript | None = None
        self.compared_with_plain = False
        self.refused: standins.UnsupportedError | None = None
        self._trusted: set[int] = set()

    @property
    def gone(self) -> bool:
        """Whether the other side has closed the connection."""
        return self._channel.gone

    # --- asking

    def ask(self, operation: str, *operands: Any, **keywords: Any) -> Any:
        """Asks the other side for an operation and returns its result, or raises its exception.

        Raises:
            Gone: If the other side is.
        """
        with self._turn:
            self._open += 1
            try:
                around = self.surroundings.changes() if self.surroundings else {}
                parts = [around or None, *operands, *keywords.values()]
                self._say("ask", [operation, list(keywords)], parts)
                del parts  # So that only the operation refers to its arguments.
                return self._answer_to(operation, operands)
            finally:
                self._open -= 1

    def _answer_to(self, operation: str, operands: tuple[Any, ...]) -> Any:
        while True:
            kind, said, parts = self._hear()
            if kind == "ask":
                self._answer(said, parts)
            elif kind == "value":
                return parts[0]
            else:
                self._raise(said, parts[0], _asks_for_next(operation, operands))

    def _raise(self, told: dict[str, Any], error: Any, iterating: bool) -> NoReturn:
        if not isinstance(error, BaseException):
            error = RuntimeError(str(told["message"]))
        if self.careful:
            error = exceptions.surfaced(error, iterating)
            line = told.get("line")
            known = {key: str(told[key]) for key in ("error", "message")}
            object.__setattr__(error, reports.TOLD, known | {"line": line if type(line) is int else None})
        raise error

    # --- answering

    def serve(self) -> None:
        """Answers until the other side is gone."""
        with self._turn:
            while True:
                self._answer(*self._hear()[1:])

    def fail(self, error: BaseException) -> None:
        """Answers the first request, whatever it is, by an exception."""
        self._hear()
        self._say_error(error)

    def _answer(self, said: Any, parts: list[Any]) -> None:
        try:
            operation, names = said
            around, *operands = parts
            parts.clear()  # So that nothing refers to arguments that the operation does not keep.
            first = len(operands) - len(names)
            keywords = dict(zip(names, operands[first:], strict=True)) if names else {}
            value = self._perform_for(operation, operands[:first] if names else operands, keywords, around)
            del operands, keywords
            self._say("value", None, [value])
        except Gone:
            raise
        except BaseException as error:
            self._say_error(error)

    def _perform_for(self, *asked: Any) -> Any:
        """Performs an operation for the other side; a thread that asks meanwhile is answered first."""
        before = self._open
        self._turn.release()
        try:
            return self._perform(*asked)
        finally:
            self._turn.acquire()
            while self._open != before:
                self._turn.release()
                time.sleep(_LOOK_SECONDS)
                self._turn.acquire()

    def _perform(self, operation: str, operands: list[Any], keywords: dict[str, Any], around: Any) -> Any:
        if operation == "describe":
            kind = self._codec.shared[operands[0]]
            return script_side.described(kind) if self.careful else classes.described(kind)
        if self._program is None:
            return script_side.use(operation, operands, keywords)
        if around:
            self._program.surroundings.change(around)
        return self._program.perform(operation, operands, keywords)

    def _say_error(self, error: BaseException) -> None:
        told = reports.describe(error)
        if self.careful:
            told = {"error": type(error).__name__, "message": "", "line": None}
        told = {key: told[key] for key in ("error", "message", "line")}
        try:
            self._say("error", told, [error])
        except Exception:
            self._say("error", told, [None])

    # --- messages

    def _say(self, kind: str, said: Any, parts: list[Any]) -> None:
        """Sends values, and with them what has changed on this side and what it uses no more.

        Args:
            kind, said: As the module says; both are JSON as they are.
            parts: The values to encode.
        """
        mark = self._codec.mirror.mark()
        try:
            data = self._codec.encode_all(parts)
            changes = self._codec.changes(mark)
        except BaseException:
            self._codec.mirror.take_back_sent(mark)
            raise
        unused = self._codec.mirror.unused()
        printed = self._program.surroundings.printed() if self._program else {}
        self._channel.send([kind, said, data, changes, unused, printed])

    def _hear(self) -> tuple[str, Any, list[Any]]:
        while True:
            kind, said, data, changes, unused, printed = self._channel.receive()
            try:
                parts = self._codec.decode_all(data)
                self._codec.take_changes(changes)
            except Exception as error:
                if kind != "ask":
                    raise
                self._say_error(error)
                continue
            if unused:
                self._codec.mirror.drop(unused)
            if printed and self.surroundings:
                self.surroundings.take(printed)
            return kind, said, parts

    # --- classes

    def trust(self, kind: Kind) -> None:
        """Allows plain values as operands of a class's objects, because the script names the class itself."""
        self._trusted.add(own(kind, "_number_"))

    def trusts(self, kind: type) -> bool:
        """Whether the script names a class, or one that it inherits from, itself."""
        numbers = (own(one, "_number_") for one in own(kind, "__mro__") if is_class(one))
        return bool(self._trusted) and not self._trusted.isdisjoint(numbers)

    def refuse(self, reason: str) -> standins.UnsupportedError:
        """The exception to raise. After one refusal the test cannot pass, even if a script catches it."""
        self.refused = self.refused or standins.UnsupportedError(reason)
        return self.refused

    def subclass(self, name: str, bases: tuple[type, ...], space: dict[str, Any], keywords: Any) -> int:
        """Makes the twin, in the program, of a class that the script derives from one of the program's."""
        for base in bases:
            if codec.class_name(base) is None:
                raise self.refuse(
                    f"the class {name!r} of the test inherits from one of the program and from "
                    f"{base.__name__!r} of the test; {standins.WAY_OUT}"
                )
        members = [
            (key, *codec.member(value)) for key, value in space.items() if key not in _OF_THE_STATEMENT
        ]
        return int(self.ask("subclass", name, bases, tuple(members), dict(keywords)))

    def adopt(self, number: int, kind: Kind) -> None:
        """Registers a class of the script as the stand-in for its twin in the program."""
        self._codec.adopt(number, kind)


def _asks_for_next(operation: str, operands: tuple[Any, ...]) -> bool:
    return operation in ("step", "await_next") or (operation == "special" and operands[1] == "__next__")
