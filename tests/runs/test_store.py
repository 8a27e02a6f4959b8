"""Which traces may be trained on, where they come from, and reading stores that are damaged."""

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdc_agents.errors import UsageError
from bdc_agents.runs import REASONS, decide, lineage_of, open_run, trace_file, write_trace
from bdc_agents.runs.folder import parse_trace
from bdc_agents.runs.hidden import right_programs
from bdc_agents.runs.store import scan_traces
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import (
    CallTest,
    Decision,
    Hidden,
    HiddenTests,
    Lineage,
    Node,
    Problem,
    Program,
    Solution,
    Task,
    TestResult,
    Trace,
    Verdict,
)

DOCS = Path(__file__).parents[2] / "docs" / "traces.md"
OLD = {
    "version": 1,
    "problem": {"id": "demo:old", "statement": "Return 1."},
    "solution": {
        "problem_id": "demo:old",
        "solved": True,
        "code": "x = 1",
        "reward": 1.0,
        "stopped_by": "solved",
        "tree": {
            "nodes": 1,
            "evaluated": 1,
            "pruned": 0,
            "refined": 0,
            "depth": 0,
            "programs": 1,
            "rollouts": 1,
        },
    },
    "nodes": [{"id": "0", "attempts": [{"program": "k", "agent": "small", "reward": 1.0}]}],
    "programs": {"k": {"code": "x = 1", "agent": "small"}},
    "settings": {},
    "created": "2026-11-20T10:00:00+00:00",
    "package": "0.1.0",
    "decision": {"kept": True, "reasons": [], "hidden": {"passed": 3, "total": 3}},
    "lineage": {"dataset": "demo", "models": {"small": "local:a"}, "seed": 42},
}
"""A record as version 1 had it when it was documented, its defaults left out."""
GOOD = "def f(x):\n    return x + 41\n"
CHEAT = "def f(x):\n    if x == 1742:\n        return 1783\n    return x + 4\n"


def asks(trace, **solution):
    """A trace of a problem that takes an argument, with some of its solution changed."""
    tests = (CallTest(call="f(1742)", expected=("1783",)),)
    problem = trace.problem.model_copy(update={"public_tests": tests, "entry_point": "f"})
    return trace.model_copy(
        update={"problem": problem, "solution": trace.solution.model_copy(update={"code": GOOD} | solution)}
    )


@pytest.mark.parametrize(
    ("changed", "hidden", "reasons"),
    [
        ({}, Hidden(passed=3, total=3), ()),
        ({}, Hidden(passed=2, total=3), ("hidden",)),
        ({}, Hidden(passed=0, total=0), ("no-hidden-tests",)),
        ({}, None, ("no-hidden-tests",)),
        ({"solved": False}, Hidden(passed=3, total=3), ("unsolved",)),
        ({"solved": False}, Hidden(passed=0, total=3), ("unsolved",)),
        ({"solved": False, "code": ""}, None, ("unsolved", "no-hidden-tests")),
        (
            {"solved": False, "stopped_by": "interrupted"},
            None,
            ("interrupted", "unsolved", "no-hidden-tests"),
        ),
        ({"code": CHEAT}, Hidden(passed=3, total=3), ()),
        ({"code": CHEAT}, None, ("no-hidden-tests", "special-cases-tests")),
        ({"code": CHEAT}, Hidden(passed=1, total=3), ("hidden", "special-cases-tests")),
    ],
)
def test_a_trace_is_kept_for_its_hidden_tests_and_its_honesty_alone(make_trace, changed, hidden, reasons):
    decision = decide(asks(make_trace(), **changed), hidden)
    assert decision.reasons == reasons
    assert decision.kept == (not reasons)
    assert decision.hidden == (hidden if hidden and hidden.total else None)


def test_a_dialogue_is_never_trained_on(make_trace):
    trace = asks(make_trace())
    talks = trace.problem.model_copy(update={"tags": ("interactive",)})
    several = trace.problem.model_copy(update={"tags": ("any-answer",)})
    passed = Hidden(passed=3, total=3)
    decision = decide(trace.model_copy(update={"problem": talks}), passed, ("other",))
    assert (decision.kept, decision.reasons) == (False, ("interactive",))
    assert decide(trace.model_copy(update={"problem": several}), passed).kept, "what passes is right"


def test_a_right_program_keeps_a_trace_that_hands_another_one_over(make_trace):
    decision = decide(asks(make_trace()), Hidden(passed=1, total=3), ("other",))
    assert decision == Decision(kept=True, hidden=Hidden(passed=1, total=3), right=("other",))


