"""What replies hold, however they are wrapped and damaged."""

import ast
import gc
import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bdc_agents.agents.replies.reading import extract_code, normalise, parse_json, strip_thinking

F = "```"
PROGRAM = "import math\n\n\ndef area(r):\n    return math.pi * r**2"

names = st.sampled_from("abcxyz")
numbers = st.integers(0, 99).map(str)
expressions = st.recursive(
    names | numbers,
    lambda inner: st.builds("({} + {})".format, inner, inner) | st.builds("f({})".format, inner),
    max_leaves=4,
)
lines = st.builds("    {} = {}".format, names, expressions)
programs = st.builds(
    lambda body, result: "\n".join(["def solve(a):", *body, f"    return {result}"]),
    st.lists(lines, min_size=1, max_size=4),
    expressions,
)
prose = st.sampled_from(
    [
        "",
        "Sure, here is the solution:",
        "This runs in O(n).",
        "I hope this helps!",
        "Let's think step by step.",
    ]
)
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | finite | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
containers = st.lists(values, min_size=1, max_size=4) | st.dictionaries(
    st.text(), values, min_size=1, max_size=4
)
noise = st.text() | st.lists(
    st.sampled_from(
        [*"[]{}:,'\"\\`~<>#/\n =()", F, "~~~", "def f():", "<think>", "</think>", "0", "None", ">>> "]
    )
).map("".join)


def parses(code):
    try:
        return bool(ast.parse(code).body)
    except SyntaxError:
        return False


# --- never a crash --------------------------------------------------------------------------


@given(noise)
@example("\x00")
@example("\ud800{'a': '\udfff'}")
@example("9" * 5000)
def test_nothing_raises(text):
    parse_json(text)
    normalise(text)
    strip_thinking(text)
    code = extract_code(text, "f")
    assert code is None or code.strip()


LITTLE = 10.0
"""Seconds of CPU time, a few times what the worst takes on a slow machine; it was minutes."""


