"""The seccomp filters: which system calls a process may make, and with which arguments.

Filters are lists of what is allowed. One holds for the supervisor and all below it; another is added
in the process of each test, and takes what only the supervisor needs.
"""

import errno
import fcntl
import os
import platform
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cache

from . import syscalls
from .kernel import set_seccomp_filter

Block = tuple[tuple[int, int, int, int], ...]
"""Instructions: code, how many to skip if true, and if false, and a value. Every way ends in an answer."""

# The numbers here and below are those of <linux/audit.h>, <linux/bpf_common.h>, <linux/seccomp.h> and, for
# arguments of calls, of the calls' own headers.
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_LOAD, _AND, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x45, 0x06
_FARTHEST_SKIP = 255  # A jump's length is one byte.

_SELF = 0x5E1F5E1F
"""Stands for the id of the program's process, which is known only when it runs."""

_NEWER = 435
"""First number of newer calls (Linux 5.3): libraries test whether these exist and do without."""


def _answer(value: int) -> Block:
    return ((_RETURN, 0, 0, value),)


def _error(number: int) -> Block:
    """The call is not made; its caller is told this error, or success for 0."""
    return _answer(0x00050000 | number)


_ALLOW, _KILL, _NO, _UNKNOWN = (
    _answer(0x7FFF0000),
    _answer(0x80000000),
    _error(errno.EPERM),
    _error(errno.ENOSYS),
)


# Arguments have 8 bytes each, and the low half comes first on both machines.
def _one_of(argument: int, values: Iterable[int], otherwise: Block, then: Block = _ALLOW) -> Block:
    """Whether the low half of an argument, which is all that the kernel looks at, is one of these."""
    values = tuple(values)
    tests = ((_EQUAL, len(values) - 1 - at + len(otherwise), 0, value) for at, value in enumerate(values))
    return ((_LOAD, 0, 0, _ARGUMENTS + 8 * argument), *tests, *otherwise, *then)


def _any_bit(argument: int, bits: int, then: Block, otherwise: Block = _ALLOW) -> Block:
    """Whether the low half of an argument has any of these bits."""
    return ((_LOAD, 0, 0, _ARGUMENTS + 8 * argument), (_ANY_BIT, 0, len(then), bits), *then, *otherwise)


def _all_bits(argument: int, bits: int, then: Block, otherwise: Block = _ALLOW) -> Block:
    """Whether the low half of an argument has all of these bits."""
    load = ((_LOAD, 0, 0, _ARGUMENTS + 8 * argument), (_AND, 0, 0, bits))
    return (*load, (_EQUAL, 0, len(then), bits), *then, *otherwise)


def _null(argument: int) -> Block:
    """Whether a pointer is null: the one argument of which both halves count."""
    at = _ARGUMENTS + 8 * argument
    return (
        *((_LOAD, 0, 0, at), (_EQUAL, 0, 3, 0)),
        *((_LOAD, 0, 0, at + 4), (_EQUAL, 0, 1, 0), *_ALLOW),
        *_NO,
    )


# --- what is checked --------------------------------------------------------------------------------

_SETFL, _SETLK, _SETLKW = 4, 6, 7
_ASYNC = 0x2000  # Would send signals to the descriptor's owner.
_FCNTL = (
    *(fcntl.F_DUPFD, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_GETLK, fcntl.F_GETOWN),
    *(1030, 1032, 1033, 1034),  # F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS
)
"""Not F_SETOWN and F_SETSIG, which signal others; F_SETPIPE_SZ, which takes memory; leases and notices."""

_IOCTL = (
    *(0x5401, 0x802C542A, 0x5413, 0x540F),  # TCGETS, TCGETS2, TIOCGWINSZ, TIOCGPGRP: is it a terminal?
    *(0x541B, 0x5421, 0x5450, 0x5451),  # FIONREAD, FIONBIO, FIONCLEX, FIOCLEX
)
_FICLONE = 0x40049409  # the standard library tries it, and copies where it is not supported

_PRCTL = (15, 16, 3, 21, 38, 39)
"""The name of a thread, both ways; PR_GET_DUMPABLE, PR_GET_SECCOMP; NO_NEW_PRIVS, both ways."""

_SHARED_NOWHERE, _HUGE_PAGES = 0x01 | 0x20, 0x40000
_MADVISE = (0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17)
"""Not those that move memory to where no limit counts it, merge it with others' or destroy it."""

_OWN_DESCRIPTORS = 2  # CLOSE_RANGE_UNSHARE: a thread with descriptors of its own doubles their limit
_UNIX = 1
_CLOCKS = range(12)  # a negative number is the clock of some process
_NEW_NAMESPACES = 0x7E020000
_OTHER_PARENT = 0x00008000 | 0x00002000  # CLONE_PARENT, CLONE_PTRACE
_THREAD = 0x00010F00  # memory, descriptors and signal handlers are those of the process

_ITSELF = _one_of(0, (0, _SELF), _NO)
_NOT_CLONED = _any_bit(0, _NEW_NAMESPACES | _OTHER_PARENT, _NO)


