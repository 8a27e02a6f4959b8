"""Exceptions on their way to the other process: taken apart, made again, and fit to be raised there."""

import functools
import sys
from typing import Any

_ENDS_SOMETHING = (StopIteration, StopAsyncIteration, GeneratorExit)
"""Exceptions that end a loop or a generator instead of failing it."""
_STEERS = {("asyncio.exceptions", "CancelledError")}
_STEERING_MODULES = ("unittest", "doctest")
"""Exceptions that steer whoever runs the script's tests, and so are not a program's to raise there."""


def class_named(module: str, name: str, otherwise: type[Exception] | None = None) -> type[BaseException]:
    """The exception class of the standard library with this name, if this process has loaded it.

    An exception that steers a test run, such as `unittest.SkipTest`, is none that a program can
    raise here: it would make the test say less than it says.

    Args:
        module, name: Of the class.
        otherwise: What to give if there is none.

    Raises:
        LookupError: If there is none, and nothing to give instead.
    """
    try:
        return _class_named(module, name)
    except LookupError:
        if otherwise is None:
            raise
        return type(name, (otherwise,), {})


@functools.cache
def _class_named(module: str, name: str) -> type[BaseException]:
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names or root in _STEERING_MODULES or module not in sys.modules:
        raise LookupError(name)
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = vars(found).get(part)
        if not isinstance(found, type):
            raise LookupError(name)
    if not issubclass(found, BaseException) or (module, name) in _STEERS:
        raise LookupError(name)
    return found


def is_named(kind: type) -> bool:
    """Whether the other side may know an exception class by its name."""
    try:
        return class_named(kind.__module__, kind.__qualname__) is kind
    except (LookupError, TypeError, AttributeError):
        return False


def parts(error: BaseException, careful: bool) -> list[Any]:
    """The parts of an exception: its arguments, attributes and cause.

    Args:
        error: The exception.
        careful: Whether it comes from a script: then what a failed assertion, or one that quotes
            code, says is left out.
    """
    if careful and isinstance(error, (AssertionError, SyntaxError)):
        return [(), {}, None]
    own = vars(error).items()
    attributes = {str(key): value for key, value in own if not (careful and key.startswith("_"))}
    if isinstance(error, (ImportError, NameError, AttributeError)):
        attributes["name"] = error.name
    arguments = error.args
    if isinstance(error, OSError) and error.filename is not None and len(arguments) == 2:
        arguments = (*arguments, error.filename)
    return [arguments, attributes, None if careful else error.__cause__]


def make(kind: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """Makes an exception like the other side's; runs only code of the standard library."""
    error: BaseException | None = None
    if kind.__module__ == "builtins":
        try:
            error = kind(*arguments)
        except Exception:
            error = None
    if error is None:
        error = kind.__new__(kind, *arguments)
        error.args = arguments
    for name, value in attributes.items():
        object.__setattr__(error, str(name), value)
    return error


def surfaced(error: BaseException, iterating: bool) -> BaseException:
    """The exception to raise in a script for one that the program raised.

    One that ends an iteration would end a loop of the script with nothing checked, unless the
    script asked for the next item.

    Args:
        error: What the program raised.
        iterating: Whether the script asked for the next item.
    """
    if not isinstance(error, _ENDS_SOMETHING):
        return error
    if iterating:
        return _plain_end(error)
    name = next(kind.__name__ for kind in _ENDS_SOMETHING if isinstance(error, kind))
    return RuntimeError(f"the program raised {name}, which is an error outside of an iterator")


def _plain_end(error: BaseException) -> BaseException:
    for kind in _ENDS_SOMETHING:
        if isinstance(error, kind) and type(error) is not kind:
            return kind(*error.args)
    return error
