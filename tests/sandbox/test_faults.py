"""Whatever a program does to its sandbox, and whatever happens to that from outside: there is a verdict.

None of these raises, none passes, none takes much longer than its limits, and the next program is
not the worse for it.
"""
# ruff: noqa: E501

import asyncio
import os
import signal
import time
from dataclasses import replace

import pytest

from bdc_agents.errors import SandboxError
from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor, frames_of
from bdc_agents.sandbox.tiers import Tier, make_tier
from bdc_agents.sandbox.worker import Worker
from bdc_agents.types import CallTest, Limits, ScriptTest, StdinTest, TestCase

from .conftest import available

ONE = CallTest(call="f()", expected=("1",))
RIGHT = Job(code="def f():\n    return 1", tests=(ONE,), limits=Limits(cpu_seconds=20))
SHORT = Limits(cpu_seconds=1, wall_seconds=2, memory_mb=128, output_bytes=100_000)
OVER = 50.0
"""Seconds in which it all has to be over, on a machine that does much else."""

STEAL = """
import os, threading, time
def steal(number):
    try:
        reader = os.open(f'/proc/self/fd/{number}', os.O_RDONLY)
        while True: os.read(reader, 65536)
    except OSError: pass
for number in (1, 3):
    for _ in range(3): threading.Thread(target=steal, args=(number,), daemon=True).start()
end = time.monotonic() + 1.5
while time.monotonic() < end:
    for number in (1, 3):
        try: os.write(number, b'\\0')
        except OSError: pass
    time.sleep(0.0002)
"""
REOPEN = """
import os, time
try: readers = {number: os.open(f'/proc/self/fd/{number}', os.O_RDONLY) for number in (1, 3)}
except OSError: readers = {}
for _ in range(20):
    for number in (1, 3): os.close(number)
    time.sleep(0.01)
    for number, reader in readers.items():
        os.open(f'/proc/self/fd/{reader}', os.O_WRONLY)
        os.write(number, b'\\0')
    time.sleep(0.01)
    if not readers: break
"""
FLAGS = """
import fcntl, os
for number in range(64):
    try: fcntl.fcntl(number, fcntl.F_SETFL, os.O_NONBLOCK | os.O_APPEND)
    except OSError: pass
for number in range(1, 64):
    try:
        while True: os.write(number, b'x' * 4096)
    except OSError: pass
"""
FILL_TESTS = """
import os, time
for number in range(5):
    try:
        writer = os.open(f'/proc/self/fd/{number}', os.O_WRONLY | os.O_NONBLOCK)
        while True: os.write(writer, b'x' * 4096)
    except OSError: pass
time.sleep(9)
"""
NAME = """
import ctypes, os, time
libc = ctypes.CDLL(None)
libc.prctl(15, b'\\xff) R 1 \\n', 0, 0, 0)
try: os.fork()
except OSError: pass
libc.prctl(15, b'\\xe9)) S', 0, 0, 0)
time.sleep(1.5)
"""
SOCKET = """
import os, socket
for number in range(64):
    try: socket.socket(fileno=os.dup(number)).shutdown({})
    except OSError: pass
"""
SIGNALS = """
import os, signal
for target in (1, os.getppid(), 0, -1, os.getpgid(0), os.getsid(0)):
    for number in ({}):
        try: os.kill(target, number)
        except OSError: pass
"""
ASYNC = """
import fcntl, os, time
for number in range(1, 64):
    for target in (os.getppid(), 1):
        try:
            fcntl.fcntl(number, fcntl.F_SETOWN, target)
            fcntl.fcntl(number, 10, 19)
            fcntl.fcntl(number, fcntl.F_SETFL, os.O_ASYNC)
            os.write(number, b'x')
        except OSError: pass
time.sleep(1)
"""
SLOW = """
import os
for attempt in (lambda: os.nice(19), lambda: os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0)),
                lambda: open('/proc/self/oom_score_adj', 'w').write('1000')):
    try: attempt()
    except OSError: pass
while True: pass
"""
PROCESSES = """
import os
while True:
    try:
        if os.fork() == 0: os.setsid()
    except OSError: pass
"""


