"""Replies of many models' habits are read right: a corpus as data, and the work that any reply may cause."""

import builtins
import runpy
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.agents.replies import snippets
from bdc_agents.agents.replies.marks import said, strip_thinking, thinks_to_the_end
from bdc_agents.agents.replies.reading import extract_code, parse_json, under

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/replies.py"))
FILES = sorted((Path(__file__).parent / "replies").glob("*.jsonl"))
F = "```"


# --- the corpus -----------------------------------------------------------------------------


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_reply_is_read_right_but_those_that_say_why_not(file):
    rows = list(BENCHMARK["rows"](file))
    wrong = {row["id"] for row in rows if not BENCHMARK["is_right"](row)}
    assert wrong == {row["id"] for row in rows if row.get("missed")}
    assert len(wrong) <= 0.021 * len(rows)


def test_the_corpus_is_large_and_says_each_thing_once():
    rows = [row for file in FILES for row in BENCHMARK["rows"](file)]
    assert len(rows) >= 500
    assert len({row["habit"] for row in rows}) >= 40
    for file in FILES:
        ids = [row["id"] for row in BENCHMARK["rows"](file)]
        assert len(ids) == len(set(ids))


# --- which blocks make the program ----------------------------------------------------------


def blocks(*codes):
    return "\n\nand\n\n".join(f"{F}python\n{code}\n{F}" for code in codes)


SUM = "def f(xs):\n    return sum(xs)"
READS = "n = int(input())\nprint(n * n)"


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [
        pytest.param((SUM, "from solution import f\n\nprint(f([1, 2]))"), SUM, id="import of the program"),
        pytest.param((SUM, "def f(xs):\n    pass"), SUM, id="stub"),
        pytest.param(
            (SUM, "def f(xs):\n    '''Adds.'''\n    raise NotImplementedError"), SUM, id="stub that raises"
        ),
        pytest.param((SUM, "class TestF:\n    def test(self):\n        assert f([1]) == 1"), SUM, id="tests"),
        pytest.param((SUM.replace("sum", "max"), SUM), SUM, id="later is better"),
        pytest.param((SUM, "def g(xs):\n    return f(xs)\n\n\nprint(g([1]))" * 9), SUM, id="long caller"),
        pytest.param(
            ("class Solution:\n    def f(self, x):\n        return x", "print(Solution().f(1))"),
            "class Solution:\n    def f(self, x):\n        return x",
            id="method",
        ),
        pytest.param(
            ("import math", "def f(x):\n    return g(x)", "def g(x):\n    return math.sqrt(x)"),
            "import math\n\ndef g(x):\n    return math.sqrt(x)\n\ndef f(x):\n    return g(x)",
            id="later helper",
        ),
        pytest.param(
            ("def other(xs):\n    return sum(xs)", "print(other([1]))\n" * 9),
            "def other(xs):\n    return sum(xs)",
            id="another name",
        ),
    ],
)
def test_what_defines_the_function_is_the_program(codes, wanted):
    assert extract_code(blocks(*codes), "f") == wanted


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [
        pytest.param(
            (READS, "import subprocess\n\nassert subprocess.run(['python', 'a.py'], input='3').stdout"),
            READS,
            id="harness",
        ),
        pytest.param(
            (READS, "def square(n):\n    return n * n\n\n\nprint(square(3))\n" * 5), READS, id="example"
        ),
        pytest.param(
            ("n = int(input())", "m = n * n", "print(m)"),
            "n = int(input())\n\nm = n * n\n\nprint(m)",
            id="cells",
        ),
        pytest.param(
            ("def main():\n    print(input())", "main()"),
            "def main():\n    print(input())\n\nmain()",
            id="call",
        ),
        pytest.param(
            ("def sq(n):\n    return n * n", "print(sq(int(input())))", "assert sq(2) == 4"),
            "def sq(n):\n    return n * n\n\nprint(sq(int(input())))",
            id="function first",
        ),
        pytest.param((READS, "sys.stdin = open('x')\nprint(1)"), READS, id="set stdin"),
        pytest.param(("print(1)\n" * 3, "x = 2\nprint(x)"), "x = 2\nprint(x)", id="no input at all"),
    ],
)
def test_what_reads_the_input_is_the_program(codes, wanted):
    assert extract_code(blocks(*codes)) == wanted


def test_a_line_of_another_language_that_parses_is_no_program():
    assert extract_code(f"{F}javascript\nconsole.log(1)\n{F}") is None
    assert extract_code(f"{F}ruby\nputs(1)\n{F}\n{blocks(SUM)}", "f") == SUM