@pytest.fixture
def few_objects():
    """Objects of other tests cost a reader of many syntax trees five times as long, by garbage collection."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize(
    "text",
    [
        "[" * 200_000,
        '{"a":' * 40_000,
        "{'" * 50_000,
        "-" * 200_000,
        "(" * 200_000,
        "`" * 200_000,
        "``` " + " " * 100_000 + "x",
        "```\n" * 50_000,
        "<think>" * 20_000,
        "a" + " " * 100_000 + "!",
        "x = (\n" * 30_000,
        "if a:\n x = 1\n" * 10_000,
        "f(x)\nthis is not code\n" * 5_000,
    ],
    ids=lambda text: text[:8].strip(),
)
def test_hostile_replies_cost_little(text):
    text = text[:40_000]
    started = time.process_time()
    parse_json(text)
    extract_code(text, "f")
    normalise(text)
    assert time.process_time() - started < LITTLE


@pytest.mark.usefixtures("few_objects")
@pytest.mark.parametrize(
    "piece",
    ["</s>", "[INST]", "`def f", "```py\nx=1\n```\n", "@x\n", "x=1\n", '{"a" '],
    ids=lambda piece: piece.strip()[:8],
)
def test_no_reply_is_read_for_seconds(piece):
    """Whoever waits beside it waits as long: in CPU time, on any machine a few times what it takes."""
    text = piece * (200_000 // len(piece))
    started = time.process_time()
    parse_json(text)
    extract_code(text, "f")
    assert time.process_time() - started < LITTLE


@pytest.mark.usefixtures("few_objects")
def test_a_reply_of_many_megabytes_is_read_from_its_end():
    text = "<" * 8_000_000 + f"</think>\n{F}python\ndef f(a):\n    return a\n{F}"
    started = time.process_time()
    assert extract_code(text, "f") == "def f(a):\n    return a"
    assert time.process_time() - started < LITTLE


def test_a_program_in_a_dict_of_python_is_read():
    assert extract_code("{'code': 'def f(a):\\n    return a'}", "f") == "def f(a):\n    return a"


# --- JSON -----------------------------------------------------------------------------------


@given(value=values)
def test_sound_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value)) == value


@given(value=containers, before=prose, after=prose, fence=st.sampled_from(["{}", F + "json\n{}\n" + F]))
def test_json_is_found_in_prose_and_fences(value, before, after, fence):
    text = fence.replace("{}", json.dumps(value), 1)
    assert parse_json(f"{before}\n{text}\n{after}") == value


@given(
    value=st.dictionaries(
        st.text("abc", min_size=1), st.text(st.characters(exclude_categories=["C"])), min_size=1
    )
)
def test_python_literals_are_read(value):
    assert parse_json(repr(value)) == value


@given(value=containers, data=st.data())
@settings(max_examples=200)
def test_a_cut_off_end_keeps_the_kind_of_value(value, data):
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text)))
    read = parse_json(text[:cut])
    assert read is None or isinstance(read, list | dict)
    if cut == len(text):
        assert read == value
    elif isinstance(value, dict) and isinstance(read, dict):
        assert read.keys() <= value.keys()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": [1, 2,],}', {"a": [1, 2]}),
        ("{'a': True, 'b': None, 'c': 'it\\'s'}", {"a": True, "b": None, "c": "it's"}),
        ('{"a": "two\nlines"}', {"a": "two\nlines"}),
        ('{"a": "use "two pointers" here", "b": 1}', {"a": 'use "two pointers" here', "b": 1}),
        ('{"a": 1 "b": 2}', {"a": 1, "b": 2}),
        ('["a"\n"b"]', ["a", "b"]),
        ('{a: 1, b_2: "c"}', {"a": 1, "b_2": "c"}),
        ('{"a": """x = "1"\ny"""}', {"a": 'x = "1"\ny'}),
        ('{"a": 1, // why\n "b": 2}', {"a": 1, "b": 2}),
        ('{"re": "\\d+"}', {"re": "\\d+"}),
        ('{"a": [{"b": "cut', {"a": [{"b": "cut"}]}),
        ('{"a": 1, "b":', {"a": 1}),
        ('{"a": 1, "b', {"a": 1}),
        ('{"a": tru', {"a": None}),
        ('{"a": -', {"a": None}),
        ('{"a": 1.5e', {"a": 1.5}),
        ("{'a': -Infinity, 'b': -1.5e+3}", {"a": None, "b": -1500.0}),
        ('{"a": NaN, "b": 1e999}', {"a": None, "b": None}),
        ('{"a": "\\ud83d"}', {"a": "?"}),
        ("{'a': \"\\ud83d\\ude00\"}", {"a": "😀"}),
        ('rate in [0, 1]: {"x": 2} (see [1])', {"x": 2}),
        ('{"draft": 1}\n{"answer": 2, "why": 3}', {"answer": 2, "why": 3}),
        ('<think>{"no": 1}</think>{"yes": 2}', {"yes": 2}),
        ('{"no": 1}</think>{"yes": 2}', {"yes": 2}),
        ('<think>hm: {"yes": 2}', {"yes": 2}),
        ("42", 42),
        ("[]", []),
        ("I cannot do that [sorry].", None),
        ("{x for x in y}", None),
        ("", None),
    ],
)
def test_damage_is_repaired(text, value):
    assert parse_json(text) == value


# --- programs -------------------------------------------------------------------------------

WRAPPED = [
    "{}",
    F + "python\n{}\n" + F,
    F + "\n{}\n" + F,
    F + "python\n{}",
    "~~~py\n{}\n~~~",
    F + "python\n{}" + F,
    "<think>\n" + F + "\nx = 1\n" + F + "\n</think>\n" + F + "python\n{}\n" + F,
]


@given(program=programs, wrap=st.sampled_from(WRAPPED), before=prose, after=prose)
def test_a_program_is_found_whole(program, wrap, before, after):
    text = f"{before}\n\n{wrap.replace('{}', program)}"
    closed = wrap.endswith((F, "~~~"))
    assert extract_code(text + (f"\n\n{after}" if closed else ""), "solve") == program


@given(program=programs, data=st.data())
@settings(max_examples=60)
def test_a_truncated_program_parses_if_anything_does(program, data):
    text = f"{F}python\nimport math\n{program}"
    cut = data.draw(st.integers(len(f"{F}python\nimport math\n"), len(text)))
    code = extract_code(text[:cut], "solve")
    assert code is not None
    assert parses(code)


@given(program=programs, other=programs)
def test_the_entry_point_decides(program, other):
    helper = other.replace("solve", "helper") + "\n" * 3 + "helper(1)\n" * 9
    for pair in ((program, helper), (helper, program)):
        text = "\n\n".join(f"{F}python\n{code}\n{F}" for code in pair)
        assert program in (extract_code(text, "solve") or "")


@given(text=noise | programs.map(lambda p: f"so:\n{p}\nprint(solve(1))"))
def test_what_comes_back_parses_if_it_can(text):
    code = extract_code(f"{text}\n\n{F}python\ndef f():\n    return 1\n{F}\n")
    assert code is not None
    assert parses(code)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        pytest.param(
            f"1. So:\n   {F}python\n   def f(x):\n       return 5\n   {F}",
            "def f(x):\n    return 5",
            id="indented",
        ),
        pytest.param(
            ">>> def f(x):\n...     return 6\n>>> f(1)\n6", "def f(x):\n    return 6\nf(1)", id="session"
        ),
        pytest.param(
            f"It is {F}python def f(x):\n    return 7\n{F}", "def f(x):\n    return 7", id="inline-start"
        ),
        pytest.param(
            "So:\n\n    def f(x):\n        return 1\n\nIt works.", "def f(x):\n    return 1", id="no-fence"
        ),
        pytest.param(
            "So:\ndef f(x):\n    return 1\n\nExample usage:\nprint(f(1))",
            "def f(x):\n    return 1",
            id="example",
        ),
        pytest.param(
            "def f(x):\n    return 1\n\nDone\nNote: fast", "def f(x):\n    return 1", id="last-words"
        ),
        pytest.param(f"{F}python\ndef f(x):\n    return [x,", "", id="nothing-left"),
        pytest.param(
            f"<think>hm {F}python\ndef f(x):\n  return 3\n{F}", "def f(x):\n  return 3", id="only-thoughts"
        ),
        pytest.param(f"{F}python\nf = lambda x: x\n{F}", "f = lambda x: x", id="lambda"),
        pytest.param(
            f"{F}python\nprint('demo')\n{F}\nand\ndef f(x):\n    return 1\n",
            "def f(x):\n    return 1",
            id="unfenced",
        ),
        pytest.param(
            f"{F}python\ndef f(x):\n    '''\n    {F}\n    f(1)\n    {F}\n    '''\n    return 9\n{F}\nbye",
            f"def f(x):\n    '''\n    {F}\n    f(1)\n    {F}\n    '''\n    return 9",
            id="fence-in-docstring",
        ),
        pytest.param(
            f"{F}python\ndef f(x):\n    return 1\n{F}\nBetter:\n{F}python\ndef f(x):\n    return 2\n{F}",
            "def f(x):\n    return 2",
            id="last-of-two",
        ),
    ],
)
def test_replies_as_they_come(reply, code):
    found = extract_code(reply, "f")
    assert found == code or (not code and "def f" in (found or ""))


def test_trailing_calls_in_the_program_stay():
    code = "def f(x):\n    return 1\n\nCACHE = f(2)\nprint(CACHE)"
    assert extract_code(f"{F}python\n{code}\n{F}", "f") == code


def test_definitions_from_earlier_blocks_come_along():
    text = f"{F}python\nimport math\n{F}\nHelper:\n{F}python\ndef h(x):\n    return math.pi * x\n{F}\n"
    text += f"Unrelated:\n{F}python\nz = 1\n{F}\nMain:\n{F}python\ndef f(x):\n    return h(x)\n{F}"
    code = extract_code(text, "f") or ""
    assert [part in code for part in ("import math", "def h", "def f", "z = 1")] == [True, True, True, False]
    assert code.index("import math") < code.index("def h") < code.index("def f")


def test_a_program_on_stdin_wins_over_its_sample_output():
    code = "n = int(input())\nprint(n * 2)"
    text = f"{F}python\n{code}\n{F}\nInput:\n{F}\n5\n{F}\nOutput:\n{F}\n10\n{F}"
    assert extract_code(text) == code


@pytest.mark.parametrize(
    "text", ["", "Yes", "I can't do that.", f"{F}\n5\n{F}", f'{F}json\n{{"a": 1}}\n{F}', "42"]
)
def test_no_program_is_none(text):
    assert extract_code(text) is None


def test_a_hopeless_program_comes_back_for_its_syntax_error():
    assert extract_code(f"{F}python\ndef f(x:\n    return\n{F}", "f") == "def f(x:\n    return"


# --- the same program -----------------------------------------------------------------------


@given(program=programs)
def test_comments_docstrings_and_layout_make_no_difference(program):
    first, *rest = program.split("\n")
    dressed = "\n\n".join(["# why", first, '    """What it does."""', *(f"{line}  # so" for line in rest)])
    assert normalise(dressed) == normalise(program)
    assert normalise(normalise(program)) == normalise(program)


@given(one=programs, other=programs)
def test_different_programs_stay_different(one, other):
    if ast.dump(ast.parse(one)) != ast.dump(ast.parse(other)):
        assert normalise(one) != normalise(other)


def test_a_lone_docstring_is_an_empty_body():
    assert normalise('def f():\n    """Doc."""') == normalise("def f():\n    pass")
    assert normalise('"""Module."""\nx = 1') == "x = 1"
    assert normalise("  not python  ") == "not python"


def test_warnings_of_a_program_are_its_own():
    assert normalise(r"x = '\d'  # a regular expression") == normalise(r"x = '\d'")


# --- replies that were cut off --------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<think>\nA draft:\n```python\ndef f(x):\n    return 1\n```\nBut no, it must be",
        "```python\ndef f(x):\n    return 1\n\ndef g(",
        "```python\ndef f(x):\n    total = 0",
        "def f(x):\n    return 1",
        "Here it is: ```python\ndef f(x):\n    return 1",
    ],
)
def test_half_a_program_is_none(text):
    assert extract_code(text, "f", truncated=True) is None


def test_a_program_that_was_closed_before_the_end_is_one():
    text = "```python\ndef f(x):\n    return 1\n```\nFaster:\n```python\ndef f(x):\n    return"
    assert extract_code(text, "f", truncated=True) == "def f(x):\n    return 1"
    thought = f"<think>def f(x): draft</think>\n{text}"
    assert extract_code(thought, "f", truncated=True) == "def f(x):\n    return 1"