def report(data: str) -> str:
    """Sends something else than a report, wherever one may go."""
    return f"import os, time\ndata = {data}\nfor number in (3, 4, 5):\n    try:\n        while data: data = data[os.write(number, data):]\n    except OSError: pass\ntime.sleep(9)"


TRICKS = {
    "steals from its own pipes": STEAL,
    "closes and reopens its pipes": REOPEN,
    "changes the flags of its files": FLAGS,
    "fills the pipe of its calls": FILL_TESTS,
    "gives itself a name in no encoding": NAME,
    "shuts its sockets down for reading": SOCKET.format(0),
    "shuts its sockets down": SOCKET.format(2),
    "stops what it can": SIGNALS.format("signal.SIGSTOP, signal.SIGTSTP"),
    "kills what it can": SIGNALS.format("2, 3, 15, 9"),
    "has signals sent by the kernel": ASYNC,
    "makes itself slow": SLOW,
    "starts processes without an end": PROCESSES,
    "reports nothing at length": report("b'\\xff' * 8"),
    "reports a length that is never reached": report("b'\\x00\\x00\\xff\\xff{'"),
    "reports more than it announces": report("b'\\x00\\x00\\x00\\x02{}{}'"),
    "reports what is no JSON": report("b'\\x00\\x00\\x00\\x02\\xff\\xfe'"),
    "reports a value of the wrong kind": report('b\'\\x00\\x00\\x00\\x0e{"value":["x"]}\''),
    "reports without an end": report("b'\\x00' * 10**8"),
    "reports what nests too deeply": report("(lambda b: len(b).to_bytes(4, 'big') + b)(b'[' * 60_000)"),
    "announces a gigabyte": report("b'\\x3f\\xff\\xff\\xff' + b'[' * 10**6"),
}
TESTS: dict[str, TestCase] = {
    "stdin": StdinTest(stdin="1", expected=("unlikely",)),
    "call": ONE,
    "script": ScriptTest(code="assert f() == 1"),
}


SEVERAL = ("gives itself a name in no encoding", "starts processes without an end")
"""Which need more than one process."""


def jobs_of(name: str) -> list[Job]:
    """The trick is played while the program loads, and when it is called."""
    limits = SHORT.model_copy(update={"processes": 4 if name in SEVERAL else 1})
    loads = f"{TRICKS[name]}\ndef f(): return 2"
    called = f"source = {TRICKS[name]!r}\ndef f():\n    exec(source, {{}})\n    return 2\n"
    jobs = [(loads, tuple(TESTS.values())), (called, (TESTS["call"], TESTS["script"]))]
    return [Job(code=code, tests=tests, limits=limits, entry_point="f") for code, tests in jobs]


async def test_every_trick_ends_in_a_verdict(any_tier: ProcessExecutor):
    started = time.monotonic()

    async def play(name: str) -> list[object]:
        found = []
        for job in jobs_of(name):
            verdict = await any_tier.run(job)
            found += [result.outcome for result in verdict.results]
        return found

    outcomes = dict(zip(TRICKS, await asyncio.gather(*map(play, TRICKS)), strict=True))
    assert {name: len(found) for name, found in outcomes.items()} == dict.fromkeys(TRICKS, 5)
    assert not {name: found for name, found in outcomes.items() if "passed" in found}
    assert time.monotonic() - started < OVER * len(TRICKS)
    for _ in range(8):
        verdict = await any_tier.run(RIGHT)
        assert verdict.passed, verdict.results


# --- from outside -----------------------------------------------------------------------------------

SLEEPS = Job(
    code="import time\ndef f():\n    time.sleep(60)", tests=(ONE, ONE), limits=Limits(cpu_seconds=60)
)


