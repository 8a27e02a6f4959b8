"""LangGraph's own suite for checkpointers, on those that the package opens."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.cli.watched_search import open_checkpoints
from bdc_agents.search import PlainSerializer

suite = pytest.importorskip("langgraph.checkpoint.conformance", reason="pip install 'bdc-agents[dev]'")


async def in_memory(_: Path) -> AsyncGenerator[Any]:
    """That of a pool's rounds, in `bdc collect` and `bdc eval`."""
    yield InMemorySaver(serde=PlainSerializer())


async def in_a_file(folder: Path) -> AsyncGenerator[Any]:
    """That of `bdc solve --out`."""
    async with open_checkpoints(folder / "checkpoint.sqlite", resumes=False) as saver:
        yield saver


@pytest.mark.parametrize("opened", [in_memory, in_a_file])
async def test_a_checkpointer_of_plain_data_conforms(opened: Any, tmp_path_factory: Any) -> None:
    @suite.checkpointer_test(name=opened.__name__)
    async def saver() -> AsyncGenerator[Any]:
        async for one in opened(tmp_path_factory.mktemp("steps")):
            yield one

    report = await suite.validate(saver)
    told = {name: result.failures for name, result in report.results.items() if result.failures}
    assert report.passed_all(), told
    assert sum(result.tests_passed for result in report.results.values()) > 40
