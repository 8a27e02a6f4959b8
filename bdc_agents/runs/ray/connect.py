"""Joins a Ray cluster, or starts Ray on this machine; with a token in either case."""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

from bdc_agents.errors import BDCError, ConfigError, ModelError
from bdc_agents.extras import need
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.signals import SIGNALS

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
OBJECT_STORE_BYTES = 100 * 2**20
"""Object store of our own Ray: messages are small and bypass it. By default Ray takes 30 % of the memory."""
REACH_SECONDS = 10.0
"""Time to reach the head of a cluster; Ray itself would try for a minute."""
_ADDRESS = re.compile(r"(?P<host>[^:/\s]+):(?P<port>\d{1,5})")
_LOOPBACK = "127.0.0.2"
"""Where our own Ray listens. It replaces 127.0.0.1 by the machine's outer address, but not this one."""


@asynccontextmanager
async def connected(address: str | None) -> AsyncIterator[RayCluster]:
    """Connects this process to a cluster; a connection that the caller has made is used as it is.

    Args:
        address: `HOST:PORT` of its head, or `auto` for the one on this machine, which must be one of
            its nodes; None starts a Ray of one node that ends with the run.

    Raises:
        ModelError: If Ray is not installed.
        ConfigError: If the address or the token is missing or wrong.
        BDCError: If the cluster cannot be reached.
    """
    if address not in (None, "auto") and not _ADDRESS.fullmatch(str(address)):
        raise ConfigError(
            f"--ray-address {address!r}: write HOST:PORT of the head, or auto; this machine must be a node "
            "of the cluster (ray start --address=HOST:PORT)"
        )
    if "ray" not in sys.modules:  # Ray reads how to authenticate when it is imported.
        _authenticate(address)
    ray = _import()
    if ray.is_initialized():
        yield RayCluster(ray)
        return
    # Ray prints a line on stdout for a lost node, whatever its options say; stdout is for the result.
    ray._private.worker._worker_logs_enabled = False
    try:
        await asyncio.to_thread(_connect, ray, address)
        _take_signals_back()
        yield RayCluster(ray)
    finally:
        await asyncio.to_thread(ray.shutdown)
        ray._private.worker._worker_logs_enabled = True


def _take_signals_back() -> None:
    """Restores Python's signal handling: Ray's core ends the process at SIGTERM, past any handler."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        signal.signal(number, signal.getsignal(number))
        signal.siginterrupt(number, False)


def _import() -> Any:
    try:
        return need("ray")
    except ModelError as error:
        raise type(error)(f"--engine ray needs Ray here and on every node: {error}") from None


def _authenticate(address: str | None) -> None:
    """Makes Ray require a token: without one, anyone who reaches its ports can run programs.

    Raises:
        ConfigError: If there is no token for a cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    if os.environ.setdefault(MODE, "token").lower() != "token":
        raise ConfigError(
            f"{MODE}={os.environ[MODE]!r} leaves the cluster open to anyone who reaches it; set "
            f"{MODE}=token and the same {TOKEN} on every node and here"
        )
    if os.environ.get(TOKEN) or os.environ.get(TOKEN_FILE) or _has_default_token():
        return
    if address is not None:
        raise ConfigError(
            f"no token for the Ray cluster at {address}: set {TOKEN} to the one its nodes were started with "
            f"({MODE}=token {TOKEN}=... ray start ...)"
        )
    os.environ[TOKEN] = token_hex(32)  # 256 bits: nobody guesses it.


def _has_default_token() -> bool:
    try:
        return Path("~/.ray/auth_token").expanduser().is_file()
    except RuntimeError:  # There is no home folder.
        return False


def _connect(ray: Any, address: str | None) -> None:
    """Connects; takes seconds, so it runs in a thread."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    quiet = {"log_to_driver": False, "configure_logging": False}
    try:
        if address is None:
            ray.init(
                address="local",
                num_cpus=1,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                _node_ip_address=_LOOPBACK,
                **quiet,
            )
            return
        own = {}
        if found := _ADDRESS.fullmatch(address):
            host = found["host"]
            socket.create_connection((host, int(found["port"])), REACH_SECONDS).close()
            own = {"_node_ip_address": host} if host.startswith("127.") else {}
        ray.init(address=address, **quiet, **own)
    except Exception as error:
        what = "Ray could not be started here" if address is None else f"no Ray cluster at {address}"
        raise BDCError(
            f"{what} ({type(error).__name__}: {str(error).strip():.300}); see ray status, and that the same "
            f"{TOKEN} is set everywhere"
        ) from error
