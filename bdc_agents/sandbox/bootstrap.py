"""Brings the code of `inside` into a fresh interpreter: compiles it once and sends it down the socket.

So the sandbox needs no file of this package and compiles nothing when a program starts.
"""

import marshal
import struct
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_MODULES = (
    *("wire", "values", "reports", "usage"),
    *("isolation", "isolation.kernel", "isolation.syscalls", "isolation.seccomp", "isolation.namespaces"),
    *("isolation.landlock", "isolation.confine"),
    *("calls", "calls.stdlib", "calls.mirror", "calls.exceptions", "calls.standins", "calls.operators"),
    *("calls.classes", "calls.script_side", "calls.surroundings", "calls.program_side", "calls.channel"),
    *("calls.codec", "calls.peer"),
    *("script", "script.asserted", "script.tests", "script.names"),
    *("run_script", "run_program", "processes", "supervise", "commands", "launch"),
)
"""The modules of `inside`, each after those it imports."""

START = """
import marshal, os, sys
def read(size):
    parts = b""
    while len(parts) < size:
        part = os.read(0, size - len(parts))
        if not part:
            sys.exit(0)
        parts += part
    return parts
sys.modules["inside"] = inside = type(sys)("inside")
inside.__path__ = []
for name, is_package, code in marshal.loads(read(int.from_bytes(read(4), "big"))):
    parent, _, own = ("inside." + name).rpartition(".")
    module = sys.modules[parent + "." + own] = type(sys)(parent + "." + own)
    module.__package__ = module.__name__ if is_package else parent
    if is_package:
        module.__path__ = []
    setattr(sys.modules[parent], own, module)
    exec(code, module.__dict__)
inside.launch.main()
"""
"""The program of the interpreter's `-c` option; it ends quietly if the caller is gone."""


@cache
def first_frame() -> bytes:
    """The compiled modules, for `START` to read."""
    return _frame([(n, p, compile(text, f"<sandbox {n}>", "exec")) for n, p, text in _sources()])


@cache
def first_frame_as_source() -> bytes:
    """The modules as source, for an interpreter of another version, which compiles them itself."""
    return _frame(_sources())


def _sources() -> list[tuple[str, bool, str]]:
    """Name, whether it is a package, and text of each module."""
    folder, found = Path(__file__).parent / "inside", []
    for name in _MODULES:
        place = folder.joinpath(*name.split("."))
        is_package = place.is_dir()
        file = place / "__init__.py" if is_package else place.with_suffix(".py")
        found.append((name, is_package, file.read_text(encoding="utf-8")))
    return found


def _frame(modules: Sequence[tuple[str, bool, Any]]) -> bytes:
    body = marshal.dumps(list(modules))
    return struct.pack(">I", len(body)) + body
