"""`bdc solve --resume`: a real process, killed for real."""

import fcntl
import json
import signal
import subprocess
import sys
import time

import pytest

from bdc_agents.runs import read_traces

WRONG = "```python\ndef double(x):\n    return x\n```"
THOUGHT = json.dumps({"thoughts": [{"thought": "add it to itself", "reasonableness": 0.9}]})
DOUBLE = ("solve", "Write double(x), which returns twice x.", "--test", "assert double(2) == 4")
SEARCH = ("--rollouts", "3", "--out", "run")


def respond(body):
    return THOUGHT if "reasonableness" in str(body) else WRONG


@pytest.fixture
def killed(configure, workplace):
    """A run folder whose search was killed while it waited for its fourth reply; all requests made."""
    begun = []

    def slow(body):
        begun.append(body)
        if len(begun) == 4:
            time.sleep(3)
        return respond(body)

    requests = configure(slow)
    process = subprocess.Popen(
        [sys.executable, "-m", "bdc_agents.cli", *DOUBLE, *SEARCH, "--quiet"],
        cwd=workplace,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while len(begun) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert len(begun) == 4
    return requests


def test_a_killed_search_goes_on_and_ends_as_if_nothing_had_happened(bdc, killed, workplace):
    before = len(killed)
    done = bdc("solve", "--resume", "run", "--json")
    assert done.returncode == 1, done.stderr
    result = json.loads(done.stdout)
    assert result["stopped_by"] == "rollouts"
    assert result["seconds"] < 30
    (trace,) = read_traces(workplace / "run")
    resumed = len(killed) - before
    whole = bdc(*DOUBLE, "--rollouts", "3", "--no-cache", "--json")
    calls = sum(used["calls"] for used in json.loads(whole.stdout)["usage"].values())
    assert sum(used["calls"] for used in result["usage"].values()) == calls
    assert calls <= before + resumed <= calls + 2
    assert trace.solution.tree.nodes == json.loads(whole.stdout)["tree"]["nodes"]


def test_a_finished_run_says_so_and_asks_nobody(bdc, configure, workplace):
    requests = configure(respond)
    assert bdc(*DOUBLE, *SEARCH).returncode == 1
    asked = len(requests)
    again = bdc("solve", "--resume", "run", "--json")
    assert again.returncode == 1
    assert "finished" in again.stderr
    assert json.loads(again.stdout)["stopped_by"] == "rollouts"
    assert len(requests) == asked
    assert len(read_traces(workplace / "run")) == 1


def test_the_same_command_goes_on_where_it_was_killed_and_then_searches_anew(bdc, killed, workplace):
    before = len(killed)
    first = bdc(*DOUBLE, *SEARCH, "--json")
    assert "going on" in first.stderr
    asked = len(killed) - before
    again = bdc(*DOUBLE, *SEARCH, "--json", "--no-cache")
    assert "going on" not in again.stderr
    assert len(killed) - before - asked > asked
    first_result, second_result = json.loads(first.stdout), json.loads(again.stdout)
    assert first_result["tree"] == second_result["tree"]
    assert len(read_traces(workplace / "run")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rollouts", "9"], "search.rollouts: 3 in the run, 9 now"),
        (["--preset", "paper"], "search.answer_first: True in the run, False now"),
        (["--agent", "one"], "give either"),
        (["--out", "other"], "give either"),
    ],
)
def test_other_search_settings_are_refused_and_shown(bdc, configure, words, said):
    configure(respond)
    bdc(*DOUBLE, *SEARCH)
    done = bdc("solve", "--resume", "run", *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_another_model_under_the_same_name_is_refused(bdc, configure, workplace):
    configure(respond)
    bdc(*DOUBLE, *SEARCH)
    text = (workplace / "bdc.toml").read_text()
    (workplace / "bdc.toml").write_text(text.replace('model = "m"', 'model = "other"', 1))
    done = bdc("solve", "--resume", "run")
    assert done.returncode == 2
    assert "agents.one.model: 'm' in the run, 'other' now" in done.stderr


@pytest.mark.parametrize("damage", ["no folder", "no checkpoint", "damaged run.json", "damaged checkpoint"])
def test_what_cannot_be_resumed_is_said(bdc, killed, workplace, damage):
    run = workplace / "run"
    if damage == "no folder":
        run = workplace / "none"
    elif damage == "no checkpoint":
        (run / "checkpoint.sqlite").unlink()
    elif damage == "damaged run.json":
        (run / "run.json").write_text("{")
    else:
        for file in run.glob("checkpoint.sqlite*"):
            file.write_bytes(b"not a database" * 1000)
    done = bdc("solve", "--resume", str(run))
    assert done.returncode in {2, 3}
    assert "Traceback" not in done.stderr
    assert "run" in done.stderr


def test_another_problem_joins_the_run_and_leaves_its_checkpoint_alone(bdc, killed, workplace):
    checkpoint = (workplace / "run/checkpoint.sqlite").read_bytes()
    other = bdc("solve", "Write same(x).", "--test", "assert same(2) == 2", "--rollouts", "1", "--out", "run")
    assert "cannot be resumed" in other.stderr
    assert (workplace / "run/checkpoint.sqlite").read_bytes() == checkpoint
    assert bdc("solve", "--resume", "run").returncode == 1
    assert [trace.problem.statement[:10] for trace in read_traces(workplace / "run")] == [
        "Write same",
        "Write doub",
    ]


def test_two_processes_never_work_on_one_search(bdc, killed, workplace):
    with (workplace / "run" / "checkpoint.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        refused = bdc("solve", "--resume", "run")
    assert refused.returncode == 2
    assert "another process is at work on the search in 'run'" in refused.stderr
    assert bdc("solve", "--resume", "run", "--json").returncode == 1
