"""A Ray cluster: to start or join one, to see its nodes, and to have a worker on each."""

import asyncio
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from secrets import token_hex
from typing import Any, Protocol

from bdc_agents.errors import BDCError, ConfigError, ModelError
from bdc_agents.extras import need
from bdc_agents.runs.ray_calls import Answer, NodePlan, Polled
from bdc_agents.runs.ray_node import NodeWorker
from bdc_agents.runs.ray_session import Node, NodeLost
from bdc_agents.runs.stopping import SIGNALS

MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray of our own: what travels is small, and goes past the object store."""
REACH_SECONDS = 10.0
LAST_WORDS_SECONDS = 10.0
"""For what a job has told and the driver has not heard yet."""
_ADDRESS = re.compile(r"(?P<host>[^:/\s]+):(?P<port>\d{1,5})")
_LOOPBACK = "127.0.0.2"
"""Where a Ray of our own listens; 127.0.0.1 it would take for the machine's outer address."""


class Cluster(Protocol):
    """Machines that can have a worker each."""

    async def nodes(self) -> Mapping[str, str]:
        """What people call each node that is alive and has a core for a worker, by its id.

        Raises:
            BDCError: If the cluster cannot be reached any more.
        """
        ...

    async def open(self, node_id: str, worker: type[NodeWorker]) -> Node:
        """A worker of this kind on this node, not started yet."""
        ...


class RayCluster:
    """The cluster that this process is connected to.

    Args:
        ray: The module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    async def nodes(self) -> Mapping[str, str]:
        """See `Cluster`."""
        try:
            found = await asyncio.to_thread(self._ray.nodes)
        except Exception as error:
            raise BDCError(
                f"the Ray cluster does not answer any more ({type(error).__name__}: {error:.200}); start it "
                "again, and the same command goes on"
            ) from error
        return {
            node["NodeID"]: node["NodeManagerAddress"]
            for node in found
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        }

    async def open(self, node_id: str, worker: type[NodeWorker]) -> Node:
        """See `Cluster`."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

        options = {
            "num_cpus": 1,
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=False),
        }
        return RayNode(self._ray, self._ray.remote(worker).options(**options).remote())

    async def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        cpus: float,
        gpus: float,
        told: Callable[[Any], None] | None = None,
    ) -> Any:
        """Runs a function once, on a node that has this much free; see `TaskCluster`.

        Raises:
            NodeLost: If the node dies.
            ConfigError: If no node has as much.
            Exception: What the function raises.
        """
        found = await asyncio.to_thread(self._ray.nodes)
        able = [node["Resources"] for node in found if node["Alive"]]
        if not any(node.get("CPU", 0) >= cpus and node.get("GPU", 0) >= gpus for node in able):
            raise ConfigError(
                f"no node of the Ray cluster has {cpus:g} cores and {gpus:g} GPUs; see ray status"
            )
        task = self._ray.remote(function).options(num_cpus=cpus, num_gpus=gpus, max_retries=0)
        if told is None:
            return await self._result(task.remote(*arguments))
        async with self._mailbox(told) as queue:
            return await self._result(task.remote(*arguments, queue))

    async def _result(self, reference: Any) -> Any:
        try:
            return await reference
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:
            raise NodeLost(_brief(error)) from error
        except asyncio.CancelledError:
            self._ray.cancel(reference)
            raise

    @asynccontextmanager
    async def _mailbox(self, told: Callable[[Any], None]) -> AsyncIterator[Any]:
        """A queue on this node, whose messages the driver hears of up to the last one."""
        from ray.util.queue import Queue  # pyright: ignore[reportMissingImports]
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

        here = self._ray.get_runtime_context().get_node_id()
        options = {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}
        queue = await asyncio.to_thread(Queue, actor_options=options)

        async def read() -> None:
            while (message := await queue.get_async()) is not None:
                told(message)

        reading = asyncio.create_task(read())
        try:
            yield queue
        finally:
            with suppress(self._ray.exceptions.RayError, TimeoutError):
                await queue.put_async(None)
                await asyncio.wait_for(reading, LAST_WORDS_SECONDS)
            reading.cancel()
            await asyncio.to_thread(queue.shutdown, force=True)


