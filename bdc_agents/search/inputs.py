"""Further inputs: those of a problem's public tests, varied, to compare programs on.

An input is a call, the calls of an object in turn, or the text of stdin. What a test asserts is left
out: nobody knows what a further input gives, only whether two programs give the same.
"""

import ast
import builtins
import re
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from random import Random
from typing import Any

from bdc_agents.search.variation import Like, same_sizes
from bdc_agents.syntax import parse, syntax_tree
from bdc_agents.types import CallTest, Problem, ScriptTest, StdinTest, TestCase, content_hash

INPUTS = 16
_TRIES = 24 * INPUTS
UNMATCHED = "'no program gives this'"
SHARE_OF_TIME = 0.25
"""Of a problem's CPU time: an input like those of the public tests takes a right program little, and a
program that is slow on one is compared on the others."""

_NO_LITERAL = (ValueError, TypeError, SyntaxError, MemoryError, RecursionError)
_CONSTRUCTORS = frozenset(("list", "tuple", "set", "frozenset", "dict"))
_SEEN, _AS_DATA = "__seen", "__as_data"
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


@lru_cache(maxsize=64)
def further_inputs(problem: Problem) -> tuple[TestCase, ...]:
    """Tests with the inputs of the public ones varied; what they expect matches nothing.

    The same problem gives the same inputs; none where no input can be read from its tests.
    """
    cases = [case for test in problem.public_tests for case in _cases(test, problem)]
    known = {_input_of(case.test()) for case in cases}
    random = Random(content_hash(problem.model_dump_json()))
    vary = _varied_text if problem.public_tests and isinstance(problem.public_tests[0], StdinTest) else _varied_code
    made: list[TestCase] = []
    for turn in range(_TRIES if cases else 0):
        test = vary(cases, turn % len(cases), random)
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
    tree: ast.Module = field(default_factory=lambda: ast.Module([], []))

    def test(self) -> TestCase:
        if not self.call:
            return StdinTest(stdin=self.stdin, expected=(UNMATCHED,))
        return _call_test(self.setup, self.call, self.describe)


def _call_test(setup: str, call: str, describe: bool) -> CallTest:
    if describe:
        setup, call = f"{setup}\n{_DESCRIBE}".strip(), f"{_AS_DATA}({call})"
    return CallTest(call=call, setup=setup, expected=(UNMATCHED,))


def _input_of(test: TestCase) -> str:
    return test.stdin if isinstance(test, StdinTest) else f"{getattr(test, 'setup', '')}\n{getattr(test, 'call', '')}"


def _cases(test: TestCase, problem: Problem) -> Iterator[_Case]:
    describe = any("class " in text for text in (problem.preamble, problem.starter_code, problem.statement))
    if isinstance(test, StdinTest):
        if test.stdin.strip():
            yield _Case(stdin=test.stdin)
        return
    if isinstance(test, CallTest):
        found = [(test.setup, test.call.strip())]
    else:
        found = list(_of_script(test, problem.entry_point))
        describe = describe or "class " in test.code
    for setup, call in found:
        tree = parse(f"{setup}\n({call}\n)")
        if tree and any(True for _ in _sites(tree)):
            yield _Case(setup=setup, call=call, describe=describe, tree=tree)


def _of_script(test: ScriptTest, entry_point: str | None) -> Iterator[tuple[str, str]]:
    """The setup and the expression of each assert; one for all of them where a script keeps objects."""
    tree = parse(test.code)
    if tree is None:
        return
    body = _body(tree, entry_point)
    asserts = [node for node in body if isinstance(node, ast.Assert)]
    rest = [node for node in body if not isinstance(node, ast.Assert)]
    made = {node.name for node in rest if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    if asserts and all(map(_defines_only, rest)):
        setup = "\n".join(map(ast.unparse, rest))
        for node in asserts:
            yield from ((setup, ast.unparse(one)) for one in _observed(node.test, made))
        return
    watched = [_Watch(made).visit(node) for node in deepcopy(body)]
    code = "\n".join(ast.unparse(ast.fix_missing_locations(node)) for node in watched)
    if f"{_SEEN}.append" in code:
        yield f"{_SEEN} = []\n{code}", _SEEN


def _body(tree: ast.Module, entry_point: str | None) -> list[ast.stmt]:
    """The statements that test: those of `check(candidate)`, of test functions, or of the module."""
    body: list[ast.stmt] = []
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    called = {_name(node.value): node.value for node in tree.body if _is_call(node)}  # type: ignore[attr-defined]
    for node in tree.body:
        checks = isinstance(node, ast.FunctionDef) and len(node.args.args) == 1 and node.name.startswith("check")
        tests = isinstance(node, ast.FunctionDef) and not node.args.args and node.name.startswith("test")
        if checks or tests:
            given: list[ast.expr] = called[node.name].args if node.name in called else []
            given = given or [syntax_tree(entry_point or "candidate", "eval").body]
            names = {node.args.args[0].arg: given[0]} if checks else {}
            body += [_Renamed(names).visit(deepcopy(one)) for one in node.body]
        elif not (_is_call(node) and _name(node.value) in functions):  # type: ignore[attr-defined]
            body.append(node)
    return body


def _is_call(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _defines_only(node: ast.stmt) -> bool:
    """Whether a statement only defines what all asserts may use."""
    if isinstance(node, ast.Assign):
        return _literal(node.value) is not None and all(ast.unparse(name).isupper() for name in node.targets)
    return isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef | ast.Pass) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    )


