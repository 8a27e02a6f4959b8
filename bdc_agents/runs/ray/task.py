"""One long job on a Ray cluster, such as the training of experts, that survives the loss of its node."""

import asyncio
import os
import pickle
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.runs.ray.cluster import RayCluster
from bdc_agents.runs.ray.connect import connected
from bdc_agents.runs.ray.desk import NodeLost
from bdc_agents.runs.ray.spread import MOST_LOSSES, SOON_SECONDS
from bdc_agents.types import Frozen

T = TypeVar("T")


class Needs(Frozen):
    """What a node must have free for a job.

    Args:
        cpus: Cores.
        gpus: Graphics cards.
    """

    cpus: float = 1.0
    gpus: float = 0.0


async def run_remote(
    function: Callable[..., T],
    *arguments: Any,
    address: str | None = None,
    needs: Needs | None = None,
    tell: Callable[[str], None] = lambda _: None,
    told: Callable[[Any], None] | None = None,
) -> T:
    """Runs a job on a node of a Ray cluster; where its node dies, it starts again on another.

    The job goes on where it was cut off if what it keeps lies in a folder that all nodes see, under
    one name. Without one it starts over. Cancelling the call interrupts the job as Ctrl-C does.

    Args:
        function: Of a module that is installed on the nodes.
        arguments: That can be pickled; without keys, which a node takes from its own environment.
        address: As for `connected`; None starts a Ray of one node.
        needs: What the node must have free; None for one core.
        tell: Told when the job starts again.
        told: Told whatever the job tells while it runs; the function then has one more argument, to
            call with it.

    Returns:
        What the function returns.

    Raises:
        ConfigError: If no node has what it needs, or the node has another version of this package.
        BDCError: If one node after the other is lost, or the cluster is gone.
        Exception: What the function raises.
    """
    async with connected(address) as cluster:
        return await run_on(cluster, function, *arguments, needs=needs or Needs(), tell=tell, told=told)


async def run_on(
    cluster: RayCluster,
    function: Callable[..., T],
    *arguments: Any,
    needs: Needs,
    tell: Callable[[str], None],
    told: Callable[[Any], None] | None = None,
) -> T:
    """As `run_remote`, on a cluster that this process is connected to."""
    losses = 0
    while True:
        began = time.monotonic()
        try:
            return await cluster.run(
                at_driver, Path.cwd(), version("bdc-agents"), function, arguments, **dict(needs), told=told
            )
        except NodeLost as lost:
            losses = 1 if time.monotonic() - began > SOON_SECONDS else losses + 1
            if losses >= MOST_LOSSES:
                raise BDCError(
                    f"the job's node was lost {MOST_LOSSES} times, each soon after its start: {lost}; "
                    "the same command goes on"
                ) from lost
            tell(f"the job's node is lost; it starts again on another one ({lost})")
            await asyncio.sleep(0)


def at_driver(
    folder: Path,
    package: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tell: Callable[[Any], None] | None = None,
) -> Any:
    """Calls a function on a node as the driver would: with its package, and in its working folder.

    Args:
        tell: For what the function tells; without one it has no such argument.

    Raises:
        ConfigError: If this node has another version of the package.
    """
    here = version("bdc-agents")
    if here != package:
        raise ConfigError(f"a node has bdc-agents {here}, the driver {package}; install the same there")
    if folder.is_dir():
        os.chdir(folder)
    try:
        return function(*arguments) if tell is None else function(*arguments, tell)
    except Exception as error:
        raise _sendable(error) from None


def _sendable(error: Exception) -> Exception:
    """The error; or what it says, where it cannot be pickled: Ray would take that for a lost node."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:
        return BDCError(f"{type(error).__name__}: {error}")
    return error
