"""Further inputs: those of a problem's public tests, varied, to compare programs on.

An input is a call, the calls of an object in turn, or the text of stdin. What a test asserts is left
out: nobody knows what a further input gives, only whether two programs give the same.
"""

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any

from bdc_agents.search.choice.domain import Domain
from bdc_agents.search.choice.observed import SEEN, expressions, literal
from bdc_agents.search.choice.relations import keep_relations
from bdc_agents.search.choice.stdin_text import varied_text
from bdc_agents.search.choice.variation import Like
from bdc_agents.syntax import parse, syntax_tree
from bdc_agents.types import CallTest, Problem, StdinTest, TestCase, content_hash

INPUTS = 24
_TRIES = 24 * INPUTS
UNMATCHED = "'no program gives this'"
SHARE_OF_TIME = 0.25
"""Of a problem's CPU time: an input like those of the public tests takes a right program little, and a
program that is slow on one is compared on the others."""

_CONSTRUCTORS = frozenset(("list", "tuple", "set", "frozenset", "dict"))
_AS_DATA = "__as_data"
# What stands for objects of classes, such as nodes of lists and trees, whose repr is an address.
_DESCRIBE = f"""\
def {_AS_DATA}(value):
    found, known, pending = [], {{}}, [value]
    while pending and len(found) < 5000:
        one = pending.pop()
        if isinstance(one, (list, tuple)):
            found.append(type(one).__name__ + str(len(one)))
            pending += reversed(one)
        elif isinstance(one, dict):
            found.append("dict" + str(len(one)))
            pending += [part for pair in one.items() for part in pair]
        elif not hasattr(one, "__dict__") or callable(one):
            found.append(one)
        elif id(one) in known:
            found.append(("again", known[id(one)]))
        else:
            known[id(one)] = len(known)
            found.append(type(one).__name__)
            pending += [vars(one)[name] for name in sorted(vars(one), reverse=True)]
    return found if known else value"""


def further_inputs(problem: Problem) -> tuple[TestCase, ...]:
    """Tests with the inputs of the public ones varied; what they expect matches nothing.

    The same problem gives the same inputs; none where no input can be read from its tests, and none
    where a checker of its own decides: right programs may then print different answers.
    """
    return () if checker_decides(problem) else _inputs_of(problem.model_dump_json())


def checker_decides(problem: Problem) -> bool:
    """Whether the problem's own checker judges a public test; tests of functions are compared without it."""
    return bool(problem.checker.code) and any(isinstance(one, StdinTest) for one in problem.public_tests)


@lru_cache(maxsize=64)
def _inputs_of(text: str) -> tuple[TestCase, ...]:
    """The further inputs of a problem, given as JSON."""
    problem = Problem.model_validate_json(text)
    cases = [case for test in problem.public_tests for case in _cases(test, problem)]
    examples = [list(_sites(tree)) for case in cases if (tree := case.tree())]
    known = {_input_of(case.test()) for case in cases}
    random = Random(content_hash(text))
    domain = Domain(problem)
    made: list[TestCase] = []
    tried: set[tuple[int, str]] = set()
    for turn in range(_TRIES if cases else 0):
        test = _varied(cases, examples, turn % len(cases), random, tried, domain)
        if test and _input_of(test) not in known:
            known.add(_input_of(test))
            made.append(test)
        if len(made) == INPUTS:
            break
    return tuple(made)


def comparison(problem: Problem) -> Problem:
    """The problem as programs are compared on it: with less time for each input."""
    limits = problem.limits
    seconds = max(min(1.0, limits.cpu_seconds), SHARE_OF_TIME * limits.cpu_seconds)
    share = seconds / limits.cpu_seconds
    update = {"cpu_seconds": seconds, "wall_seconds": share * limits.wall_seconds}
    return problem.model_copy(update={"limits": limits.model_copy(update=update)})


# --- from a test to the code or text that gives its input -------------------------------------------


@dataclass(frozen=True)
class _Case:
    """An input: code to run first and an expression to look at, or the text of stdin."""

    setup: str = ""
    call: str = ""
    stdin: str = ""
    describe: bool = False

    def tree(self) -> ast.Module | None:
        """The code, to be changed; parsed each time, which is much quicker than to copy a tree."""
        return parse(f"{self.setup}\n({self.call}\n)") if self.call else ast.Module([], [])

    def test(self) -> TestCase:
        if not self.call:
            return StdinTest(stdin=self.stdin, expected=(UNMATCHED,))
        return _call_test(self.setup, self.call, self.describe)


def _call_test(setup: str, call: str, describe: bool) -> CallTest:
    if describe:
        setup, call = f"{setup}\n{_DESCRIBE}".strip(), f"{_AS_DATA}({call})"
    return CallTest(call=call, setup=setup, expected=(UNMATCHED,))


