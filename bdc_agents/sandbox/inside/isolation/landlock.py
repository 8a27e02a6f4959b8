"""Landlock: which files a process may use, whom it may signal and which ports it may reach.

A second wall where there are namespaces, and the first where there are none.
"""

import ctypes
import os
import struct

from . import kernel
from .namespaces import DEVICES

NEEDED = 3
"""The version that the tier without namespaces needs: the first that covers `truncate`."""

# From here on the numbers are those of <linux/landlock.h>.
_EXECUTE, _WRITE, _READ, _LIST = 1, 2, 4, 8
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights that files have since each version; all that exist are handled, so refused by default."""
_NETWORK_SINCE, _BIND_CONNECT = 4, 3
_SCOPES_SINCE, _ABSTRACT_SOCKETS_SIGNALS = 6, 3
_PATH_BENEATH = 1
_DEVICES = [f"/dev/{name}" for name in DEVICES]


def version() -> int:
    """The version this kernel offers; 0 for none."""
    try:
        return kernel.landlock(0, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    except OSError:
        return 0


def lacking() -> str:
    """What to say where `NEEDED` is not offered."""
    found = version()
    text = f"Landlock version {found}, but {NEEDED} (Linux 6.2) is needed"
    return text if found else f"{text}: the kernel has none, or a container's seccomp profile refuses it"


def restrict(readable: list[str], writable: list[str], execute: bool = False) -> None:
    """Lets this process and its children use these files, and no others.

    Args:
        readable: Folders and files to read; what is not there is left out.
        writable: Folders to write to as well.
        execute: Whether what can be read can be run, too; what can be written never can.

    Raises:
        OSError: If this kernel has no Landlock.
    """
    offered = version()
    rights = sum(bits for since, bits in _RIGHTS.items() if since <= offered)
    network = _BIND_CONNECT if offered >= _NETWORK_SINCE else 0
    scopes = _ABSTRACT_SOCKETS_SIGNALS if offered >= _SCOPES_SINCE else 0
    handled = struct.pack("QQQ", rights, network, scopes)
    size = 24 if scopes else 16 if network else 8  # An older kernel refuses fields that it does not know.
    rules = kernel.landlock(0, ctypes.c_char_p(handled), ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path in readable:
            _allow(rules, path, rights & (_READ | _LIST | (_EXECUTE if execute else 0)))
        if execute:  # People list the root; below it is nothing that may not be known.
            _allow(rules, "/", rights & _LIST)
        for path in writable:
            _allow(rules, path, rights & ~_EXECUTE)
        for path in _DEVICES:
            _allow(rules, path, rights & (_READ | _WRITE))
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        kernel.landlock(2, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not os.path.isdir(path):
            rights &= _READ | _WRITE | _EXECUTE
        rule = struct.pack("=Qi", rights, place)
        kernel.landlock(
            1, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), ctypes.c_char_p(rule), ctypes.c_uint(0)
        )
    finally:
        os.close(place)
