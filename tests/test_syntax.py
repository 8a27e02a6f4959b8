"""Source becomes a syntax tree, or nothing, in any thread."""

import ast
import sys
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from bdc_agents.syntax import parse, syntax_tree


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads that take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("text", ["def f(", "x = \0", "(" * 10_000, "1" * 5_000, "\ud800"])
def test_text_without_a_tree_has_none(text: str) -> None:
    assert parse(text) is None


def test_an_invalid_escape_warns_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse(r"x = '\d'") is not None


def test_a_miscount_of_the_interpreter_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def miscounts_once(code: str, mode: str) -> ast.AST:
        asked.append(code)
        if len(asked) == 1:
            raise SystemError("AST constructor recursion depth mismatch (before=63, after=55)")
        return compile(code, "code", mode, ast.PyCF_ONLY_AST)

    monkeypatch.setattr(ast, "parse", miscounts_once)
    assert ast.unparse(syntax_tree("f(1)", "eval")) == "f(1)"
    assert len(asked) == 2


def test_an_interpreter_that_always_miscounts_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def miscounts(*_: object, **__: object) -> ast.AST:
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", miscounts)
    with pytest.raises(SystemError):
        syntax_tree("1")


@pytest.mark.usefixtures("restless")
def test_threads_parse_at_the_same_time() -> None:
    deep = "x = " + "-" * 60 + "1"
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(parse, [deep, "def f(): return '\\d'", "[" * 40 + "]" * 40] * 100))
    assert list(warnings.filters) == before
