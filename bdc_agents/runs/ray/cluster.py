"""A Ray cluster as a run uses it: its nodes, actors on them, and one function where there is room."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.extras import need
from bdc_agents.runs.ray.desk import Actor, Desk, Line, NodeLost, Service

CALLS_AT_ONCE = 100_000
"""Calls that an actor handles at once. A desk full of waiting calls could not receive their answers. Ray's
default is 1,000, which the slots of some ten nodes can fill."""


class RayCluster:
    """The cluster that this process is connected to.

    Args:
        ray: The module.
    """

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    async def nodes(self) -> Mapping[str, str]:
        """The names of the live nodes that have a core for a worker, by id.

        Raises:
            BDCError: If the cluster cannot be reached any more.
        """
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

    async def start(self, kind: type[Any], node_id: str | None = None) -> Actor:
        """Starts an actor of this class: on a node, where it takes a core, or beside the driver for free."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

        where = node_id or self._ray.get_runtime_context().get_node_id()
        options = {
            "num_cpus": 0 if node_id is None else 1,
            "max_concurrency": CALLS_AT_ONCE,
            # No restarts by Ray: the driver first gives back what a lost worker held, and it tells a
            # loss an hour from a worker that dies at every start.
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(where, soft=False),
        }
        return RayActor(self._ray.remote(kind).options(**options).remote())

    async def run(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        cpus: float,
        gpus: float,
        told: Callable[[Any], None] | None = None,
    ) -> Any:
        """Runs a function once, on a node with this much free. Cancelling the call interrupts the function.

        Args:
            told: Called with each message of the function, which then gets one more argument: a
                function that sends one.

        Raises:
            NodeLost: If the node dies.
            ConfigError: If no node has this much.
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
            return await self._awaited(task.remote(*arguments))

        async def tell(message: Any) -> None:
            told(message)

        async with Service(await self.start(Desk)) as service:
            line = service.admit({"tell": tell})
            return await self._awaited(task.remote(*arguments, partial(_tell, line)))

    async def _awaited(self, reference: Any) -> Any:
        try:
            return await _result(reference)
        except asyncio.CancelledError:
            self._ray.cancel(reference)
            raise


class RayActor:
    """An `Actor` of Ray.

    Args:
        handle: Ray's.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def call(self, method: str, *arguments: Any) -> Any:
        """See `Actor`."""
        return await _result(getattr(self.handle, method).remote(*arguments))

    async def kill(self) -> None:
        """See `Actor`."""
        with suppress(Exception):
            need("ray").kill(self.handle)


def _tell(line: Line, message: Any) -> None:
    """Sends a message from a job, which is not asynchronous; returns when the driver has it."""
    assert isinstance(line.desk, RayActor)
    need("ray").get(line.desk.handle.ask.remote(line.worker, "tell", (message,), {}))


async def _result(reference: Awaitable[Any]) -> Any:
    exceptions = need("ray").exceptions
    try:
        return await reference
    except exceptions.RayError as error:
        # The method's own exception is raised here. Another one of Ray means that a process was lost: this
        # one, or one that it called.
        if isinstance(error, exceptions.RayTaskError) and not isinstance(error.cause, exceptions.RayError):
            raise error.cause from None
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise NodeLost(f"{type(error).__name__}: {' '.join(lines)[:300]}") from error
