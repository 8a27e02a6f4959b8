"""Who holds a lease, and whether that process is gone for certain."""

import os
import socket
from functools import lru_cache
from pathlib import Path
from secrets import token_hex


def new_owner() -> str:
    """A name for this process as the holder of leases; two calls give two names."""
    return f"{_node()}|{os.getpid()}|{_started(os.getpid())}|{token_hex(4)}"


def is_gone(owner: str) -> bool:
    """Whether the owner was a process of this machine that does not run any more.

    Of a process elsewhere nothing is known: its leases expire.
    """
    parts = owner.split("|")
    if len(parts) != 4 or parts[0] != _node() or not parts[1].isdecimal():
        return False
    return _started(int(parts[1])) != parts[2]


@lru_cache(maxsize=1)
def _node() -> str:
    """This machine since its start; a container with processes of its own counts as one."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return f"{socket.gethostname()}/{boot}/{processes}".replace("|", "_")


def _started(pid: int) -> str:
    """When a process was started, in the kernel's ticks; tells a process from a later one of its number."""
    state, _, rest = _read(f"/proc/{pid}/stat").rpartition(")")
    fields = rest.split()
    return fields[19] if state and fields and fields[0] not in "ZX" else ""


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
