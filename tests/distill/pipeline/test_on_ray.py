"""A library that a node makes: with the driver's disk or without, and where the first node dies.

`tests/runs/ray/test_cluster.py` has the cluster itself.
"""

import asyncio
import pickle
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `distill`")
pytest.importorskip("peft", reason="training needs the extra `distill`")
pytest.importorskip("sklearn", reason="clustering needs the extra `distill`")

from bdc_agents.distill import on_ray  # noqa: E402
from bdc_agents.distill.on_ray import distill_on_ray  # noqa: E402
from bdc_agents.distill.pipeline import distill  # noqa: E402
from bdc_agents.distill.recipe import Recipe  # noqa: E402
from bdc_agents.distill.training.loop import Report  # noqa: E402
from bdc_agents.errors import UsageError  # noqa: E402
from bdc_agents.experts.library import ExpertLibrary  # noqa: E402
from bdc_agents.runs.ray import task  # noqa: E402
from bdc_agents.runs.ray.desk import NodeLost  # noqa: E402
from bdc_agents.runs.ray.task import Needs  # noqa: E402
from bdc_agents.types import Trace  # noqa: E402

Make = Callable[..., Trace]


class Letters:
    """What a job tells with: it has been pickled, as on its way to another machine."""

    def __init__(self, told: Callable[[Any], None]) -> None:
        self.told = told

    def __call__(self, item: Any) -> None:
        self.told(pickle.loads(pickle.dumps(item)))


class OneNode:
    """A cluster of one node, whose first lives end at a word that the job says.

    Args:
        dies_at: The words, one for each life that is cut off.
    """

    def __init__(self, *dies_at: str) -> None:
        self.dies_at = [*dies_at]
        self.asked: list[tuple[float, float]] = []

    async def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        cpus: float,
        gpus: float,
        told: Callable[[Any], None] | None,
    ) -> Any:
        assert told is not None
        self.asked.append((cpus, gpus))
        last_word = self.dies_at.pop(0) if self.dies_at else None

        def listen(message: Any) -> None:
            told(message)
            if last_word and last_word in str(message):
                raise NodeLost("the machine is off")

        there = pickle.loads(pickle.dumps(arguments))
        return pickle.loads(pickle.dumps(await asyncio.to_thread(function, *there, Letters(listen))))


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., OneNode]:
    """Makes the node that the next job runs on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def make(*dies_at: str) -> OneNode:
        made = OneNode(*dies_at)

        @asynccontextmanager
        async def connected(address: str | None) -> AsyncIterator[OneNode]:
            assert address == "auto"
            yield made

        monkeypatch.setattr(task, "connected", connected)
        return made

    return make


def same(one: ExpertLibrary, other: ExpertLibrary) -> bool:
    return one.names == other.names and all(
        torch.equal(value, other.weights(name)[key])
        for name in one.names
        for key, value in one.weights(name).items()
    )


@pytest.mark.parametrize("shared", [True, False], ids=["the driver's disk", "a disk of its own"])
async def test_a_node_makes_the_library_that_this_machine_would(
    shared: bool,
    node: Callable[..., OneNode],
    recipe: Recipe,
    trace: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = node()
    traces = [trace(n) for n in range(12)]
    if not shared:
        monkeypatch.setattr(on_ray, "_sees", lambda _: False)
    said: list[str] = []
    reports: list[Report] = []
    there = await distill_on_ray(
        traces,
        "made/library",
        recipe,
        lineage={"traces": "abc"},
        say=said.append,
        watch=reports.append,
        address="auto",
        needs=Needs(cpus=2, gpus=1),
    )
    here = await asyncio.to_thread(distill, traces, tmp_path / "here" / "library", recipe)
    assert there.folder == tmp_path / "made" / "library"
    assert not there.check()
    assert there.manifest.lineage["traces"] == "abc"
    assert same(there, here.library)
    assert cluster.asked == [(2.0, 1.0)]
    assert any("clusters" in line for line in said)
    assert any(report.losses for report in reports)
    made_there = any((tmp_path / "cache" / "bdc-agents" / "distill").glob("*/library"))
    assert made_there == (not shared)
    assert not (tmp_path / "made" / "library.work" / "driver").exists()


async def test_where_the_node_dies_another_one_goes_on(
    node: Callable[..., OneNode], recipe: Recipe, trace: Make
) -> None:
    cluster = node("training the router")
    traces = [trace(n) for n in range(12)]
    steps: list[int] = []

    def watch(report: Report) -> None:
        if report.losses:
            steps.append(report.step)

    said: list[str] = []
    made = await distill_on_ray(traces, "library", recipe, say=said.append, watch=watch, address="auto")
    assert len(cluster.asked) == 2
    assert not made.check()
    assert any("starts again on another" in line for line in said)
    experts = steps[: steps.index(max(steps)) + 1]
    assert experts == list(range(1, len(experts) + 1)), "no step of the experts was made twice"


async def test_what_the_job_refuses_is_refused_here(
    node: Callable[..., OneNode], recipe: Recipe, trace: Make, tmp_path: Path
) -> None:
    node()
    with pytest.raises(UsageError, match="2 problems of 2 traces"):
        await distill_on_ray([trace(0), trace(1)], "library", recipe, address="auto")
    assert not (tmp_path / "library").exists()
    assert not (tmp_path / "library.work" / "driver").exists()
