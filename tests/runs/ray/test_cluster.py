"""Two real Ray nodes on loopback with a token, one of which dies in the middle.

It takes about two minutes: BDC_TEST_RAY=1 python -m pytest tests/runs/ray
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
World = Any  # of conftest.py


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
    """Starts `bdc collect demo --engine ray` in a process of its own."""
    tables = [
        f'[agents.{name}]\nmodel = "{name}"\nbase_url = "{world.endpoint.url}"\nretries = 0\n'
        'concurrency = 2\nstructured = "json_schema"\n'
        for name in ("ann", "bob")
    ]
    limits = "[search]\nrollouts = 3\nwidth = 2\n[budget]\ncalls = 8\n"
    (world.folder / "bdc.toml").write_text("".join(tables) + limits)
    words = [sys.executable, "-m", "bdc_agents.cli", "collect", "demo", "--out", "run", "--json"]
    words += ["--engine", "ray", "--ray-address", cluster.address]
    begun = []

    def begin(*more: str) -> subprocess.Popen[str]:
        begun.append(
            subprocess.Popen(
                [*words, *more],
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
