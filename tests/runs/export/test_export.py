"""Exports hold what may be trained on, in shapes that come back as they were written."""

import asyncio
import gzip
import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from bdc_agents.agents.protocol import Request
from bdc_agents.cli.app import app
from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.runs import decide, open_run, read_traces, trace_file, write_text, write_trace
from bdc_agents.runs.export.matrix import Matrix
from bdc_agents.runs.export.overlap import EvaluationSet
from bdc_agents.runs.export.row_files import writing_rows
from bdc_agents.runs.export.rows import export, refusals
from bdc_agents.runs.store import scan_traces
from bdc_agents.search import asolve
from bdc_agents.search.traces import all_rows
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Decision, Hidden, HiddenTests, Problem, Task, Trace, Usage

STORIES = (
    "A baker sells loaves in pairs. Write twice(x), which returns how many loaves x pairs are.",
    "Every guest gets two cups. Given the number of guests, twice(x) says how many cups to wash.",
    "Bicycles in a shed are counted by their wheels: write twice(x) for a shed of x bicycles.",
)


def respond(request: Request) -> str:
    """Two ideas, of which one helps; the programs follow the plan."""
    asked = str(request.messages[-1].content)
    if "reasonableness" in asked:
        ideas = [{"thought": f"{word} the number", "reasonableness": 0.5} for word in ("halve", "double")]
        return json.dumps({"thoughts": ideas})
    factor = "2 *" if "double the number" in asked else "0 *" if "halve the number" in asked else "1 *"
    return f"```python\ndef twice(x):\n    return {factor} x\n```"


def rewarded(code: str) -> float:
    return {"2": 1.0, "0": 0.0}.get(code.split("return ")[1][0], 0.4)


def search_one(number: int) -> Trace:
    problem = Problem(
        id=f"made:{number}",
        statement=STORIES[number],
        entry_point="twice",
        public_tests=tuple(CallTest(call=f"twice({x})", expected=(f"{2 * x}",)) for x in range(3, 8)),
    )
    return asyncio.run(
        asolve(
            problem,
            [ScriptedAgent("one", respond), ScriptedAgent("two", respond)],
            executor=ScriptedExecutor(lambda job: rewarded(job.code)),
            search=SearchConfig(policy="paper", rollouts=6, stop_when_solved=False, refine=False),
        )
    )


@pytest.fixture(scope="module")
def searched() -> list[Trace]:
    return [search_one(number) for number in range(3)]


def scored(trace: Trace, passed: int = 3) -> Trace:
    return trace.model_copy(update={"decision": decide(trace, Hidden(passed=passed, total=3))})


@pytest.fixture
def run(tmp_path, searched) -> Path:
    """Three solved problems, the last of which fails a hidden test."""
    folder = open_run(tmp_path / "run")
    for trace, passed in zip(searched, (3, 3, 2), strict=True):
        write_trace(folder, scored(trace, passed))
    return folder


def rows_of(file: Path) -> list[dict]:
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def test_sft_rows_are_chat_messages_of_kept_problems(run, tmp_path):
    report = export([run], tmp_path / "sft.jsonl", "sft")
    rows = rows_of(tmp_path / "sft.jsonl")
    assert {row["problem_id"] for row in rows} == {"made:0", "made:1"}
    assert {row["kind"] for row in rows} == {"p2t", "t2s", "direct"}
    for row in rows:
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]
        (reply,) = row["completion"]
        assert reply["role"] == "assistant"
        assert ("double the number" if row["kind"] == "p2t" else "return 2 * x") in reply["content"]
        assert ("double the number" in row["prompt"][-1]["content"]) == (row["kind"] == "t2s")
    assert report.rejected == {"hidden": 1}
    assert (report.traces, report.kept) == (3, 2)
    assert report.rows == {"p2t": 2, "t2s": 2, "direct": 2}


def test_only_the_wanted_rows_are_written(run, tmp_path):
    assert export([run], tmp_path / "a.jsonl", "sft", rows=["direct"]).rows == {"direct": 2}