class _Renamed(ast.NodeTransformer):
    def __init__(self, names: dict[str, ast.expr]) -> None:
        self._names = names

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return deepcopy(self._names.get(node.id, node))


class _Watch(ast.NodeTransformer):
    """Puts what an assert looks at into a list instead."""

    def __init__(self, made: set[str]) -> None:
        self._made = made

    def visit_Assert(self, node: ast.Assert) -> list[ast.stmt]:
        calls = [ast.unparse(one) for one in _observed(node.test, self._made)]
        return [syntax_tree(f"{_SEEN}.append({call})").body[0] for call in calls]


def _observed(node: ast.expr, made: set[str]) -> list[ast.expr]:
    """The parts of an asserted expression that the program decides."""
    if isinstance(node, ast.BoolOp):
        return [one for value in node.values for one in _observed(value, made)]
    if isinstance(node, ast.UnaryOp):
        return _observed(node.operand, made)
    if isinstance(node, ast.Compare):
        sides = [side for side in (node.left, *node.comparators) if _literal(side) is None]
        own = [side for side in sides if _program_calls(side, made)] or sides
        if isinstance(node.ops[0], ast.Eq):
            return own
        return [call for side in own for call in _program_calls(side, made) or [side]]
    return _program_calls(node, made) or [node]


def _program_calls(node: ast.expr, made: set[str]) -> list[ast.expr]:
    """The outermost calls of what the program defines."""
    if isinstance(node, ast.Call) and (root := _root(node.func)) and root not in made and not hasattr(builtins, root):
        helper = isinstance(node.func, ast.Name) and any(_program_calls(arg, made) for arg in node.args)
        modules = ("math", "np", "numpy", "cmath", "operator", "itertools", "collections")
        if root not in modules and not (helper and root.startswith(("is_", "same", "assert_", "check"))):
            return [node]
    children = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr | ast.keyword)]
    return [
        call
        for child in children
        for call in _program_calls(child.value if isinstance(child, ast.keyword) else child, made)
    ]


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _name(call: ast.expr) -> str:
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""


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
    if name == f"{_SEEN}.append" or (hasattr(builtins, name) and name not in _CONSTRUCTORS):
        return
    for place, node in enumerate(call.args):
        yield from _site((name, place), node, _item_setter(call.args, place))
    for keyword in call.keywords:
        yield from _site((name, keyword.arg or ""), keyword.value, _setter(keyword, "value"))


def _site(key: tuple[str, int | str], node: Any, put: Callable[[ast.expr], None]) -> Iterator[_Site]:
    value = _literal(node) if isinstance(node, ast.expr) else None
    if value is not None and value != []:
        yield _Site(key, value, put)


def _setter(node: ast.AST, name: str) -> Callable[[ast.expr], None]:
    return lambda value: setattr(node, name, value)


def _item_setter(nodes: list[ast.expr], place: int) -> Callable[[ast.expr], None]:
    return lambda value: nodes.__setitem__(place, value)


def _literal(node: ast.expr) -> Any:
    """The value of a literal; None where it is none, or `None` itself."""
    try:
        return ast.literal_eval(node)
    except _NO_LITERAL:
        return None


def _varied_code(cases: Sequence[_Case], chosen: int, random: Random) -> TestCase | None:
    """A case with one or more of its literals varied."""
    examples = [list(_sites(case.tree)) for case in cases]
    tree = deepcopy(cases[chosen].tree)
    sites = list(_sites(tree))
    values = [site.value for site in sites]
    places = random.sample(range(len(sites)), random.randint(1, min(len(sites), 3)))
    for place in places:
        like = Like([one.value for found in examples for one in found if one.key == sites[place].key])
        values[place] = like.varied(values[place], random)
    alike = [[site.value for site in found] for found in examples if [s.key for s in found] == [s.key for s in sites]]
    _keep_sizes(values, alike)
    for site, value in zip(sites, values, strict=True):
        site.put(syntax_tree(repr(value), "eval").body)
    *setup, last = tree.body
    if not isinstance(last, ast.Expr):
        return None
    return _call_test("\n".join(map(ast.unparse, setup)), ast.unparse(last.value), cases[chosen].describe)


