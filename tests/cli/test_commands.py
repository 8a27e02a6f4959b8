import json
import re
import tomllib
from pathlib import Path

import pytest

from bdc_agents.cli.demo import _cells
from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.watched_search import Finished
from bdc_agents.config import AgentConfig, Budget, SandboxConfig, SearchConfig, Settings, StoreConfig
from bdc_agents.runs import open_run, read_traces, write_trace
from bdc_agents.runs.export.rows import SFT_ROWS
from bdc_agents.sandbox import TIERS
from bdc_agents.types import Hidden, Task

DOUBLE = ["solve", "Write double(x), which returns twice x.", "--test", "assert double(2) == 4"]


# --- the other commands --------------------------------------------------------------------------------


@pytest.fixture
def finished(bdc, configure, workplace):
    configure()
    assert bdc(*DOUBLE, "--out", "run").returncode == 0
    return workplace / "run"


def test_view_shows_tree_and_program_or_writes_the_page(call, finished, workplace):
    result = call("view", str(finished))
    assert result.exit_code == 0
    assert "return 2 * x" in result.stdout
    assert "(the problem itself)" in result.stdout
    assert call("view", str(finished), "--html", "tree.html").exit_code == 0
    assert "return 2 * x" in (workplace / "tree.html").read_text()
    assert call("view", str(finished), "--html", "new/folder/tree.html").exit_code == 0
    assert (workplace / "new" / "folder" / "tree.html").is_file()


def test_the_table_of_the_demo_claims_nothing_of_a_program_that_did_not_run(finished):
    (trace,) = read_traces(finished)
    problem = trace.problem.model_copy(update={"id": "demo:double"})

    def shown(**changes):
        whole = trace.model_copy(update={"solution": trace.solution.model_copy(update=changes)})
        done = Finished(whole, Hidden(passed=3, total=4))
        return [str(cell) for cell in _cells(Task(problem=problem), whole, done)][:4]

    assert shown() == ["double", "-", "1/1", "3/4"]
    assert shown(verdict=None, solved=False) == ["double", "-", "-", "3/4"]
    assert shown(verdict=None, solved=False, code="") == ["double", "-", "0/1", "3/4"]


def test_view_lists_several_problems_and_picks_one(call, finished):
    (trace,) = read_traces(finished)
    other = trace.model_copy(
        update={
            "problem": trace.problem.model_copy(update={"id": "other"}),
            "solution": trace.solution.model_copy(update={"problem_id": "other"}),
        }
    )
    write_trace(open_run(finished), other)
    write_trace(open_run(finished), other)
    result = call("view", str(finished))
    assert result.stdout.count("other") == 1
    assert "2 problems" in result.stdout
    assert "(the problem itself)" in call("view", str(finished), "--problem", "other").stdout
    result = call("view", str(finished), "--problem", "othr")
    assert result.exit_code == 2
    assert "did you mean other" in result.stderr


