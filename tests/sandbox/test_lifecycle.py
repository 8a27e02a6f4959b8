"""Nothing is left behind: no process, zombie, descriptor, thread or file."""
# ruff: noqa: ASYNC110, ASYNC220, ASYNC240, E501

import asyncio
import gc
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from bdc_agents.errors import ConfigError, SandboxError
from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.tiers import WORK, make_tier
from bdc_agents.sandbox.turns import Turns
from bdc_agents.types import CallTest, Limits

ONE = CallTest(call="f()", expected=("1",))
RIGHT = Job(code="def f():\n    return 1", tests=(ONE, ONE))
ENDLESS = Job(
    code="def f():\n    while True: pass", tests=(ONE, ONE), limits=Limits(wall_seconds=600, cpu_seconds=300)
)
FORK_BOMB = Job(
    code="import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass",
    tests=(ONE,),
    limits=Limits(wall_seconds=0.2, processes=8),
)
MEMORY_BOMB = Job(code="def f():\n    return [0] * 10**9", tests=(ONE,), limits=Limits(memory_mb=64))


def descriptors() -> int:
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def children() -> list[str]:
    return [
        pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()
    ]


async def settled(measure, expected, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while measure() != expected and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return measure()


async def running(remaining, processes: int, seconds: float = 120.0) -> None:
    """Waits until there are so many processes, and a moment for the last of them to get to work."""
    deadline = time.monotonic() + seconds
    while len(remaining()) < processes and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await asyncio.sleep(1)


async def test_a_hundred_runs_leave_nothing_behind(strongest: ProcessExecutor, remaining):
    before = descriptors(), children(), threading.active_count()

    async def cancelled() -> str:
        task = asyncio.create_task(strongest.run(ENDLESS))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return "cancelled"

    async def ran(job: Job) -> str:
        return (await strongest.run(job)).results[0].outcome

    work = [ran(RIGHT) for _ in range(70)] + [ran(FORK_BOMB) for _ in range(5)]
    work += [ran(MEMORY_BOMB) for _ in range(10)] + [cancelled() for _ in range(15)]
    outcomes = await asyncio.gather(*work)
    assert {name: outcomes.count(name) for name in set(outcomes)} == {
        "passed": 70,
        "timeout": 5,
        "memory": 10,
        "cancelled": 15,
    }
    assert await settled(lambda: len(remaining()) <= 4 * 3, True), "more than four warm workers are left"
    await strongest.aclose()
    assert await settled(remaining, []) == []
    assert await settled(descriptors, before[0]) == before[0]
    assert await settled(children, before[1]) == before[1]
    # Workers are started on threads of the loop's own pool, which keeps a few; nothing else is left.
    await asyncio.get_running_loop().shutdown_default_executor()
    assert await settled(threading.active_count, before[2]) == before[2]


async def test_cancelling_kills_the_whole_tree_at_once(sandbox: ProcessExecutor, remaining):
    task = asyncio.create_task(sandbox.run(ENDLESS))
    while len(remaining()) < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await settled(remaining, []) == []  # Long before its limits.


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05])
async def test_cancelling_at_any_moment_leaves_nothing(strongest: ProcessExecutor, remaining, delay):
    before = descriptors()
    task = asyncio.create_task(strongest.run(ENDLESS))
    await asyncio.sleep(delay)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await settled(remaining, []) == []
    assert await settled(descriptors, before) == before


async def test_a_time_limit_around_a_run_works(strongest: ProcessExecutor):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await strongest.run(ENDLESS)
    assert (await strongest.run(RIGHT)).passed


async def test_closing_ends_what_runs_and_refuses_more(strongest: ProcessExecutor, remaining):
    task = asyncio.create_task(strongest.run(ENDLESS))
    await asyncio.sleep(0.1)
    await strongest.aclose()
    with pytest.raises(SandboxError, match="closed"):
        await task
    with pytest.raises(SandboxError, match="closed"):
        await strongest.run(RIGHT)
    assert await settled(remaining, []) == []
    await strongest.aclose()


async def test_no_more_than_the_workers_run_at_once(strongest: ProcessExecutor):
    one = ProcessExecutor(strongest._tier, workers=1)
    sleeper = Job(code="import time\ndef f():\n    time.sleep(0.2)\n    return 1", tests=(ONE,))
    started = time.monotonic()
    verdicts = await asyncio.gather(*(one.run(sleeper) for _ in range(3)))
    assert all(verdict.passed for verdict in verdicts)
    assert sum(verdict.seconds for verdict in verdicts) <= time.monotonic() - started


async def test_a_killed_sandbox_gives_a_verdict(sandbox: ProcessExecutor, remaining):
    tests = (ONE, CallTest(call="g()", expected=("1",)), ONE)
    code = "import time\ndef f():\n    return 1\ndef g():\n    time.sleep(20)"
    assert (await sandbox.run(RIGHT)).passed  # so that the next start is as quick as it gets
    limits = Limits(wall_seconds=20, cpu_seconds=20)
    task = asyncio.create_task(sandbox.run(Job(code=code, tests=tests, limits=limits)))
    await running(remaining, 3 if sandbox.tier == "bubblewrap" else 4)
    for pid in remaining():
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
    verdict = await task
    assert verdict.results[0].outcome == "passed"
    assert {result.outcome for result in verdict.results[1:]} == {"killed"}


