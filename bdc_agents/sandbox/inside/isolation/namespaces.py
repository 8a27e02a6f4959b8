"""Puts a process into its own namespaces: of the host it sees only an interpreter's files, read-only."""

import os
import signal
from contextlib import suppress
from typing import NamedTuple

from . import kernel

# CLONE_NEW... of <linux/sched.h>.
_NEW_MOUNTS, _NEW_UTS, _NEW_IPC = 0x00020000, 0x04000000, 0x08000000
_NEW_USER, _NEW_PROCESSES, _NEW_NETWORK = 0x10000000, 0x20000000, 0x40000000
_ALL = _NEW_MOUNTS | _NEW_UTS | _NEW_IPC | _NEW_USER | _NEW_PROCESSES | _NEW_NETWORK

_NOBODY = 65534  # The user `nobody`, also of files whose owner has no id in the namespace.
DEVICES = ("null", "full", "random", "urandom")
"""Not /dev/zero: memory mapped from it is counted by no limit once it is unmapped in part."""

_SCRATCH = "/tmp"  # noqa: S108 - inside the sandbox

_PLAIN = kernel.MS_NOSUID | kernel.MS_NODEV
_READ_ONLY = kernel.ATTR_RDONLY | kernel.ATTR_NOSUID


class Owner(NamedTuple):
    """The user and group that programs run as."""

    user: int
    group: int


def enter(folders: list[str], files: list[str], work: str, links: dict[str, str]) -> Owner:
    """Isolates this process; returns only in the new process 1, which may still mount.

    The calling process stays outside, ends process 1 when it is terminated itself, and ends with
    it. The end of process 1 is the end of every process below it.

    Args:
        folders, files: What stays visible, read-only, under its own path.
        work: Where the folder will be that a program may write to.
        links: Further names of what is visible, such as `/usr/local/bin/python`, and what they stand for.

    Raises:
        OSError: If this machine does not let this user do it.
    """
    owner = _unshare()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = os.fork()
    if child:
        _stand_guard(child)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    kernel.set_hostname("sandbox")
    _build_root(folders, files, work, links)
    kernel.restrict_mount("/", _READ_ONLY, recursive=False)
    kernel.forbid_capabilities()
    return owner


def adopt() -> Owner:
    """Takes over the namespaces that bubblewrap has made; returns whom programs run as."""
    kernel.unshare(_NEW_MOUNTS)
    kernel.forbid_capabilities()
    return Owner(os.geteuid(), os.getegid())


def fork() -> int:
    """A child with processes, mounts and IPC of its own, below those of the caller."""
    return kernel.fork_into(_NEW_PROCESSES | _NEW_MOUNTS | _NEW_IPC)


def furnish(owner: Owner, work: str, work_mb: int, work_files: int) -> None:
    """Mounts an empty folder to work in.

    Args:
        owner: Who may write there.
        work: Where it is.
        work_mb, work_files: How much may be written there.
    """
    limits = f"size={work_mb}m,nr_inodes={work_files},mode=700,uid={owner.user},gid={owner.group}"
    kernel.mount("tmpfs", work, "tmpfs", _PLAIN | kernel.MS_NOEXEC, limits)


def furnish_for_all(owner: Owner, work: str, work_mb: int, work_files: int) -> None:
    """The same for all children together, with a part of it as `/tmp`."""
    furnish(owner, work, work_mb, work_files)
    scratch = f"{work}/.tmp"
    os.mkdir(scratch, 0o700)
    os.chown(scratch, owner.user, owner.group)
    kernel.mount(scratch, _SCRATCH, flags=kernel.MS_BIND)


def settle(owner: Owner, work: str, work_mb: int, work_files: int, shared: bool) -> None:
    """Gives such a child an empty folder to work in, and takes all privileges from it.

    Args:
        owner: Whom it becomes.
        work: The folder that the program may write to.
        work_mb, work_files: How much it may write there.
        shared: Whether there is a folder for all children already.
    """
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    _mount_proc("/proc")
    if not shared:
        furnish(owner, work, work_mb, work_files)
    _drop(owner)
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has cleared it