# --- thoughts and turns ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>a</think>b", "b"),
        ("a</think>b", "b"),
        ("<think>a `</think>` c</think>b", "b"),
        ("b<|im_end|>\n<|im_start|>user\nc", "b"),
        ("<|im_start|>assistant\nb<|im_end|>", "\nb"),
        (
            "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>",
            "b",
        ),
        ("analysisWe add.assistantfinalb", "b"),
        ("x = '<think>'", "x = '<think>'"),
        ("# drop <think> marks\nx = 1", "# drop <think> marks\nx = 1"),
        ("between <start> and <end>\nb", "between <start> and <end>\nb"),
        ("strike it: <s>a</s>\nb", "strike it: <s>a</s>\nb"),
        ("<|im_start|>def f(): ...", "def f(): ..."),
        ('say "</s>" twice', 'say "</s>" twice'),
        (f"{F}\nt = '''\n</think>\n</s>\n'''\n{F}", f"{F}\nt = '''\n</think>\n</s>\n'''\n{F}"),
        ("a <b| c |> d", "a <b| c |> d"),
    ],
)
def test_the_answer_is_told_from_thoughts_and_turns(text, answer):
    assert strip_thinking(text) == answer


@pytest.mark.parametrize(
    "text", ["<think>a", "[THINK]a", "<|channel|>analysis<|message|>a", "<think>a</think>\n<think>b"]
)
def test_a_reply_that_still_thinks(text):
    assert thinks_to_the_end(text)
    assert not said(text).answer.strip()


def test_what_follows_the_turn_is_not_read_even_if_the_turn_holds_no_program():
    assert extract_code(f"I cannot.<|im_end|>\n<|im_start|>user\n{blocks(SUM)}", "f") is None


# --- work -----------------------------------------------------------------------------------

HOSTILE = [
    "[",
    '{"a":',
    "{'",
    "-",
    "(",
    "`",
    f"{F}\n",
    f"{F}python\n",
    f"{F}python\nx = 1\n",
    "y```\n",
    "<think>",
    "</think>",
    "x<|a|>",
    '"<|a|>',
    "<|im_start|>",
    "x = (\n",
    "if a:\n x = 1\n",
    "f(x)\nthis is not code\n",
    "<code>",
    "<pre>x = 1</pre>",
    "\\boxed{",
    "`def ",
    "“",
    "\u2018x",
    '"\\',
    "<<<<<<<\n",
    "> \n",
    "\u00a0x \n",
    "'''py\n",
    "{/*",
    "&lt;",
    "<|channel|>analysis<|message|>",
    "x</s>",
    "x</s>   ",
    "'''",
    ">>> x = (\n",
    "12 \n",
    '["a" (b) ',
    '+ "b"',
    "a: b c d,",
    f"{F}python\ndef f(a):\n    return a\n{F}\n",
    "x = 1\n",
    " ",
    "\n",
    "def f():\n",
    '", ',
    "a = b\n",
]


@pytest.fixture
def parsed(monkeypatch):
    """Counts the characters that are parsed."""
    lengths: list[int] = []
    real = snippets.syntax_tree
    monkeypatch.setattr(snippets, "_LEAST", 0)
    monkeypatch.setattr(snippets, "syntax_tree", lambda code: lengths.append(len(code)) or real(code))
    return lengths


@pytest.mark.parametrize("entry_point", ["f", None])
def test_what_is_parsed_grows_with_the_reply_and_no_faster(parsed, entry_point):
    for piece in HOSTILE:
        for start in ("", f"{F}python\n"):
            text = start + piece * (2_000 // len(piece))
            parsed.clear()
            extract_code(text, entry_point)
            # Read twice where the answer is not all of it, each time up to one program beyond the bound.
            assert sum(parsed) <= 2 * 11 * len(text), piece


@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=5), max_size=30).map("".join), st.integers(1, 40))
@settings(max_examples=60)
def test_no_reply_raises(text, times):
    text = (text * times)[:20_000]
    extract_code(text, "f")
    extract_code(text, None, truncated=True)
    parse_json(text)
    assert said(text).turn == text[: len(said(text).turn)]


def test_a_reply_is_read_and_never_run(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("code was run")

    for name in ("exec", "eval"):
        monkeypatch.setattr(builtins, name, refuse)
    assert extract_code(f"{F}python\nimport os\nos.abort()\n\n\ndef f(x=os.abort()):\n    return x\n{F}", "f")


# --- names in JSON --------------------------------------------------------------------------


def test_a_name_is_found_in_any_wrapping_the_outer_one_first():
    assert under({"A": {"Score": 1}, "score": 2}, "score") == 2
    assert under([{"x": '{"score": 3}'}], "score") == 3
    assert under({"a": {"b": {"c": {"d": {"score": 1}}}}}, "score") is None
    assert under("score", "score") is None


def test_a_program_of_one_line_in_json():
    assert extract_code('{"code": "print(int(input()) * 2)"}') == "print(int(input()) * 2)"


def test_words_in_marks_are_no_program():
    assert extract_code("<answer>The sum of both</answer>", "f") is None
    assert extract_code("<code>not: a program</code>") is None


def test_json_that_is_nested_deeply_holds_its_program():
    deep = "[" * 900 + '"print(input())"' + "]" * 900
    assert extract_code(deep) in ("print(input())", None)
