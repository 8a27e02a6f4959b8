"""System calls that Python has no function for, through ctypes; each raises OSError on failure.

The numbers are those of the kernel's headers, which never change.
"""

import ctypes
import errno
import os
import platform
import signal

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2

ATTR_RDONLY, ATTR_NOSUID, ATTR_NODEV = 1, 2, 4
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_MOUNT_ATTR_BYTES = 32
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_SYS_LANDLOCK = 444  # and the two after it; the same on every machine
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
# Told once, here: each object made after a fork takes copies of pages, at some 7 us each.
_libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]


class _Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _checked(what: str, result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, value: int) -> None:
    """Changes an attribute of this process."""
    _checked(f"prctl({option}, {value})", _libc.prctl(option, value, 0, 0, 0))


def unshare(flags: int) -> None:
    """Moves this process into new namespaces."""
    _checked(f"unshare({flags:#x})", _libc.unshare(flags))


def fork_into(flags: int) -> int:
    """As `os.fork`, but the child is in new namespaces.

    Only for a process with one thread, since locks of the C library are not looked after.
    """
    number = _SYS_CLONE.get(platform.machine())
    if number is None:
        raise OSError(f"clone is not known on {platform.machine()}")
    words = [ctypes.c_ulong(word) for word in (flags | signal.SIGCHLD, 0, 0, 0, 0)]
    python, libc = ctypes.pythonapi, ctypes.PyDLL(None, use_errno=True)  # neither lets go of the GIL
    python.PyOS_BeforeFork()
    pid = libc.syscall(ctypes.c_long(number), *words)
    if pid == 0:
        python.PyOS_AfterFork_Child()
        return 0
    number = ctypes.get_errno()
    python.PyOS_AfterFork_Parent()
    ctypes.set_errno(number)
    return _checked("clone", pid)


def outlast(pid: int) -> int:
    """Waits until a child process ends, and ends it if it is stopped; returns its status.

    The sandbox never stops a process itself, so a stop is an attempt to make it hang.
    """
    while True:
        _, word = os.waitpid(pid, os.WUNTRACED)
        if not os.WIFSTOPPED(word):
            return os.waitstatus_to_exitcode(word)
        os.kill(pid, signal.SIGKILL)


def watch(pid: int) -> int:
    """A descriptor that can be read when a child process has ended."""
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        raise OSError(
            f"this kernel has no pidfd_open (Linux has it since 5.3; it calls itself {platform.release()})"
        ) from None


def landlock(call: int, *words: object) -> int:
    """One of the system calls of Landlock: 0 creates a rule set, 1 adds a rule, 2 enforces it."""
    return _checked(f"landlock call {call}", _libc.syscall(ctypes.c_long(_SYS_LANDLOCK + call), *words))


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mounts, binds or changes the propagation of a mount."""
    words = [text.encode() or None for text in (source, target, kind)]
    done = _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None)
    _checked(f"mount {kind or source} on {target}", done)


def restrict_mount(target: str, attributes: int, recursive: bool = True) -> None:
    """Adds attributes such as read-only to a mount and, where asked, to all mounts below it."""
    words = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)  # struct mount_attr
    done = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        ctypes.c_long(_AT_FDCWD),
        ctypes.c_char_p(target.encode()),
        ctypes.c_long(_AT_RECURSIVE if recursive else 0),
        ctypes.byref(words),
        ctypes.c_long(_MOUNT_ATTR_BYTES),
    )
    _checked(f"mount_setattr on {target} (needs Linux 5.12)", done)


def pivot_root_here() -> None:
    """Makes the working directory, a mount, the root, and lets the old root go."""
    number = _SYS_PIVOT_ROOT.get(platform.machine())
    if number is None:
        raise OSError(f"pivot_root is not known on {platform.machine()}")
    _checked("pivot_root", _libc.syscall(ctypes.c_long(number), b".", b"."))
    _checked("umount of the old root", _libc.umount2(b".", MNT_DETACH))
    os.chdir("/")


def set_hostname(name: str) -> None:
    """Names this machine, in the current UTS namespace."""
    _checked("sethostname", _libc.sethostname(name.encode(), ctypes.c_size_t(len(name))))


def forbid_capabilities() -> None:
    """Empties the bounding set, so that no later step can bring a capability back."""
    for capability in range(64):  # A set of them has 64 bits.
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            if capability == 0:
                raise
            return  # past the last one that this kernel knows


def drop_capabilities() -> None:
    """Empties the effective, permitted and inheritable sets."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # Three sets, each in two words.
    _checked("capset", _libc.capset(ctypes.byref(header), ctypes.byref(sets)))


def set_seccomp_filter(program: bytes) -> None:
    """Puts a BPF program in front of every system call of this process and its children."""
    wrapped = _Filter(len(program) // 8, program)  # An instruction has 8 bytes.
    _checked("seccomp", _libc.prctl(PR_SET_SECCOMP, 2, ctypes.addressof(wrapped), 0, 0))