async def test_an_interpreter_that_does_not_start_is_an_error_with_its_reason():
    tier = make_tier("unsafe")
    missing = ProcessExecutor(replace(tier, command=("/nowhere/python", *tier.command[1:])))
    with pytest.raises(SandboxError, match="/nowhere/python"):
        await missing.run(RIGHT)
    broken = ProcessExecutor(replace(tier, command=(tier.command[0], "-c", "import no_such_module")))
    with pytest.raises(SandboxError, match="no_such_module"):
        await broken.run(RIGHT)


async def test_isolation_that_cannot_be_built_is_an_error_with_its_reason():
    tier = make_tier("namespaces")
    impossible = ProcessExecutor(replace(tier, setup=tier.setup | {"folders": ["/no/such/folder"]}))
    with pytest.raises(SandboxError, match="did not start"):
        await impossible.run(RIGHT)


async def test_the_death_of_the_caller_is_the_end_of_its_programs(
    strongest: ProcessExecutor, marker, remaining
):
    script = f"""
        import asyncio
        from dataclasses import replace
        from bdc_agents.sandbox import Job
        from bdc_agents.sandbox.executor import ProcessExecutor
        from bdc_agents.sandbox.tiers import WORK, make_tier
        from bdc_agents.types import CallTest, Limits

        tier = make_tier({strongest.tier!r})
        executor = ProcessExecutor(replace(tier, command=(*tier.command, {marker!r})))
        test = CallTest(call="f()", expected=("1",))
        job = Job(code="def f():\\n    while True: pass", tests=(test,), limits=Limits(wall_seconds=60))
        asyncio.run(executor.run(job))
    """
    caller = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)])
    deadline = time.monotonic() + 120
    while len(remaining()) < 4 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    started = len(remaining())
    caller.kill()
    caller.wait()
    assert started >= 4
    assert await settled(remaining, []) == []


async def test_the_unsafe_tier_leaves_no_file_or_process(marker, remaining):
    tier = make_tier("unsafe")
    executor = ProcessExecutor(replace(tier, command=(*tier.command, marker)))
    before = set(Path(tempfile.gettempdir()).glob("bdc-program-*"))
    code = (
        "import os, time\ndef f():\n    open('left', 'w').close()\n    if os.fork() == 0:\n        os.setsid()\n"
        "        if os.fork() == 0:\n            time.sleep(30)\n        os._exit(0)\n    os.wait()\n    return 1"
    )
    verdict = await executor.run(Job(code=code, tests=(ONE,), limits=Limits(processes=4)))
    assert (verdict.passed, verdict.tier) == (True, "unsafe"), verdict.results
    assert await settled(remaining, []) == []
    task = asyncio.create_task(executor.run(ENDLESS))
    await asyncio.sleep(0.15)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await settled(remaining, []) == []
    assert set(Path(tempfile.gettempdir()).glob("bdc-program-*")) <= before


def test_one_executor_serves_several_event_loops(strongest_tier):
    executor = ProcessExecutor(strongest_tier, workers=2)

    async def several() -> list[bool]:
        return [verdict.passed for verdict in await asyncio.gather(*(executor.run(RIGHT) for _ in range(6)))]

    passed = [asyncio.run(several()), asyncio.run(several())]
    with ThreadPoolExecutor(3) as threads:
        passed += [future.result() for future in [threads.submit(asyncio.run, several()) for _ in range(3)]]
    assert passed == [[True] * 6] * 5
    asyncio.run(executor.aclose())


async def test_groups_take_turns_where_programs_wait():
    turns, order = Turns(1), []
    await turns.take("first")

    async def wait(group: str) -> None:
        await turns.take(group)
        order.append(group)
        turns.give()

    tasks = [asyncio.create_task(wait(group)) for group in ("a", "a", "a", "b", "c")]
    await asyncio.sleep(0)
    tasks[1].cancel()
    turns.give()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == ["a", "b", "c", "a"]
    await turns.take("last")


async def test_the_first_failure_ends_a_job_that_asks_for_that(strongest: ProcessExecutor):
    tests = (ONE, CallTest(call="f()", expected=("2",)), ONE, ONE)
    verdict = await strongest.run(RIGHT.model_copy(update={"tests": tests, "stop_at_failure": True}))
    assert [result.outcome for result in verdict.results] == ["passed", "wrong", "killed", "killed"]
    assert (await strongest.run(RIGHT)).passed


async def test_allowed_packages_can_be_imported_and_others_cannot(strongest: ProcessExecutor):
    code = "def f(name):\n    try:\n        __import__(name)\n        return 1\n    except ImportError:\n        return 0"
    tests = [CallTest(call=f"f({name!r})", expected=("1",)) for name in ("rich", "pydantic")]
    if strongest.tier != "namespaces":
        pytest.skip("needs namespaces")
    if os.path.realpath(sys.prefix).startswith(f"{WORK}/"):
        with pytest.raises(ConfigError, match="installed below"):
            make_tier("namespaces", packages=("rich",))
        return
    executor = ProcessExecutor(make_tier("namespaces", packages=("rich",)))
    verdict = await executor.run(Job(code=code, tests=tuple(tests)))
    await executor.aclose()
    assert [result.outcome for result in verdict.results] == ["passed", "wrong"], verdict.results
