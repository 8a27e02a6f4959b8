import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bdc_agents.errors import SandboxError
from bdc_agents.sandbox import Job, TierReport, probe_tier
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.probes import attack
from bdc_agents.sandbox.tiers import Tier, make_tier
from bdc_agents.types import CallTest, Limits, TestCase, TestResult, Verdict

QUICK = Limits(wall_seconds=3, cpu_seconds=3, memory_mb=128)

Run = Callable[..., Awaitable[Verdict]]


@cache
def available(name: str) -> Tier | TierReport:
    """The tier, on this interpreter or on the system's, or why there is none."""
    report = probe_tier(name)
    if report.holds:
        return make_tier(name)
    system = "/usr/bin/python3"
    same = f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"
    try:
        subprocess.run([system, "-c", same], check=True)
        tier = make_tier(name, system)
        return report if attack(tier) else tier
    except (OSError, subprocess.CalledProcessError, SandboxError):
        return report


def executor(name: str, marker: str) -> ProcessExecutor:
    tier = available(name)
    if isinstance(tier, TierReport):
        pytest.skip(f"{name}: {tier.reason}")
    return ProcessExecutor(replace(tier, command=(*tier.command, marker)), workers=4)


def processes_of(marker: str) -> list[int]:
    """Processes whose command line carries the marker, wherever they hang in the tree."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def marker(request: pytest.FixtureRequest) -> str:
    """In the command line of every process of this test's sandboxes."""
    return f"marker-{os.getpid()}-{abs(hash(request.node.nodeid))}"


@pytest.fixture
def remaining(marker: str) -> Callable[[], list[int]]:
    return lambda: processes_of(marker)


@pytest.fixture(params=["namespaces", "bubblewrap"])
async def sandbox(request: pytest.FixtureRequest, marker: str) -> AsyncIterator[ProcessExecutor]:
    """An executor of each tier that isolates and that this machine has."""
    started = executor(request.param, marker)
    yield started
    await started.aclose()


@pytest.fixture(params=["namespaces", "bubblewrap", "gvisor", "landlock"])
async def any_tier(request: pytest.FixtureRequest, marker: str) -> AsyncIterator[ProcessExecutor]:
    """An executor of each tier that this machine has, those without namespaces too."""
    started = executor(request.param, marker)
    yield started
    await started.aclose()


@pytest.fixture
def strongest_tier() -> Tier:
    """The first tier of this machine that isolates."""
    found = [tier for tier in map(available, ("namespaces", "bubblewrap")) if isinstance(tier, Tier)]
    if not found:
        pytest.skip("no tier isolates here")
    return found[0]


@pytest.fixture
def landlock_tier() -> Tier:
    """The tier without namespaces."""
    found = available("landlock")
    if not isinstance(found, Tier):
        pytest.skip(f"landlock: {found.reason}")
    return found


@pytest.fixture
async def strongest(strongest_tier: Tier, marker: str) -> AsyncIterator[ProcessExecutor]:
    """An executor of it."""
    started = executor(strongest_tier.name, marker)
    yield started
    await started.aclose()


@pytest.fixture
def run(strongest: ProcessExecutor) -> Run:
    """Runs a program on tests; the verdict."""

    async def run(code: str, *tests: TestCase, limits: Limits = QUICK, **fields: object) -> Verdict:
        return await strongest.run(Job(code=code, tests=tests, limits=limits, **fields))

    return run


@pytest.fixture
def call(run: Run) -> Callable[..., Awaitable[TestResult]]:
    """Runs a program and one call on it; the result."""

    async def call(code: str, expression: str, *expected: str, **fields: object) -> TestResult:
        verdict = await run(code, CallTest(call=expression, expected=expected or ("None",)), **fields)
        return verdict.results[0]

    return call
