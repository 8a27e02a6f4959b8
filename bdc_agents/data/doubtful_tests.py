"""Finds doubtful tests of a problem: those that are equal, contradict each other or assert nothing."""

import ast
import builtins
import re
from collections.abc import Iterator, Sequence
from typing import Any

from bdc_agents.data.doubtful_values import Named, decimals, numbers_as_texts
from bdc_agents.data.rows import given
from bdc_agents.syntax import language_of, long_integers, parse, syntax_fault
from bdc_agents.types import CallTest, Problem, ScriptTest, StdinTest, TestCase
from bdc_agents.types.literals import evaluate
from bdc_agents.types.written.asserts import asserts_something, call_of, called_names, entry_point_of
from bdc_agents.types.written.entry_point import stated_function
from bdc_agents.types.written.operations import class_made, find_operations, no_class
from bdc_agents.types.written.starter import Starter, names_bound, refusal, starter_tree, stated


def doubts(named: Sequence[Named], problem: Problem, *, in_words: bool = False) -> tuple[str, ...]:
    """Describes each doubt about a problem's tests in one line.

    Args:
        named: All tests as they were written, before any is left out; the hidden ones are secret.
        problem: The problem.
        in_words: Whether a person states it in words, and has no other fields.
    """
    return tuple(
        f"{problem.id}: {line}"
        for line in (
            *_missing(named),
            *_starter_unread(problem),
            *_equal(named),
            *_contradicting(named),
            *_of_another_kind(named, problem),
            *_nothing_named(named, problem),
            *_named_by_none(named, problem),
            *_of_another_function(named, problem),
            *_of_no_object(named, problem),
            *_of_another_signature(named, problem),
            *_stating_nothing(named, problem),
            *numbers_as_texts(named, problem),
            *decimals(named, problem, in_words),
            *_without_class(named, problem),
        )
    )


def _missing(named: Sequence[Named]) -> Iterator[str]:
    if all(one.secret for one in named):
        yield (
            "no public test, so a search has nothing to aim at unless agents write some "
            "(self_tests = true under [search])"
        )


def _starter_unread(problem: Problem) -> Iterator[str]:
    code = problem.starter_code
    if code.strip() and starter_tree(code) is None:
        looks = f"it looks like {language}" if (language := language_of(code)) else syntax_fault(code)
        yield (
            f"the starter code is not Python ({looks}): agents see it as it stands, and no test is held "
            "against it; mend it, or leave it out"
        )


def _equal(named: Sequence[Named]) -> Iterator[str]:
    shown = {given(one.test) for one in named if not one.secret}
    hidden = [one.test for one in named if one.secret]
    same = sum(given(test) in shown for test in hidden)
    if same:
        which = (
            "all hidden tests give" if same == len(hidden) else f"{same} of {len(hidden)} hidden tests give"
        )
        yield (
            f"{which} what a public test gives, and count as that one: only tests that no agent has seen "
            "tell whether a program is right"
        )


def _contradicting(named: Sequence[Named]) -> Iterator[str]:
    first: dict[tuple[str, ...], tuple[str, TestCase]] = {}
    for name, test, *_ in named:
        if isinstance(test, ScriptTest):
            continue
        before, other = first.setdefault(given(test), (name, test))
        # As texts too: NaN is equal to nothing, not even itself.
        if not any(
            one == another or repr(one) == repr(another)
            for one in _answers(other)
            for another in _answers(test)
        ):
            yield (
                f"{before} and {name} contradict each other: the same input, other answers, so no program "
                "passes both; where both are right, write them as a list in one test"
            )


def _answers(test: TestCase) -> list[Any]:
    """The answers that a test accepts, without differences that checkers ignore by default."""
    if isinstance(test, StdinTest):
        return [text.split() for text in test.expected]
    return [evaluate(text) for text in test.expected] if isinstance(test, CallTest) else []


