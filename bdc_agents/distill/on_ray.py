"""Disentangle on a node of a Ray cluster, such as the one that has the graphics cards.

The traces travel to the node, and the library back; where both see the same disk, the node works in
the driver's folder, and a node that takes over goes on where a lost one was.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from socket import gethostname
from typing import Any

from bdc_agents.agents.cache import cache_folder
from bdc_agents.distill.lessons import KnownSolution
from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe
from bdc_agents.distill.training.loop import Report, Say, Watch, silent
from bdc_agents.experts.devices import use_idle_cores
from bdc_agents.experts.library import ExpertLibrary, all_files, save_folder, write_files
from bdc_agents.experts.manifest import MANIFEST
from bdc_agents.runs.ray.task import Needs, run_remote
from bdc_agents.types import Frozen, Trace, content_hash


class Order(Frozen):
    """What a node is to make.

    Args:
        traces, out, recipe, lineage, references, one_expert: As for `distill`.
        driver: The driver's machine.
        token: What the driver has written beside `out`: a node that reads it there sees its disk.
    """

    traces: tuple[Trace, ...]
    out: Path
    recipe: Recipe
    lineage: dict[str, Any]
    references: tuple[KnownSolution, ...] = ()
    one_expert: bool
    driver: str
    token: str


async def distill_on_ray(
    traces: Sequence[Trace],
    out: Path | str,
    recipe: Recipe,
    *,
    lineage: Mapping[str, Any] | None = None,
    references: Sequence[KnownSolution] = (),
    one_expert: bool = False,
    say: Say = lambda _: None,
    watch: Watch = silent,
    address: str | None = None,
    needs: Needs | None = None,
) -> ExpertLibrary:
    """Makes a library as `distill` does, on a node of a Ray cluster.

    Args:
        traces, out, recipe, lineage, references, one_expert, say, watch: As for `distill`.
        address: As for `connected`; None starts a Ray of one node.
        needs: What the node must have free; None for one core.

    Raises:
        ConfigError: If no node has what it needs, or the node has another version of this package.
        BDCError: If one node after the other is lost, or the cluster is gone.
        Exception: What `distill` raises.
    """
    order = Order(
        traces=tuple(traces),
        out=_absolute(out),
        recipe=recipe,
        lineage=dict(lineage or {}),
        references=tuple(references),
        one_expert=one_expert,
        driver=gethostname(),
        token=token_hex(16),
    )

    def told(message: str | Report) -> None:
        if isinstance(message, Report):
            watch(message)
        else:
            say(message)

    with _marked(order):
        files = await run_remote(make_there, order, address=address, needs=needs, tell=say, told=told)
    if files is not None:
        save_folder(order.out, lambda place: write_files(place, files))
    return ExpertLibrary(order.out)


def make_there(order: Order, tell: Callable[[str | Report], None]) -> dict[str, bytes] | None:
    """The node's part.

    Args:
        tell: Hears what `distill` says, and its reports.

    Returns:
        The library's files by path; None where the library lies in the driver's folder already.
    """
    use_idle_cores()
    shared = _sees(order)
    out = order.out if shared else _own_folder(order)
    made = distill(
        order.traces,
        out,
        order.recipe,
        lineage=order.lineage,
        references=order.references,
        one_expert=order.one_expert,
        say=tell,
        watch=tell,
    )
    if shared:
        return None
    names = (MANIFEST, *all_files(made.library.folder))
    return {name: (made.library.folder / name).read_bytes() for name in names}


@contextmanager
def _marked(order: Order) -> Iterator[None]:
    mark = _mark(order.out)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(order.token)
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _mark(out: Path) -> Path:
    return out.with_name(out.name + ".work") / "driver"


def _absolute(path: Path | str) -> Path:
    return Path(path).absolute()


def _sees(order: Order) -> bool:
    try:
        return _mark(order.out).read_text() == order.token
    except OSError:
        return False


def _own_folder(order: Order) -> Path:
    """Where this node makes it, and finds what it had made of it before."""
    folder = cache_folder() / "distill" / content_hash(f"{order.driver}:{order.out}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / order.out.name
