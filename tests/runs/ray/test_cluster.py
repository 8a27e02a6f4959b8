"""Two real Ray nodes on loopback with a token, one of which dies in the middle.

It takes about four minutes: BDC_TEST_RAY=1 python -m pytest tests/runs/ray
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

from bdc_agents.data import load_tasks

if "BDC_TEST_RAY" not in os.environ:
    pytest.skip("BDC_TEST_RAY is not set", allow_module_level=True)
pytest.importorskip("ray")

PROBLEMS = sorted(task.problem.id for task in load_tasks("demo"))
HEAD, OTHER = "127.0.0.2", "127.0.0.3"
World = Any  # of the conftest.py above


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Cluster:
    """Ray nodes on loopback, each with an address of its own.

    Args:
        folder: Of Ray's own files; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind((HEAD, 0))
            self.address = f"{HEAD}:{free.getsockname()[1]}"
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }

    def start(self, host: str) -> None:
        """Starts a node and waits for it."""
        head = ["--head", f"--port={self.address.rpartition(':')[2]}", "--include-dashboard=false"]
        head += [f"--temp-dir={self.folder}"]
        words = ["start", *(head if host == HEAD else [f"--address={self.address}"])]
        words += [f"--node-ip-address={host}", "--num-cpus=1", f"--object-store-memory={100 * 2**20}"]
        subprocess.run(
            [Path(sys.executable).with_name("ray"), *words],
            env=self.environment | {"BDC_TEST_NODE": self.mark(host)},
            check=True,
            capture_output=True,
            timeout=120,
        )

    def mark(self, host: str) -> str:
        return f"{self.folder.name}/{host}"

    def kill(self, host: str) -> int:
        """Kills all processes of a node with SIGKILL, as if its machine were switched off."""
        marked = f"BDC_TEST_NODE={self.mark(host)}".encode()
        killed = 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marked in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
        return killed


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder))
        try:
            made.start(HEAD)
            yield made
        finally:
            for host in (OTHER, HEAD):
                made.kill(host)


@pytest.fixture
def start(world: World, cluster: Cluster) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `bdc collect demo --engine ray`, or another command, in a process of its own."""
    world.configure("concurrency = 2\n")
    ray = ["--engine", "ray", "--ray-address", cluster.address]
    collect = ["-m", "bdc_agents.cli", "collect", "demo", "--out", "run", "--json", *ray]
    begun = []

    def begin(*words: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [sys.executable, *(words or collect)],
                cwd=world.folder,
                env=cluster.environment | {"XDG_CACHE_HOME": str(world.folder / "home")},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_node_dies_in_the_middle_and_nothing_is_lost(
    world: World, cluster: Cluster, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.delay = 0.3
    cluster.start(OTHER)
    process = start()
    wait_for(lambda: world.open > 4)  # more than the slots of one node: both work
    wait_for(lambda: len(world.endpoint.requests) >= 20)
    in_flight = world.open
    assert cluster.kill(OTHER) > 0
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["ended"], report["done"], report["failures"]) == ("complete", len(PROBLEMS), {})
    assert sorted(world.ids()) == PROBLEMS, "one trace a problem"
    assert world.repeated <= in_flight + 2, "an answer may have been on its way"
    assert any(f"Ray node {OTHER} is lost" in note for note in report["notes"])


def test_a_killed_driver_goes_on_with_the_same_command(
    world: World, cluster: Cluster, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.delay = 0.3
    killed = start()
    wait_for(lambda: len(world.endpoint.requests) >= 8)
    killed.kill()
    wait_for(lambda: not world.open or len(world.endpoint.requests) > 40)
    again = start()
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert json.loads(out)["ended"] == "complete"
    assert sorted(world.ids()) == PROBLEMS
    assert world.repeated <= 8


def test_a_signal_ends_it_gracefully(
    world: World, cluster: Cluster, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.delay = 0.3
    process = start()
    wait_for(lambda: len(world.endpoint.requests) >= 4)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    report = json.loads(out)
    assert (report["ended"], report["leased"]) == ("stopped", 0)


# --- evaluation, and one long job -----------------------------------------------------------------


def test_an_evaluation_loses_a_node_and_no_row(
    world: World, cluster: Cluster, start: Callable[..., subprocess.Popen[str]]
) -> None:
    world.delay = 0.3
    cluster.start(OTHER)
    words = ["-m", "bdc_agents.cli", "eval", "demo", "--solver", "best-of:2", "--solver", "search"]
    words += ["--concurrency", "2", "--out", "evaluated", "--json", "--engine", "ray"]
    process = start(*words, "--ray-address", cluster.address)
    wait_for(lambda: world.open > 4)  # more than the slots of one node: both work
    wait_for(lambda: len(world.endpoint.requests) >= 16)
    in_flight = world.open
    assert cluster.kill(OTHER) > 0
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    assert json.loads(out)["rows"] == 2 * len(PROBLEMS)
    rows = [json.loads(line) for line in (world.folder / "evaluated/results.jsonl").read_text().splitlines()]
    assert sorted((row["problem"], row["solver"]) for row in rows) == sorted(
        (problem, solver) for problem in PROBLEMS for solver in ("best-of:2", "search")
    ), "each row once"
    assert world.repeated <= in_flight + 2, "an answer may have been on its way"
    assert f"Ray node {OTHER} is lost" in err


JOB = """
import asyncio, os, sys, time
from pathlib import Path
from bdc_agents.runs.ray.task import run_remote

def count_to(last, file, tell):
    done = len(file.read_text().split()) if file.exists() else 0
    for number in range(done, last):
        with file.open("a") as kept:
            kept.write(os.environ["BDC_TEST_NODE"] + "\\n")
        tell(f"step {number}")
        time.sleep(0.3)
    return done

tell = lambda text: print(text, file=sys.stderr)
print(asyncio.run(run_remote(count_to, 20, Path("steps"), address=sys.argv[1], tell=tell, told=tell)))
"""


HOLD = """
import sys, time, ray
from pathlib import Path

ray.init(address=sys.argv[1], _node_ip_address="127.0.0.2", log_to_driver=False)

@ray.remote(num_cpus=1, resources={"node:127.0.0.2": 0.001})
def hold(folder):
    (folder / "held").touch()
    time.sleep(300)

ray.get(hold.remote(Path.cwd()))  # the head may not run the job: it is not to die
"""


def test_a_long_job_goes_on_where_its_node_died(
    world: World, cluster: Cluster, start: Callable[..., subprocess.Popen[str]]
) -> None:
    cluster.start(OTHER)
    (world.folder / "job.py").write_text(JOB)
    steps = world.folder / "steps"
    (world.folder / "hold.py").write_text(HOLD)
    holding = start("hold.py", cluster.address)
    wait_for((world.folder / "held").exists)
    process = start("job.py", cluster.address)
    wait_for(lambda: steps.exists() and len(steps.read_text().split()) >= 3)
    assert steps.read_text().split()[0] == cluster.mark(OTHER)
    assert cluster.kill(OTHER) > 0
    holding.kill()
    out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    done = steps.read_text().split()
    assert len(done) == 20, "no step is lost or done twice"
    assert {done[0], done[-1]} == {cluster.mark(OTHER), cluster.mark(HEAD)}
    assert 3 <= int(out) < 20
    assert "starts again on another" in err
    heard = [line for line in err.splitlines() if line.startswith("step ")]
    assert heard[-1] == "step 19", "the last word is heard"
    assert set(heard) >= {f"step {number}" for number in range(20) if number != int(out) - 1}, (
        "what a dying node said last may be lost"
    )