def shown_input(test: TestCase) -> str:
    """A further input as an agent reads it: the text of stdin, or code that ends with an expression."""
    if isinstance(test, StdinTest):
        return test.stdin
    if not isinstance(test, CallTest):
        return ""
    setup = test.setup.removesuffix(_DESCRIBE).strip()
    call = test.call.removeprefix(f"{_AS_DATA}(").removesuffix(")") if _AS_DATA in test.setup else test.call
    return f"{setup}\n{call}".strip()


def _input_of(test: TestCase) -> str:
    return (
        test.stdin
        if isinstance(test, StdinTest)
        else f"{getattr(test, 'setup', '')}\n{getattr(test, 'call', '')}"
    )


def _cases(test: TestCase, problem: Problem) -> Iterator[_Case]:
    describe = any("class " in text for text in (problem.preamble, problem.starter_code, problem.statement))
    if isinstance(test, StdinTest):
        if test.stdin.strip():
            yield _Case(stdin=test.stdin)
        return
    if isinstance(test, CallTest):
        found = [(test.setup, test.call.strip())]
    else:
        found = list(expressions(test, problem))
        describe = describe or "class " in test.code
    for setup, call in found:
        case = _Case(setup=setup, call=call, describe=describe)
        if (tree := case.tree()) and any(True for _ in _sites(tree)):
            yield case


# --- varied calls -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Site:
    """A literal that can be varied.

    Args:
        key: The same for those that stand at the same place of other calls.
        value: What it is.
        put: Puts another in its place.
    """

    key: tuple[str, int | str]
    value: Any
    put: Callable[[ast.expr], None]


def _sites(tree: ast.Module) -> Iterator[_Site]:
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom):
            continue
        for node in ast.walk(statement):
            if isinstance(node, ast.Call):
                yield from _arguments(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign | ast.For):
                name = "iter" if isinstance(node, ast.For) else "value"
                target = ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
                yield from _site((target, name), getattr(node, name), _setter(node, name))


def _arguments(call: ast.Call) -> Iterator[_Site]:
    name = ast.unparse(call.func)
    if name == f"{SEEN}.append" or (hasattr(builtins, name) and name not in _CONSTRUCTORS):
        return
    # Of lists that hold calls only the parts are varied, and a number that tells their length stays.
    told = {len(node.elts) for node in call.args if isinstance(node, ast.List) and literal(node) is None}
    for place, node in enumerate(call.args):
        if not (told and type(known := literal(node)) is int and known in told):
            yield from _site((name, place), node, _item_setter(call.args, place))
    for keyword in call.keywords:
        yield from _site((name, keyword.arg or ""), keyword.value, _setter(keyword, "value"))


def _site(key: tuple[str, int | str], node: Any, put: Callable[[ast.expr], None]) -> Iterator[_Site]:
    value = literal(node) if isinstance(node, ast.expr) else None
    if value is not None and value != []:
        yield _Site(key, value, put)


def _setter(node: ast.AST, name: str) -> Callable[[ast.expr], None]:
    return lambda value: setattr(node, name, value)


def _item_setter(nodes: list[ast.expr], place: int) -> Callable[[ast.expr], None]:
    return lambda value: nodes.__setitem__(place, value)


_Examples = Sequence[Sequence[_Site]]
"""What may be varied in each case."""


def _varied(
    cases: Sequence[_Case],
    examples: _Examples,
    chosen: int,
    random: Random,
    tried: set[tuple[int, str]],
    domain: Domain,
) -> TestCase | None:
    if cases[chosen].call:
        values = _varied_values(examples, chosen, random, domain)
        if (change := (chosen, repr(values))) in tried:
            return None
        tried.add(change)
        return _with_values(cases[chosen], values)
    texts = [case.stdin for case in cases if not case.call]
    return _Case(stdin=varied_text(texts, texts.index(cases[chosen].stdin), random)).test()


def _varied_values(examples: _Examples, chosen: int, random: Random, domain: Domain) -> list[Any]:
    """The literals of a case, one or more of them varied."""
    sites = examples[chosen]
    values = [site.value for site in sites]
    places = random.sample(range(len(sites)), random.randint(1, min(len(sites), 3)))
    for place in places:
        alike = [one.value for found in examples for one in found if one.key == sites[place].key]
        bounds = domain.bounds(sites[place].key[1])
        # What several arguments have to do with each other is lost in texts of any form.
        like = Like(alike, bounds._replace(loose=bounds.loose and len(sites) == 1))
        values[place] = like.varied(values[place], random)
    alike = [
        [site.value for site in found]
        for found in examples
        if [s.key for s in found] == [s.key for s in sites]
    ]
    keep_relations(values, [site.value for site in sites], alike, domain.ranges)
    return values


def _with_values(case: _Case, values: Sequence[Any]) -> TestCase | None:
    """A case with other literals."""
    if not (tree := case.tree()):
        return None
    for site, value in zip(list(_sites(tree)), values, strict=True):
        site.put(syntax_tree(repr(value), "eval").body)
    *setup, last = tree.body
    if not isinstance(last, ast.Expr):
        return None
    return _call_test("\n".join(map(ast.unparse, setup)), ast.unparse(last.value), case.describe)