def parents_first(pids: list[int]) -> list[int]:
    def depth(pid: int) -> int:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            parent = int(file.read().rpartition(b")")[2].split()[1])
        return 1 + depth(parent) if parent in pids else 0

    return sorted(pids, key=depth)


async def count(remaining, number: int, seconds: float = 120.0) -> list[int]:
    """The processes, once there are so many twice in a row: one of them may be about to end."""
    deadline, before = time.monotonic() + seconds, list[int]()
    while time.monotonic() < deadline:
        found = sorted(remaining())
        if len(found) == number and found == before:
            return found
        before = found
        await asyncio.sleep(0.02)
    return remaining()


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
async def test_a_sandbox_that_is_stopped_or_killed_is_replaced_at_once(tier, which, how, marker, remaining):
    """Its guard or zygote, the zygote or supervisor, and the last of them but the program."""
    executor = one_worker(tier, marker)
    processes = {"namespaces": 4, "landlock": 3}[tier]
    which = min(which, processes - 2)
    task = asyncio.create_task(executor.run(SLEEPS))
    pids = parents_first(await count(remaining, processes))
    assert len(pids) == processes
    await asyncio.sleep(0.5)
    started = time.monotonic()
    os.kill(pids[which], how)
    verdict = await task
    assert {result.outcome for result in verdict.results} == {"killed"}, verdict.results
    assert time.monotonic() - started < OVER  # The program would sleep for a minute.
    assert (await executor.run(RIGHT)).passed
    await executor.aclose()
    assert await count(remaining, 0) == []


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("tier", ["namespaces", "landlock"])
async def test_an_idle_sandbox_that_is_stopped_or_killed_is_replaced(tier, how, marker, remaining):
    executor = one_worker(tier, marker)
    for which in range(2):
        assert (await executor.run(RIGHT)).passed
        processes = {"namespaces": 3, "landlock": 2}[tier]
        pids = parents_first(await count(remaining, processes))
        os.kill(pids[which], how)
        await asyncio.sleep(0.5)  # the end of one is soon that of the others; it is not yet
        started = time.monotonic()
        assert (await executor.run(RIGHT)).passed
        assert time.monotonic() - started < OVER
    await executor.aclose()
    assert await count(remaining, 0) == []


def one_worker(name: str, marker: str) -> ProcessExecutor:
    tier = available(name)
    if not isinstance(tier, Tier):
        pytest.skip(f"{name}: {tier.reason}")
    return ProcessExecutor(replace(tier, command=(*tier.command, marker)), workers=1)


async def test_a_script_that_never_arrives_whole_ends_in_a_verdict_and_spends_the_worker():
    """What its checker left unread would be taken for the next frame."""
    worker = Worker(make_tier("namespaces"), "/tmp")
    try:
        await worker.ready()
        test = ScriptTest(code="pass\n" * 1000)
        job, script = frames_of(Job(code="", tests=(test,), limits=Limits(cpu_seconds=5, wall_seconds=1)))
        await worker.send(job + script[:-100])
        assert await worker.line() == "taken\n"
        line = await worker.line()
        assert line.split()[:2] == ["result", "wall"]
        await worker.send(script[-100:])
        assert await worker.line() == ""
    except ConnectionError:
        pass
    finally:
        await worker.end()


async def test_a_sandbox_that_cannot_start_a_program_is_an_error(strongest_tier):
    """Here no program can be the cause, and every further one would get the same verdict."""
    start = strongest_tier.command[-1].replace(
        "inside.launch.main()",
        "import os\ninside.processes.os.fork = lambda: os.kill(-1, 0) or os.open('/nowhere', 0)\ninside.launch.main()",
    )
    executor = ProcessExecutor(
        replace(strongest_tier, command=(*strongest_tier.command[:-1], start)), workers=1
    )
    with pytest.raises(SandboxError):
        await executor.run(RIGHT)
    await executor.aclose()
