"""Limits hold, for whole trees of processes."""
# ruff: noqa: ASYNC110, E501

import asyncio
import time

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import CallTest, Limits, StdinTest

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
    assert time.monotonic() - started < 5
    assert verdict.results[0].outcome in outcomes, verdict.results
    assert await at_most(WARM, remaining)
    await sandbox.aclose()
    assert await at_most(0, remaining)


WARM = 3  # a guard, the zygote and the supervisor of the next job


async def at_most(count: int, remaining, seconds: float = 2.0) -> bool:
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