def test_pairs_prefer_the_step_that_helped(run, tmp_path):
    export([run], tmp_path / "dpo.jsonl", "dpo")
    rows = rows_of(tmp_path / "dpo.jsonl")
    assert rows
    for row in rows:
        for reply, step in (("chosen", "double the number"), ("rejected", "halve the number")):
            ((role, text),) = [message.values() for message in row[reply]]
            assert role == "assistant"
            assert json.loads(text) == {"thoughts": [{"thought": step, "reasonableness": 0.5}]}
        assert [message["role"] for message in row["prompt"]] == ["system", "user"]


def test_the_matrix_counts_every_program(run, tmp_path, searched):
    export([run], tmp_path / "m.jsonl", "matrix")
    rows = rows_of(tmp_path / "m.jsonl")
    attempts = [attempt for trace in searched for node in trace.nodes for attempt in node.attempts]
    assert sum(row["programs"] for row in rows) == len(attempts)
    for row in rows:
        mine = [a for a in attempts if (a.author, a.agent) == (row["author"], row["coder"])]
        assert row["mean_reward"] == pytest.approx(sum(a.reward for a in mine) / len(mine))
        assert row["passed"] == pytest.approx(sum(a.reward == 1 for a in mine) / len(mine))
    assert {row["coder"] for row in rows} == {"one", "two"}
    assert {""} < {row["author"] for row in rows} <= {"", "one", "two"}
    assert rows == [*Matrix.of(searched).rows()]


