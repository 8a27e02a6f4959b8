"""Does for a program what it may do to a script's objects: use them, but nothing that leads to the script.

A program may call functions, advance iterators, read attributes of objects, and use the operators of the
script's own classes. It may set nothing. It finds no name that starts with an underscore, nor one that
leads to a frame or to code.
"""

import collections.abc
import functools
import io
import operator
import sys
import types
from typing import Any

from .. import reports
from . import stdlib
from .standins import SPECIALS, is_class, is_remote

_NAMES_OF_FUNCTIONS = ("__name__", "__qualname__", "__doc__")
_LEADING = ("gi_", "cr_", "ag_", "f_", "tb_", "co_")
"""Beginnings of attributes that lead from a generator, coroutine or traceback to a frame and further."""

_OPEN_MODULES = frozenset(
    (
        *("io", "_io", "queue", "_queue", "threading", "_thread", "collections", "re", "csv", "_csv"),
        *("random", "tempfile", "string", "itertools"),
    )
)
"""Modules of the standard library whose objects have no attribute that leads elsewhere."""

_COMPARED_KEY: Any = type(functools.cmp_to_key(lambda *_: 0))
_CALLABLE: tuple[Any, ...] = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    functools.partial,
    operator.itemgetter,
    operator.attrgetter,
    operator.methodcaller,
    type(functools.lru_cache(lambda: None)),
    _COMPARED_KEY,
)
_CHANGES = ("setattr", "delattr")
"""Operations that a refusal explains by what to do instead."""


def use(operation: str, operands: list[Any], keywords: dict[str, Any]) -> Any:
    """Performs an operation that the program asks for, if it is granted.

    Raises:
        AttributeError: For an attribute that is not shown.
        TypeError: For anything else that is not granted.
    """
    target, *rest = operands
    if is_remote(target) or is_class(target):
        raise _refused(operation, target)
    if operation == "call" and _may_be_called(target):
        return target(*rest, **keywords)
    if operation == "getattr":
        return _attribute(target, str(rest[0]))
    if operation == "special" and rest[0] in specials_of(type(target)):
        if rest[0] == "__call__" and not _may_be_called(target):
            raise _refused("call", target)
        return getattr(type(target), rest[0])(target, *rest[1:], **keywords)
    if operation == "step" and isinstance(target, collections.abc.Iterator) and rest[0] == "__next__":
        return next(target)
    if operation == "await" and isinstance(target, collections.abc.Coroutine):
        return _run_to_end(target)
    raise _refused(operation, target)


def _refused(operation: str, target: Any) -> TypeError:
    if operation in _CHANGES:
        return TypeError(
            "a program may read, but not set attributes of the objects of its script test; "
            'a test with "call" and "expected" can have such objects in its "setup"'
        )
    return TypeError(f"a program may not do {operation!r} to a {type(target).__name__} of its test")


def described(kind: type) -> list[Any]:
    """The description of a class for the program: its name, and the operators of its objects."""
    bases = [base for base in kind.__mro__ if base.__module__ == "builtins" and base is not object]
    errors = [base for base in bases if issubclass(base, BaseException)][:1]
    unhashable = getattr(kind, "__hash__", None) is None
    return [kind.__name__, errors, sorted(specials_of(kind)), unhashable, []]


def is_own(kind: type) -> bool:
    """Whether a class was defined in the script."""
    return kind.__module__ == reports.MAIN


@functools.cache
def specials_of(kind: type) -> frozenset[str]:
    """The operators that a program may use on objects of a class."""
    if is_own(kind):
        space = {
            name: value for one in reversed(kind.__mro__) if is_own(one) for name, value in vars(one).items()
        }
        found = {name for name in SPECIALS if isinstance(space.get(name), types.FunctionType)}
        return frozenset(found | _inherited(kind))
    return frozenset(_inherited(kind))


def _inherited(kind: type) -> set[str]:
    found = set[str]()
    if issubclass(kind, _CALLABLE) or _is_mock(kind):
        found.add("__call__")
    if issubclass(kind, collections.abc.Iterator):
        found |= {"__iter__", "__next__"}
    if issubclass(kind, (collections.abc.Collection, collections.abc.Sequence, io.IOBase)):
        found |= {"__iter__", "__len__", "__contains__", "__getitem__", "__reversed__", "__eq__"}
    if issubclass(kind, _COMPARED_KEY):
        found |= {"__lt__", "__le__", "__gt__", "__ge__", "__eq__"}
    if kind.__module__ in _OPEN_MODULES:
        found |= {"__enter__", "__exit__", "__getitem__"}
    return {name for name in found if getattr(kind, name, None) is not None}


def _attribute(target: Any, name: str) -> Any:
    named = isinstance(target, (types.FunctionType, types.MethodType, type))
    if named and name in _NAMES_OF_FUNCTIONS:
        return getattr(target, name)
    if name.startswith(("_", *_LEADING)) or not _is_open(target) or _steers_mock(target, name):
        raise AttributeError(f"{type(target).__name__!r} object has no attribute {name!r} for a program")
    return getattr(target, name)


def _is_open(target: Any) -> bool:
    kind = target if isinstance(target, type) else type(target)
    if isinstance(target, types.ModuleType):
        return False
    known = is_own(kind) or kind.__module__ in _OPEN_MODULES or _is_mock(kind)
    return known or isinstance(target, (types.GeneratorType, BaseException))


def _is_mock(kind: type) -> bool:
    mock = sys.modules.get("unittest.mock")
    return mock is not None and issubclass(kind, mock.NonCallableMock)


def _steers_mock(target: Any, name: str) -> bool:
    """Whether a name steers a mock, as `reset_mock` does: by it a program could pass its test."""
    mock = sys.modules.get("unittest.mock")
    return mock is not None and _is_mock(type(target)) and name in _names_of_mocks(mock)


@functools.cache
def _names_of_mocks(mock: Any) -> frozenset[str]:
    kinds = (mock.MagicMock, mock.AsyncMock)
    own = {name for kind in kinds for name in (*dir(kind), *vars(kind()))}
    return frozenset(name for name in own if not name.startswith("_"))


def _may_be_called(target: Any) -> bool:
    if isinstance(target, types.BuiltinFunctionType):
        owner = target.__self__
        if isinstance(owner, types.ModuleType) or owner is None:
            return target is print or stdlib.name_of(target) is not None
        return not isinstance(owner, type)
    if isinstance(target, type) and stdlib.BUILTINS.get(target.__name__) is target:
        return True
    if isinstance(target, functools.partial):
        return _may_be_called(target.func)
    if isinstance(target, types.MethodType):
        return _is_open(target.__self__) or _may_be_called(target.__func__)
    if isinstance(target, type):
        return is_own(target)
    return isinstance(target, _CALLABLE) or _is_mock(type(target)) or "__call__" in specials_of(type(target))


def _run_to_end(coroutine: Any) -> Any:
    """Awaits a coroutine of the script, which must not wait for anything unfinished."""
    while True:
        try:
            waited = coroutine.send(None)
        except StopIteration as end:
            return end.value
        if waited is not None:
            raise TypeError("a coroutine of a script test that a program awaits may not wait itself")
