"""The domain of a problem's inputs, as its statement tells it: limits on numbers, on lengths, on texts."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bdc_agents.syntax import parse
from bdc_agents.types import Problem

# Repetitions are bounded, as statements may be hostile.
_GAP = r"\s{0,3}"
_POWERS = rf"(?:{_GAP}[*x\u00d7]{_GAP}10{_GAP}\^?\{{?\d{{1,9}}\}}?|{_GAP}\^\{{?\d{{1,9}}\}}?)?(?: ?- ?1\b)?"
_NUMBER = rf"-?\d(?:[\d_]|,\d){{0,40}}{_POWERS}"
_WHAT = r"(?:[A-Za-z_]\w{0,40}(?:\.length|\[\w{1,20}\]){0,3}|len\(\w{1,40}\)|\|\w{1,40}\|)"
_LESS = rf"{_GAP}(?:<=?|\u2264|==){_GAP}"
_CHAIN = re.compile(
    rf"(?<![\w.])(?P<low>{_NUMBER})(?P<middle>(?:{_LESS}{_WHAT}){{1,9}})(?P<end>{_LESS})(?P<high>{_NUMBER})"
)
"""Limits as in `1 <= k <= nums.length <= 10^5`."""
_POWER = re.compile(r"(?:(\d+)[*x\u00d7])?(\d+)\^(\d+)(-1)?")
_CHECKS = re.compile(r"\b(?:check|valid|validate|verify|whether|match(?:es)?)\b", re.IGNORECASE)
_RANGES = re.compile(
    r"\b(?:range|between|interval|lower|upper|start|end|left|right|from \S{1,20} to)\b", re.IGNORECASE
)
_FILLED = re.compile(r"\bnon-?empty\b|\bat least one (?:element|item|character|number)\b", re.IGNORECASE)
_LARGEST = 40
"""Exponent and digits of a limit that are read: no input is larger."""


class Bounds(NamedTuple):
    """What a statement says of one argument; None where it says nothing.

    Args:
        low, high: Of the number, or of the numbers in it.
        fewest: Items or characters, at least; likewise `most`.
        loose: Whether texts of any form belong to the domain, since the problem is to tell some from others.
    """

    low: int | None = None
    high: int | None = None
    fewest: int | None = None
    most: int | None = None
    loose: bool = False


ANY = Bounds()


class Domain:
    """The bounds of a problem's arguments.

    Args:
        problem: Its statement is read, and code that is shown for the names of arguments.

    Attributes:
        ranges: Whether two numbers may be the ends of a range.
    """

    def __init__(self, problem: Problem) -> None:
        statement = problem.statement.replace("<sup>", "^").replace("</sup>", "").replace("\\leq", "<=")
        statement = statement.replace("\\le", "<=").replace("$", "").replace("`", "")
        self._base = Bounds(
            fewest=1 if _FILLED.search(statement) else None, loose=_CHECKS.search(statement) is not None
        )
        self.ranges = _RANGES.search(statement) is not None
        self._stated = _stated(statement)
        self._names = _names(problem)

    def bounds(self, name: int | str) -> Bounds:
        """The limits of an argument, given by its name or its place."""
        if isinstance(name, int):
            name = self._names[name] if name < len(self._names) else ""
        known = {key: value for key, value in self._stated.get(name, {}).items() if value is not None}
        return self._base._replace(**known)


def _stated(statement: str) -> Mapping[str, dict[str, int | None]]:
    found: dict[str, dict[str, int | None]] = {}
    for chain in _CHAIN.finditer(statement):
        low, high = _value(chain["low"]), _value(chain["high"])
        if low is None or high is None:
            continue
        low += chain["middle"].strip().startswith("<") and not chain["middle"].strip().startswith("<=")
        high -= chain["end"].strip() == "<"
        for what in re.split(_LESS, chain["middle"])[1:]:
            name = re.sub(r"^len\(|[|)]|\.length$|\[.*", "", what)
            row = found.setdefault(name, {})
            counts = what.endswith(".length") or what.startswith(("len(", "|"))
            if counts and "[" not in what:
                row |= {"fewest": low, "most": high}
            elif not counts:
                row |= {"low": low, "high": high}
    return found


def _value(text: str) -> int | None:
    plain = re.sub(r"[\s,_{}]", "", text)
    if power := _POWER.fullmatch(plain.removeprefix("-")):
        factor, base, exponent = int(power[1] or 1), int(power[2]), int(power[3])
        if exponent > _LARGEST or base > 1000:
            return None
        value = factor * base**exponent - bool(power[4])
        return -value if plain.startswith("-") else value
    short = re.sub(r"[*x\u00d7]10(\d+)$", lambda found: "0" * min(int(found[1]), _LARGEST), plain)
    return int(short) if re.fullmatch(r"-?\d{1,40}", short) else None


def _names(problem: Problem) -> Sequence[str]:
    """The names of the arguments of what is asked for, without `self`, as code that is shown has them."""
    name = (problem.entry_point or "").rpartition(".")[2]
    for text in (problem.starter_code, problem.preamble, problem.statement):
        head = re.search(rf"def {re.escape(name)}\([^()]*(?:\([^()]*\)[^()]*)*\)", text) if name else None
        tree = parse(f"{head[0]}: pass") if head else None
        if tree and isinstance(function := tree.body[0], ast.FunctionDef):
            return [one.arg for one in function.args.args if one.arg != "self"]
    return ()