def _keep_sizes(values: list[Any], examples: Sequence[Sequence[Any]]) -> None:
    """Makes numbers and lists fit to the lists that they belong to in every example."""
    for place, listed in same_sizes(examples):
        size = len(values[listed])
        if type(values[place]) is int:
            values[place] = size
        elif len(values[place]) != size:
            longer, shorter = (listed, place) if size > len(values[place]) else (place, listed)
            values[longer] = values[longer][: len(values[shorter])]


# --- varied text ------------------------------------------------------------------------------------

_TOKEN = re.compile(r"-?\d+\.\d+|-?\d+|\S+")


def _varied_text(cases: Sequence[_Case], chosen: int, random: Random) -> TestCase | None:
    """The text of a case with some of its words, or the length of one of its lines, varied.

    A word that tells in every example how many words the next line has, or how many lines follow, goes
    on to tell it.
    """
    tables = [_table(case.stdin) for case in cases]
    lines = [list(line) for line in tables[chosen]]
    same_shape = len({len(table) for table in tables}) == 1
    counts = _counts(tables)
    words = [(row, place) for row, line in enumerate(lines) for place in range(len(line)) if (row, place) not in counts]
    if not words:
        words = [(row, place) for row, line in enumerate(lines) for place in range(len(line))]
    listed = [row for (_, _), row in counts.items() if row < len(lines) and len(lines[row]) > 1]
    if listed and random.random() < 0.5:
        row = random.choice(listed)
        lines[row] = _line_of_another_length(lines[row], random)
    else:
        for row, place in random.sample(words, min(len(words), random.choice((1, 1, 2, 4)))):
            like = Like(_words_like(tables, row, place, same_shape))
            lines[row][place] = _word(like.varied(lines[row][place], random), lines[row][place])
    for (row, place), target in counts.items():
        if row < len(lines) and place < len(lines[row]):
            lines[row][place] = len(lines[target])
    return StdinTest(stdin="".join(" ".join(map(str, line)) + "\n" for line in lines), expected=(UNMATCHED,))


def _table(text: str) -> list[list[Any]]:
    return [[_parsed(word) for word in line.split()] for line in text.strip("\n").split("\n")]


def _parsed(word: str) -> Any:
    if re.fullmatch(r"-?(?:0|[1-9]\d{0,30})", word):
        return int(word)
    return float(word) if re.fullmatch(r"-?\d+\.\d{1,6}", word) else word


def _word(varied: Any, before: Any) -> Any:
    """The word as text of one word; the one before where nothing is left of it."""
    if isinstance(varied, float):
        return round(varied, 6)
    return ("".join(varied.split()) or before) if isinstance(varied, str) else varied


def _words_like(tables: Sequence[list[list[Any]]], row: int, place: int, same_shape: bool) -> list[Any]:
    """The words at the same place of other texts; in texts of many lines, those of the same column."""
    rows = [table[row : row + 1] if same_shape and len(table) < 5 or row == 0 else table[1:] for table in tables]
    found = [line for some in rows for line in some]
    widths = {len(line) for line in found}
    if len(widths) == 1 and max(widths) <= 4:
        return [line[place] for line in found if place < len(line)]
    return [word for line in found for word in line]


def _counts(tables: Sequence[list[list[Any]]]) -> dict[tuple[int, int], int]:
    """Where a word tells in every text how many words one of the next lines has, by the word's place."""
    found: dict[tuple[int, int], int] = {}
    shortest = min(map(len, tables))
    for row in range(min(shortest, 6)):
        for place in range(min(len(table[row]) for table in tables)):
            for target in range(row + 1, min(shortest, row + 4)):
                told = [(table[row][place], len(table[target])) for table in tables]
                sizes = {size for _, size in told}
                if all(word == size for word, size in told) and (len(sizes) > 1 or min(sizes) > 2):
                    found.setdefault((row, place), target)
    return found


def _line_of_another_length(line: list[Any], random: Random) -> list[Any]:
    at = random.randrange(len(line))
    longer = [*line, *line] if len(line) < 100 else line
    return random.choice(([*line[:at], *line[at + 1 :]], [*line[:at], line[at], *line[at:]], longer, line[:1], line[at:]))
