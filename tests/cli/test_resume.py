"""`bdc solve --resume`: a real process, killed for real."""

import fcntl
import json
import signal
import sqlite3
import time
import tomllib

import ormsgpack
import pytest

from bdc_agents.runs import read_traces

WRONG = "```python\ndef double(x):\n    return x\n```"
THOUGHT = json.dumps({"thoughts": [{"thought": "add it to itself", "reasonableness": 0.9}]})
DOUBLE = ("solve", "Write double(x), which returns twice x.", "--test", "assert double(2) == 4")
SEARCH = ("--rollouts", "3", "--out", "run")


def respond(body):
    return THOUGHT if "reasonableness" in str(body) else WRONG


@pytest.fixture
def killed(configure, workplace, python):
    """A run folder whose search was killed while it waited for its fourth reply; all requests made."""
    begun = []

    def slow(body):
        begun.append(body)
        if len(begun) == 4:
            time.sleep(3)
        return respond(body)

    requests = configure(slow)
    process = python.start(["-m", "bdc_agents.cli", *DOUBLE, *SEARCH, "--quiet"], workplace)
    deadline = time.monotonic() + 300  # a busy machine takes a minute to start
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
        (["--preset", "paper"], "search.policy: 'default' in the run, 'paper' now"),
        (["--agent", "three"], "keeps its agents: one, two; 'three' is none of them"),
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


# --- steps that are lost, or somebody else's ------------------------------------------------------


def empty(run):
    for file in run.glob("checkpoint.sqlite*"):
        file.unlink()
    (run / "checkpoint.sqlite").touch()


def without_tables(run):
    with sqlite3.connect(run / "checkpoint.sqlite") as base:
        for table in ("writes", "checkpoints"):
            base.execute(f"DROP TABLE {table}")
    base.close()


def without_writes(run):
    with sqlite3.connect(run / "checkpoint.sqlite") as base:
        base.execute("DELETE FROM writes")
    base.close()


def truncated(run):
    with sqlite3.connect(run / "checkpoint.sqlite") as base:
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    base.close()
    file = run / "checkpoint.sqlite"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 // 4096 * 4096 + 100])


def of_another_version(run):
    kept = json.loads((run / "run.json").read_text())
    kept["settings"]["search"]["new_knob"] = 3
    (run / "run.json").write_text(json.dumps(kept))


def of_a_foreign_address(run):
    kept = json.loads((run / "run.json").read_text())
    kept["settings"]["names"] = ["openai:m@http://127.0.0.1:9"]
    kept["settings"]["agents"] = {"openai:m@http://127.0.0.1:9": {"model": "m"}}
    (run / "run.json").write_text(json.dumps(kept))


def changed(run, **settings):
    kept = json.loads((run / "run.json").read_text())
    kept["settings"] |= settings
    (run / "run.json").write_text(json.dumps(kept))


def of_an_agent_that_is_gone(run):
    changed(run, names=["gone"], agents={"gone": {"model": "m2", "structured": "auto"}})


def of_an_agent_that_is_no_name(run):
    changed(run, names=[["one"]])


def of_an_agent_that_is_a_number(run):
    changed(run, agents={"one": 5})


def of_an_edited_problem(run):
    kept = json.loads((run / "run.json").read_text())["settings"]
    changed(run, problem=kept["problem"] | {"statement": "Write double(x), which doubles x."})


def poisoned(run):
    mark = run.parent / "mark"
    call = ormsgpack.packb(("subprocess", "getoutput", (f"touch {mark}",)))
    with sqlite3.connect(run / "checkpoint.sqlite") as base:
        for table, column in (("checkpoints", "checkpoint"), ("writes", "value")):
            blob = ormsgpack.packb({"v": 1, "channel_values": ormsgpack.Ext(1, call)})
            base.execute(f"UPDATE {table} SET {column} = ?, type = 'msgpack'", (blob,))
    base.close()


def pickled(run):
    with sqlite3.connect(run / "checkpoint.sqlite") as base:
        base.execute("UPDATE checkpoints SET checkpoint = ?, type = 'pickle'", (b"cos\nsystem\n.",))
    base.close()


def linked(run):
    empty(run)
    (run / "checkpoint.sqlite").unlink()
    (run.parent / "mine").touch()
    (run / "checkpoint.sqlite").symlink_to(run.parent / "mine")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (empty, "holds no step"),
        (without_tables, "holds no step"),
        (without_writes, "parts of them are lost"),
        (truncated, "checkpoint.sqlite"),
        (of_another_version, "rollouts"),
        (of_a_foreign_address, "names an agent"),
        (of_an_agent_that_is_gone, "names an agent 'gone' that these settings do not have"),
        (of_an_agent_that_is_no_name, "says nothing of its agent ['one']"),
        (of_an_agent_that_is_a_number, "says nothing of its agent 'one'"),
        (of_an_edited_problem, "problem.statement: another one than in the search"),
        (poisoned, "plain data"),
        (pickled, "plain data"),
        (linked, "symbolic link"),
    ],
)
def test_lost_and_foreign_steps_are_refused_and_nothing_is_run_or_asked(bdc, killed, workplace, damage, said):
    damage(workplace / "run")
    before = len(killed)
    done = bdc("solve", "--resume", "run")
    assert done.returncode in {2, 3} if damage in (truncated, linked) else done.returncode == 2
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert len(killed) == before
    assert not (workplace / "mark").exists()
    assert not (workplace / "mine").exists() or not (workplace / "mine").read_bytes()


def test_the_same_command_says_that_it_starts_over(bdc, killed, workplace):
    empty(workplace / "run")
    done = bdc(*DOUBLE, *SEARCH, "--json")
    assert done.returncode == 1
    assert "starts over" in done.stderr


def test_an_agent_at_an_address_is_asked_where_it_is_named_again(bdc, configure, workplace):
    requests = configure(respond)
    address = tomllib.loads((workplace / "bdc.toml").read_text())["agents"]["one"]["base_url"]
    (workplace / "bdc.toml").unlink()
    name = f"m@{address}"
    assert bdc(*DOUBLE, "--calls", "6", "--out", "run", "-a", name).returncode == 1
    assert "finished" in bdc("solve", "--resume", "run").stderr  # nobody is asked
    asked = len(requests)
    # The folder may be somebody else's: prompts go to an address of it only where a person names it.
    refused = bdc("solve", "--resume", "run", "--calls", "9")
    assert refused.returncode == 2
    assert f"bdc solve --resume run -a {name}" in " ".join(refused.stderr.split())
    assert len(requests) == asked
    done = bdc("solve", "--resume", "run", "--calls", "9", "-a", name, "--json")
    assert "going on" in done.stderr
    assert len(requests) > asked


def test_a_raised_cap_goes_on(bdc, configure, workplace):
    requests = configure(respond)
    assert bdc(*DOUBLE, "--calls", "6", "--out", "run").returncode == 1
    first = len(requests)
    done = bdc("solve", "--resume", "run", "--calls", "9", "--json")
    assert "going on" in done.stderr
    result = json.loads(done.stdout)
    assert first < sum(used["calls"] for used in result["usage"].values()) <= 9
    again = bdc("solve", "--resume", "run", "--calls", "9", "--json")
    assert "finished" in again.stderr
    assert json.loads(again.stdout) == result
