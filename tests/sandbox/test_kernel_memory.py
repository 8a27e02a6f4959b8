"""How much a program can make the kernel hold for it, beside what its limit on memory counts."""
# ruff: noqa: E501

import platform

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import CallTest, Limits, TestResult

MB = 2**20
SMALL = Limits(cpu_seconds=6, wall_seconds=60, memory_mb=32)
FILL = """
import ctypes, fcntl, os, signal, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
keep = []
def attempt(work, *arguments):
    try:
        return work(*arguments)
    except OSError:
        return None
def fill(make, enlarge, send):
    total = 0
    while ends := attempt(make):
        keep.extend(ends)
        for end in ends:
            attempt(enlarge, end)
            while sent := attempt(send, end):
                total += sent
    return total
def sockets(kind):
    def make():
        ends = socket.socketpair(socket.AF_UNIX, kind)
        [end.setblocking(False) for end in ends]
        return ends
    return fill(make, lambda end: end.setsockopt(1, 7, 1 << 22), lambda end: end.send(bytes(65536)))
def pipes():
    def make():
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        return ends[1:]
    return fill(make, lambda end: fcntl.fcntl(end, 1031, 1 << 20), lambda end: os.write(end, bytes(65536)))
def shared(flags, path=None):
    place, total = -1 if path is None else os.open(path, os.O_RDWR), 0
    for _ in range(30):
        page = libc.mmap(None, 16 << 20, 3, flags, place, 0)
        if page in (None, 2**64 - 1):
            break
        ctypes.memset(page, 1, 16 << 20)
        libc.munmap(ctypes.c_void_p(page + 4096), ctypes.c_size_t((16 << 20) - 4096))
        total += 16 << 20
    return total
def threads(size):
    threading.stack_size(size)
    wait = threading.Event()
    for count in range(20000):
        try:
            threading.Thread(target=wait.wait, daemon=True).start()
        except RuntimeError:
            return count
    return count
def bare_threads():
    # They take next to nothing of the process: each only pauses, on a stack of 512 bytes.
    stacks = ctypes.create_string_buffer(512 * 20001)
    keep.append(stacks)  # the last one may not have begun when this function ends
    pause = ctypes.cast(libc.pause, ctypes.c_void_p).value
    for count in range(20000):
        top = ctypes.addressof(stacks) + 512 * (count + 1) - 16 & ~15
        for place in (top, top + 8):
            ctypes.c_void_p.from_address(place).value = pause
        if libc.syscall(56, 0x10F00, ctypes.c_void_p(top), None, None, None) < 0:
            return count
    return count
def queued():
    signal.pthread_sigmask(signal.SIG_BLOCK, [40])
    count = 0
    while count < 5000 and libc.syscall(234, os.getpid(), os.getpid(), 40) == 0:
        count += 1
    return len([1 for _ in range(count) if signal.sigtimedwait([40], 0)])
"""
BOUNDS = {
    "sockets(socket.SOCK_STREAM)": 16 * MB,
    "sockets(socket.SOCK_DGRAM)": 16 * MB,
    "pipes()": 5 * MB,
    "shared(0x21)": 0,
    "shared(0x23)": 0,
    "queued()": 64,
}


async def result_of(executor: ProcessExecutor, call: str) -> TestResult:
    test = CallTest(call=call, expected=("None",))
    return (await executor.run(Job(code=FILL, tests=(test,), limits=SMALL))).results[0]


@pytest.mark.parametrize("call", BOUNDS)
async def test_what_the_kernel_holds_is_bounded(any_tier: ProcessExecutor, call: str) -> None:
    result = await result_of(any_tier, call)
    assert result.outcome == "wrong", result
    assert 0 <= int(result.actual) <= BOUNDS[call]


async def test_no_device_gives_pages_that_stay(any_tier: ProcessExecutor) -> None:
    result = await result_of(any_tier, "shared(1, '/dev/zero')")
    assert result.outcome == "error"
    assert "/dev/zero" in result.error


@pytest.mark.parametrize("call", ["threads(32768)", "bare_threads()"])
async def test_threads_are_few_or_count_as_memory(any_tier: ProcessExecutor, call: str) -> None:
    if call == "bare_threads()" and platform.machine() != "x86_64":
        pytest.skip("the number of clone is that of x86_64")
    result = await result_of(any_tier, call)
    if any_tier.tier == "landlock":
        assert result.outcome == "memory", result
    else:
        assert result.actual.isdigit(), result
        assert int(result.actual) <= 40
