"""Finds the function, method or class that a program must define, in tests, starter code or statement."""

import re
from collections.abc import Mapping
from typing import Any

from bdc_agents.types.tests import CallTest, ScriptTest, StdinTest
from bdc_agents.types.written.asserts import call_of, entry_point_of
from bdc_agents.types.written.deferred import Later, operations_in
from bdc_agents.types.written.parts import is_list, is_object
from bdc_agents.types.written.starter import methods_by_name

_ENTRY_POINT = re.compile(r"[^\W\d]\w*(?:(?:\(\))?\.[^\W\d]\w*)?")
_FUNCTION = re.compile(r"\b(?:write|implement|define|function|def)\s+`?([A-Za-z_]\w*)\s*\(", re.IGNORECASE)
_METHOD = re.compile(r"^[ \t]+def ([^\W_]\w*)\(\s*self\b", re.MULTILINE)
_TAKING = re.compile(r"^def (\w+)\(\s*[^\s)]", re.MULTILINE)


def is_entry_point(text: str) -> bool:
    """Whether a text names a function, a class, or a method as in `Solution().two_sum`."""
    return _ENTRY_POINT.fullmatch(text) is not None


def find_entry_point(fields: Mapping[str, Any], read: Mapping[str, Any]) -> str | None:
    """The function that is to be written, as the tests or else the starter code name it."""
    starter = str(fields.get("starter_code") or "")
    tests = [test for found in read.values() if is_list(found) for _, test in found]
    named = next((test.function for test in tests if isinstance(test, Later) and test.function), None)
    if named:
        return in_class(named, starter)
    code = [_code_of(test) for test in tests]
    setups = [str(test.setup) for test in tests if isinstance(test, CallTest)]
    found = entry_point_of(filter(None, code), _defined(starter)) or entry_point_of(setups)
    if found and found in _classes(starter):
        # Tests that make an object first call its methods later; where there is one, it is the one.
        return found
    if found or any(isinstance(test, StdinTest) or _kind(test) == "stdin" for test in tests):
        return found
    operations = next(filter(None, (operations_in(test) for test in tests if isinstance(test, Later))), None)
    if operations and operations.names[0] in _classes(starter):
        return operations.names[0]
    takes = _starter_function(starter)
    if takes or operations:
        return takes or (operations and operations.names[0])
    needed = any(isinstance(test, Later) and not isinstance(test.given, str) for test in tests)
    return stated_function(str(fields.get("statement") or "")) if needed else None


def stated_function(statement: str) -> str | None:
    """The function that a statement asks for in words, as in "write add(a, b)"."""
    found = _FUNCTION.search(statement)
    return found[1] if found else None


def _code_of(test: Any) -> str:
    if isinstance(test, StdinTest | CallTest | ScriptTest):
        return call_of(test)
    if is_object(test):
        return str(test.get("call") or test.get("code") or "")
    return ""


def _kind(test: Any) -> Any:
    return test.get("kind") if is_object(test) else None


def _defined(starter: str) -> list[str]:
    return re.findall(r"^(?:async )?def (\w+)", starter, re.MULTILINE) + _classes(starter)


def _classes(starter: str) -> list[str]:
    return re.findall(r"^class (\w+)", starter, re.MULTILINE)


def _starter_function(starter: str) -> str | None:
    """The only function with parameters, or method of the only class, of starter code."""
    classes, methods = _classes(starter), _METHOD.findall(starter)
    if len(classes) == 1 and len(methods) == 1:
        return f"{classes[0]}().{methods[0]}"
    taking = _TAKING.findall(starter)
    return taking[0] if len(taking) == 1 and not classes else None


def in_class(name: str, starter: str) -> str:
    """The name of a function, as a method where only a class of starter code has it."""
    classes = _classes(starter)
    if len(classes) == 1 and name in _METHOD.findall(starter) and name not in _defined(starter):
        return f"{classes[0]}().{name}"
    return methods_by_name(starter).get(name, name)
