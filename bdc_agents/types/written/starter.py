"""Reads what starter code states: its functions, its classes and their methods, with their parameters."""

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from textwrap import dedent
from typing import Any, NamedTuple

from bdc_agents.syntax import long_integers, parse
from bdc_agents.types.tests import CallTest, ScriptTest

_BODIES = ("", "\n        ...", "\n    ...", ":\n        ...", ":\n    ...")
"""What a signature lacks at its end: nothing, a body of a method or of a function, a colon as well."""
_METHOD_ENTRY = re.compile(r"(\w+)\(\)\.(\w+)")


class Starter(NamedTuple):
    """What starter code defines.

    Args:
        functions: The parameters of each function.
        classes: The parameters of each method of each class, without the object itself.
    """

    functions: Mapping[str, ast.arguments]
    classes: Mapping[str, Mapping[str, ast.arguments]]

    def holders(self, name: str) -> list[str]:
        """The classes with a method of this name; none where a function has it too."""
        if name in self.functions:
            return []
        return [held for held, methods in self.classes.items() if name in methods]

    def has(self, entry_point: str) -> bool:
        """Whether it defines a function or class of this name, or such a method."""
        root, _, method = entry_point.replace("()", "").partition(".")
        return method in self.classes.get(root, {}) if method else {root} <= {*self.functions, *self.classes}

    def makes(self, name: str) -> bool:
        """Whether an object of a class can be made without arguments."""
        made = self.classes.get(name, {}).get("__init__")
        return made is None or refusal(made, 0, ()) is None


def starter_tree(code: str) -> ast.Module | None:
    """The syntax tree of starter code, which may end with a signature; None where it is not Python."""
    code = dedent(code).rstrip()
    return next(filter(None, (parse(code + body) for body in _BODIES)), None)


def stated(code: str) -> Starter:
    """What starter code defines; nothing where it is not Python."""
    tree = starter_tree(code)
    functions: dict[str, ast.arguments] = {}
    classes: dict[str, dict[str, ast.arguments]] = {}
    for node in tree.body if tree else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions[node.name] = node.args
        elif isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            classes[node.name] = {one.name: _without_object(one) for one in methods}
    return Starter(functions, classes)


def _without_object(method: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.arguments:
    """The parameters of a method that a call gives; other decorators than two may change them: any."""
    marks = [mark.id if isinstance(mark, ast.Name) else "" for mark in method.decorator_list]
    if marks == ["staticmethod"]:
        return method.args
    if marks and marks != ["classmethod"]:
        return ast.arguments([], [], ast.arg("args"), [], [], ast.arg("kwargs"), [])
    found = method.args
    positional = [*found.posonlyargs, *found.args][1:]
    count = max(0, len(found.posonlyargs) - 1)
    return ast.arguments(
        positional[:count],
        positional[count:],
        found.vararg,
        found.kwonlyargs,
        found.kw_defaults,
        found.kwarg,
        found.defaults[-len(positional) :] if positional else [],
    )


def refusal(takes: ast.arguments, given: int, named: tuple[str, ...], *, shown: bool = True) -> str | None:
    """Why a signature cannot take a call; None where it can.

    Args:
        takes: The signature.
        given: How many arguments the call gives by place.
        named: The arguments that it gives by name.
        shown: Whether what the call gives may be told.
    """
    places = [one.arg for one in (*takes.posonlyargs, *takes.args)]
    by_name = [one.arg for one in (*takes.args, *takes.kwonlyargs)]
    if given > len(places) and not takes.vararg:
        return f"takes at most {len(places)} by place" + (f", not {given}" if shown else "")
    for name in named:
        if name not in by_name and not takes.kwarg:
            return f"takes no {name!r}" if shown else "lacks a name that the test gives"
        if name in by_name and name in places[:given]:
            return f"is given {name!r} twice"
    needed = places[given : len(places) - len(takes.defaults)]
    needed += [one.arg for one, value in zip(takes.kwonlyargs, takes.kw_defaults, strict=True) if not value]
    missing = next((name for name in needed if name not in named), None)
    return missing and f"needs {missing!r}"


def methods_by_name(starter: str, entry_point: str | None = None) -> dict[str, str]:
    """What a bare name stands for where only a class has it: `two_sum` for `Solution().two_sum`.

    Args:
        starter: The starter code.
        entry_point: What is to be written, where the problem says so.
    """
    found = stated(starter)
    names = {name for methods in found.classes.values() for name in methods}
    only = {
        name: f"{holders[0]}().{name}"
        for name in names
        if len(holders := found.holders(name)) == 1 and found.makes(holders[0]) and not name.startswith("__")
    }
    entry = _METHOD_ENTRY.fullmatch(entry_point or "")
    if entry and entry[2] not in found.functions and found.makes(entry[1]):
        only[entry[2]] = entry[0]
    return {name: method for name, method in only.items() if not hasattr(builtins, name)}


def as_methods(test: Any, methods: Mapping[str, str]) -> Any:
    """A test that calls methods as such, where it names them as if they were functions."""
    if isinstance(test, CallTest):
        bound = names_bound(test.setup)
        known = {name: method for name, method in methods.items() if name not in bound}
        call, setup = _renamed(test.call, known), _renamed(test.setup, known)
        changed = (call, setup) != (test.call, test.setup)
        return test.model_copy(update={"call": call, "setup": setup}) if changed else test
    if isinstance(test, ScriptTest):
        code = _renamed(test.code, methods)
        return test.model_copy(update={"code": code}) if code != test.code else test
    return test


def _renamed(code: str, methods: Mapping[str, str]) -> str:
    """Code with each name that is a method's in place of it, unless the code itself gives it a meaning."""
    if not any(re.search(rf"(?<![\w.]){name}\b", code) for name in methods):
        return code
    with long_integers():
        tree = parse(code)
    bound = names_bound(code)
    lines = code.encode().splitlines(keepends=True)
    names = [node for node in ast.walk(tree or ast.Module([], [])) if isinstance(node, ast.Name)]
    for node in sorted(names, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        if node.id in methods and node.id not in bound:
            line, start = lines[node.lineno - 1], node.col_offset
            end = start + len(node.id.encode())
            # Python 3.11 misplaces what stands in an f-string.
            if line[start:end] == node.id.encode():
                lines[node.lineno - 1] = line[:start] + methods[node.id].encode() + line[end:]
    return b"".join(lines).decode()


def names_bound(code: str) -> set[str]:
    """The names to which code itself gives a meaning, as by an import, a definition or an assignment."""
    with long_integers():
        tree = parse(code)
    return {name for node in ast.walk(tree or ast.Module([], [])) for name in _bound_by(node)}


def _bound_by(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.alias(name=name, asname=other):
            yield other or name.partition(".")[0]
        case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
            yield name
        case _:
            return
