"""Starts and ends the process in which llama.cpp serves a base and its experts."""

import json
import secrets
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bdc_agents.agents.local.server import require_runtime, server_environment
from bdc_agents.errors import ModelError

START_SECONDS = 600.0
"""To load a base of tens of gigabytes from a slow disk. Chosen, not measured."""
END_SECONDS = 5.0
"""The process exits at once when its input ends; one that hangs is killed after this. Chosen, not
measured."""
_LOG_LINES = 6
"""Lines of llama.cpp's log in an error: its last words name the cause."""


class LlamaServer:
    """A llama.cpp server for this process alone: on loopback, behind a key; it ends with this process.

    Blocks while the model is loaded.

    Args:
        model: A GGUF file.
        adapters: LoRA files; a request gives each a scale by its place among them.
        slots: Requests at once.
        tokens: Tokens of prompt and reply, of all requests together.
        threads: Threads of computation.
        float32: Compute keys, values and attention in float32 instead of llama.cpp's float16.

    Raises:
        ModelError: If llama.cpp is not installed, or cannot load the files.
    """

    def __init__(
        self,
        model: Path,
        adapters: Sequence[Path],
        *,
        slots: int,
        tokens: int,
        threads: int,
        float32: bool = False,
    ) -> None:
        require_runtime()
        self.key = secrets.token_urlsafe(32)
        settings = {
            "model": str(model),
            "adapters": [str(path) for path in adapters],
            **{"slots": slots, "tokens": tokens, "threads": threads, "float32": float32, "key": self.key},
        }
        script = str(Path(__file__).with_name("process.py"))
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own script.
                [sys.executable, "-P", script],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=server_environment(),
                text=True,
            )
            self.url = self._address(json.dumps(settings))
            if not self.url:
                self.close()
                log.seek(0)
                lines = "\n  ".join(log.read().splitlines()[-_LOG_LINES:]) or "nothing in its log"
                raise ModelError(f"llama.cpp does not serve {model} with its experts:\n  {lines}")

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ends_within(self, seconds: float) -> bool:
        """Whether the process ends in that time; its connections break before it does."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return not self.alive

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.close()
            self._process.wait(END_SECONDS)
        except (subprocess.TimeoutExpired, OSError):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _address(self, settings: str) -> str:
        """The server's address; empty if the process ended first or took too long."""
        assert self._process.stdin
        assert self._process.stdout
        late = threading.Timer(START_SECONDS, self._process.kill)
        late.start()
        try:
            self._process.stdin.write(f"{settings}\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            return ""
        finally:
            late.cancel()
        return str(json.loads(line)["url"]) if line else ""
