"""Runs one long job on a Ray cluster, such as training; it survives the loss of its node."""

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
    """Runs a job on a node of a Ray cluster; if the node dies, the job starts again on another.

    The job resumes where it was cut off if it keeps its state in a folder that all nodes see under
    one name. Otherwise it starts over. Cancelling the call interrupts the job as Ctrl-C does.

    Args:
        function: A function of a module that is installed on the nodes.
        arguments: Arguments that can be pickled; without keys, which a node takes from its environment.
        address: As for `connected`; None starts a Ray of one node.
        needs: What the node must have free; None for one core.
        tell: Called with a line when the job starts again.
        told: Called with each message of the job; the function then gets one more argument: a function
            that sends one.

    Returns:
        What the function returns.

    Raises:
        ConfigError: If no node has what it needs, or the node has another version of this package.
        BDCError: If one node after another is lost, or the cluster is gone.
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
            tell(f"the job's node is lost; the job starts again on another ({lost})")
            await asyncio.sleep(0)


def at_driver(
    folder: Path,
    package: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    tell: Callable[[Any], None] | None = None,
) -> Any:
    """Calls a function on a node as the driver would: with the same package, in the same working folder.

    Args:
        tell: Sends the function's messages; None for a function without that argument.

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
    """The error, or its text if it cannot be pickled: Ray would report that as a lost node."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:
        return BDCError(f"{type(error).__name__}: {error}")
    return error
