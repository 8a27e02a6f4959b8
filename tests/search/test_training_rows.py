"""Every training row teaches a reply that the search itself can read."""

import json
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.prompts import propose_thoughts, write_program
from bdc_agents.runs.export.rows import export
from bdc_agents.runs.folder import open_run, write_trace
from bdc_agents.search.nodes.boost import read_draft
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.search.nodes.expand import read_thoughts
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.search.traces import Row, all_rows, extract_traces, reply_with_program, reply_with_thought
from bdc_agents.types import (
    Attempt,
    Decision,
    Hidden,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Thought,
    Trace,
    TreeStats,
    Usage,
    Verdict,
)

PROBLEM = Problem(id="p", statement="Double a number.", entry_point="double")
PASSED = Verdict(results=(TestResult(outcome="passed"),), tier="t")
NASTY = (
    'say "twice"',
    "first\nthen\r\nlast",
    "```python\ndef double(x): ...\n```",
    '{"thoughts": [{"thought": "another"}]}',
    "x </think> y",
    "<think>",
    "ends in a backslash \\",
    "\N{GREEK SMALL LETTER ALPHA} \N{SNOWMAN}",
    "1. a list\n2. of steps",
    "[1, 2",
)
texts = st.sampled_from(NASTY) | st.text(max_size=60)
thoughts = st.builds(Thought, text=texts, agent=st.just("ann"), prior=st.floats(0, 1))
docstrings = st.sampled_from(
    ("", "``` fences ```", "````", "\n    ```python\n    double(2)\n    ```\n", "</think>")
)
helpers = st.sampled_from(("", "import math\n\n\n", "def helper():\n    return '```'\n\n\n", "A = [1]\n"))
DOUBLE = "def double(x):\n    return 2 * x"


def program(doc: str, helper: str) -> str:
    return f'{helper}def double(x):\n    r"""Doubles. {doc}"""\n    text = r"{doc[:3]}"\n    return 2 * x\n'


programs = st.builds(program, docstrings.map(str.strip), helpers)


def trace_of(path: list[Thought], siblings: list[Thought], program: str) -> Trace:
    """A solved search: a path of thoughts, each better than the one before and than a sibling of its own."""
    nodes, parent = [], Node(id="0", value=0.1)
    for number, (thought, sibling) in enumerate(zip(path, siblings, strict=True), 1):
        ids = f"{parent.id}.0", f"{parent.id}.1"
        nodes += [
            parent.model_copy(update={"children": ids}),
            Node(id=ids[1], parent=parent.id, thought=sibling, value=0.0),
        ]
        parent = Node(id=ids[0], parent=parent.id, thought=thought, value=0.1 + number / 10)
    nodes.append(parent.model_copy(update={"attempts": (Attempt(program="k", agent="bob", reward=1.0),)}))
    solution = Solution(
        problem_id=PROBLEM.id,
        solved=True,
        code=program,
        reward=1.0,
        agent="bob",
        node=parent.id,
        verdict=PASSED,
        stopped_by="solved",
        tree=TreeStats(nodes=1, evaluated=1, pruned=0, refined=0, depth=0, programs=1, rollouts=1),
    )
    return Trace(
        problem=PROBLEM,
        solution=solution,
        nodes=tuple(sorted(nodes, key=lambda node: (node.depth, node.id))),
        programs={"k": Program(code=program, agent="bob", verdict=PASSED)},
        decision=Decision(kept=True, hidden=Hidden(passed=1, total=1), right=("k",)),
    )


def answer(text: str) -> Answer:
    call = Call(agent="ann", purpose="expand", node="0", request=Request(messages=()))
    return Answer(call=call, reply=Reply(text=text, usage=Usage()))


def asked(row: Row) -> str:
    return row.prompt[-1]["content"]


def stripped(thought: Thought) -> Thought:
    return thought.model_copy(update={"text": thought.text.strip()})


traces = st.lists(st.tuples(thoughts, thoughts), max_size=3).flatmap(
    lambda pairs: programs.map(lambda code: trace_of([a for a, _ in pairs], [b for _, b in pairs], code))
)


