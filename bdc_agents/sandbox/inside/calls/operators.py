"""The operators of a program's objects in a script, which must not give expected values away.

Between objects of the program an operator is the program's affair. With a plain value on the other
side, the program learns what the script expects, and could answer what suits it. So there

- `==` never holds because the program says so: it holds where the contents are equal, for a subclass
  of a built-in class, and otherwise not at all;
- whether an object contains a plain value is found out by iterating over it;
- an order or arithmetic is refused.

Where the script names a class itself, as in `Vector(1, 2) * 3`, the operators of its objects are what
is tested. Then `in` and arithmetic are the program's affair too, if the result is an object again, and
if that is not turned into a number, with which a script might compare.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import standins
from .standins import UnsupportedError, is_class, is_remote, own

if TYPE_CHECKING:
    from .standins import Peer


def method(name: str) -> Callable[..., Any]:
    """The method of this name in the stand-in for a class of the program."""
    if name in standins.EQUALITY:
        return lambda self, other: _equal(self, name, other)
    if name in standins.CONTAINS:
        return _contains
    if name in standins.ORDER | standins.ARITHMETIC:
        return lambda self, *others: _combined(self, name, *others)
    if name in standins.NUMBERS:
        return lambda self, *others: _number(self, name, *others)
    return standins.special(name)


def _ask(self: Any, name: str, *others: Any) -> Any:
    return own(self, "_peer_").ask("special", self, name, *others)


def _plain(*others: Any) -> bool:
    return not all(is_remote(other) or is_class(other) for other in others)


def _of_base(self: Any, name: str, *others: Any) -> Any:
    """The built-in base's result for the content that is here; NotImplemented if there is none."""
    base = own(type(self), "_base_") or object
    return getattr(base, name, lambda *_: NotImplemented)(self, *others)


def _equal(self: Any, name: str, other: Any) -> Any:
    if not _plain(other):
        return _ask(self, name, other)
    peer: Peer = own(self, "_peer_")
    here = _of_base(self, name, other)
    if not peer.trusts(type(self)):
        peer.compared_with_plain = True
        return here
    there = _ask(self, name, other)
    if there is NotImplemented:
        return here
    equal = bool(there) == (name == "__eq__")
    if equal and bool(here is True) != (name == "__eq__"):
        raise _refused(self, f"says itself that it equals {_shown(other)}, which a test cannot rely on")
    return there


def _contains(self: Any, item: Any) -> bool:
    peer: Peer = own(self, "_peer_")
    if hasattr(own(type(self), "_base_"), "__contains__") and not peer.trusts(type(self)):
        return bool(_of_base(self, "__contains__", item))
    if not _plain(item) or peer.trusts(type(self)):
        return bool(_ask(self, "__contains__", item))
    if not hasattr(type(self), "__iter__"):
        raise _refused(self, f"says itself whether it contains {_shown(item)}, which a test cannot rely on")
    return any(one is item or one == item for one in self)


def _combined(self: Any, name: str, *others: Any) -> Any:
    if not _plain(*others):
        return _derived(_ask(self, name, *others), self, *others)
    peer: Peer = own(self, "_peer_")
    if own(type(self), "_base_") is not None and not peer.trusts(type(self)):
        found = _of_base(self, name, *others)
        if found is not NotImplemented or name in standins.ORDER:
            return found
    if name in standins.ORDER or not peer.trusts(type(self)):
        raise _refused(self, f"would learn from {name} what the test compares it with")
    result = _ask(self, name, *others)
    if result is NotImplemented:
        return result
    if not is_remote(result):
        raise _refused(self, f"makes a plain value by {name} of one of the test, which it could fit to it")
    own(result, "__dict__")["_derived_"] = True
    return result


def _number(self: Any, name: str, *others: Any) -> Any:
    result = _ask(self, name, *others)
    if not is_remote(result) and _is_derived(self):
        raise _refused(self, f"was made with a plain value of the test, and {name} turns it into another")
    return _derived(result, self)


def _is_derived(value: Any) -> bool:
    return is_remote(value) and "_derived_" in own(value, "__dict__")


def _derived(result: Any, *origins: Any) -> Any:
    """Records that a result comes from objects that know a plain value of the script."""
    if is_remote(result) and any(map(_is_derived, origins)):
        own(result, "__dict__")["_derived_"] = True
    return result


def _refused(self: Any, reason: str) -> UnsupportedError:
    peer: Peer = own(self, "_peer_")
    return peer.refuse(
        f"an object of the program's class {type(self).__name__!r} {reason}; {standins.WAY_OUT}"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # The reason that follows should stay in sight.
