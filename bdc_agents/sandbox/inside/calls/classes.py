"""Describes a class in its own process, and makes the stand-in for it in the other."""

import abc
import collections
import collections.abc
import numbers
import types
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import mirror, operators, standins
from .standins import Inherited, Kind, is_class

if TYPE_CHECKING:
    from .standins import Peer

# Beyond any honest class: a description may come from a hostile process.
_MOST_NAMES, _LONGEST_NAME = 2000, 200
_CONTENT = (
    *(collections.OrderedDict, collections.defaultdict, collections.Counter, collections.deque),
    *standins.CONTENT,
)
_ABSTRACT = {kind.__name__: kind for module in (collections.abc, numbers) for kind in vars(module).values()
             if isinstance(kind, abc.ABCMeta)}  # fmt: skip

# --- describing -----------------------------------------------------------------------------------


def content_base(kind: type) -> type | None:
    """The built-in class that holds what the instances of a class hold; None if there is none."""
    found = (base for base in kind.__mro__ if base in _CONTENT)
    return next(found, None) if kind not in _CONTENT else None


def described(kind: type) -> list[Any]:
    """Name, bases, the names that it defines, and the abstract classes that it is of."""
    bases = [base for base in kind.__bases__ if base not in _IDEAS]
    names = [name for name in vars(kind) if type(name) is str]
    unhashable = vars(kind).get("__hash__", 0) is None
    abstract = [base.__name__ for base in kind.__mro__ if _ABSTRACT.get(base.__name__) is base]
    return [kind.__name__, bases, names, unhashable, abstract]


_IDEAS = (object, abc.ABC, typing.Generic, typing.Protocol)
"""Bases that define nothing that a script could use."""


# --- making ---------------------------------------------------------------------------------------


def made(peer: "Peer", number: int, description: list[Any]) -> Kind:
    """Makes the stand-in for a class of the other process.

    Args:
        peer: The connection to it.
        number: Of the class, there.
        description: As `described` wrote it; it may be forged.

    Raises:
        ValueError: If it describes no class.
    """
    name, bases, names, unhashable, abstract = description
    if type(name) is not str or len(names) > _MOST_NAMES:
        raise ValueError("no class")
    usable = tuple(base for base in bases if is_class(base) or _is_base(base))
    if not any(map(is_class, usable)):
        usable = (Remote, *usable)
    base = next((one for kind in usable for one in kind.__mro__ if one in _CONTENT), None)
    space: dict[str, Any] = {"_peer_": peer, "_number_": number, "_base_": base, **standins.BASICS}
    space |= dict(_members(peer, names))
    if unhashable:
        space["__hash__"] = None
    short = name[:_LONGEST_NAME]
    try:
        kind = type.__new__(Kind, short, usable, space)
    except TypeError:  # bases that do not go together here
        fallback = Exception if any(issubclass(base, BaseException) for base in usable) else None
        kind = type.__new__(
            Kind, short, (Remote, fallback) if fallback else (Remote,), space | {"_base_": None}
        )
    for word in abstract:
        if word in _ABSTRACT and word != "Hashable":
            _register(_ABSTRACT[word], kind)
    return kind


def instance(peer: "Peer", number: int, kind: Kind, held: Any) -> Any:
    """Makes the stand-in for an object of a class, with its content or an exception's arguments."""
    base: Any = standins.own(kind, "_base_")
    made: Any
    if standins.inherits(kind, BaseException):
        mro = standins.own(kind, "__mro__")
        root: Any = next(one for one in mro if not is_class(one) and issubclass(one, BaseException))
        made = root.__new__(kind)
        made.args = held if isinstance(held, tuple) else ()
    elif base is None:
        made = object.__new__(kind)
    elif issubclass(base, mirror.CHANGING):
        new: Any = base.__new__
        made = new(kind)
        mirror.changed_in_place(made, held)
    else:
        made = base.__new__(kind, held)
    standins.own(made, "__dict__").update(_peer_=peer, _number_=number)
    return made


def _is_base(base: Any) -> bool:
    return isinstance(base, type) and (base in _CONTENT or issubclass(base, BaseException))


def _register(abstract: Any, kind: Kind) -> None:
    try:
        abstract.register(kind)
    except (TypeError, RuntimeError):
        return


def _members(peer: "Peer", names: list[Any]) -> Iterator[tuple[str, Any]]:
    make: Callable[[str], Any] = operators.method if peer.careful else standins.special
    for name in names:
        if type(name) is not str or name in standins.BASICS or name in ("_peer_", "_number_", "_base_"):
            continue
        if name in standins.SPECIALS:
            yield name, standins.anext if name == "__anext__" else make(name)
        elif name == "__await__":
            yield name, standins.awaits
        elif not name.startswith("__") or name == "__init__":
            yield name, Inherited(name)


class Remote(metaclass=Kind):
    """Makes the stand-in for an object of the other process."""

    _peer_: Any = None
    _number_: Any = None
    _base_: Any = None
    _local_: frozenset[str] = frozenset()


# --- kinds that both sides know ---------------------------------------------------------------------


def _bound(self: Any, instance: Any, _owner: Any = None) -> Any:
    return self if instance is None else types.MethodType(self, instance)


def _send(self: Any, _value: Any) -> Any:
    raise StopIteration(standins.own(self, "_peer_").ask("await", self))


def _raise(_self: Any, kind: Any, *rest: Any) -> Any:
    raise rest[0] if rest and rest[0] is not None else kind


_CALLED = {"__call__": standins.called, "__get__": _bound}
_COROUTINE = {"__await__": standins.awaits, "send": _send, "throw": _raise, "close": lambda _: None}
_FIXED: dict[str, tuple[type, dict[str, Any]]] = {
    "function": (types.FunctionType, _CALLED),
    "method": (types.MethodType, _CALLED),
    "builtin": (types.BuiltinFunctionType, _CALLED),
    "generator": (
        types.GeneratorType,
        {"__next__": standins.special("__next__"), "__iter__": lambda self: self},
    ),
    "coroutine": (types.CoroutineType, _COROUTINE),
}


def _fixed(name: str, kind: type, members: dict[str, Any]) -> Kind:
    shown = {"__class__": property(lambda _: kind)}  # so that `inspect` knows them
    space = {"_number_": None, "_local_": frozenset(members), **standins.BASICS, **members, **shown}
    return type.__new__(Kind, name, (Remote,), space)


FIXED = {name: _fixed(name, *form) for name, form in _FIXED.items()}
"""The classes of stand-ins for functions and the like, which need no description."""


def fixed_name(value: Any) -> str | None:
    """The name of a value's kind in `FIXED`; None if it is not there."""
    return _NAMES.get(type(value))


_NAMES = {kind: name for name, (kind, _) in _FIXED.items()}