@settings(deadline=None, max_examples=300)
@given(traces)
def test_the_search_reads_every_row_back_as_what_it_came_from(trace: Trace) -> None:
    path = [node.thought for node in trace.nodes if node.thought and not node.id.endswith(".1")]
    others = [node.thought for node in trace.nodes if node.thought and node.id.endswith(".1")]
    for row in all_rows(trace):
        if row.kind in ("t2s", "direct"):
            draft = read_draft(answer(row.completion), PROBLEM)
            assert draft is not None
            assert program_key(draft.code) == program_key(trace.solution.code)
            assert asked(row) == write_program(PROBLEM, path if row.kind == "t2s" else ())[-1].content
            continue
        (found,) = read_thoughts(answer(row.completion), 5)
        # What it is a reply to says which step of the path it is.
        steps = [n for n in range(len(path)) if asked(row) == _request(path[:n])]
        assert found in [stripped(path[n]) for n in steps]
        if row.kind == "dpo":
            (worse,) = read_thoughts(answer(row.rejected or ""), 5)
            assert worse in [stripped(others[n]) for n in steps]
            assert worse.text != found.text


def _request(before: list[Thought]) -> str:
    return str(propose_thoughts(PROBLEM, before, None, 0, 1)[-1].content)


@settings(deadline=None)
@given(st.lists(st.sampled_from([text for text in NASTY if "think>" not in text]), min_size=1, max_size=3))
def test_no_thought_that_can_be_read_is_left_out(steps: list[str]) -> None:
    path = [Thought(text=text, agent="ann", prior=0.3) for text in steps]
    trace = trace_of(
        path, [Thought(text="worse", agent="bob")] * len(path), "def double(x):\n    return 2 * x"
    )
    kinds = [row.kind for row in extract_traces(trace)]
    assert (kinds.count("p2t"), kinds.count("t2s"), kinds.count("dpo")) == (len(path), 1, len(path))


@pytest.mark.parametrize(
    "code", ['def double(x):\n    """```"""\n    return 2 * x', "def double(x): return '`' * 9"]
)
def test_a_program_with_fences_of_its_own_is_read_whole(code: str) -> None:
    (row,) = [row for row in extract_traces(trace_of([], [], code)) if row.kind == "direct"]
    draft = read_draft(answer(row.completion), PROBLEM)
    assert draft is not None
    assert draft.code == code
    (plain,) = [row for row in extract_traces(trace_of([], [], DOUBLE)) if row.kind == "direct"]
    assert plain.completion.startswith("```python\n")


def test_a_pair_of_equal_thoughts_is_no_pair(tmp_path) -> None:
    """As where a thought was refined into its sibling; their self-ratings may still differ."""

    def searched(other: str, name: str) -> Trace:
        trace = trace_of(
            [Thought(text="go", agent="a", prior=0.9)], [Thought(text=other, agent="b", prior=0.1)], DOUBLE
        )
        return trace.model_copy(
            update={"problem": PROBLEM.model_copy(update={"id": name, "statement": name})}
        )

    traces = searched("stay", "one"), searched("go", "two")
    assert [[row.kind for row in extract_traces(trace)].count("dpo") for trace in traces] == [1, 0]
    folder = open_run(tmp_path / "run")
    for trace in traces:
        write_trace(folder, trace)
    assert export([folder], tmp_path / "dpo.jsonl", "dpo").rows == {"dpo": 1}


def test_space_around_a_thought_is_no_reason_to_leave_it_out() -> None:
    reply = reply_with_thought(Thought(text="  sort it first\n", agent="ann", prior=0.5))
    assert reply == reply_with_thought(Thought(text="sort it first", agent="ann", prior=0.5)) != ""


@pytest.mark.parametrize("code", ["", "  \n", "no Python here", "x = "])
def test_what_is_no_program_gives_no_reply(code: str) -> None:
    assert reply_with_program(code, PROBLEM) in ("", f"```python\n{code.strip()}\n```")
    assert (reply_with_program(code, PROBLEM) == "") >= (not code.strip())


