"""The server process: serves one model file to all processes of one user.

It runs as a script and imports nothing of the package, so that it starts in a fraction of a second. In
its folder it holds the lock of `alive` while it lives, publishes its address and key in `server.json`,
which only the user can read, and watches `leases`: every user of the server holds that file's lock,
shared. The kernel releases the locks of a process however it ends, so a lease never outlives its holder,
and the server ends when no lease is left.
"""

import argparse
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

WATCH_SECONDS = 0.2
"""Time between two looks at the leases: one system call each, and short beside the time to linger."""
PROMPT_CACHE_MB = 512
"""Memory for prompts that were read before. As a start: searches ask with common beginnings, and a small
machine has this much to spare; llama.cpp's default is 8 GiB."""


def main() -> int:
    """Serves until the last user is gone; returns the exit code."""
    options = _arguments()
    os.umask(0o077)
    alive = os.open(options.folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
    if not _try_lock(alive):
        print("another server already has this folder", file=sys.stderr)
        return 1
    # The lock belongs to the open file, so the child keeps it. As an orphan the child becomes no zombie.
    if os.fork():
        os._exit(0)
    address = options.folder / "server.json"
    address.unlink(missing_ok=True)
    key = secrets.token_urlsafe(32)
    try:
        url, server = _start_own_build(options, key) if options.runtime else _start(options, key)
    except RuntimeError:  # The log says why, in llama.cpp's words.
        return 1
    _publish(address, {"url": url, "key": key, "pid": os.getpid()})
    _wait_for_last_user(options.folder / "leases", options.linger, lambda: _gone(server, url))
    address.unlink(missing_ok=True)
    os._exit(0)  # Nobody waits for an answer, so there is nothing to wind down.


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--context", type=int, required=True, help="tokens, shared by all slots")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runtime", help="a `llama-server` to run instead of the installed package")
    parser.add_argument("--linger", type=float, required=True, help="seconds to wait for a next user")
    return parser.parse_args()


def _start(options: argparse.Namespace, key: str) -> tuple[str, Any]:
    """Loads the model and listens on a free port of the loopback interface.

    Returns:
        The address, and an object that serves while it is kept.
    """
    xllamacpp: Any = import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.model_alias = {options.name}
    params.n_parallel = options.slots
    # Unified: one long request may use the context that other slots leave. Measured: it costs no speed.
    params.kv_unified = True
    params.n_ctx = options.context
    params.cont_batching = True
    params.cache_prompt = True
    params.cache_ram_mib = PROMPT_CACHE_MB
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.verbosity = 1  # Errors only: no prompt ever enters the log.
    close_to_others(params, key)
    server = xllamacpp.Server(params)
    return server.listening_address, server


def _start_own_build(options: argparse.Namespace, key: str) -> tuple[str, "subprocess.Popen[bytes]"]:
    """The same with the user's own build of llama.cpp, as a child that ends with this process.

    Raises:
        RuntimeError: If it ends before it answers.
    """
    keys = options.folder / "keys"
    keys.write_text(key)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(  # noqa: S603 - the program that the user named.
        [
            options.runtime,
            *("--model", options.model, "--alias", options.name, "--host", "127.0.0.1", "--port", str(port)),
            *("--parallel", str(options.slots), "--ctx-size", str(options.context), "--kv-unified"),
            *("--threads", str(options.threads), "--threads-batch", str(options.threads)),
            *("--cache-ram", str(PROMPT_CACHE_MB), "--api-key-file", str(keys), "--no-slots", "--offline"),
            *("--cors-origins", "http://127.0.0.1", "--no-cors-credentials", "--log-verbosity", "1"),
        ],
        preexec_fn=_die_with_parent,
    )
    url = f"http://127.0.0.1:{port}"
    while not _healthy(url):
        if process.poll() is not None:
            raise RuntimeError
        time.sleep(WATCH_SECONDS)
    return url, process


def _gone(server: object, url: str) -> bool:
    """Whether the user's own build has ended, or no longer listens because it hangs while it ends."""
    if not isinstance(server, subprocess.Popen):
        return False
    if server.poll() is not None:
        return True
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # Busy, not gone.
        pass
    return False


def _die_with_parent() -> None:
    """Asks Linux to kill this process when the one that started it ends, however it ends."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def _healthy(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def close_to_others(params: Any, key: str) -> None:
    """Allows only loopback and callers with the key, and no endpoint that shows what others ask."""
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = params.endpoint_metrics = params.endpoint_props = False
    params.cors_origins = "http://127.0.0.1"
    params.cors_credentials = False


def _publish(path: Path, content: dict[str, object]) -> None:
    fresh = path.with_name("server.json.new")
    fresh.write_text(json.dumps(content))
    fresh.replace(path)


def _wait_for_last_user(leases: Path, linger: float, gone: Callable[[], bool]) -> None:
    """Waits until nobody has held a lease for `linger` seconds, and then holds their lock.

    Returns at once if the server is gone.
    """
    descriptor = os.open(leases, os.O_RDWR | os.O_CREAT, 0o600)
    unused_since: float | None = None
    while not gone():
        if not _try_lock(descriptor):
            unused_since = None
        else:
            unused_since = time.monotonic() if unused_since is None else unused_since
            if time.monotonic() - unused_since >= linger:
                return
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        time.sleep(WATCH_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