def _of_another_kind(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    on_stdin = [one.name for one in named if isinstance(one.test, StdinTest)]
    others = [one.name for one in named if not isinstance(one.test, StdinTest)]
    stated = stated_function(problem.statement)
    if on_stdin and stated and not (others or problem.entry_point):
        yield (
            f"{on_stdin[0]} runs a whole program on stdin, but the statement asks for {stated}; where "
            f"that is to be written, name it as the entry_point, or write the test as {stated}(...) -> value"
        )
    for name, test, secret, _ in named:
        if isinstance(test, StdinTest) and (found := find_operations(test.stdin, test.expected[0])):
            made = "" if secret else f" {found.names[0]}"
            yield (
                f"{name} is text on stdin, and looks like operations of a class{made}; where that is to be "
                'written, name it "input", not "stdin"'
            )
    if on_stdin and (others or problem.entry_point):
        asked = (
            f"{problem.entry_point} is to be written"
            if problem.entry_point
            else f"{others[0]} calls functions"
        )
        yield f"{on_stdin[0]} runs a whole program on stdin, but {asked}: hardly a program does both"
    if problem.checker.code and others:
        yield (
            f"the checker is for outputs of programs on stdin; {others[0]} is compared without it: where "
            "several values are right, list them under expected, or write a test in code that asserts what "
            "must hold"
        )


def _nothing_named(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    calling = [one.name for one in named if isinstance(one.test, CallTest)]
    if calling and not problem.entry_point:
        yield (
            f"{calling[0]} calls no function by its name, so agents are asked for none: name the entry_point"
        )


def _named_by_none(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    calling = [one for one in named if isinstance(one.test, CallTest)]
    if problem.defines and calling and len(calling) == len(named) and not any(_names(named, problem)):
        first = calling[0]
        calls = "" if first.secret else f"; the first calls {_code(first.test).strip()!r:.60}"
        yield f"no test names {problem.entry_point!r}, the entry_point that agents are asked for{calls}"


def _of_another_function(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    """Tests of another function than the other tests, which nothing tells the agents about."""
    names = _names(named, problem)
    told = "\n".join((problem.statement, problem.starter_code, problem.preamble))
    entry, starter = problem.entry_point or "", stated(problem.starter_code)
    own = entry.rpartition(".")[2]
    # A class that agents hear of tells them of its methods, unless they do not hear of the entry point.
    unheard = not starter.has(entry) if starter.classes else not _mentions(told, own)
    for one, known in zip(named, names, strict=True) if any(names) else ():
        found = entry_point_of([_code(one.test)])
        root = re.split(r"[.(]", found)[0] if found else ""
        method = found.rpartition(".")[2] if found and "." in found else ""
        if not root or _binds(_code(one.test), root):
            continue
        if known:
            another = "." in entry and method and not _mentions(_code(one.test), own)
            if not another or (_mentions(told, method) and not unheard):
                continue
        elif _mentions(told, root) and not (method and unheard):
            continue
        calls = "calls another function" if one.secret else f"calls {(found if method else root)!r}"
        asked = entry if method else problem.defines
        yield (
            f"{one.name} {calls}, and not {asked!r}, the entry_point that agents are asked for; "
            "where both are to be written, say so in the statement, else mend the test"
        )


def _of_another_signature(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    """Tests whose call the signature in the starter code cannot take."""
    starter = stated(problem.starter_code)
    for one in named if starter.functions or starter.classes else ():
        if not isinstance(one.test, CallTest):
            continue  # code may call wrongly to see what is raised
        bound = names_bound(one.test.setup) | names_bound(one.test.call)
        for name, takes, call in _stated_calls(one.test.call, starter):
            given, keywords = call.args, [word.arg for word in call.keywords]
            if (
                name.partition("(")[0] in bound
                or any(isinstance(arg, ast.Starred) for arg in given)
                or None in keywords
            ):
                continue
            why = refusal(takes, len(given), tuple(filter(None, keywords)), shown=not one.secret)
            if why:
                yield (
                    f"{one.name} calls {name}, whose signature in the starter code cannot take that: "
                    f"it {why}; mend the test or the starter code"
                )
                break


def _stated_calls(code: str, starter: Starter) -> Iterator[tuple[str, ast.arguments, ast.Call]]:
    """The calls of what starter code states, with the name of the function or class."""
    with long_integers():
        tree = parse(f"({code}\n)")
    for node in ast.walk(tree or ast.Module([], [])):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in starter.functions:
                yield name, starter.functions[name], node
            case ast.Call(func=ast.Attribute(value=ast.Call(func=ast.Name(id=name)), attr=method)):
                if takes := starter.classes.get(name, {}).get(method):
                    yield f"{name}().{method}", takes, node
            case _:
                continue


def _of_no_object(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    """Bare calls of a method where it cannot be told of which object."""
    starter, before = stated(problem.starter_code), names_bound(problem.preamble)
    for one in named if starter.classes else ():
        code = _code(one.test)
        bare = set(called_names(code)) - names_bound(code) - before
        for name in sorted(name for name in bare if not hasattr(builtins, name)):
            if holders := starter.holders(name):
                made = [f"{held}({'' if starter.makes(held) else '...'})" for held in holders]
                what = f"is a method of {' and of '.join(holders)}"
                if len(holders) == 1:
                    what += ", whose objects need arguments"
                yield (
                    f"{one.name} calls {name} as if it were a function, but it {what}; "
                    f"write {' or '.join(f'{held}.{name}(...)' for held in made)}"
                )
                return


def _names(named: Sequence[Named], problem: Problem) -> list[bool]:
    """Whether each test names what is to be written."""
    return [bool(problem.defines) and _mentions(_code(one.test), problem.defines or "") for one in named]


def _code(test: TestCase) -> str:
    return f"{test.setup}\n{test.call}" if isinstance(test, CallTest) else call_of(test)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text) is not None


def _binds(code: str, name: str) -> bool:
    """Whether test code itself says what a name stands for."""
    return any(
        getattr(node, "name", None) == name
        or getattr(node, "asname", None) == name
        or (isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load))
        for node in ast.walk(parse(code) or ast.Module([], []))
    )


def _stating_nothing(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    for name, test, secret, _ in named:
        if isinstance(test, ScriptTest) and not asserts_something(test.code):
            yield f"{name} asserts nothing, so it fails whatever a program does"
        elif isinstance(test, CallTest) and "(" not in _code(test):
            yield f"{name} calls nothing" + ("" if secret else f": {test.call!r:.60}")
        elif isinstance(test, StdinTest) and not (problem.checker.code or any(map(str.strip, test.expected))):
            yield f"{name} expects no output, so a program that does nothing passes it"


def _without_class(named: Sequence[Named], problem: Problem) -> Iterator[str]:
    """Operations of which the first looks like a method, since the name of the class is missing."""
    told = "\n".join((problem.statement, problem.starter_code, problem.preamble))
    for name, test, *_ in named:
        first = class_made(test) if isinstance(test, CallTest) else ""
        if first[:1].islower() and not re.search(rf"\bclass\s+`?{re.escape(first)}\b", told):
            yield f"{name}: {no_class(first)}"
            return
