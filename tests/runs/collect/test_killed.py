"""The command in a process of its own, killed and asked to end."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.data import load_tasks
from bdc_agents.runs.jobs.sqlite import SqliteJobs

from ...warm import Started, Warm
from ..conftest import timeless

PROBLEMS = sorted(task.problem.id for task in load_tasks("demo", limit=5))
World = Any  # of conftest.py


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_command_is_gone_on_with_at_once(world: World, start: Callable[..., Started]) -> None:
    world.delay = 0.05
    killed = start()
    wait_for(lambda: len(world.endpoint.requests) >= 12)
    killed.kill()
    killed.communicate()
    table = SqliteJobs(world.folder / "run" / "jobs.sqlite", is_gone=lambda _: False)
    assert table.totals().leased > 0
    table.close()
    again = start()
    out, _ = again.communicate(timeout=90)
    assert again.returncode == 0
    assert json.loads(out)["ended"] == "complete"
    assert sorted(world.traces()) == PROBLEMS
    # Lost is what was in flight; an answer may also have been on its way to the cache.
    assert sum(world.asked.values()) - len(world.asked) <= 2 * 16


def test_one_of_two_commands_is_killed_and_the_other_does_its_work_too(
    world: World, start: Callable[..., Started]
) -> None:
    world.delay = 0.1
    both = [start("--concurrency", "2") for _ in range(2)]
    table = world.folder / "run" / "jobs.sqlite"
    wait_for(lambda: table.exists() and holders(table) == 2)
    both[0].kill()
    both[0].communicate()
    out, _ = both[1].communicate(timeout=90)
    assert both[1].returncode == 0
    assert json.loads(out)["done"] == len(PROBLEMS)
    assert sorted(world.traces()) == PROBLEMS


def holders(table: Path) -> int:
    """How many processes hold jobs."""
    with closing(sqlite3.connect(f"file:{table}?mode=ro", uri=True, timeout=30)) as connection:
        try:
            ((count,),) = connection.execute(
                "SELECT COUNT(DISTINCT owner) FROM bdc_jobs WHERE state = 'leased'"
            )
        except sqlite3.OperationalError:  # the table is being made
            return 0
    return count


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_gracefully(
    world: World, start: Callable[..., Started], number: int, code: int
) -> None:
    world.delay = 0.05
    process = start()
    wait_for(lambda: len(world.endpoint.requests) >= 6)
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code
    ended = json.loads(out)
    assert (ended["ended"], ended["leased"]) == ("stopped", 0)


def test_a_second_signal_ends_it_at_once(world: World, start: Callable[..., Started]) -> None:
    world.delay = 0.05
    process = start("--quiet")
    wait_for(lambda: len(world.endpoint.requests) >= 6)
    for _ in range(200):
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGINT)
        time.sleep(0.01)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)


def test_trees_that_learn_from_others_are_the_same_after_a_kill(world: World, python: Warm) -> None:
    world.configure()
    settings = world.folder / "bdc.toml"
    settings.write_text(settings.read_text().replace("rollouts = 3\nwidth = 2\n", ""))
    rows = [
        {"id": f"t{number}", "statement": f"Write f(x), {number}.", "public_tests": ["assert f(1) == 1"]}
        for number in range(14)
    ]
    (world.folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(run: str, *more: str) -> Started:
        words = ["-m", "bdc_agents.cli", "collect", "tasks.jsonl", "--out", run, "--calls", "4", *more]
        environment = os.environ | {"XDG_CACHE_HOME": str(world.folder / "home")}
        return python.start([*words, "--json"], world.folder, environment)

    start("whole", "--concurrency", "1").communicate(timeout=300)
    world.delay = 0.02
    killed = start("run", "--no-cache")
    traces = world.folder / "run" / "trace.jsonl"
    wait_for(lambda: traces.exists() and len(traces.read_bytes().splitlines()) >= 11)
    killed.kill()
    killed.communicate()
    start("run", "--no-cache").communicate(timeout=300)
    assert len(world.traces("whole")) == len(rows)
    assert any(trace["settings"]["search"]["beliefs"] for trace in world.traces("whole").values())
    assert world.traces("run") == world.traces("whole")


def test_a_pool_is_shared_out_as_it_would_have_been_without_the_kill(world: World, python: Warm) -> None:
    """Killed in its first round, at its end, and in a later one."""
    world.configure()
    settings = world.folder / "bdc.toml"
    settings.write_text(settings.read_text().replace("rollouts = 3\nwidth = 2\n", ""))
    parts = (1, 5, 1000)

    def respond(body: dict[str, Any]) -> str:
        """One program in 1, 5 or 1,000 passes, in turn, as its seed decides."""
        time.sleep(world.delay)
        text = str(body["messages"])
        number = next(number for number in range(9) if f"Write f(), {number}." in text)
        lucky = body["seed"] // 7 % parts[number % 3] == 0
        return f"```python\ndef f():\n    return {0 if lucky else body['seed'] + 1}\n```"

    world.respond = respond  # type: ignore[method-assign]
    rows = [
        {
            "id": f"t{number}",
            "statement": f"Write f(), {number}.",
            "public_tests": ["assert f() == 0"],
        }
        for number in range(9)
    ]
    (world.folder / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(run: str, *more: str) -> Started:
        words = ["-m", "bdc_agents.cli", "collect", "tasks.jsonl", "--out", run, "--calls-total", "54", *more]
        environment = os.environ | {"XDG_CACHE_HOME": str(world.folder / "home")}
        return python.start([*words, "--json"], world.folder, environment)

    out, _ = start("whole", "--concurrency", "1").communicate(timeout=300)
    whole = json.loads(out)["pool"]
    assert whole["rounds"] > 1
    assert whole["used"]["calls"] <= 54
    records = len((world.folder / "whole" / "trace.jsonl").read_bytes().splitlines())
    assert records > len(rows)

    traces = world.folder / "run" / "trace.jsonl"
    world.delay = 0.02
    for lines in (4, len(rows), records - 1):
        killed = start("run", "--no-cache", "--concurrency", "3")
        wait_for(
            lambda lines=lines, killed=killed: (
                killed.poll() is not None
                or (traces.exists() and len(traces.read_bytes().splitlines()) >= lines)
            )
        )
        killed.kill()
        killed.communicate()
    out, _ = start("run", "--no-cache", "--concurrency", "8").communicate(timeout=300)
    again = json.loads(out)
    assert again["ended"] == "complete"
    assert again["pool"] == whole
    assert last_of_each(world, "run") == last_of_each(world, "whole")


def last_of_each(world: World, run: str) -> dict[str, Any]:
    lines = (world.folder / run / "trace.jsonl").read_text().splitlines()
    return {trace["problem"]["id"]: timeless(trace) for trace in map(json.loads, lines)}