@pytest.mark.parametrize("name", ["t.jsonl", "t.jsonl.gz", "t.parquet"])
def test_traces_come_back_as_they_were(run, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    report = export([run], tmp_path / name, "traces")
    assert report.kept == 3
    assert list(scan_traces(tmp_path / name)) == read_traces(run)
    again = tmp_path / f"again-{name}"
    export([tmp_path / name], again, "traces")
    assert again.read_bytes() == (tmp_path / name).read_bytes()


def test_a_compressed_store_can_be_viewed_too(run, tmp_path):
    export([run], tmp_path / "t.jsonl.gz", "traces")
    assert read_traces(tmp_path / "t.jsonl.gz") == read_traces(run)
    (tmp_path / "t.jsonl.gz").write_bytes((tmp_path / "t.jsonl.gz").read_bytes()[:-20])
    with pytest.raises(UsageError, match="gzip"):
        read_traces(tmp_path / "t.jsonl.gz")


def test_parquet_has_columns_to_query(run, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    export([run], tmp_path / "t.parquet", "traces")
    rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert [row["kept"] for row in rows] == [True, True, False]
    assert [row["reasons"] for row in rows] == [[], [], ["hidden"]]
    assert [row["hidden_passed"] for row in rows] == [3, 3, 2]
    assert [(row["difficulty"], row["dataset"], row["seed"]) for row in rows] == [("", "", 0)] * 3
    for row, trace in zip(rows, read_traces(run), strict=True):
        assert Trace.model_validate_json(row.pop("trace")) == trace
        solution, used = trace.solution, trace.solution.usage.values()
        expected = {
            name: getattr(solution, name) for name in ("solved", "reward", "stopped_by", "seconds", "code")
        }
        expected |= {
            name: sum(getattr(one, name) or 0 for one in used) for name in ("calls", "tokens", "cost")
        }
        expected |= {"problem_id": trace.problem.id, "hidden_total": 3}
        assert {name: row[name] for name in expected} == expected
        known = {"kept", "reasons", "hidden_passed", "difficulty", "dataset", "seed"}
        assert row.keys() == expected.keys() | known


def test_equal_rows_and_equal_problems_are_written_once(run, tmp_path, searched):
    twin = open_run(tmp_path / "twin")
    copied = searched[0].problem.model_copy(update={"id": "copied:0", "statement": STORIES[0].upper()})
    write_trace(twin, scored(searched[0].model_copy(update={"problem": copied})))
    report = export([run, run, twin], tmp_path / "sft.jsonl", "sft")
    assert report.rows == {"p2t": 2, "t2s": 2, "direct": 2}
    assert report.repeated == 6
    assert report.duplicates == (("copied:0", "made:0"),)
    kept = export([run, twin], tmp_path / "sft.jsonl", "sft", duplicates=True)
    assert sum(kept.rows.values()) == 9


def test_what_overlaps_an_evaluation_set_stays_out(run, tmp_path):
    evaluated = Problem(id="eval:9", statement=f"Task.\n{STORIES[1]}")
    report = export([run], tmp_path / "sft.jsonl", "sft", against=EvaluationSet([Task(problem=evaluated)]))
    assert {row["problem_id"] for row in rows_of(tmp_path / "sft.jsonl")} == {"made:0"}
    (overlap,) = report.contaminated
    assert (overlap.problem, overlap.other, overlap.why) == ("made:1", "eval:9", "words")
    assert overlap.example in "every guest gets two cups given the number of guests twice x says how many"


def test_old_decisions_are_judged_anew_and_never_loosened(searched):
    code = (
        "def twice(x):\n    if x == 3:\n        return 6\n    if x == 4:\n        return 8\n    if x == 5:\n"
        "        return 10\n    return 2 * x"
    )
    changed = searched[0].solution.model_copy(update={"code": code})
    cheat = searched[0].model_copy(update={"solution": changed})
    once = Decision(kept=True, hidden=Hidden(passed=3, total=3))
    assert refusals(searched[0].model_copy(update={"decision": once})) == ()
    assert refusals(cheat.model_copy(update={"decision": once})) == (), "hidden tests say more"
    unscored = Decision(kept=True)
    assert refusals(searched[0].model_copy(update={"decision": unscored}), unscored=True) == ()
    told = cheat.model_copy(update={"decision": unscored})
    assert refusals(told, unscored=True) == ("special-cases-tests",)
    before = Decision(kept=False, reasons=("special-cases-tests",))
    assert refusals(searched[0].model_copy(update={"decision": before}), unscored=True) == before.reasons
    wrongly = before.model_copy(update={"hidden": Hidden(passed=3, total=3)})
    assert refusals(searched[0].model_copy(update={"decision": wrongly})) == ()
    by_hand = Decision(kept=False, reasons=("read-by-a-person",), hidden=Hidden(passed=3, total=3))
    assert refusals(searched[0].model_copy(update={"decision": by_hand})) == ("read-by-a-person",)


def test_unscored_searches_count_only_where_the_caller_says_so(tmp_path, searched):
    folder = open_run(tmp_path / "plain")
    write_trace(folder, searched[0])
    with pytest.raises(UsageError, match=r"no-hidden-tests 1.*--unscored"):
        export([folder], tmp_path / "sft.jsonl", "sft")
    assert not (tmp_path / "sft.jsonl").exists()
    assert export([folder], tmp_path / "sft.jsonl", "sft", unscored=True).kept == 1


def test_damaged_lines_are_counted_and_the_rest_is_exported(run, tmp_path):
    with trace_file(run).open("a") as file:
        file.write("garbage\n")
    report = export([run], tmp_path / "sft.jsonl", "sft")
    assert report.kept == 2
    assert [damage.line for damage in report.damaged] == [4]


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [("stf", ["p2t"], "did you mean sft"), ("sft", ["p2s"], "unknown kind of row")],
)
def test_unknown_names_are_refused_before_anything_is_written(run, tmp_path, kind, rows, said):
    with pytest.raises(UsageError, match=said):
        export([run], tmp_path / "x", kind, rows=rows)
    assert not (tmp_path / "x").exists()


def test_a_failed_export_leaves_the_old_file_and_nothing_else(run, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "sft.jsonl").write_text("old")
    with pytest.raises(UsageError, match="no run at"):
        export([run, tmp_path / "nowhere"], folder / "sft.jsonl", "sft")
    assert (folder / "sft.jsonl").read_text() == "old"
    assert [*folder.iterdir()] == [folder / "sft.jsonl"]


def test_the_file_is_for_everyone_to_read(run, tmp_path):
    export([run], tmp_path / "sft.jsonl", "sft")
    assert stat.S_IMODE((tmp_path / "sft.jsonl").stat().st_mode) == 0o644


def test_folders_on_the_way_are_made(run, tmp_path):
    export([run], tmp_path / "new/folder/sft.jsonl", "sft")
    write_text(tmp_path / "other/folder/page.html", "page")
    assert (tmp_path / "new/folder/sft.jsonl").is_file()
    assert (tmp_path / "other/folder/page.html").read_text() == "page"


@pytest.mark.parametrize("where", ["file/x.jsonl", "run"])
def test_a_place_that_cannot_be_written_is_the_callers_mistake(run, tmp_path, where):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"):
        export([run], tmp_path / where, "matrix")


def test_the_record_itself_is_never_replaced(run):
    before = trace_file(run).read_bytes()
    for kind in ("sft", "traces"):
        with pytest.raises(UsageError, match="another file"):
            export([run], run / "trace.jsonl", kind)
    assert trace_file(run).read_bytes() == before


@pytest.mark.parametrize("kind", ["sft", "dpo", "matrix"])
def test_parquet_holds_the_rows_of_the_lines(run, tmp_path, kind):
    parquet = pytest.importorskip("pyarrow.parquet")
    export([run], tmp_path / "x.jsonl", kind)
    export([run], tmp_path / "x.parquet", kind)
    assert parquet.read_table(tmp_path / "x.parquet").to_pylist() == rows_of(tmp_path / "x.jsonl")


def test_a_parquet_file_of_another_kind_is_refused(run, tmp_path):
    pytest.importorskip("pyarrow")
    export([run], tmp_path / "x.parquet", "matrix")
    with pytest.raises(UsageError, match="not a Parquet file of traces"):
        list(scan_traces(tmp_path / "x.parquet"))


JSON = st.dictionaries(st.text(), st.text() | st.integers(-(2**53), 2**53) | st.lists(st.text()), max_size=4)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(JSON, max_size=5), packed=st.booleans())
def test_rows_come_back_as_they_were_written(tmp_path_factory, rows, packed):
    file = tmp_path_factory.mktemp("rows") / ("x.jsonl.gz" if packed else "x.jsonl")
    for _ in range(2):
        with writing_rows(file) as write:
            for row in rows:
                write(row)
        first = file.read_bytes()
        assert rows_of(file) == rows
    assert file.read_bytes() == first


