"""Stand-ins in one process for the objects and classes of the other.

A `Kind` stands for a class: it has the other's bases and names, so `isinstance`, `except`, `match`,
`super` and the search for operators go as in one process. Its instances are `Remote`: whatever is
done to one is done over there.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .. import reports

if TYPE_CHECKING:
    from typing import Protocol

    class Peer(Protocol):
        """The requests of stand-ins to their `peer.Peer`, which itself uses these modules."""

        careful: bool
        compared_with_plain: bool

        def ask(self, operation: str, *operands: Any, **keywords: Any) -> Any:
            """The result of the other side's operation."""

        def trusts(self, kind: type) -> bool:
            """Whether the script names a class itself."""
            ...

        def refuse(self, reason: str) -> "UnsupportedError":
            """The exception to raise."""
            ...

        def subclass(self, name: str, bases: tuple[type, ...], space: dict[str, Any], keywords: Any) -> int:
            """Makes the twin of a class."""
            ...

        def adopt(self, number: int, kind: "Kind") -> None:
            """Registers a class as the stand-in for its twin."""


class UnsupportedError(BaseException):
    """Two processes cannot do what one would; a script's `except Exception` cannot hide it."""


WAY_OUT = 'write it as a test with "call" and "expected": its value is compared outside of the program'


def _specials(names: str) -> frozenset[str]:
    return frozenset(f"__{name}__" for name in names.split(" "))


FREE = _specials(
    "call len length_hint iter next reversed getitem setitem delitem missing str repr format bytes hash "
    "enter exit aenter aexit aiter anext fspath dir copy deepcopy neg pos invert"
)
"""Special methods that tell the program nothing of what a script expects."""
NUMBERS = _specials("bool int float complex index abs round trunc floor ceil")
EQUALITY, ORDER, CONTAINS = _specials("eq ne"), _specials("lt le gt ge"), _specials("contains")
_BINARY = "add sub mul matmul truediv floordiv mod divmod pow lshift rshift and or xor"
ARITHMETIC = _specials(" ".join(f"{name} r{name} i{name}" for name in _BINARY.split(" ")))
JUDGED = EQUALITY | ORDER | CONTAINS | ARITHMETIC
"""Special methods that can tell the program what a script expects: see `operators`."""
SPECIALS = FREE | NUMBERS | JUDGED
"""All special methods that cross."""

_CHANGERS = frozenset(
    (
        *("append", "extend", "insert", "pop", "remove", "clear", "sort", "reverse", "update"),
        *("setdefault", "popitem", "add", "discard", "difference_update", "intersection_update"),
        *("symmetric_difference_update", "appendleft", "extendleft", "popleft", "rotate"),
        *("move_to_end", "subtract"),
    )
)
"""Methods of built-in containers that change them; they have to change the program's own object."""

_COPIES = _specials("copy deepcopy reduce reduce_ex")
_OWN = frozenset(("__class__", "_peer_", "_number_", reports.TOLD)) | _COPIES
_OWN_OF_EXCEPTIONS = _specials("traceback cause context suppress_context") | {"args", "with_traceback"}
_OWN_OF_CLASSES = (
    _COPIES
    | _specials("mro class bases base name qualname subclasses flags basicsize dictoffset hash call")
    | _specials("instancecheck subclasscheck subclasshook abstractmethods class_getitem init_subclass")
    | {"mro", "_peer_", "_number_", "_base_", "_local_"}
)
_STEPS = frozenset({"__next__", "send", "throw", "asend", "athrow", "__anext__"})
"""Methods that report the end of the items by an exception."""

CONTENT: tuple[type, ...] = (int, float, complex, str, bytes, tuple, frozenset, list, dict, set)
"""Built-in classes whose instances hold something; their subclasses are sent with what they hold."""


