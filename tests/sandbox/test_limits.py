"""Limits hold, for whole trees of processes."""
# ruff: noqa: ASYNC110, E501

import asyncio
import multiprocessing
import os
import time

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import CallTest, Limits, ScriptTest, StdinTest

ONE = CallTest(call="f()", expected=("1",))
FORK_BOMB = "import os\ndef f():\n    while True:\n        try: os.fork()\n        except OSError: pass"

BOMBS = {
    "fork bomb": (FORK_BOMB, {"timeout"}),
    "ignores every signal": (
        "import signal\ndef f():\n    for n in range(1, 65):\n        try: signal.signal(n, signal.SIG_IGN)\n"
        "        except (OSError, ValueError): pass\n    while True: pass",
        {"timeout"},
    ),
    "daemon": (
        "import os, time\ndef f():\n    if os.fork(): time.sleep(30)\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    time.sleep(30)",
        {"timeout"},
    ),
    "threads": (
        "import threading, time\ndef f():\n    n = 0\n    try:\n        while n < 1000:\n"
        "            threading.Thread(target=time.sleep, args=(30,), daemon=True).start(); n += 1\n"
        "    except RuntimeError: pass\n    return 1 if n < 100 else n",
        {"passed"},
    ),
    "catches memory errors": (
        "def f():\n    x = []\n    while True:\n        try: x.append(bytearray(10**6))\n        except MemoryError: pass",
        {"timeout", "memory"},
    ),
    "catches everything": (
        "def f():\n    while True:\n        try:\n            while True: pass\n        except BaseException: pass",
        {"timeout"},
    ),
    "large power": ("def f():\n    return 9 ** 9 ** 9", {"timeout", "memory"}),
    "large integers as text": ("def f():\n    return str(10 ** 10**7)", {"timeout"}),
    "endless repr": ("class R:\n    def __repr__(self):\n        while True: pass\ndef f():\n    return R()", {"timeout"}),
    "endless error text": (
        "class E(Exception):\n    def __str__(self):\n        while True: pass\ndef f():\n    raise E",
        {"timeout"},
    ),
    "huge error text": ("def f():\n    raise ValueError('x' * 10**7)", {"error"}),
    "nested source": ("def f():\n    return 1\nx = " + "(" * 1000 + ")" * 1000, {"error", "memory", "killed"}),
    "huge stack": ("import sys\nsys.setrecursionlimit(10**9)\ndef f():\n    return f()", {"memory", "killed", "timeout"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
async def test_bombs_end_within_their_limits(sandbox: ProcessExecutor, remaining, name):
    code, outcomes = BOMBS[name]
    limits = Limits(wall_seconds=0.5, memory_mb=128, processes=8)
    started = time.monotonic()
    verdict = await sandbox.run(Job(code=code, tests=(ONE,), limits=limits))
    assert time.monotonic() - started < 60
    assert verdict.results[0].outcome in outcomes, verdict.results
    assert await at_most(WARM, remaining)
    await sandbox.aclose()
    assert await at_most(0, remaining)


WARM = 3  # a guard, the zygote and the supervisor of the next job


async def at_most(count: int, remaining, seconds: float = 60.0) -> bool:
    """Whether no more processes stay than these; the last ones end just after the verdict."""
    deadline = time.monotonic() + seconds
    while len(remaining()) > count and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return len(remaining()) <= count


async def test_one_process_is_the_default(run):
    (result,) = (await run("import os\ndef f():\n    return os.fork()", ONE)).results
    assert result.outcome == "error"
    assert result.error.startswith("BlockingIOError")


async def test_several_processes_where_the_limits_allow(run):
    code = "import os\ndef g():\n    return os.waitpid(os.fork() or os._exit(0), 0)[1]\n"
    verdict = await run(code, CallTest(call="g()", expected=("0",)), limits=Limits(processes=4))
    assert verdict.passed, verdict.results


async def test_a_group_of_processes_has_a_bounded_memory(run):
    code = (
        "import os, time\n"
        "def f():\n"
        "    pids = []\n"
        "    for _ in range(4):\n"
        "        pid = os.fork()\n"
        "        if pid == 0:\n"
        "            x = bytearray(200 * 2**20)\n"
        "            time.sleep(3)\n"
        "            os._exit(0)\n"
        "        pids.append(pid)\n"
        "    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]\n"
    )
    limits = Limits(processes=8, memory_mb=100)
    (result,) = (await run(code, CallTest(call="f()", expected=("[0, 0, 0, 0]",)), limits=limits)).results
    assert (result.outcome, result.error) == ("memory", "memory limit passed")


async def test_the_memory_limit_is_what_a_program_may_add(run):
    tests = [
        CallTest(call=f"len(bytearray({size} * 2**20)) // 2**20", expected=(str(size),)) for size in (80, 120)
    ]
    verdict = await run("", *tests, limits=Limits(memory_mb=100))
    assert [result.outcome for result in verdict.results] == ["passed", "memory"]


async def test_the_disk_cannot_be_filled(sandbox: ProcessExecutor):
    code = (
        "import os\n"
        "def f():\n"
        "    size = 0\n"
        "    try:\n"
        "        for i in range(100):\n"
        "            with open(str(i), 'wb') as file: size += file.write(b'x' * 2**20)\n"
        "    except OSError: pass\n"
        "    return 8 * 2**20 < size <= 16 * 2**20\n"
        "def writable():\n"
        "    found = []\n"
        "    for folder, _, _ in os.walk('/'):\n"
        "        if folder.startswith(('/proc', '/tmp')): continue\n"
        "        try:\n"
        "            open(folder + '/x', 'w').close()\n"
        "            found.append(folder)\n"
        "        except OSError: pass\n"
        "    return found\n"
    )
    tests = (
        CallTest(call="f()", expected=("True",)),
        CallTest(call="f()", expected=("True",)),
        CallTest(call="writable()", expected=("[]",)),
    )
    verdict = await sandbox.run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.results


async def test_what_is_printed_in_a_call_is_bounded_and_ignored(run):
    code = "def f(n):\n    print('x' * n, flush=True)\n    return 1\n"
    tests = [CallTest(call=f"f({n})", expected=("1",)) for n in (100, 10**6)]
    verdict = await run(code, *tests, limits=Limits(output_bytes=10_000))
    assert [result.outcome for result in verdict.results] == ["passed", "output"]


async def test_output_up_to_the_limit_is_kept(run):
    tests = [StdinTest(stdin=str(n), expected=("x" * n,)) for n in (4096, 4097)]
    verdict = await run("print('x' * int(input()), end='')", *tests, limits=Limits(output_bytes=4096))
    assert [result.outcome for result in verdict.results] == ["passed", "output"]


async def test_the_memory_of_a_whole_group_is_limited(run):
    code = (
        "import os, time\n"
        "def f():\n"
        "    for _ in range(4):\n"
        "        if os.fork() == 0:\n"
        "            x = bytearray(60 * 2**20)\n"
        "            time.sleep(3)\n"
        "            os._exit(0)\n"
        "    time.sleep(3)\n"
        "    return 1\n"
    )
    (result,) = (await run(code, ONE, limits=Limits(processes=8, memory_mb=100))).results
    assert (result.outcome, result.error) == ("memory", "memory limit passed")


# --- what a program touches, and what it only reserves ----------------------------------------------


@pytest.mark.parametrize("size", ["1 << 26", "2**28", "2**29 - 1"])
async def test_the_reserved_stack_of_a_thread_is_no_memory(sandbox: ProcessExecutor, size):
    code = (
        f"import sys, threading\nsys.setrecursionlimit(10**6)\nthreading.stack_size({size})\n"
        "def deep(n): return 0 if n == 0 else 1 + deep(n - 1)\n"
        "def main(): print(deep(int(input())))\n"
        "thread = threading.Thread(target=main)\nthread.start()\nthread.join()\n"
    )
    test = StdinTest(stdin="20000\n", expected=("20000",))
    verdict = await sandbox.run(Job(code=code, tests=(test,), limits=Limits(memory_mb=64)))
    assert verdict.passed, verdict.results


async def test_reserved_memory_is_free_until_it_is_touched(any_tier: ProcessExecutor):
    code = (
        "import mmap\ndef f(touch):\n    room = mmap.mmap(-1, 2**30, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "    for at in range(0, touch * 2**20, 4096): room[at] = 1\n    return 1\n"
    )
    tests = [CallTest(call=f"f({touch})", expected=("1",)) for touch in (1, 90, 1)]
    results = (await any_tier.run(Job(code=code, tests=tuple(tests), limits=Limits(memory_mb=64)))).results
    assert [result.outcome for result in results] == ["passed", "memory", "passed"], results


async def test_memory_that_was_given_back_counts(any_tier: ProcessExecutor):
    """However short the moment was: the kernel keeps the peak."""
    code = "def f(size):\n    return len(bytearray(size * 2**20)) > 0\nif __name__ == '__main__':\n    print(f(int(input())))\n"
    tests = [StdinTest(stdin=str(size), expected=("True",)) for size in (20, 100)]
    tests += [CallTest(call=f"f({size})", expected=("True",)) for size in (20, 100, 20)]
    results = (await any_tier.run(Job(code=code, tests=tuple(tests), limits=Limits(memory_mb=64)))).results
    assert [result.outcome for result in results] == ["passed", "memory", "passed", "memory", "passed"], (
        results
    )


async def test_a_long_input_is_no_memory_of_the_program(run):
    text = "x" * 40_000_000
    verdict = await run(
        "import os\nprint(os.fstat(0).st_size)",
        *[StdinTest(stdin=text, expected=("40000000",))] * 2,
        limits=Limits(memory_mb=32),
    )
    assert verdict.passed, verdict.results


# --- time -------------------------------------------------------------------------------------------


def test_wall_time_follows_from_cpu_time():
    assert Limits(cpu_seconds=2).wall_seconds >= 10 * 2
    assert Limits().wall_seconds >= 10 * Limits().cpu_seconds
    assert Limits(wall_seconds=2).wall_seconds == 2
    assert Limits.model_validate(Limits(cpu_seconds=3).model_dump()) == Limits(cpu_seconds=3)


def spin() -> None:
    while True:
        pass


async def test_a_busy_machine_fails_no_right_program(strongest_tier):
    """All shares one core with four busy processes: what takes a second of CPU takes five of wall time."""
    core = {min(os.sched_getaffinity(0))}
    allowed = os.sched_getaffinity(0)
    others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(4)]
    os.sched_setaffinity(0, core)
    executor = ProcessExecutor(strongest_tier, workers=1)
    try:
        for other in others:
            other.start()
        code = "import time\ndef f():\n    while time.process_time() < 1.2: pass\n    return 1"
        verdict = await executor.run(Job(code=code, tests=(ONE,), limits=Limits(cpu_seconds=1.8)))
    finally:
        os.sched_setaffinity(0, allowed)
        for other in others:
            other.kill()
            other.join()
        await executor.aclose()
    assert verdict.passed, verdict.results
    assert verdict.results[0].seconds > 1.8, "the machine was not busy enough to show anything"


@pytest.mark.parametrize("kind", ["stdin", "call", "script"])
async def test_a_program_that_only_waits_is_ended_long_before_its_wall_time(any_tier: ProcessExecutor, kind):
    code = "import time\ndef f():\n    time.sleep(10**6)\nif __name__ == '__main__':\n    f()\n"
    test = {
        "stdin": StdinTest(stdin="", expected=("",)),
        "call": ONE,
        "script": ScriptTest(code="assert f()"),
    }
    (result,) = (
        await any_tier.run(Job(code=code, tests=(test[kind],), limits=Limits(cpu_seconds=1)))
    ).results
    assert result.outcome == "timeout"
    assert "waited" in result.error


async def test_a_program_that_waits_for_less_than_it_might_work_passes(run):
    code = "import time\ndef f():\n    time.sleep(1.2)\n    return 1"
    assert (await run(code, ONE, limits=Limits(cpu_seconds=2))).passed


# --- numbers and output of many digits --------------------------------------------------------------

LONG = "7" * 6000


async def test_integers_of_any_length_are_read_and_printed(run):
    code = "def f(x):\n    return int(x) % 9, len(str(3 ** 20_000)), str(int(x)) == x\nif __name__ == '__main__':\n    print(int(input()))\n"
    tests = (
        StdinTest(stdin=LONG, expected=(LONG,)),
        CallTest(call=f"f('{LONG}')", expected=(f"({7 * 6000 % 9}, 9543, True)",)),
        CallTest(call=f"{LONG} % 10", expected=("7",)),
        ScriptTest(
            code=f"assert f('{LONG}') == ({7 * 6000 % 9}, 9543, True)\nassert {LONG} == int('{LONG}')"
        ),
    )
    verdict = await run(code, *tests)
    assert verdict.passed, verdict.results


async def test_megabytes_of_output_pass_quickly(run):
    code = "print('x' * int(input()))"
    started = time.monotonic()
    tests = [StdinTest(stdin="20000000", expected=("x" * 20_000_000,))]
    verdict = await run(code, *tests, limits=Limits(output_bytes=30_000_000))
    assert verdict.passed, verdict.results
    assert time.monotonic() - started < 300