def test_broken_escapes_of_an_llm_do_not_break_the_export(tmp_path, searched):
    folder = open_run(tmp_path / "run")
    code = "def twice(x):\n    return 2 * x  # \ud83d"
    solution = searched[0].solution.model_copy(update={"code": code})
    write_trace(folder, scored(searched[0].model_copy(update={"solution": solution})))
    export([folder], tmp_path / "sft.jsonl", "sft")
    assert "\\ud83d" not in (tmp_path / "sft.jsonl").read_text()
    export([folder], tmp_path / "t.jsonl", "traces")
    assert next(scan_traces(tmp_path / "t.jsonl")).solution.code == code


def test_where_all_overlaps_an_evaluation_set_that_is_the_reason(run, tmp_path):
    evaluated = [Task(problem=Problem(id=f"eval:{n}", statement=text)) for n, text in enumerate(STORIES)]
    with pytest.raises(UsageError, match="2 overlap an evaluation set"):
        export([run], tmp_path / "sft.jsonl", "sft", against=EvaluationSet(evaluated))
    with pytest.raises(UsageError) as caught:
        export([open_run(tmp_path / "empty")], tmp_path / "sft.jsonl", "sft")
    assert "overlap" not in str(caught.value)


def test_a_problem_solved_at_once_gives_one_direct_row(searched):
    at_root = searched[0].solution.model_copy(update={"node": "0"})
    rows = all_rows(searched[0].model_copy(update={"solution": at_root}))
    assert [row.kind for row in rows if row.kind != "dpo"] == ["direct"]


# --- the command ---------------------------------------------------------------------------------


