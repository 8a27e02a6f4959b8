"""Does for a script what it asks of its program: everything, since the program has nothing to guard."""

import copy
import inspect
import operator
import types
from collections.abc import Callable
from typing import Any

from . import surroundings

_PERFORMED: dict[str, Callable[..., Any]] = {
    "__len__": len,
    "__iter__": iter,
    "__next__": next,
    "__reversed__": reversed,
    "__str__": str,
    "__repr__": repr,
    "__bool__": bool,
    "__hash__": hash,
    "__dir__": dir,
    "__getitem__": operator.getitem,
    "__setitem__": operator.setitem,
    "__delitem__": operator.delitem,
    "__contains__": operator.contains,
    "__copy__": copy.copy,
    "__deepcopy__": lambda value, *_: copy.deepcopy(value),
    "__call__": lambda target, *operands, **keywords: target(*operands, **keywords),
}
"""Operators that Python runs on every object, whether or not its class defines the method."""


class Program:
    """The program's names, and what can be done with them.

    Args:
        namespace: The names.
        share: Gives an object a number by which the script's side knows it.
    """

    def __init__(self, namespace: dict[str, Any], share: Callable[[Any], int]) -> None:
        self._namespace, self._share = namespace, share
        self.surroundings = surroundings.OfProgram()
        self._loop: Any = None
        self._operations: dict[str, Callable[..., Any]] = {
            "name": self._named,
            "call": lambda target, *operands, **keywords: target(*operands, **keywords),
            "getattr": getattr,
            "setattr": setattr,
            "delattr": delattr,
            "isinstance": isinstance,
            "issubclass": issubclass,
            "special": _special,
            "step": lambda target, name, *operands: getattr(target, name)(*operands),
            "inherited": _inherited,
            "await": self._await,
            "await_next": self._await,
            "subclass": self._subclass,
            "define": self._namespace.__setitem__,
        }

    def perform(self, operation: str, operands: list[Any], keywords: dict[str, Any]) -> Any:
        """Performs an operation for the script's side."""
        return self._operations[operation](*operands, **keywords)

    def _named(self, name: str) -> Any:
        """The value of a name of the program in a list of one item; an empty list if it has none."""
        if name not in self._namespace:
            return []
        value = self._namespace[name]
        return [value] if not isinstance(value, types.ModuleType) else ["module", value.__name__]

    def _await(self, awaitable: Any) -> Any:
        import asyncio

        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            asyncio.set_event_loop(self._loop)
        return self._loop.run_until_complete(_awaited(awaitable))

    def _subclass(
        self, name: str, bases: tuple[Any, ...], members: list[Any], keywords: dict[str, Any]
    ) -> int:
        """A class that a script derives from one of the program: its methods run over there."""
        space = {key: _member(sort, value) for key, sort, value in members}
        space["__module__"] = self._namespace.get("__name__", "program")
        return self._share(types.new_class(name, bases, keywords, lambda found: found.update(space)))


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _special(target: Any, name: str, *operands: Any, **keywords: Any) -> Any:
    if name in _PERFORMED:
        return _PERFORMED[name](target, *operands, **keywords)
    return getattr(type(target), name)(target, *operands, **keywords)


def _inherited(kind: type, name: str, bound_to: Any, for_class: bool) -> Any:
    found: Any = inspect.getattr_static(kind, name)
    if not hasattr(type(found), "__get__"):
        return found
    return found.__get__(None, bound_to or kind) if for_class else found.__get__(bound_to, type(bound_to))


def _member(sort: str, value: Any) -> Any:
    match sort:
        case "function":
            return _forwarding(value)
        case "staticmethod":
            return staticmethod(value)
        case "classmethod":
            return classmethod(_forwarding(value))
        case "property":
            return property(*value)
    return value


def _forwarding(function: Any) -> Callable[..., Any]:
    def method(*operands: Any, **keywords: Any) -> Any:
        return function(*operands, **keywords)

    return method
