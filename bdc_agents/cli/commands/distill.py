"""`bdc distill`: traces become clusters and LoRA experts."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bdc_agents.cli.options import AsJson, EngineName, RayAddress, Silent
from bdc_agents.cli.exits import guarded
from bdc_agents.errors import UsageError

if TYPE_CHECKING:
    from bdc_agents.cli import distill as work

EXAMPLES = (
    "bdc distill runs/mbpp --out experts/library/mine",
    "bdc distill runs/mbpp runs/apps --recipe qwen-0.5b --out experts/library/coder",
    "bdc distill runs/mbpp --base Qwen/Qwen2.5-Coder-1.5B --set train.epochs=2 --out experts/library/big",
    "bdc distill runs/mbpp --dpo --set dpo.beta=0.2 --out experts/library/preferred",
    "bdc distill runs/mbpp --recipe qwen-7b --out big --engine ray --ray-address auto --gpus 1",
    "bdc distill --update experts/library/mine runs/solver runs/mbpp",
    "bdc distill --check experts/library/mine",
)


@guarded
def distill(
    run: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Run folders of bdc collect, or files of traces."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Where the library is to be.")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="local:NAME, a hub repository or a folder, instead of the recipe's."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="tiny (the default), qwen-0.5b, qwen-7b, paper, or a .toml file."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A value of the recipe, such as train.epochs=2; may be repeated.",
        ),
    ] = None,
    dpo: Annotated[
        bool,
        typer.Option(
            "--dpo",
            help="Then train on pairs of steps, a better one against a worse one (DPO): the adapter of "
            "all data, or others with --set dpo.experts=all. Needs TRL: pip install 'bdc-agents[dpo]'.",
        ),
    ] = False,
    one_expert: Annotated[
        bool, typer.Option("--one-expert", help="With too few problems to cluster, train one expert on all.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="LIBRARY",
            help="Fold new traces into a library, such as those that the solver's searches left; name the "
            "runs that it was made from too, so that its experts do not forget.",
        ),
    ] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="LIBRARY", help="Only verify every file of a library.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: in this process; ray: on a node of a Ray cluster.")
    ] = EngineName.LOCAL,
    ray_address: RayAddress = None,
    cpus: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="Cores that the Ray node must have free; 1.")
    ] = None,
    gpus: Annotated[
        float | None, typer.Option(metavar="N", min=0, help="GPUs that the Ray node must have free; 0.")
    ] = None,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> int:
    """Turn solved problems into a library of LoRA experts.

    They are clustered, an expert is trained for each cluster and one on all of them, in one pass,
    and then a router, which mixes the experts for a problem.
    The same command again goes on where it was cut off.
    """
    from bdc_agents.cli import distill as work

    if check is not None:
        return work.verify(check, as_json)
    ray = _on_ray(engine, ray_address, cpus, gpus)
    if update is not None and ray is not None:
        raise UsageError("--engine ray makes libraries; leave it out to fold traces into one, here")
    if update is not None and run and out is None:
        return work.renew(update, run, recipe, base, change or [], as_json=as_json, quiet=quiet)
    if not run or out is None or update is not None:
        raise UsageError(
            "give run folders and --out LIBRARY, or --update LIBRARY or --check LIBRARY: "
            "bdc distill RUN --out LIBRARY"
        )
    plan = work.recipe(recipe or "tiny", base, change or [], dpo=dpo)
    return work.make(run, out, plan, one_expert=one_expert, ray=ray, as_json=as_json, quiet=quiet)


def _on_ray(
    engine: EngineName, address: str | None, cpus: float | None, gpus: float | None
) -> "work.OnRay | None":
    """Which node makes the library; None for this process.

    Raises:
        UsageError: If an option is about a node, and there is none.
    """
    from bdc_agents.cli.distill import OnRay

    if engine is EngineName.RAY:
        return OnRay(address, cpus or 1.0, gpus or 0.0)
    given = {"--ray-address": address, "--cpus": cpus, "--gpus": gpus}
    if needless := [name for name, value in given.items() if value is not None]:
        raise UsageError(f"{needless[0]} needs --engine ray")
    return None
