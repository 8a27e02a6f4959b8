"""The names of a script: a name that it does not define itself stands for something of the program's.

In this order: what the preamble defines, a built-in, a module of the standard library that the program
imported, and then the program's own; the entry point is always the program's.
"""

import ast
import builtins
import importlib
import re
import sys
import types
from collections.abc import Callable
from typing import Any

from .. import reports
from ..calls import peer, standins


class Names(dict[str, Any]):
    """The global names of a script; those that it lacks are looked up as the module says.

    Args:
        program: The connection to the program.
        entry_point: The name that is the program's, even if it is that of a built-in.
        classes: What `classes_of` found.
        attributes: What `attributes_of` found.
    """

    def __init__(
        self,
        program: peer.Peer,
        entry_point: str | None,
        classes: frozenset[str],
        attributes: dict[str, set[str]],
    ) -> None:
        super().__init__(__name__=reports.MAIN, __builtins__=builtins)
        self._program, self._entry_point = program, entry_point
        self._classes, self._attributes = classes, attributes

    def __missing__(self, name: str) -> Any:
        if hasattr(builtins, name) and name != self._entry_point:
            raise KeyError(name)
        value = self[name] = self._look_up(name)
        if standins.is_class(value) and name in self._classes:
            self._program.trust(value)
        return value

    def copy(self) -> "Names":
        """The same names, for what runs code of its own among them, such as `doctest`."""
        other = Names(self._program, self._entry_point, self._classes, self._attributes)
        other.update(self)
        return other

    def _look_up(self, name: str) -> Any:
        if self._is_module(name):
            return sys.modules[name]
        found = self.ask(name)
        if not found:
            raise KeyError(name)
        if len(found) == 1:
            return found[0]
        return imported(name if name in sys.stdlib_module_names else str(found[1]))

    def _is_module(self, name: str) -> bool:
        """Whether a name stands for a module of the standard library, which the script has not imported.

        What the program calls `math` is not what a script means by `math.isclose`; but it may well
        have a `queue` of its own, which has attributes that the module lacks.
        """
        if name not in sys.stdlib_module_names or name == self._entry_point or name not in self._attributes:
            return False
        module = imported(name)
        return all(hasattr(module, attribute) for attribute in self._attributes[name])

    def ask(self, name: str) -> list[Any]:
        """What the program has under a name, as a list of one item; a module as two."""
        return list(self._program.ask("name", name))

    def run_preamble(self, code: str) -> None:
        """Defines here what the preamble does, but for what the program has to define."""
        if not code:
            return
        exec(compile(code, "preamble.py", "exec", dont_inherit=True), self)  # noqa: S102
        for name, value in list(self.items()):
            local = isinstance(value, (types.FunctionType, type)) and not standins.is_class(value)
            defined = local and value.__module__ == reports.MAIN
            if name == self._entry_point or (defined and self._entry_point is None):
                del self[name]


class Main(types.ModuleType):
    """The module `__main__` of a script, for what looks names up there, such as `unittest.main`."""

    def __init__(self, names: Names, program: peer.Peer) -> None:
        super().__init__(reports.MAIN)
        object.__setattr__(self, "_names", names)
        object.__setattr__(self, "_program", program)

    def __getattribute__(self, name: str) -> Any:
        if name == "__dict__":  # where `doctest` finds functions, and `dataclass` the names of types
            return super().__getattribute__("_names")
        if name == "__doc__":  # which may hold its examples
            return dict.get(super().__getattribute__("_names"), name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._names[name]
        except KeyError:
            raise AttributeError(f"module '__main__' has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._names[name] = value
        self._program.ask("define", name, value)

    def __delattr__(self, name: str) -> None:
        del self._names[name]

    def __dir__(self) -> list[str]:
        return list(self._names)


def imported(name: str) -> types.ModuleType:
    """The module that the program has under a name of the script, of this process's own.

    Raises:
        ImportError: If it is one that runs something when it is imported.
    """
    root, *inner = name.split(".")
    if root in _RUNNING or any(part.startswith("__") for part in (root, *inner)):
        raise ImportError(
            f"the module {name!r} runs something when it is imported, so no script test gets it"
        )
    try:
        return importlib.import_module(name)
    except SystemExit as end:  # else the script would end there, with what follows unchecked
        raise ImportError(f"the module {name!r} ends the process when it is imported") from end


_RUNNING = frozenset(("antigravity", "ensurepip", "idlelib", "lib2to3", "test", "turtledemo"))


def import_only_from(folders: list[str]) -> None:
    """From here on finds modules below these folders only, never among files that a program wrote.

    Whatever puts another folder onto the path, such as `unittest` where it looks for tests.
    """
    allowed = tuple(folder for folder in folders if folder)
    below = tuple(f"{folder.rstrip('/')}/" for folder in allowed)

    def limited(hook: Callable[[str], Any]) -> Callable[[str], Any]:
        def finder(path: str) -> Any:
            if path not in allowed and not path.startswith(below):
                raise ImportError("no folder of the interpreter")
            return hook(path)

        return finder

    sys.path_hooks[:] = map(limited, sys.path_hooks)


def attributes_of(tree: ast.Module) -> dict[str, set[str]]:
    """The names that a script uses only for their attributes, as in `math.pi`, with those attributes."""
    found, bare = dict[str, set[str]](), set[str]()
    of_attributes = set[ast.Name]()
    for node in ast.walk(tree):  # an attribute comes before the name in it
        match node:
            case ast.Attribute(value=ast.Name() as name, attr=attribute, ctx=ast.Load()):
                found.setdefault(name.id, set()).add(attribute)
                of_attributes.add(name)
            case ast.Name(id=name) if node not in of_attributes:
                bare.add(name)
    return {name: attributes for name, attributes in found.items() if name not in bare}


def classes_of(tree: ast.Module) -> frozenset[str]:
    """The names that a script uses as classes, so that their objects are what it tests.

    A name in capital words is taken for one, as PEP 8 has it, and so is one that `isinstance`,
    `except`, a pattern or another class names as such.
    """
    found = set[str]()
    for node in ast.walk(tree):
        if type(node) not in _NAMING:
            continue
        match node:
            case ast.Name(id=name) if _CAPITAL_WORDS.fullmatch(name):
                found.add(name)
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, named]):
                found |= _names_in(named)
            case ast.ExceptHandler(type=ast.expr() as named):
                found |= _names_in(named)
            case ast.ClassDef(bases=named):
                found |= _names_in(*named)
            case ast.MatchClass(cls=named):
                found |= _names_in(named)
    return frozenset(found)


_NAMING = (ast.Name, ast.Call, ast.ExceptHandler, ast.ClassDef, ast.MatchClass)
_CAPITAL_WORDS = re.compile(r"_*[A-Z][A-Za-z0-9]*")


def _names_in(*nodes: ast.expr) -> set[str]:
    return {part.id for node in nodes for part in ast.walk(node) if isinstance(part, ast.Name)}
