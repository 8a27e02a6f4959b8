"""Passes on what a script changes around the program it calls: output, input, random numbers.

In one process both would see the same streams, `input` and random numbers. Here the script's side
says what has changed, and the program's side follows. Nothing of this goes the other way, but for
what is printed.
"""

import builtins
import io
import sys
from collections.abc import Callable
from typing import Any

_STREAMS = ("stdout", "stderr")


class OfScript:
    """Notices what a script changes.

    Args:
        names: The script's global names; one of its own for `input` counts as well.
        code: The script; what it does not mention is not looked at.
    """

    def __init__(self, names: dict[str, Any], code: str) -> None:
        self._names = names
        self._found = {name: getattr(sys, name) for name in (*_STREAMS, "stdin")}
        self._input = builtins.input
        self._last = self._now()
        self._told: dict[str, Any] = {}
        self._seeded = False
        if "random" in code:
            self._watch_seeds()

    def _watch_seeds(self) -> None:
        import random

        for name in ("seed", "setstate"):
            setattr(random, name, self._noticed(getattr(random, name)))

    def _noticed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def seed(*arguments: Any, **keywords: Any) -> Any:
            self._seeded = True
            return function(*arguments, **keywords)

        return seed

    def _now(self) -> tuple[Any, ...]:
        own_input = dict.get(self._names, "input", builtins.input)
        return sys.stdout, sys.stderr, sys.stdin, own_input

    def changes(self) -> dict[str, Any]:
        """What has changed since the last time, for `OfProgram.change`."""
        last, own_input = self._last, dict.get(self._names, "input", builtins.input)
        same = sys.stdout is last[0] and sys.stderr is last[1] and sys.stdin is last[2]
        if same and own_input is last[3] and not self._seeded:
            return {}  # nearly always, and every call asks
        self._last = self._now()
        return self._changes()

    def _changes(self) -> dict[str, Any]:
        now: dict[str, Any] = {name: getattr(sys, name) is not self._found[name] for name in _STREAMS}
        now["stdin"] = sys.stdin if sys.stdin is not self._found["stdin"] else None
        own = dict.get(self._names, "input", builtins.input)
        now["input"] = own if own is not self._input else None
        changed = {
            key: value for key, value in now.items() if value is not (self._told.get(key) or _NONE[key])
        }
        self._told |= changed
        if self._seeded:
            self._seeded = False
            changed["random"] = list(sys.modules["random"].getstate())
        return changed

    def take(self, printed: dict[str, str]) -> None:
        """Prints what the program has printed."""
        for name in _STREAMS:
            if name in printed and getattr(sys, name) is not self._found[name]:
                getattr(sys, name).write(str(printed[name]))


_NONE = {"stdout": False, "stderr": False, "stdin": None, "input": None}


class OfProgram:
    """Follows what a script changes, in the program's process."""

    def __init__(self) -> None:
        self._input = builtins.input
        self._replaced: dict[str, Any] = {}
        self._caught: dict[str, io.StringIO] = {}

    def change(self, changes: dict[str, Any]) -> None:
        """Makes the changes that the script's side noticed."""
        for name, value in changes.items():
            if name in _STREAMS:
                self._catch(name, value)
            elif name == "stdin":
                self._replace(name, value)
            elif name == "input":
                builtins.input = self._input if value is None else value
            elif name == "random":
                sys.modules["random"].setstate(tuple(value))

    def _catch(self, name: str, wanted: bool) -> None:
        caught = self._caught.pop(name, None)
        if wanted:
            caught = self._caught[name] = io.StringIO()
        self._replace(name, caught if wanted else None)

    def _replace(self, name: str, value: Any) -> None:
        before = self._replaced.setdefault(name, getattr(sys, name))
        setattr(sys, name, before if value is None else value)

    def printed(self) -> dict[str, str]:
        """What was printed since the last time to the streams that the script has redirected."""
        if not self._caught:
            return {}
        found = {name: caught.getvalue() for name, caught in self._caught.items()}
        for caught in self._caught.values():
            caught.seek(0)
            caught.truncate()
        return {name: text for name, text in found.items() if text}