def test_every_kind_of_training_row_is_in_the_help_and_on_the_page(call):
    page = (Path(__file__).parents[2] / "docs" / "traces.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("| sft |"))
    told = re.sub(r"[\s│]+", " ", call("export", "--help").stdout)
    for kind in SFT_ROWS:
        assert f"`{kind}` (" in line
        assert f"{kind} (" in told


def test_an_evaluation_is_told_from_a_run_with_what_it_holds(call, configure, workplace):
    configure()
    assert (
        call("eval", "demo:longest-streak", "--solver", "single:one", "--out", "e", "--quiet").exit_code == 0
    )
    (run,) = (path.parent for path in (workplace / "e").glob("traces/*/trace.jsonl"))
    for words in (
        ["view", "e"],
        ["view", "e", "--report"],
        ["export", "e", "--kind", "sft", "--out", "x.jsonl"],
    ):
        result = call(*words)
        assert result.exit_code == 2
        told = " ".join(result.stderr.split())
        assert (
            f"'e' is an evaluation, not a run; name the traces of a solver: {run.relative_to(workplace)}"
            in told
        )
        assert "its report is e/report.html" in told
    assert call("view", str(run)).exit_code == 0


def test_agents_are_listed_and_asked(call, configure):
    configure()
    listed = call("agents", "--json")
    assert listed.exit_code == 0
    found = json.loads(listed.stdout)
    assert [agent["name"] for agent in found["agents"]] == ["one", "two"]
    assert {"name", "path", "size", "licence"} <= found["models"][0].keys()
    asked = call("agents", "--ping")
    assert asked.exit_code == 0
    assert "ready" in asked.stdout
    assert "local:qwen2.5-coder-0.5b" in asked.stdout


def test_agents_that_do_not_answer_exit_with_3(call, workplace):
    agent = '[agents.one]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "k"\nretries = 0\n'
    (workplace / "bdc.toml").write_text(agent + '[agents.two]\nmodel = "openai:gpt-4o-mini"\n')
    result = call("agents", "--ping", "--json")
    assert result.exit_code == 3
    one, two = json.loads(result.stdout)["agents"]
    assert "cannot reach" in one["ping"]["error"]
    assert "OPENAI_API_KEY" in two["problem"]


def test_one_agent_that_does_not_answer_is_enough_to_exit_with_3(call, configure):
    configure(extra='[agents.gone]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n')
    result = call("agents", "--ping", "--json")
    assert [bool(one["ping"]["ok"]) for one in json.loads(result.stdout)["agents"]] == [True, True, False]
    assert result.exit_code == 3


def test_a_ping_downloads_nothing(call):
    result = call("agents", "--agent", "local:qwen2.5-coder-0.5b", "--ping", "--json")
    assert result.exit_code == 3
    assert "not downloaded yet" in json.loads(result.stdout)["agents"][0]["problem"]


def test_the_doctor_finds_this_machine_fit_or_says_why_not(call, configure, workplace):
    configure()
    result = call("doctor", "--json")
    found = json.loads(result.stdout)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert states["python"] == "ok"
    assert states["agents"] == "ok"
    told = next(check["detail"] for check in found["checks"] if check["name"] == "sandbox")
    holding = [tier for tier in TIERS if states.get(f"sandbox {tier}") == "ok"]
    assert told == (f"programs run in the tier {holding[0]}" if holding else "no tier of isolation holds")
    assert found["ready"] is (result.exit_code == 0) is ("failed" not in states.values())
    (workplace / "bdc.toml").write_text("[agents.one]\n")
    result = call("doctor")
    assert result.exit_code == 3
    assert "a search cannot run here" in result.stdout
    assert "bdc config --example" in result.stdout


def test_the_example_is_accepted_and_explains_every_key(call):
    text = call("config", "--example").stdout
    assert Settings(**tomllib.loads(text)).agents
    keys = set(re.findall(r"^(?:# )?(\w+) = ", text, flags=re.MULTILINE))
    for table in (AgentConfig, SearchConfig, Budget, SandboxConfig, StoreConfig):
        assert set(table.model_fields) - keys == set()


def test_the_defaults_in_the_example_are_the_real_ones(call):
    text = call("config", "--example").stdout
    search = text.split("[search]")[1].split("[budget]")[0]
    live = "\n".join(line.removeprefix("# ") for line in search.splitlines() if " = " in line)
    given = tomllib.loads(live)
    for left_open in ("preset", "skills", "beliefs", "leaves", "rollouts"):
        given.pop(left_open)
    assert given == {key: getattr(SearchConfig(), key) for key in given}


def test_the_schema_covers_presets(call):
    schema = json.loads(call("config", "--schema").stdout)
    assert "agents" in schema["properties"]
    assert schema["$defs"]["SearchConfig"]["properties"]["preset"]["enum"] == ["default", "paper"]


@pytest.mark.parametrize("command", ["solve", "demo", "agents", "view", "doctor", "config"])
def test_every_help_has_an_example_and_the_exit_codes(call, command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"    bdc {command} " in result.stdout or f"    bdc {command}\n" in result.stdout
    assert "130" in result.stdout


def test_the_version_is_told(call):
    assert re.fullmatch(r"bdc-agents \d+\.\d+\S*\n", call("--version").stdout)


# --- the demo -----------------------------------------------------------------------------------------


def test_the_demo_writes_table_traces_and_page(bdc, configure, workplace):
    configure(
        "```python\ndef longest_streak(days):\n    return ('', 0)\n```", extra="[search]\nrollouts = 1\n"
    )
    done = bdc("demo", "--agent", "one", "--out", "runs/demo")
    assert done.returncode == 1, done.stderr
    assert "0 of 10 solved" in done.stdout
    traces = read_traces(workplace / "runs/demo")
    assert len({trace.problem.id for trace in traces}) == 10
    assert "<title>bdc demo</title>" in (workplace / "runs/demo/report.html").read_text()
    assert len(list((workplace / "runs/demo/solutions").iterdir())) >= 1


def test_the_demo_ends_when_its_time_is_up(bdc, configure):
    configure("no code here")
    done = bdc("demo", "--agent", "one", "--minutes", "0.1", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["solved"] == 0
    assert 1 <= result["total"] <= 10


# --- weights ------------------------------------------------------------------------------------------


async def test_a_download_is_announced_with_size_hash_and_licence(workplace, monkeypatch, capsys):
    fetched = []

    async def fetch(model, **kwargs):
        kwargs["progress"](model.size, model.size, "joined")
        fetched.append(model.name)

    monkeypatch.setattr("bdc_agents.agents.local.fetch", fetch)
    agents = {
        "own": AgentConfig(model="local:mine", path="x.gguf"),
        "far": AgentConfig(model="openai:gpt-4o"),
    }
    names = ["local:smollm2-135m", "local:smollm2-135m", "own", "far"]
    await fetch_weights(Settings(agents=agents), names)
    assert fetched == ["smollm2-135m"]
    said = capsys.readouterr()
    assert said.out == ""
    for part in ("98 MB", "Apache-2.0", "b179c9523d0e6a0f"):
        assert part in said.err


@pytest.mark.parametrize("end", [b"", b'{"id": "task9", "statem'], ids=["whole", "cut off"])
def test_a_file_that_changes_while_it_is_collected_is_told_once_and_not_mixed(
    call, configure, workplace, end
):
    file = workplace / "mine.jsonl"
    rows = [
        {"id": f"task{number}", "statement": f"Write f{number}(x).", "tests": [f"f{number}(1) -> 1"]}
        for number in range(13)
    ]
    lines = [f"{json.dumps(row)}\n".encode() for row in rows]
    file.write_bytes(b"".join(lines))
    later = [*lines[:2], json.dumps(rows[2] | {"statement": "Write another."}).encode() + b"\n", end]

    def respond(_):
        file.write_bytes(b"".join(later))
        return "```python\ndef f0(x):\n    return x\nf1 = f0\n```"

    configure(respond)
    words = ("collect", "mine.jsonl", "--out", "run", "--calls", "1", "--concurrency", "1", "--quiet")
    done = call(*words)
    assert done.exit_code == 2, done.output
    [told] = [line for line in done.stderr.splitlines() if line.startswith("no trace of")]
    assert "mine.jsonl was changed while the run was under way" in told
    assert told.startswith("no trace of mine.jsonl:task2, mine.jsonl:task3")
    assert "and 1 more: " in told
    statements = [trace.problem.statement for trace in read_traces(workplace / "run")]
    assert statements == ["Write f0(x).", "Write f1(x)."]
    file.write_bytes(b"".join(later[:3]))
    again = call(*words)
    assert again.exit_code == 0, again.output
    assert "10 problems without a trace left out: no longer in the data" in again.stderr
    assert read_traces(workplace / "run")[-1].problem.statement == "Write another."


def test_agents_fit_80_columns_and_say_below_what_is_wrong(call, workplace, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    words = ("-a", "m@http://127.0.0.1:9/v1", "-a", "openai:gpt-4o-mini")
    lines = call("agents", *words).stdout.splitlines()
    table = lines[: lines.index("")]
    assert table[0].split() == ["agent", "endpoint", "state"]
    assert table[1].split() == ["m", "http://127.0.0.1:9/v1", "ready"]
    assert table[2].split() == ["openai:gpt-4o-mini", "-", "not", "ready"]
    assert table[3].startswith("openai:gpt-4o-mini: no API key")
    assert max(map(len, lines[: lines.index("") + 5])) <= 80
