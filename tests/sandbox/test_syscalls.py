"""Which system calls get through: every number of the kernel's table, against the documented list."""

import errno
import platform
import re
from pathlib import Path

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.inside.isolation import seccomp, syscalls
from bdc_agents.types import CallTest, Limits

DOCUMENT = Path(__file__).parents[2] / "docs" / "sandbox.md"
HEADINGS = ("Always", "On files of its own", "With processes of its own", "With some arguments")
X32 = 0x40000000
NUMBERS = range(600)
"""More than the kernel has; those of x32 are the same above `X32`, and a few of their own from 512."""
NEWER = 435
"""From here on a refused call is said to be unknown, so that libraries do without."""

only_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64")

UPROBES = {335, 336}  # no filter sees these; they end a process that the kernel has not told to make them
# These end or stop a process, or start another, so that no walk comes back from them.
UNWALKED = {"exit", "exit_group", "rt_sigreturn", "pause", "fork", "vfork"}
CALL = """
import ctypes, signal
libc = ctypes.CDLL(None, use_errno=True)
def error(number, *words):
    ctypes.set_errno(0)
    words = [ctypes.c_long(word) for word in (*words, *[-1] * 6)[:6]]
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(number), *words) == -1 else 0
def walk(numbers, above=0):
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
    return [number for number in numbers if error(number + above) != (1 if number + above < 435 else 38)]
"""


def documented() -> dict[str, set[str]]:
    """The lists of the document, by heading."""
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"^\*\*(.+?)\*\*.*?\n```\n(.*?)```", text, re.MULTILINE | re.DOTALL)
    return {heading: set(names.split()) for heading, names in found}


def test_the_document_lists_what_the_filter_allows():
    tables = (syscalls.FREE, syscalls.OWN_FILES, syscalls.SEVERAL, syscalls.CHECKED)
    assert documented() == {heading: set(table) for heading, table in zip(HEADINGS, tables, strict=True)}
    assert set(seccomp._checks(processes=False)) == set(syscalls.CHECKED)


def numbers_of(*headings: str) -> set[int]:
    names = set().union(*(documented()[heading] for heading in headings)) - UNWALKED
    known = syscalls.FREE | syscalls.OWN_FILES | syscalls.SEVERAL | syscalls.CHECKED
    return {number for name in names if (number := known[name][0]) is not None}


@only_x86_64
async def test_a_lone_program_makes_the_documented_calls_and_no_others(any_tier: ProcessExecutor):
    files = () if any_tier.tier == "landlock" else (HEADINGS[1],)
    allowed = numbers_of(HEADINGS[0], *files)
    skipped = {syscalls.FREE[name][0] for name in UNWALKED - {"fork", "vfork"}}
    walked = [number for number in NUMBERS if number not in skipped | numbers_of(HEADINGS[3]) | UPROBES]
    tests = (
        CallTest(call=f"sorted(walk({walked}))", expected=(repr(sorted(allowed | {57, 58})),)),  # EAGAIN
        CallTest(call=f"walk(range({NUMBERS.stop}), {X32})", expected=("[]",)),
        CallTest(call="error(57), error(58)", expected=(repr((errno.EAGAIN,) * 2),)),
    )
    verdict = await any_tier.run(Job(code=CALL, tests=tests))
    assert verdict.passed, verdict.failures


@only_x86_64
async def test_a_program_of_several_processes_makes_few_more(sandbox: ProcessExecutor):
    allowed = numbers_of(*HEADINGS[:3]) - {112}  # setsid fails for whoever leads a session already
    skipped = numbers_of(HEADINGS[3]) | {
        number for name in UNWALKED if (number := (syscalls.FREE | syscalls.SEVERAL)[name][0]) is not None
    }
    walked = [number for number in NUMBERS if number not in skipped | UPROBES]
    code = CALL + "import os\ndef start():\n    os.fork() or os._exit(0)\n    return os.wait()[1]\n"
    tests = (
        CallTest(call=f"sorted(walk({walked}))", expected=(repr(sorted(allowed)),)),
        CallTest(call="start()", expected=("0",)),
        CallTest(call="[error(n) for n in (59, 322)]", expected=("[1, 1]",)),  # but it runs no other file
    )
    verdict = await sandbox.run(Job(code=code, tests=tests, limits=Limits(processes=3)))
    assert verdict.passed, verdict.failures