class Kind(type):
    """The metaclass: the class of stand-ins for classes."""

    _peer_: "Peer"
    _number_: int
    _base_: "type | None"

    def __new__(mcls, name: str, bases: tuple[type, ...], space: dict[str, Any], **keywords: Any) -> "Kind":
        """Makes a stand-in; for a script's `class` statement over one, makes a class on both sides."""
        if "_number_" in space:
            return super().__new__(mcls, name, bases, space)
        parent = next(base for base in bases if is_class(base))
        peer: Peer = own(parent, "_peer_")
        number = peer.subclass(name, bases, space, keywords)
        made = super().__new__(mcls, name, bases, space | {"_number_": number})
        peer.adopt(number, made)
        return made

    def __init__(cls, name: str, bases: tuple[type, ...], space: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, space)

    def __call__(cls, *arguments: Any, **keywords: Any) -> Any:  # noqa: D102 - as of any class
        return own(cls, "_peer_").ask("call", cls, *arguments, **keywords)

    def __getattribute__(cls, name: str) -> Any:
        if name in _OWN_OF_CLASSES or type.__getattribute__(cls, "_number_") is None:
            return type.__getattribute__(cls, name)
        return own(cls, "_peer_").ask("getattr", cls, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        own(cls, "_peer_").ask("setattr", cls, name, value)

    def __delattr__(cls, name: str) -> None:
        own(cls, "_peer_").ask("delattr", cls, name)

    def __instancecheck__(cls, value: Any) -> bool:
        if type.__instancecheck__(cls, value):
            return True
        return is_remote(value) and bool(own(cls, "_peer_").ask("isinstance", value, cls))

    def __subclasscheck__(cls, kind: type) -> bool:
        if type.__subclasscheck__(cls, kind):
            return True
        return is_class(kind) and bool(own(cls, "_peer_").ask("issubclass", kind, cls))

    def __repr__(cls) -> str:
        return str(own(cls, "_peer_").ask("special", cls, "__repr__"))

    def __bool__(cls) -> bool:
        return True

    def __dir__(cls) -> Any:
        return own(cls, "_peer_").ask("special", cls, "__dir__")

    def __iter__(cls) -> Any:
        return own(cls, "_peer_").ask("special", cls, "__iter__")

    def __reversed__(cls) -> Any:
        return own(cls, "_peer_").ask("special", cls, "__reversed__")

    def __len__(cls) -> int:
        return int(own(cls, "_peer_").ask("special", cls, "__len__"))

    def __getitem__(cls, key: Any) -> Any:
        return own(cls, "_peer_").ask("special", cls, "__getitem__", key)

    def __contains__(cls, item: Any) -> bool:
        if not is_remote(item) and not cls._peer_.trusts(cls):
            return any(item is one or item == one for one in cls)
        return bool(own(cls, "_peer_").ask("special", cls, "__contains__", item))


def is_class(value: Any) -> bool:
    """Whether this stands for a class of the other process."""
    return type(value) is Kind


def is_remote(value: Any) -> bool:
    """Whether this stands for an object of the other process."""
    return type(type(value)) is Kind


def own(value: Any, name: str) -> Any:
    """An attribute that a stand-in itself has."""
    if is_class(value):
        return type.__getattribute__(value, name)
    return object.__getattribute__(value, name)


class Step:
    """A method of a remote iterator by which a script asks for the next item."""

    def __init__(self, target: Any, name: str) -> None:
        self._target, self._name = target, name

    def __call__(self, *operands: Any) -> Any:
        """The next item."""
        if self._name in ("throw", "athrow") and len(operands) > 1:
            operands = operands[1:2] if isinstance(operands[1], BaseException) else operands[:1]
        return own(self._target, "_peer_").ask("step", self._target, self._name, *operands)


class Inherited:
    """An attribute of a program's class in its stand-in, through which a script's subclass reaches it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __set_name__(self, owner: type, name: str) -> None:
        self._owner = owner

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        peer: Peer = own(self._owner, "_peer_")
        if instance is None or not is_remote(instance):
            return peer.ask("inherited", self._owner, self._name, owner if is_class(owner) else None, True)
        return peer.ask("inherited", self._owner, self._name, instance, False)


def special(name: str) -> Callable[..., Any]:
    """A method with which Python runs an operator, run by the other side."""

    def asked(self: Any, *operands: Any, **keywords: Any) -> Any:
        return own(self, "_peer_").ask("special", self, name, *operands, **keywords)

    return asked


def called(self: Any, *operands: Any, **keywords: Any) -> Any:
    """Calls a stand-in for a function."""
    return object.__getattribute__(self, "_peer_").ask("call", self, *operands, **keywords)


def anext(self: Any) -> Any:
    """Awaits the next item; an exception reports that there is none."""
    awaited = own(self, "_peer_").ask("special", self, "__anext__")
    if is_remote(awaited):
        own(awaited, "__dict__")["_last_"] = True
    return awaited


def awaits(self: Any) -> Iterator[Any]:
    """Awaits something by running it to its end in the other process."""
    operation = "await_next" if "_last_" in own(self, "__dict__") else "await"
    return own(self, "_peer_").ask(operation, self)
    yield


def _getattribute(self: Any, name: str) -> Any:
    kind = type(self)
    if name in _OWN or (name in _OWN_OF_EXCEPTIONS and inherits(kind, BaseException)):
        return object.__getattribute__(self, name)
    peer: Peer = own(self, "_peer_")
    if name in own(kind, "_local_") or (name in JUDGED and peer.careful):
        return object.__getattribute__(self, name)
    base: Any = own(kind, "_base_")
    of_base = base is not None and not name.startswith("__") and hasattr(base, name)
    if of_base and not (name in _CHANGERS or (peer.trusts(kind) and _defines(kind, name))):
        return _found(base or object, name).__get__(self, base)
    if name in _STEPS:
        return Step(self, name)
    return peer.ask("getattr", self, name)


def _found(base: type, name: str) -> Any:
    return next(vars(one)[name] for one in base.__mro__ if name in vars(one))


def inherits(kind: type, base: type) -> bool:
    """Whether a class, perhaps a stand-in, has a base in this process; asks the other process nothing."""
    return base in type.__getattribute__(kind, "__mro__")


def _defines(kind: type, name: str) -> bool:
    mro = type.__getattribute__(kind, "__mro__")
    return any(name in type.__getattribute__(one, "__dict__") for one in mro if is_class(one))


def _setattr(self: Any, name: str, value: Any) -> None:
    if name in _OWN or (name in _OWN_OF_EXCEPTIONS and inherits(type(self), BaseException)):
        object.__setattr__(self, name, value)
    else:
        own(self, "_peer_").ask("setattr", self, name, value)


def _delattr(self: Any, name: str) -> None:
    own(self, "_peer_").ask("delattr", self, name)


def _reduce(*_: object) -> Any:
    raise UnsupportedError("an object of the program cannot be pickled by its test; " + WAY_OUT)


BASICS: dict[str, Any] = {
    "__getattribute__": _getattribute,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
    "__reduce__": _reduce,
    "__reduce_ex__": _reduce,
    **{name: special(name) for name in ("__str__", "__repr__", "__dir__", "__copy__", "__deepcopy__")},
}
