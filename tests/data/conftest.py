import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from bdc_agents.errors import SandboxRefused
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.types import Task, TestCase, Verdict

Run = Callable[..., object]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes of data files are kept with the tests, not in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture
def data() -> Path:
    """The folder of real data sets."""
    folder = Path(os.environ.get("BDC_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / "humaneval").is_dir():
        pytest.skip("the data sets are not on this machine")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as JSON lines into a file of a fresh folder."""

    def write_rows(name: str, *rows: object) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
        return file

    return write_rows


@pytest_asyncio.fixture
async def run() -> AsyncIterator[Run]:
    """Runs a program on all tests of a task, or on those given, in the real sandbox."""
    try:
        executor = create_executor()
    except SandboxRefused as refused:
        pytest.skip(str(refused))

    async def run_program(task: Task, code: str, tests: tuple[TestCase, ...] | None = None) -> Verdict:
        chosen = (*task.problem.public_tests, *task.hidden.reveal()) if tests is None else tests
        return await executor.run(job_for(task.problem, code, chosen))

    yield run_program
    await executor.aclose()
