"""Whatever a row holds, an adapter gives a task or explains what is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.data.catalog import DATASETS
from bdc_agents.data.jsonl import task_from_dict
from bdc_agents.errors import ProblemError
from bdc_agents.types import Task

FIELDS = (
    *("task_id", "prompt", "entry_point", "test", "canonical_solution", "public_tests", "base_input"),
    *("plus_input", "atol", "text", "code", "test_list", "test_setup_code", "test_imports", "id", "name"),
    *("problem_id", "question", "description", "input_output", "solutions", "starter_code", "difficulty"),
    *("private_tests", "generated_tests", "cf_tags", "time_limit", "question_id", "question_content"),
    *(
        "public_test_cases",
        "private_test_cases",
        "metadata",
        "statement",
        "hidden_tests",
        "checker",
        "limits",
    ),
)
TEXTS = st.text() | st.sampled_from(
    [
        "assert f(1) == 2",
        "def f(x):\n    pass\n",
        "f",
        '{"inputs": [[1]], "outputs": [[1]], "fn_name": "f"}',
        '{"inputs": ["1"], "outputs": ["1"]}',
        '[{"input": "1", "output": "2", "testtype": "functional"}]',
        '{"func_name": "f"}',
        "Solution().f",
        "def check(candidate):\n    assert candidate(x = 1) == [1, -inf]\n",
        "eJwDAAAAAAE=",
        "Mbpp/2",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            TEXTS | st.sampled_from(["input", "output", "stdin", "call", "expected"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
ROWS = st.dictionaries(st.sampled_from(FIELDS) | st.text(), VALUES) | VALUES
ADAPTERS = {name: dataset.read for name, dataset in DATASETS.items()} | {"jsonl": task_from_dict}
USUAL = {
    "humaneval": ("task_id", "prompt", "entry_point", "test"),
    "humaneval+": ("task_id", "prompt", "entry_point", "test"),
    "mbpp": ("task_id", "text", "test_list"),
    "mbpp-sanitized": ("task_id", "prompt", "test_list"),
    "mbpp+": ("task_id", "prompt", "entry_point", "canonical_solution"),
    "apps": ("id", "question"),
    "apps-train": ("id", "question"),
    "codecontests": ("name", "description"),
    "livecodebench": ("question_id", "question_content"),
    "leetcode": ("task_id", "prompt", "entry_point", "test", "query"),
    "jsonl": ("id", "statement"),
}
LISTS = {
    "test_list": st.lists(TEXTS),
}


@pytest.mark.parametrize("name", ADAPTERS)
@settings(deadline=None, derandomize=True)
@given(row=ROWS)
def test_any_row_gives_a_task_or_an_explanation(name, row):
    _read(name, row)


@pytest.mark.parametrize("name", ADAPTERS)
@settings(deadline=None, derandomize=True)
@given(row=ROWS, rest=st.data())
def test_a_row_that_is_nearly_right_does_too(name, row, rest):
    usual = {field: rest.draw(LISTS.get(field, TEXTS)) for field in USUAL[name]}
    _read(name, (row if isinstance(row, dict) else {}) | usual)


def _read(name, row):
    said = "rows.jsonl:1"
    try:
        assert isinstance(ADAPTERS[name](row, "rows.jsonl:1"), Task)
    except ProblemError as error:
        said = str(error)
    assert "rows.jsonl:1" in said
