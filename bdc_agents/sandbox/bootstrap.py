"""How the code of `inside` gets into a fresh interpreter: compiled once here, sent down the socket.

So the sandbox needs no file of this package, and compiles nothing when a program starts.
"""

import marshal
import struct
from functools import cache
from pathlib import Path
from typing import Any

_MODULES = (
    *("kernel", "wire", "note", "values", "library", "common", "raised", "reports", "syscalls", "seccomp"),
    *("namespaces", "landlock", "confine", "usage", "work", "remote", "operators", "kinds", "granted"),
    *("surroundings", "served", "channel", "crossing", "peer", "script", "checker", "run_test", "start"),
    *("ending", "supervise", "launch"),
)
"""Each after those that it imports."""

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
sys.modules["inside"] = package = type(sys)("inside")
package.__path__ = []
for name, code in marshal.loads(read(int.from_bytes(read(4), "big"))):
    module = sys.modules["inside." + name] = type(sys)("inside." + name)
    module.__package__ = "inside"
    setattr(package, name, module)
    exec(code, module.__dict__)
package.launch.main()
"""
"""What the interpreter runs, as its `-c` option; it ends quietly if the caller has gone."""


@cache
def first_frame() -> bytes:
    """The compiled modules, for `START` to read."""
    return _frame([(name, compile(text, f"<sandbox {name}>", "exec")) for name, text in _sources()])


@cache
def first_frame_as_source() -> bytes:
    """The same for an interpreter of another version, which compiles them itself."""
    return _frame([(name, text) for name, text in _sources()])


def _sources() -> list[tuple[str, str]]:
    folder = Path(__file__).parent / "inside"
    return [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in _MODULES]


def _frame(modules: list[tuple[str, Any]]) -> bytes:
    body = marshal.dumps(modules)
    return struct.pack(">I", len(body)) + body