def _checks(processes: bool) -> dict[str, Block]:
    """What is asked of the calls that a program may make with some arguments only."""
    # A lock keeps nobody out of a lone process, which has it at once; the kernel need not remember it.
    lock = _error(errno.ENOLCK) if processes else _error(0)
    set_flags = _any_bit(2, _ASYNC, _NO)
    thread = _all_bits(0, _THREAD, _NOT_CLONED, _error(errno.EAGAIN))
    clock, about = _one_of(0, _CLOCKS, _error(errno.EINVAL)), _ALLOW if processes else _ITSELF
    return {
        "fcntl": _one_of(
            1, _FCNTL, _one_of(1, (_SETFL,), _one_of(1, (_SETLK, _SETLKW), _NO, lock), set_flags)
        ),
        "ioctl": _one_of(1, _IOCTL, _one_of(1, (_FICLONE,), _error(errno.ENOTTY), _error(errno.EOPNOTSUPP))),
        "prctl": _one_of(0, _PRCTL, _error(errno.EINVAL)),
        "mmap": _all_bits(3, _SHARED_NOWHERE, _NO, _any_bit(3, _HUGE_PAGES, _error(errno.ENOMEM))),
        "madvise": _one_of(2, _MADVISE, _error(errno.EINVAL)),
        "close_range": _any_bit(2, _OWN_DESCRIPTORS, _error(errno.EINVAL)),
        "clone": _NOT_CLONED if processes else thread,
        "socketpair": _one_of(0, (_UNIX,), _error(errno.EAFNOSUPPORT)),
        "sendto": _null(4),
        "prlimit64": _ITSELF,
        **dict.fromkeys(("kill", "tgkill", "tkill", "getpgid", "getsid"), about),
        **dict.fromkeys(("sched_getaffinity", "sched_setaffinity"), about),
        **dict.fromkeys(("sched_getscheduler", "sched_getparam"), about),
        **dict.fromkeys(("clock_gettime", "clock_getres", "clock_nanosleep"), clock),
    }


# --- filters ----------------------------------------------------------------------------------------


def prepare(namespaces: bool, execute: bool) -> None:
    """Makes the usual filters once for all processes that are forked from this one."""
    with suppress(OSError):  # told where a filter is put in force
        supervisor_filter(execute)
        program_filter(
            execute, os.getpid(), namespaces, execute
        )  # by the same call: a cache tells names from places


@cache
def supervisor_filter(execute: bool) -> bytes:
    """What holds for every process of a sandbox, as a BPF program.

    Args:
        execute: Whether processes below it may start other programs.

    Raises:
        OSError: If the system calls of this machine are not known here.
    """
    free = (syscalls.FREE, syscalls.OWN_FILES, syscalls.SEVERAL, syscalls.CHECKED, syscalls.SUPERVISOR)
    free += (syscalls.EXECUTE,) if execute else ()
    return _packed(_program(free, {"clone": _NOT_CLONED}))


def program_filter(processes: bool, pid: int, namespaces: bool, execute: bool = False) -> bytes:
    """What holds, on top of that, for a program.

    Args:
        processes: Whether it may start processes, and signal them; threads it always may start.
        pid: Of the program's process, which may always signal itself.
        namespaces: Whether there are any around it, and so no files and processes of others.
        execute: Whether it may start other programs.

    Raises:
        OSError: If the system calls of this machine are not known here.
    """
    return struct.pack("I", pid).join(template(processes, namespaces, execute))


@cache
def template(processes: bool, namespaces: bool, execute: bool = False) -> list[bytes]:
    """The filter of a program, in pieces: between them stands the number of its process."""
    free = [syscalls.FREE, *[syscalls.OWN_FILES] * namespaces, *[syscalls.SEVERAL] * processes]
    free += [syscalls.EXECUTE] * execute
    return _packed(_program(free, _checks(processes) | _lone(processes))).split(struct.pack("I", _SELF))


def _lone(processes: bool) -> dict[str, Block]:
    """To start a process fails as where there are too many."""
    return {} if processes else dict.fromkeys(("fork", "vfork"), _error(errno.EAGAIN))


def install(program: bytes) -> None:
    """Puts the filter in force; it cannot be taken off again."""
    set_seccomp_filter(program)


# --- making them ------------------------------------------------------------------------------------


def _program(free: Iterable[Mapping[str, syscalls.Numbers]], checks: Mapping[str, Block]) -> Block:
    """A program that allows these calls, and those that are checked, and no others."""
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(f"no seccomp filter is written for {platform.machine()}")
    which = list(_ARCHITECTURES).index(platform.machine())
    numbers = {name: row[which] for table in (*free, _NAMED) for name, row in table.items()}
    blocks = {number: _ALLOW for table in free for name in table if (number := numbers[name]) is not None}
    blocks |= {number: check for name, check in checks.items() if (number := numbers[name]) is not None}
    # Another machine's calls end the process. Those of x32 lie above all others, and are unknown.
    foreign = ((_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, list(_ARCHITECTURES.values())[which]), *_KILL)
    return (*foreign, (_LOAD, 0, 0, _NUMBER), *_search(_intervals(blocks)))


_NAMED = syscalls.CHECKED | syscalls.SEVERAL


def _intervals(blocks: Mapping[int, Block]) -> list[tuple[int, Block]]:
    """Where each block begins, over all numbers; between calls that are allowed lie those that are not."""
    found: list[tuple[int, Block]] = []
    for number in sorted({0, _NEWER} | {at + more for at in blocks for more in (0, 1)}):
        block = blocks.get(number, _NO if number < _NEWER else _UNKNOWN)
        if not found or found[-1][1] != block:
            found.append((number, block))
    return found


def _search(intervals: list[tuple[int, Block]]) -> Block:
    """A binary search: the kernel goes through it for each call that it does not remember as allowed."""
    if len(intervals) == 1:
        return intervals[0][1]
    middle = len(intervals) // 2
    low, high = _search(intervals[:middle]), _search(intervals[middle:])
    start = intervals[middle][0]
    if len(low) <= _FARTHEST_SKIP:
        return ((_AT_LEAST, len(low), 0, start), *low, *high)
    return ((_AT_LEAST, 0, 1, start), (_JUMP, 0, 0, len(low)), *low, *high)


def _packed(program: Block) -> bytes:
    return b"".join(struct.pack("HBBI", *step) for step in program)