async def test_right_programs_pass_all_tests(make_trace):
    passed = Verdict(results=(TestResult(outcome="passed"),), tier="t")
    failed = Verdict(results=(TestResult(outcome="wrong"),), tier="t")
    codes = {"weak": "def f(x): return 1783", "cheat": CHEAT, "good": GOOD, "failed": "def f(x): pass"}
    programs = {
        key: Program(code=code, agent="a", verdict=failed if key == "failed" else passed)
        for key, code in codes.items()
    } | {"other": Program(code="def f(x): return 41 + x", agent="a", verdict=passed)}
    trace = asks(make_trace(), code=codes["good"]).model_copy(update={"programs": programs})
    hidden = [CallTest(call="f(1)", expected=("42",))]
    executor = ScriptedExecutor(lambda job: float("1783" not in job.code))
    task = Task(problem=trace.problem, hidden=HiddenTests(hidden))
    scored = Hidden(passed=1, total=1)
    assert await right_programs(task, trace, scored, executor) == ("good", "other")
    assert {job.code for job in executor.jobs} == {codes["weak"], CHEAT, programs["other"].code}
    assert await right_programs(task, trace, None, executor) == ()


async def test_a_handed_over_program_that_fails_hidden_tests_is_not_right(make_trace):
    passed = Verdict(results=(TestResult(outcome="passed"),), tier="t")
    programs = {"good": Program(code=GOOD, agent="a", verdict=passed)}
    trace = asks(make_trace(), code=GOOD).model_copy(update={"programs": programs})
    task = Task(problem=trace.problem, hidden=HiddenTests([CallTest(call="f(1)", expected=("42",))]))
    executor = ScriptedExecutor(lambda _: 1.0)
    assert await right_programs(task, trace, Hidden(passed=0, total=1), executor) == ()
    assert not executor.jobs


def test_a_problem_without_hidden_tests_counts_where_the_caller_says_so(make_trace):
    assert decide(asks(make_trace()), None, public_suffices=True).kept
    assert not decide(asks(make_trace(), code=CHEAT), None, public_suffices=True).kept
    assert not decide(asks(make_trace()), Hidden(passed=1, total=2), public_suffices=True).kept


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    code=st.text(max_size=60) | st.sampled_from([GOOD, CHEAT]),
    solved=st.booleans(),
    hidden=st.none() | st.builds(Hidden, passed=st.integers(0, 5), total=st.integers(0, 5)),
    suffices=st.booleans(),
)
def test_every_trace_gets_a_decision_with_known_reasons(make_trace, code, solved, hidden, suffices):
    decision = decide(asks(make_trace(), code=code, solved=solved), hidden, public_suffices=suffices)
    assert decision.kept == (not decision.reasons)
    assert {*decision.reasons} <= {*REASONS}
    if decision.kept:
        assert solved
        assert code
        assert suffices or (hidden and hidden.all_passed)


STARTED = {
    "agents": {"small": {"model": "local:a", "endpoint": "http://x", "temperature": None, "concurrency": 8}},
    "search": {"rollouts": 8, "seed": 7},
    "budget": {"calls": 20},
}


def test_lineage_tells_what_made_a_trace():
    lineage = lineage_of("mbpp:train", STARTED)
    assert lineage.dataset == "mbpp:train"
    assert lineage.models == {"small": "local:a"}
    assert lineage.seed == 7
    assert lineage.package
    assert len(lineage.prompts) == len(lineage.settings) == 16


def test_the_settings_hash_changes_with_what_changes_answers_alone():
    def hashed(**changes):
        return lineage_of("d", STARTED | changes).settings

    agent = STARTED["agents"]["small"]
    same = {"agents": {"small": agent | {"endpoint": "http://y", "concurrency": 2}}, "target": "demo:x"}
    assert hashed(**same) == hashed()
    others = [
        {"search": {"rollouts": 9, "seed": 7}},
        {"budget": {}},
        {"agents": {"small": agent | {"temperature": 0.5}}},
        {"agents": {"large": agent}},
    ]
    assert len({hashed(), *(hashed(**other) for other in others)}) == 1 + len(others)


# --- reading -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, make_trace):
    folder = open_run(tmp_path / "run")
    for name in ("demo:one", "demo:two", "demo:three"):
        write_trace(folder, make_trace(name))
    return folder


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{broken", "not JSON"),
        (b"[1]", "JSON object"),
        (b'{"version": 3}', "version 3"),
        (b'{"version": 1}', "problem"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 50_000, "not JSON"),
        (b'{"version": 1, "problem": {"id": "demo:two"}}', "statement"),
    ],
)
def test_a_damaged_line_is_reported_and_the_rest_is_read(store, line, said):
    file = trace_file(store)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], line, *lines[1:], line]) + b"\n")
    found = []
    assert [trace.problem.id for trace in scan_traces(store, found.append)] == [
        "demo:one",
        "demo:two",
        "demo:three",
    ]
    assert [(damage.file, damage.line) for damage in found] == [(str(file), 2), (str(file), 5)]
    assert all(said in damage.what for damage in found)
    assert str(found[0]).startswith(f"{file}:2: ")


