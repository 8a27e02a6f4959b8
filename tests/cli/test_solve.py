"""`bdc solve` from end to end: a real process, real HTTP and the real sandbox."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from bdc_agents.runs import read_traces

DOUBLE = ("solve", "Write double(x), which returns twice x.", "--test", "assert double(2) == 4")
RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return x\n```"


def test_a_problem_in_words_is_solved_and_kept(bdc, configure, workplace):
    requests = configure()
    done = bdc(*DOUBLE, "--test", "double(5) -> 10", "--out", "runs/one")
    assert done.returncode == 0, done.stderr
    assert "solved after 2 calls  2/2 public tests" in done.stdout
    assert "def double(x):\n    return 2 * x" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert "searching with" in done.stderr  # what is piped holds the result alone
    assert "searching with" not in done.stdout
    assert len(requests) >= 2
    (trace,) = read_traces(workplace / "runs/one")
    assert trace.solution.solved
    scope: dict = {}
    exec((workplace / "runs/one/solution.py").read_text(), scope)
    assert scope["double"](21) == 42


def test_json_is_one_object_and_nothing_else(bdc, configure):
    configure()
    done = bdc(*DOUBLE, "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    result = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert result["solved"] is True
    assert result["stopped_by"] == "solved"
    assert result["code"] == "def double(x):\n    return 2 * x"
    assert set(result["usage"]) == {"one", "two"}
    assert result["usage"]["one"]["calls"] == 1
    assert result["tree"]["programs"] == 1
    assert result["matrix"] == {"": {"one": 1.0, "two": 1.0}}
    assert result["agent"] in {"one", "two"}
    assert result["node"] == "0"
    assert result["hidden"] is None
    assert result["set_aside"] == {}
    assert result["seconds"] > 0
    assert result["tier"]
    assert result["reward"] == 1.0


def test_hidden_tests_score_by_counts_alone(bdc, configure, workplace):
    configure(WRONG)
    secret, result = "double(447755220011)", "895510440022"
    row = {
        "id": "d",
        "statement": "Write double(x).",
        "public_tests": ["assert double(0) == 0"],
        "hidden_tests": [{"call": secret, "expected": result}, {"call": "double(-0)", "expected": "0"}],
    }
    (workplace / "problem.json").write_text(json.dumps(row))
    done = bdc("solve", "problem.json", "--json", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hidden"] == {"passed": 1, "total": 2}
    kept = "".join(
        path.read_text(errors="replace") for path in (workplace / "out").rglob("*") if path.is_file()
    )
    for text in (done.stdout, done.stderr, kept):
        assert "447755220011" not in text
        assert result not in text


def test_an_unsolved_problem_exits_with_1_at_its_cap(bdc, configure):
    requests = configure(WRONG)
    done = bdc(*DOUBLE, "--calls", "3", "--json")
    assert done.returncode == 1
    result = json.loads(done.stdout)
    assert result["solved"] is False
    assert result["stopped_by"] == "calls"
    assert sum(used["calls"] for used in result["usage"].values()) <= 3
    assert len(requests) <= 3


def test_options_win_over_the_settings_file(bdc, configure, workplace):
    configure(WRONG, extra="[search]\nrollouts = 9\n[budget]\ncalls = 50\n")
    done = bdc(*DOUBLE, "--rollouts", "1", "--seed", "7", "--out", "out", "--agent", "two", "--json")
    assert done.returncode == 1
    (trace,) = read_traces(workplace / "out")
    assert trace.settings["search"]["rollouts"] == 1
    assert trace.settings["search"]["seed"] == 7
    assert trace.settings["budget"]["calls"] == 50
    assert list(trace.solution.usage) == ["two"]


def test_the_paper_preset_replaces_the_search_settings(bdc, configure, workplace):
    thoughts = {"thoughts": [{"thought": "add it to itself", "reasonableness": 0.9}]}

    def respond(body):
        return json.dumps(thoughts) if "reasonableness" in str(body) else RIGHT

    configure(respond, extra="[search]\nwidth = 1\n")
    done = bdc(*DOUBLE, "--preset", "paper", "--rollouts", "1", "--out", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    (trace,) = read_traces(workplace / "out")
    assert trace.settings["search"]["width"] == 3
    assert trace.settings["search"]["answer_first"] is False
    assert trace.solution.stopped_by == "rollouts"


def test_no_secret_enters_the_run_folder(bdc, configure, workplace):
    configure()
    text = (workplace / "bdc.toml").read_text().replace('"k"', '"sk-very-secret"')
    (workplace / "bdc.toml").write_text(text)
    assert bdc(*DOUBLE, "--out", "out").returncode == 0
    for path in (workplace / "out").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes()


def test_replies_on_disk_are_used_again_unless_told_otherwise(bdc, configure):
    requests = configure()
    bdc(*DOUBLE)
    first = len(requests)
    again = bdc(*DOUBLE, "--json")
    assert len(requests) == first
    assert json.loads(again.stdout)["usage"]["one"]["cached"] == 1
    bdc(*DOUBLE, "--no-cache")
    assert len(requests) == 2 * first


def test_a_reader_that_goes_away_is_no_error(configure, workplace):
    configure()
    command = [sys.executable, "-m", "bdc_agents.cli", *DOUBLE]
    process = subprocess.Popen(command, cwd=workplace, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    told = process.stderr.read().decode()  # The progress goes on; of the reader it says nothing.
    assert "Traceback" not in told
    assert "error" not in told.lower()
    process.stderr.close()
    assert process.wait(300) == 141


def test_a_demo_problem_can_be_named(bdc, configure):
    configure("```python\ndef longest_streak(days):\n    return ('', 0)\n```")
    done = bdc("solve", "demo:longest-streak", "--rollouts", "1", "--json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["problem_id"] == "demo:longest-streak"
    assert 0 < result["reward"] < 1
    assert result["hidden"]["total"] > 0


# --- interruption ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_search_keeps_what_it_found(configure, workplace, python, number):
    requests = configure(WRONG)
    command = ["-m", "bdc_agents.cli", *DOUBLE, "--out", "out", "--rollouts", "1000000", "--no-cache"]
    config = (workplace / "bdc.toml").read_text() + "[search]\nrefine = false\nprune = false\n"
    (workplace / "bdc.toml").write_text(config)
    process = python.start(command, workplace)
    deadline = time.monotonic() + 300
    while "programs (0)" not in process.said(1) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    if process.returncode == 1:
        pytest.skip("the search ended before the signal came")
    assert process.returncode == 130, err
    assert "interrupted after" in err
    assert "Traceback" not in out + err
    (trace,) = read_traces(workplace / "out")
    assert trace.solution.stopped_by == "interrupted"
    assert trace.solution.code
    assert len(requests) >= 2


# --- a real terminal --------------------------------------------------------------------------------


def _in_terminal(command: list[str], folder) -> tuple[str, int]:
    master, slave = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
    process = subprocess.Popen(command, cwd=folder, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen, deadline = b"", time.monotonic() + 300
    while time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # The other side is closed.
                break
        elif process.poll() is not None:
            break
    os.close(master)
    return seen.decode("utf-8", "replace"), process.wait(300)


def test_a_terminal_gets_colours_and_the_live_view(configure, workplace):
    configure()
    shown, code = _in_terminal([sys.executable, "-m", "bdc_agents.cli", *DOUBLE], workplace)
    assert code == 0
    assert "\x1b[" in shown
    assert "rollout" in shown
    assert "solved" in shown


def test_quiet_in_a_terminal_is_plain_lines(configure, workplace):
    configure()
    shown, code = _in_terminal([sys.executable, "-m", "bdc_agents.cli", *DOUBLE, "--quiet"], workplace)
    assert code == 0
    assert "rollout " not in shown
    assert "one programs (0): 1 of 1 test" in shown


@pytest.mark.parametrize("text", ['{"statement": "Double x.", "tests": ["double(2) -> 4"]}', "Double\nx."])
def test_a_problem_comes_on_stdin(call, configure, workplace, text):
    configure()
    words = [] if text.startswith("{") else ["--test", "double(2) -> 4"]
    done = call("solve", "-", *words, "--out", "run", "--json", input=text)
    assert done.exit_code == 0, done.stderr
    [trace] = read_traces(workplace / "run")
    assert trace.problem.statement in ("Double x.", "Double\nx.")
    again = call("solve", "--resume", "run", "--json", input="")
    assert json.loads(again.stdout)["solved"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "statement is empty"),
        ('{"statement": "x"', "stdin: not the JSON of one problem"),
        ('{"statement": "x"}\n{"statement": "y"}', "stdin: not the JSON of one problem"),
        ('{"statement": 5}', "stdin: statement: a text is needed"),
        ("\udcff", "stdin: cannot be read"),
    ],
)
def test_a_problem_on_stdin_that_is_none_is_refused(call, configure, text, said):
    configure()
    done = call("solve", "-", input=text.encode("utf-8", "surrogateescape"))
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_search_with_hidden_tests_can_be_exported_and_one_without_says_what_to_do(
    bdc, configure, workplace
):
    configure()
    row = {
        "id": "d",
        "statement": "Write double(x).",
        "public_tests": ["assert double(0) == 0", "assert double(3) == 6"],
        "hidden_tests": ["assert double(7) == 14"],
    }
    (workplace / "problem.json").write_text(json.dumps(row))
    assert bdc("solve", "problem.json", "--json", "--out", "scored").returncode == 0
    (trace,) = read_traces(workplace / "scored")
    assert trace.decision.kept
    assert (trace.decision.hidden.passed, trace.decision.hidden.total) == (1, 1)
    done = bdc("export", "scored", "--kind", "sft", "--out", "sft.jsonl")
    assert done.returncode == 0, done.stderr
    assert bdc(*DOUBLE, "--json", "--out", "bare").returncode == 0
    done = bdc("export", "bare", "--kind", "sft", "--out", "bare.jsonl")
    assert done.returncode == 2
    assert "no hidden test was run" in done.stderr
    assert "--unscored" in done.stderr