NEW_NAMESPACES = (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
THREAD = 0x10F00
IMPOSSIBLE = 0x101000  # CLONE_PIDFD and CLONE_PARENT_SETTID: no kernel starts this
PASSES = [
    ("fcntl", (0, 1)), ("fcntl", (0, 3)), ("fcntl", (0, 4, 0)), ("fcntl", (0, 9)), ("fcntl", (0, 1032)),
    ("ioctl", (-1, 0x5401)), ("ioctl", (-1, 0x5421)), ("ioctl", (-1, 0x541B)), ("prctl", (3, 0, 0, 0, 0)),
    ("prctl", (38, 1, 0, 0, 0)), ("mmap", (0, 0, 0, 0x22)), ("mmap", (0, 4096, 1, 1, -1, 0)),
    ("madvise", (0, 0, 4)), ("madvise", (0, 0, 14)), ("close_range", (60, 60, 0)),
    ("close_range", (60, 60, 4)),
    ("clone", (THREAD | IMPOSSIBLE, 0)), ("socketpair", (1, -1)), ("sendto", (-1, 0, 0, 0, 0, 0)),
    ("kill", (0, 0)), ("prlimit64", (0, -1)), ("sched_getaffinity", (0, 0)), ("sched_setaffinity", (0, 0)),
    ("sched_getscheduler", (0,)), ("sched_getparam", (0,)), ("getpgid", (0,)), ("getsid", (0,)),
    ("clock_gettime", (1, 0)), ("clock_getres", (11, 0)), ("clock_nanosleep", (0, 0, 0)),
    ("tkill", (0, 0)), ("tgkill", (0, 0, 0)),
]  # fmt: skip
OWNERS = (0x5452, 0x8901, 0x8902, 0x5410, 0x5412, 0x540E)
REFUSED = [
    # who is signalled, and by what
    *[("fcntl", (0, command, 1), errno.EPERM) for command in (8, 10, 15, 1024, 1026)],
    ("fcntl", (0, 4, 0x2000), errno.EPERM),
    *[("ioctl", (0, command, 0), errno.ENOTTY) for command in OWNERS],
    *[(name, (1, 0, 0), errno.EPERM) for name in ("kill", "tgkill", "tkill", "getpgid", "getsid")],
    *[("kill", (target, 0), errno.EPERM) for target in (-1, -2)],
    *[(name, (1, 0, 0), errno.EPERM) for name in ("sched_getaffinity", "sched_setaffinity", "prlimit64")],
    *[(name, (1, 0, 0), errno.EPERM) for name in ("sched_getscheduler", "sched_getparam")],
    *[(name, (~1 << 3 | 2,), errno.EINVAL) for name in ("clock_gettime", "clock_getres", "clock_nanosleep")],
    *[("prctl", (option, 1), errno.EINVAL) for option in (1, 4, 22, 35, 36, 59, 62, 0x59616D61)],
    # memory of the kernel, and memory that no limit counts
    ("fcntl", (1, 1031, 1 << 20), errno.EPERM),
    *[("fcntl", (0, command, 0), errno.EPERM) for command in (36, 37, 38)],
    *[("mmap", (0, 4096, 3, flags), errno.EPERM) for flags in (0x21, 0x23, 0x4021)],
    ("mmap", (0, 1 << 21, 3, 0x40022), errno.ENOMEM),
    *[("madvise", (0, 0, advice), errno.EINVAL) for advice in (9, 12, 20, 21, 23, 100, 101)],
    ("close_range", (60, 60, 2), errno.EINVAL),
    # other processes, namespaces and networks
    *[("clone", (THREAD | flag, 0), errno.EPERM) for flag in NEW_NAMESPACES[1:]],
    *[("clone", (flags, 0), errno.EAGAIN) for flags in (0, 17, THREAD & ~0x400, 0x100)],
    ("clone", (THREAD | 0x8000, 0), errno.EPERM),
    ("clone3", (0, 0), errno.ENOSYS),
    *[("socketpair", (family, 1, 0, 0), errno.EAFNOSUPPORT) for family in (0, 2, 10, 16, 30, 40)],
    ("sendto", (-1, 0, 0, 0, 1, 0), errno.EPERM),
    ("sendto", (-1, 0, 0, 0, 1 << 32, 0), errno.EPERM),
]  # fmt: skip


@only_x86_64
async def test_calls_get_through_with_the_arguments_that_are_checked_alone(any_tier: ProcessExecutor):
    numbers = {**syscalls.CHECKED, "clone3": (435, 435)}
    good = [(numbers[name][0], *words) for name, words in PASSES]
    bad = [(numbers[name][0], *words) for name, words, _ in REFUSED]
    code = CALL + "def errors(calls):\n    return [error(*call) for call in calls]\n"
    refusals = {errno.EPERM, errno.ENOSYS, errno.EAGAIN, errno.ENOTTY, errno.EAFNOSUPPORT}
    assert {name for name, _ in PASSES} == set(syscalls.CHECKED)
    tests = (
        CallTest(call=f"[i for i, e in enumerate(errors({good})) if e in {refusals}]", expected=("[]",)),
        CallTest(call=f"errors({bad})", expected=(repr([error for _, _, error in REFUSED]),)),
        CallTest(call=f"error({numbers['fcntl'][0]}, 0, 6, 0)", expected=("0",)),  # a lock: had at once
    )
    verdict = await any_tier.run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.failures


@only_x86_64
async def test_the_calls_of_a_32_bit_machine_end_a_program(any_tier: ProcessExecutor):
    code = (
        "import ctypes, mmap\n"
        "def f():\n"
        "    page = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
        "    page.write(bytes.fromhex('b814000000cd80c3'))\n"  # mov eax, 20 (getpid); int 0x80; ret
        "    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()\n"
    )
    (result,) = (await any_tier.run(Job(code=code, tests=(CallTest(call="f()", expected=("0",)),)))).results
    assert result.outcome == "killed", result


HEADERS = {
    0: Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    1: Path("/usr/include/asm-generic/unistd.h"),
}


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_those_of_the_kernel(machine):
    if not HEADERS[machine].exists():
        pytest.skip("the kernel's headers are not installed")
    text = HEADERS[machine].read_text()
    found = {name: int(n) for name, n in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)\b", text)}
    found |= {"newfstatat": found.get("fstatat", found.get("newfstatat"))}
    tables = (syscalls.FREE, syscalls.OWN_FILES, syscalls.SEVERAL, syscalls.CHECKED, syscalls.SUPERVISOR)
    tables += (syscalls.EXECUTE,)
    for name, numbers in {name: row for table in tables for name, row in table.items()}.items():
        if name != "fchmodat2":  # since Linux 6.6
            assert found.get(name) == numbers[machine], name


def test_a_filter_is_written_for_both_machines(monkeypatch):
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        seccomp.template.cache_clear()
        assert len(b"1234".join(seccomp.template(False, False))) // 8 < 1024  # the kernel takes 4096
    seccomp.template.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(OSError, match="no seccomp filter is written for riscv64"):
        seccomp.template(False, False)