def _unshare() -> Owner:
    """Leaves all namespaces of the host; returns whom programs run as.

    Root keeps itself mapped until the mounts are made, since only root can read its own folders,
    and then becomes nobody. An ordinary user can map only itself.
    """
    user, group = os.geteuid(), os.getegid()
    if user != 0:
        kernel.unshare(_ALL)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{user} {user} 1")
        _write("/proc/self/gid_map", f"{group} {group} 1")
        return Owner(user, group)
    mapper, go = _start_mapper(f"0 0 1\n{_NOBODY} {_NOBODY} 1")
    kernel.unshare(_ALL)
    os.write(go, b"go")
    os.close(go)
    if os.waitpid(mapper, 0)[1] != 0:
        raise PermissionError("the user map could not be written")
    return Owner(_NOBODY, _NOBODY)


def _start_mapper(mapping: str) -> tuple[int, int]:
    """A process that stays outside, where root may still write maps, and does so when told."""
    target, (wait, go) = os.getpid(), os.pipe()
    mapper = os.fork()
    if mapper:
        os.close(wait)
        return mapper, go
    status = 1
    try:
        os.close(go)
        if os.read(wait, 2) == b"go":
            _write(f"/proc/{target}/uid_map", mapping)
            _write(f"/proc/{target}/gid_map", mapping)
            status = 0
    finally:
        os._exit(status)


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _stand_guard(child: int) -> None:
    def end(*_: object) -> None:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            return

    signal.signal(signal.SIGTERM, end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.close(0)  # so that the other side sees the end of process 1
    kernel.outlast(child)
    os._exit(0)


def _build_root(folders: list[str], files: list[str], work: str, links: dict[str, str]) -> None:
    """A small file system in memory with the folders bound into it becomes the root."""
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    root = next(at for at in ("/tmp", "/mnt", "/srv", "/var") if _free(at, folders))  # noqa: S108
    kernel.mount("tmpfs", root, "tmpfs", _PLAIN, "size=1m,nr_inodes=1k,mode=755")
    for folder in folders:
        _show(root, folder)
    for file in [*files, *(f"/dev/{device}" for device in DEVICES)]:
        _bind(root, file, is_folder=False)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        os.symlink(f"/proc/self/fd/{number}", f"{root}/dev/{name}")
    os.symlink("/proc/self/fd", f"{root}/dev/fd")
    os.symlink(work, f"{root}/dev/shm")  # noqa: S108 - where the C library makes locks
    os.mkdir(f"{root}/proc")
    os.makedirs(root + work, exist_ok=True)
    os.makedirs(root + _SCRATCH, exist_ok=True)
    for name, target in links.items():
        os.makedirs(os.path.dirname(root + name), exist_ok=True)
        os.symlink(target, root + name)
    _mount_proc(f"{root}/proc")
    os.chdir(root)
    kernel.pivot_root_here()


def _free(place: str, folders: list[str]) -> bool:
    return os.path.isdir(place) and not any(f"{folder}/".startswith(f"{place}/") for folder in folders)


def _show(root: str, folder: str) -> None:
    if os.path.islink(folder):  # such as /lib, where /usr/lib is the folder
        os.makedirs(os.path.dirname(root + folder), exist_ok=True)
        os.symlink(os.readlink(folder), root + folder)
    else:
        _bind(root, folder, is_folder=True)
        kernel.restrict_mount(root + folder, _READ_ONLY | kernel.ATTR_NODEV)


def _bind(root: str, path: str, is_folder: bool) -> None:
    target = root + path
    os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
    if not is_folder:
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    kernel.mount(path, target, flags=kernel.MS_BIND | kernel.MS_REC)
    if not is_folder:
        kernel.restrict_mount(target, _READ_ONLY)


def _mount_proc(target: str) -> None:
    """Shows the processes of this namespace only; a container may forbid that, and then there are none."""
    flags = _PLAIN | kernel.MS_NOEXEC | kernel.MS_RDONLY
    with suppress(OSError):
        kernel.mount("proc", target, "proc", flags, "hidepid=2,subset=pid")


def _drop(owner: Owner) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(owner.group, owner.group, owner.group)
        os.setresuid(owner.user, owner.user, owner.user)
    kernel.drop_capabilities()