class RayNode:
    """A `Node` that is a Ray actor.

    Args:
        ray: The module.
        actor: Of `NodeWorker`.
    """

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    async def start(self, plan: NodePlan) -> None:
        """See `Node`."""
        await self._of(self._actor.start.remote(plan))

    async def poll(self) -> Polled:
        """See `Node`."""
        return await self._of(self._actor.poll.remote())

    async def answer(self, answers: Sequence[Answer]) -> None:
        """See `Node`."""
        await self._of(self._actor.answer.remote(answers))

    async def stop(self) -> None:
        """See `Node`."""
        await self._of(self._actor.stop.remote())

    async def kill(self) -> None:
        """See `Node`."""
        with suppress(Exception):
            self._ray.kill(self._actor)

    async def _of(self, reference: Awaitable[Any]) -> Any:
        try:
            return await reference
        except self._ray.exceptions.RayError as error:
            raise NodeLost(_brief(error)) from error


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:300]}"


@asynccontextmanager
async def connected(address: str | None) -> AsyncIterator[RayCluster]:
    """Connects this process to a cluster; one that the caller has connected to is taken as it is.

    Args:
        address: `HOST:PORT` of its head, or `auto` for the one that runs on this machine, which
            must be one of its nodes; None starts a Ray of one node that ends with the run.

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
    if "ray" not in sys.modules:  # it reads how to authenticate when it is imported
        _authenticate(address)
    ray = _import()
    if ray.is_initialized():
        yield RayCluster(ray)
        return
    # Of a lost node Ray prints a line on stdout whatever its options say; stdout is for the result.
    ray._private.worker._worker_logs_enabled = False
    try:
        await asyncio.to_thread(_connect, ray, address)
        _take_signals_back()
        yield RayCluster(ray)
    finally:
        await asyncio.to_thread(ray.shutdown)
        ray._private.worker._worker_logs_enabled = True


def _take_signals_back() -> None:
    """Has signals reach Python as before: Ray's core ends the process at SIGTERM, past any handler."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        signal.signal(number, signal.getsignal(number))
        signal.siginterrupt(number, False)


def _import() -> Any:
    try:
        return need("ray")
    except ModelError as error:
        raise ModelError(f"--engine ray needs Ray here and on every node: {error}") from None


def _authenticate(address: str | None) -> None:
    """Has Ray ask for a token: without one, all who reach its ports can run programs.

    Raises:
        ConfigError: If there is no token for a cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "error")
    if os.environ.setdefault(MODE, "token").lower() != "token":
        raise ConfigError(
            f"{MODE}={os.environ[MODE]!r} leaves the cluster open to all who reach it; set {MODE}=token and "
            f"the same {TOKEN} on every node and here"
        )
    if os.environ.get(TOKEN) or os.environ.get(TOKEN_FILE) or _has_default_token():
        return
    if address is not None:
        raise ConfigError(
            f"no token for the Ray cluster at {address}: set {TOKEN} to the one its nodes were started with "
            f"({MODE}=token {TOKEN}=... ray start ...)"
        )
    os.environ[TOKEN] = token_hex(32)


def _has_default_token() -> bool:
    try:
        return Path("~/.ray/auth_token").expanduser().is_file()
    except RuntimeError:  # no home folder
        return False


def _connect(ray: Any, address: str | None) -> None:
    """Connects, in a thread of its own: it takes seconds."""
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
            # Ray itself would try for a minute.
            socket.create_connection((host, int(found["port"])), REACH_SECONDS).close()
            own = {"_node_ip_address": host} if host.startswith("127.") else {}
        ray.init(address=address, **quiet, **own)
    except Exception as error:
        what = "Ray could not be started here" if address is None else f"no Ray cluster at {address}"
        raise BDCError(
            f"{what} ({type(error).__name__}: {str(error).strip():.300}); see ray status, and that the same "
            f"{TOKEN} is set everywhere"
        ) from error