def test_a_step_is_preferred_to_siblings_that_are_worse_and_better_than_nothing_else() -> None:
    def pairs(*values: float, parent: float = 0.2, **more: object) -> set[tuple[str, str]]:
        children = tuple(
            Node(id=f"0.{n}", parent="0", thought=Thought(text=f"idea {n}", agent="ann"), value=value, **more)  # type: ignore[arg-type]
            for n, value in enumerate(values)
        )
        whole = trace_of([], [], "def double(x):\n    return 2 * x")
        root = whole.nodes[0].model_copy(update={"value": parent, "children": tuple(c.id for c in children)})
        rows = extract_traces(whole.model_copy(update={"nodes": (root, *children)}))
        told = [(row.completion, row.rejected or "") for row in rows if row.kind == "dpo"]
        return {tuple(str(json.loads(text)["thoughts"][0]["thought"])[-1] for text in pair) for pair in told}  # type: ignore[misc]

    assert pairs(0.5, 0.1) == {("0", "1")}
    assert pairs(0.5, 0.5) == set(), "equals are no pair"
    assert pairs(0.5, 0.3, 0.1) == {("0", "1"), ("0", "2"), ("1", "2")}
    assert pairs(0.2, 0.1) == set(), "as good as the parent is no better"
    assert pairs(0.5, 0.1, mends="p") == set(), "diagnoses of other programs are no steps"
    assert pairs(0.0, 0.5) == {("1", "0")}


def test_nothing_is_learned_from_a_search_that_solved_nothing() -> None:
    """Its steps may differ in how much of the public tests they pass; none is known to lead anywhere."""
    whole = trace_of([Thought(text="go", agent="a")], [Thought(text="stay", agent="b")], DOUBLE)
    failed = whole.solution.model_copy(update={"solved": False})
    assert extract_traces(whole) != ()
    assert extract_traces(whole.model_copy(update={"solution": failed, "decision": None})) == ()


def mended(kind: Literal["repair", "rethink"], diagnosis: Thought | None) -> Trace:
    """A search whose first program failed, and was mended."""
    failed = Verdict(results=(TestResult(outcome="wrong", actual="3"),), tier="t")
    whole = trace_of([], [], DOUBLE)
    (root,) = whole.nodes
    child = Node(
        id="0.0", parent="0", thought=diagnosis, value=1.0, mends="bad", kind=kind, attempts=root.attempts
    )
    first = Attempt(program="bad", agent="ann", reward=0.0)
    root = root.model_copy(update={"attempts": (first,), "children": ("0.0",)})
    bad = Program(code="def double(x):\n    return x + 1", agent="ann", verdict=failed)
    return whole.model_copy(update={"nodes": (root, child), "programs": {"bad": bad, **whole.programs}})


@pytest.mark.parametrize("kind", ["repair", "rethink"])
def test_a_repair_is_learned_from_the_prompt_that_it_came_from(kind: Literal["repair", "rethink"]) -> None:
    """Who repairs is shown the program that failed; who thinks again is shown its facts alone."""
    rows = extract_traces(mended(kind, Thought(text="It adds one.", agent="ann")))
    assert [row.kind for row in rows] == ["direct", "repair"]
    assert ("return x + 1" in asked(rows[1])) is (kind == "repair")
    assert rows[1].completion.startswith("It adds one.\n\n```python\n")
    assert rows[0].completion in rows[1].completion


def test_of_a_trace_whose_thoughts_are_lost_the_rest_is_learned() -> None:
    """A trace is a file: any of its nodes may have lost its thought."""
    assert [row.kind for row in extract_traces(mended("repair", None))] == ["direct"]
    whole = trace_of([Thought(text="go", agent="a")], [Thought(text="stay", agent="b")], DOUBLE)
    assert "dpo" in {row.kind for row in extract_traces(whole)}
    for lost in ("0.0", "0.1"):
        nodes = [n.model_copy(update={"thought": None}) if n.id == lost else n for n in whole.nodes]
        kinds = [row.kind for row in extract_traces(whole.model_copy(update={"nodes": tuple(nodes)}))]
        assert kinds == (["direct"] if lost == "0.0" else ["p2t", "t2s"])
