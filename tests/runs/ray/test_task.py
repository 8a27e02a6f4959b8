"""One long job that survives its node; `test_cluster.py` does the same on real nodes."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.runs.ray import task
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.desk import NodeLost
from bdc_agents.runs.ray.task import Needs, at_driver, run_on


class Dying(RayCluster):
    """A cluster whose first nodes die, each after it has begun the job.

    Args:
        deaths: How many.
    """

    def __init__(self, deaths: int) -> None:
        self.deaths = deaths
        self.asked: list[dict[str, float]] = []

    async def run(self, function: Callable[..., Any], *arguments: Any, told: Any = None, **needs: Any) -> Any:
        assert told is None
        self.asked.append(needs)
        if len(self.asked) <= self.deaths:
            raise NodeLost("the machine is off")
        return function(*arguments)


def count_to(last: int, file: Path) -> int:
    """A job that keeps how far it is, and fails where it would do a step twice."""
    done = len(file.read_text().split()) if file.exists() else 0
    for number in range(done, last):
        with file.open("a") as kept:
            kept.write(f"{number}\n")
    return done


async def test_a_job_whose_node_dies_starts_again_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "steps").write_text("0\n1\n")  # what the lost node had done
    cluster, told = Dying(2), []
    done = await run_on(cluster, count_to, 5, tmp_path / "steps", needs=Needs(gpus=1), tell=told.append)
    assert done == 2
    assert (tmp_path / "steps").read_text().split() == list("01234")
    assert cluster.asked == [{"cpus": 1.0, "gpus": 1.0}] * 3
    assert len(told) == 2
    assert "the machine is off" in told[0]


async def test_one_node_after_the_other_is_too_much(tmp_path: Path) -> None:
    with pytest.raises(BDCError, match=r"lost 3 times.*the same command goes on"):
        await run_on(Dying(99), count_to, 5, tmp_path / "steps", needs=Needs(), tell=lambda _: None)


async def test_losses_far_apart_do_not_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task, "SOON_SECONDS", -1.0)
    done = await run_on(Dying(9), count_to, 1, tmp_path / "steps", needs=Needs(), tell=lambda _: None)
    assert done == 0


async def test_an_error_of_the_job_is_the_callers(tmp_path: Path) -> None:
    cluster = Dying(0)
    with pytest.raises(FileNotFoundError):
        await run_on(cluster, Path.read_text, tmp_path / "none", needs=Needs(), tell=lambda _: None)
    assert len(cluster.asked) == 1, "it would fail again"


class Unpicklable(RuntimeError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} and {two}")


async def test_an_error_that_cannot_travel_is_told_all_the_same(tmp_path: Path) -> None:
    def fail() -> None:
        raise Unpicklable("this", "that")

    with pytest.raises(BDCError, match="Unpicklable: this and that"):
        await run_on(Dying(0), fail, needs=Needs(), tell=lambda _: None)


def test_a_node_works_in_the_drivers_folder_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    package = task.version("bdc-agents")
    assert at_driver(tmp_path, package, os.getcwd, ()) == str(tmp_path)
    assert at_driver(tmp_path / "none", package, os.getcwd, ()) == str(tmp_path)
    with pytest.raises(ConfigError, match=r"the driver 0\.0\.0; install the same"):
        at_driver(tmp_path, "0.0.0", os.getcwd, ())