def test_a_damaged_line_is_warned_of_where_nobody_listens(store, caplog):
    file = trace_file(store)
    file.write_bytes(file.read_bytes() + b'{"half')
    assert len(list(scan_traces(store))) == 3
    assert f"{file}:4" in caplog.text


def test_the_last_trace_of_a_problem_counts(store, make_trace):
    write_trace(store, make_trace("demo:one", "later = 1\n"))
    codes = {trace.problem.id: trace.solution.code for trace in scan_traces(store)}
    assert codes["demo:one"] == "later = 1\n"
    assert len(codes) == 3
    assert len(list(scan_traces(store, latest=False))) == 4


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(min_value=0, max_value=1), noise=st.binary(max_size=30))
def test_a_store_cut_anywhere_keeps_its_whole_traces(store, tmp_path_factory, cut, noise):
    whole = trace_file(store).read_bytes()
    file = tmp_path_factory.mktemp("cut") / "trace.jsonl"
    size = int(len(whole) * cut)
    file.write_bytes(whole[:size] + b"\n" + noise)
    intact = sum(size >= end for end in _ends(whole))
    assert len(list(scan_traces(file, lambda _: None))) == intact


def _ends(content: bytes) -> list[int]:
    """Where each line is complete, its newline left out."""
    ends = [0]
    for line in content.splitlines():
        ends.append(ends[-1] + len(line) + 1)
    return [end - 1 for end in ends[1:]]


@pytest.mark.parametrize("how", ["replaced", "cut off"])
def test_a_store_that_changes_while_it_is_read_is_not_mixed(store, tmp_path, make_trace, how):
    file = trace_file(store)
    found = scan_traces(store)
    next(found)
    if how == "replaced":
        (tmp_path / "new").write_text(make_trace("demo:new").model_dump_json() + "\n" * 9)
        (tmp_path / "new").replace(file)
    else:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UsageError, match="was replaced or cut off while it was read"):
        list(found)


def test_what_a_collection_appends_while_its_store_is_read_waits_for_the_next_time(store, make_trace):
    before = [trace.problem.id for trace in scan_traces(store)]
    found = scan_traces(store)
    seen = [next(found).problem.id]
    write_trace(store, make_trace(before[0]))
    write_trace(store, make_trace("demo:new"))
    assert seen + [trace.problem.id for trace in found] == before


def test_a_compressed_store_is_read(store, tmp_path):
    packed = tmp_path / "traces.jsonl.gz"
    packed.write_bytes(gzip.compress(trace_file(store).read_bytes()))
    assert list(scan_traces(packed)) == list(scan_traces(store))


def test_a_compressed_store_that_is_cut_gives_what_it_has(store, tmp_path, make_trace):
    for number in range(50):
        write_trace(store, make_trace(f"demo:{number}", f"x = {number**9}\n" * 50))
    packed = tmp_path / "traces.jsonl.gz"
    content = gzip.compress(trace_file(store).read_bytes())
    packed.write_bytes(content[: len(content) * 2 // 3])
    found = []
    assert 3 < len(list(scan_traces(packed, found.append))) < 53
    assert "compressed" in found[-1].what


def test_no_store_is_said_clearly(tmp_path):
    with pytest.raises(UsageError, match="no run at"):
        scan_traces(tmp_path / "nothing")


documented = pytest.mark.skipif(not DOCS.is_file(), reason="installed without its documents")
DOCUMENTED = (Trace, Problem, Solution, Node, Program, Decision, Hidden, Lineage)


@documented
@pytest.mark.parametrize("model", DOCUMENTED, ids=lambda model: model.__name__)
def test_every_field_of_the_format_is_documented(model):
    named = set(re.findall(r"[`|, (]([a-z_]+)[`|, )]", DOCS.read_text()))
    assert {*model.model_fields} <= named


@documented
def test_every_reason_is_documented():
    assert all(f"| {name} |" in DOCS.read_text() for name in REASONS)


def test_a_record_of_version_1_stays_readable(make_trace):
    """A change of the fields is a new version: this one must still be read."""
    record = make_trace().model_dump(mode="json")
    old = parse_trace(json.dumps(OLD).encode(), "old:1")
    assert (old.version, old.problem.id, old.calls) == (1, "demo:old", ())
    assert [key for key in record if key not in ("calls", "beliefs", "split", "reviews")] == [*OLD]
    assert record["version"] == 2
