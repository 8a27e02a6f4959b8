"""Where a server that a test has started listens."""

import re
import subprocess
import time
from pathlib import Path


def address(log: Path, server: "subprocess.Popen[bytes]") -> str:
    """The address that a server tells in its log, as soon as it does."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        if found := re.search(r"listening at (\S+)", log.read_text()):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
