"""Names the holders of leases, and finds out whether one is certainly gone."""

import os
import socket
from functools import lru_cache
from pathlib import Path
from secrets import token_hex

_PARTS = 4  # Node, process id, its start, and a random word.


def new_owner() -> str:
    """A name for this process as a holder of leases; each call gives a new one."""
    return f"{_node()}|{os.getpid()}|{_started(os.getpid())}|{token_hex(4)}"


def is_gone(owner: str) -> bool:
    """Whether the owner was a process of this machine that no longer runs.

    Nothing is known of a process elsewhere: its leases expire.
    """
    parts = owner.split("|")
    if len(parts) != _PARTS or parts[0] != _node() or not parts[1].isdecimal():
        return False
    return _started(int(parts[1])) != parts[2]


@lru_cache(maxsize=1)
def _node() -> str:
    """This machine since its boot; a container with its own process ids counts as a machine."""
    boot = _read("/proc/sys/kernel/random/boot_id").strip()
    try:
        processes = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        processes = ""
    return f"{socket.gethostname()}/{boot}/{processes}".replace("|", "_")


def _started(pid: int) -> str:
    """When a process started, in the kernel's ticks; tells it from a later process with the same id."""
    state, _, rest = _read(f"/proc/{pid}/stat").rpartition(")")
    # proc(5): behind the name come the state (Z and X have ended) and, 19 fields later, the start time.
    fields = rest.split()
    return fields[19] if state and fields and fields[0] not in "ZX" else ""


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