def command(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["export", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_says_what_it_wrote_and_what_it_left_out(run, tmp_path):
    code, out, said = command(run, "--kind", "sft", "--out", tmp_path / "sft.jsonl")
    assert (code, out) == (0, "")
    assert "2 of 3 traces" in said
    assert "1 left out: hidden: The program fails a hidden test." in said
    assert (tmp_path / "sft.jsonl").exists()


def test_the_command_speaks_json(run, tmp_path):
    code, out, _ = command(run, "--kind", "dpo", "--out", tmp_path / "x.jsonl.gz", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["rows"]["dpo"] == len(rows_of(tmp_path / "x.jsonl.gz"))


def test_the_command_decontaminates_against_a_file(run, tmp_path):
    evaluation = tmp_path / "eval.jsonl"
    evaluation.write_text(json.dumps({"id": "e", "statement": STORIES[0]}) + "\n")
    code, _, said = command(
        run, "--kind", "sft", "--out", tmp_path / "sft.jsonl", "--against", evaluation, "--rows", "p2t"
    )
    assert code == 0
    assert f"1 left out: they overlap {evaluation}" in said
    assert "made:0" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--kind", "sft", "--against", "mbbp"], "did you mean mbpp"),
        (["--kind", "matrix", "--against", "mbpp"], "training data"),
        (["--kind", "nothing"], "unknown kind of export"),
    ],
)
def test_the_command_refuses_what_it_cannot_do(run, tmp_path, arguments, said):
    code, _, complaint = command(run, "--out", tmp_path / "x", *arguments)
    assert code == 2
    assert said in complaint


def test_all_right_programs_are_learned_from_and_cheats_among_them_are_not(tmp_path, searched):
    trace = searched[0]
    wrote = {key: program for key, program in trace.programs.items() if program.verdict.passed}
    key, program = next(iter(wrote.items()))
    cheat = "def twice(x):\n    if x == 7:\n        return 14\n    return [0, 2, 4, 6, 8, 10, 12][x]"
    more = {
        "also": program.model_copy(update={"code": "def twice(x):\n    return x + x"}),
        "cheat": program.model_copy(
            update={"code": cheat}
        ),  # fails a hidden test, so it is not among `right`
    }
    decision = Decision(kept=True, hidden=Hidden(passed=0, total=3), right=(key, "also"))
    trace = trace.model_copy(update={"programs": trace.programs | more, "decision": decision})
    programs = [row for row in all_rows(trace) if row.kind in ("t2s", "direct")]
    rows = [(row.kind, row.completion.splitlines()[2]) for row in programs]
    assert [one for one in rows if one[0] == "t2s"] == [("t2s", "    return 2 * x")]
    # A program that a thought led to answers the bare problem too.
    assert [text for kind, text in rows if kind == "direct"] == ["    return x + x", "    return 2 * x"]
    assert len(all_rows(trace)) == len({row.model_dump_json() for row in all_rows(trace)})
    assert refusals(trace) == ()
    loop = "    for n in numbers:\n        if n % 7 == 3 and n > 0:\n            kept.append(n + n)\n"
    known = f"def chosen(numbers):\n    kept = []\n{loop}    return sorted(kept, reverse=True)[:10]"
    task = Task(problem=Problem(id="far", statement="Away."), hidden=HiddenTests([], reference=known))
    copied = {"also": more["also"].model_copy(update={"code": known})}
    folder = open_run(tmp_path / "copied")
    write_trace(folder, trace.model_copy(update={"programs": trace.programs | copied}))
    with pytest.raises(UsageError):
        export([folder], tmp_path / "sft.jsonl", "sft", against=EvaluationSet([task]))


@pytest.mark.parametrize("kind", ["matrix", "traces"])
def test_exports_of_all_traces_count_them(run, tmp_path, kind):
    report = export([run], tmp_path / "x.jsonl", kind)
    assert (report.traces, report.kept) == (3, 3)


def test_where_no_step_was_better_there_are_no_pairs_and_this_is_said(tmp_path, searched):
    folder, trace = open_run(tmp_path / "flat"), scored(searched[0])
    write_trace(
        folder,
        trace.model_copy(update={"nodes": tuple(n.model_copy(update={"value": 0.5}) for n in trace.nodes)}),
    )
    with pytest.raises(UsageError, match="no step was better than its parent and a sibling"):
        export([folder], tmp_path / "x.jsonl", "dpo")


def test_a_trace_without_hidden_tests_or_prices_has_columns_too(tmp_path, searched):
    parquet = pytest.importorskip("pyarrow.parquet")
    used = {"one": Usage(calls=2, cost=None), "two": Usage(calls=3, cost=0.5)}
    trace = searched[0].model_copy(
        update={"solution": searched[0].solution.model_copy(update={"usage": used})}
    )
    folder = open_run(tmp_path / "run")
    write_trace(folder, trace.model_copy(update={"decision": None}))
    export([folder], tmp_path / "t.parquet", "traces")
    (row,) = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert (row["hidden_passed"], row["hidden_total"], row["kept"], row["reasons"]) == (0, 0, False, [])
    assert (row["calls"], row["cost"]) == (5, 0.5)


def test_a_search_without_hidden_tests_is_refused_unless_it_is_asked_for(searched):
    bare = searched[0].model_copy(update={"decision": None})
    assert refusals(bare) == ("no-hidden-tests",)
    assert refusals(bare, unscored=True) == ()
