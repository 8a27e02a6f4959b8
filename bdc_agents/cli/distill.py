"""`bdc distill`: make a library of experts, fold traces into one, verify one."""

import asyncio
import json
from collections.abc import Callable, Sequence
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from bdc_agents.cli.exits import SOLVED, UNSOLVED, guarded, note, results
from bdc_agents.cli.inputs import read_settings
from bdc_agents.cli.options import AsJson, Config, Data, EngineName, RayAddress, Silent
from bdc_agents.config import explain
from bdc_agents.distill.recipe import Recipe, load_recipe
from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import read_manifest
from bdc_agents.types import Trace
from bdc_agents.untrusted import read_toml

if TYPE_CHECKING:
    from bdc_agents.distill.lessons import KnownSolution
    from bdc_agents.distill.rounds import Answer

EXAMPLES = (
    "bdc distill runs/mbpp --out experts/library/mine",
    "bdc distill runs/mbpp runs/apps --recipe qwen-0.5b --out experts/library/coder",
    "bdc distill runs/mbpp --base Qwen/Qwen2.5-Coder-1.5B --set train.epochs=2 --out experts/library/big",
    "bdc distill runs/mbpp --references leetcode:train --data DATA --out experts/library/both",
    "bdc distill runs/mbpp --rounds 2 --problems mbpp:train --data DATA --backend llama.cpp --out improved",
    "bdc distill runs/mbpp --dpo --set dpo.pairs=programs --out experts/library/preferred",
    "bdc distill runs/mbpp --recipe qwen-7b --out big --engine ray --ray-address auto --gpus 1",
    "bdc distill --update experts/library/mine runs/solver runs/mbpp",
    "bdc distill --check experts/library/mine",
)


_TABLES = ("base", "rows", "train", "teacher", "embed", "cluster", "route", "dpo")
"""Of a recipe."""


@guarded
def distill(
    run: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN...", help="Run folders of bdc collect, or files of traces."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the new library.")] = None,
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
            help="A value of the recipe, such as train.epochs=2. May be repeated.",
        ),
    ] = None,
    dpo: Annotated[
        bool,
        typer.Option(
            "--dpo",
            help="Then train on pairs of replies, a better one against a worse one (DPO): of steps, or of "
            "programs with --set dpo.pairs=programs; the adapter of all data, or others with --set "
            "dpo.experts=all. Needs TRL: pip install 'bdc-agents[dpo]'.",
        ),
    ] = False,
    references: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET",
            help="Also learn the known solutions of this set, such as leetcode:train, where no trace solves "
            "a problem (all of them with --set rows.references=all). May be repeated.",
        ),
    ] = None,
    data: Data = None,
    rounds: Annotated[
        int,
        typer.Option(
            min=0,
            help="Then let the library answer training problems, and learn from its right answers, so often. "
            "Needs --problems.",
        ),
    ] = 0,
    problems: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET", help="Training problems of --rounds, such as mbpp:train. May be repeated."
        ),
    ] = None,
    calls: Annotated[int, typer.Option(min=1, help="Answers to each problem of --rounds.")] = 8,
    backend: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What serves the library in --rounds, such as llama.cpp."),
    ] = None,
    config: Config = None,
    one_expert: Annotated[
        bool, typer.Option("--one-expert", help="With too few problems to cluster, train one expert on all.")
    ] = False,
    update: Annotated[
        Path | None,
        typer.Option(
            metavar="LIBRARY",
            help="Fold new traces into a library, such as those of the solver's searches. Also name the "
            "runs that it was made from, so that its experts do not forget.",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(metavar="LIBRARY", help="Verify every file of a library, and do nothing else."),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="local: in this process; ray: on a node of a Ray cluster.")
    ] = EngineName.LOCAL,
    ray_address: RayAddress = None,
    cpus: Annotated[
        float | None,
        typer.Option(metavar="N", min=1, help="Cores that the Ray node must have free. Default: 1."),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(metavar="N", min=0, help="GPUs that the Ray node must have free. Default: 0."),
    ] = None,
    as_json: AsJson = False,
    quiet: Silent = False,
) -> int:
    """Turn solved problems into a library of LoRA experts.

    They are clustered, an expert is trained for each cluster and one on all of them, in one pass,
    and then a router, which mixes the experts for a problem.
    The same command again goes on where it was cut off.
    """
    if check is not None:
        return _verify(check, as_json)
    ray = _on_ray(engine, ray_address, cpus, gpus)
    if update is not None and ray is not None:
        raise UsageError("--engine ray makes libraries; leave it out to fold traces into one, here")
    if update is not None and run and out is None:
        known = _known(references or (), data)
        return _renew(update, run, known, recipe, base, change or [], as_json=as_json, quiet=quiet)
    if not (run or references) or out is None or update is not None:
        raise UsageError(
            "give run folders and --out LIBRARY, or --update LIBRARY or --check LIBRARY: "
            "bdc distill RUN --out LIBRARY"
        )
    plan = _recipe(recipe or "tiny", base, change or [], dpo=dpo)
    known = _known(references or (), data)
    further = None
    if rounds:
        further = _rounds(rounds, problems or (), out, config, ray, calls=calls, backend=backend, data=data)
    how = {"one_expert": one_expert, "ray": ray, "rounds": further}
    return _make(run or [], known, out, plan, **how, as_json=as_json, quiet=quiet)


class Rounds(NamedTuple):
    """Rounds on the library's own answers.

    Args:
        number: How many.
        folder: Of the libraries of all rounds.
        answer: Lets the library answer.
    """

    number: int
    folder: Path
    answer: "Answer"


def _rounds(
    number: int, problems: Sequence[str], out: Path, config: Path | None, ray: "OnRay | None", **how: Any
) -> Rounds:
    """The rounds of `--rounds`.

    Raises:
        UsageError: If no problems are named, or a node is to train.
        ConfigError: If there is no such backend.
    """
    if not problems:
        raise UsageError(
            "--rounds needs training problems with hidden tests: --problems mbpp:train --data DATA"
        )
    if ray is not None:
        raise UsageError("--rounds trains here; leave out --engine ray")
    from bdc_agents.cli.distill_rounds import answers
    from bdc_agents.serve.backends.catalog import check_backend

    if how["backend"] is not None:
        check_backend(how["backend"])  # Now, and not after hours of training.
    folder = out.with_name(f"{out.name}.rounds")
    return Rounds(number, folder, answers(tuple(problems), folder, read_settings(config), **how))


class OnRay(NamedTuple):
    """Which node of a Ray cluster makes the library.

    Args:
        address: Of the cluster; None starts a Ray of one node.
        cpus, gpus: What the node must have free.
    """

    address: str | None
    cpus: float
    gpus: float


def _on_ray(engine: EngineName, address: str | None, cpus: float | None, gpus: float | None) -> OnRay | None:
    """Which node makes the library; None for this process.

    Raises:
        UsageError: If an option is about a node, and there is none.
    """
    if engine is EngineName.RAY:
        return OnRay(address, cpus or 1.0, gpus or 0.0)
    given = {"--ray-address": address, "--cpus": cpus, "--gpus": gpus}
    if needless := [name for name, value in given.items() if value is not None]:
        raise UsageError(f"{needless[0]} needs --engine ray")
    return None


def _known(sets: Sequence[str], data: Path | None) -> "list[KnownSolution]":
    """The known solutions of some sets.

    Raises:
        UsageError: If one of the sets has none.
    """
    if not sets:
        return []
    from bdc_agents.evaluate.config import EvalConfig
    from bdc_agents.evaluate.library.held_out import known_solutions
    from bdc_agents.evaluate.setup import choose_tasks

    found = list["KnownSolution"]()
    for name in sets:
        tasks = choose_tasks(EvalConfig(datasets=(name,)), data)
        known = known_solutions(tasks)
        if not known:
            raise UsageError(
                f"--references {name}: none of its {len(tasks)} problems has a known solution; rows of a "
                "file may give one as `reference`"
            )
        found += known
    return found


def _make(
    runs: list[Path],
    known: "list[KnownSolution]",
    out: Path,
    plan: Recipe,
    *,
    one_expert: bool,
    ray: OnRay | None = None,
    rounds: Rounds | None = None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Makes a library of the traces of runs, here or on a node of a Ray cluster."""
    traces, lineage = read_all(runs) if runs else ([], {})
    # These need the extra `distill`; a missing folder is told before a missing package.
    from bdc_agents.distill.pipeline import distill as make
    from bdc_agents.distill.training.curves import live_losses
    from bdc_agents.experts.devices import use_idle_cores

    with live_losses(Console(stderr=True, quiet=quiet)) as watch:
        how: dict[str, Any] = {
            "lineage": lineage,
            "one_expert": one_expert,
            "references": known,
            "say": _say(quiet),
            "watch": watch,
        }
        if ray is not None:
            library = _make_on_ray(traces, out, plan, how, ray)
        else:
            use_idle_cores()
            library = make(traces, rounds.folder / "0" if rounds else out, plan, **how).library
            library = _improve(library, out, traces, plan, how, rounds) if rounds else library
    _show(library, as_json)
    return SOLVED


def _improve(
    library: ExpertLibrary, out: Path, traces: list[Trace], plan: Recipe, how: dict[str, Any], rounds: Rounds
) -> ExpertLibrary:
    from bdc_agents.distill.rounds import improve

    shared = {name: how[name] for name in ("references", "say", "watch")}
    improve(library.folder, out, traces, rounds.number, rounds.answer, plan, **shared)
    return ExpertLibrary(out)


def _make_on_ray(
    traces: list[Trace], out: Path, plan: Recipe, how: dict[str, Any], ray: OnRay
) -> ExpertLibrary:
    from bdc_agents.distill.on_ray import distill_on_ray
    from bdc_agents.runs.ray.task import Needs

    needs = Needs(cpus=ray.cpus, gpus=ray.gpus)
    return asyncio.run(distill_on_ray(traces, out, plan, **how, address=ray.address, needs=needs))


def _renew(
    folder: Path,
    runs: list[Path],
    known: "list[KnownSolution]",
    name: str | None,
    base: str | None,
    changes: list[str],
    *,
    as_json: bool,
    quiet: bool,
) -> int:
    """Folds the traces of runs into a library."""
    read_manifest(folder)  # What is missing on disk is told before a missing package.
    traces, lineage = read_all(runs)
    from bdc_agents.distill.training.curves import live_losses
    from bdc_agents.distill.update import update, used_recipe
    from bdc_agents.experts.devices import use_idle_cores

    use_idle_cores()
    plan = _recipe(name, None, changes) if name else _with_changes(used_recipe(folder), changes)
    with live_losses(Console(stderr=True, quiet=quiet)) as watch:
        made = update(
            folder,
            traces,
            recipe=plan,
            references=known,
            lineage=lineage,
            base=base,
            say=_say(quiet),
            watch=watch,
        )
    if as_json:
        told = {"library": str(folder), "changed": made.changed, "trained": made.trained}
        print(json.dumps(told | {"new_rows": made.rows, "new_problems": made.problems}))
        return SOLVED
    if not made.trained:
        print(f"{folder}: nothing to learn, the library is as it was")
        return SOLVED
    _show(made.library, as_json)
    print(f"changed: {', '.join(made.changed) or 'no expert, only the router and the clusters'}")
    return SOLVED


def _verify(folder: Path, as_json: bool = False) -> int:
    """Says which files of a library are damaged or missing."""
    library = ExpertLibrary(folder)
    found = [str(damage) for damage in library.check()]
    if as_json:
        print(json.dumps({"library": str(folder), "whole": not found, "damage": found}))
    elif found:
        print("\n".join(found))
        note("restore these files, or make the library again with the same bdc distill command")
    else:
        print(f"{folder}: {len(library.manifest.files)} files, all as they were written")
    return UNSOLVED if found else SOLVED


def _recipe(name: str, base: str | None, changes: list[str], *, dpo: bool = False) -> Recipe:
    """A recipe by name, with the values of the options in it."""
    plan = _with_changes(load_recipe(name), changes, base)
    return plan.model_copy(update={"dpo": plan.dpo or {}}) if dpo else plan


def _say(quiet: bool) -> Callable[[str], None]:
    return (lambda _: None) if quiet else note


def _with_changes(plan: Recipe, changes: list[str], base: str | None = None) -> Recipe:
    """A recipe with the values of `--base` and `--set` in it."""
    tables: dict[str, dict[str, Any]] = {"base": {"model": base} if base else {}}
    for change in changes:
        key, _, value = change.partition("=")
        table, _, field = key.strip().partition(".")
        if not field or table not in _TABLES:
            raise UsageError(
                f"--set {change!r}: write TABLE.KEY=VALUE, such as train.epochs=2 or cluster.clusters=4; "
                f"tables: {', '.join(_TABLES)}"
            )
        tables.setdefault(table, {})[field] = _value(value.strip())
    fields = plan.model_dump()
    given = {table: (fields[table] or {}) | values for table, values in tables.items() if values}
    try:
        return plan.model_validate(fields | given)
    except ValidationError as error:
        raise ConfigError(explain(error, "--set", type(plan))) from None


def _value(text: str) -> Any:
    """A TOML value; a bare word is a string."""
    try:
        return read_toml(f"value = {text}")["value"]
    except ValueError:
        return text


def read_all(runs: Sequence[Path]) -> tuple[list[Trace], dict[str, str]]:
    """The traces of several runs, with a hash of each file.

    Raises:
        ConfigError: If there are none.
    """
    from bdc_agents.runs import trace_file
    from bdc_agents.runs.store import DAMAGE_NAMED, Damage, scan_traces

    damaged: list[Damage] = []
    traces = [trace for run in runs for trace in scan_traces(run, damaged.append)]
    if not traces:
        first = f"; the first of {len(damaged)} lines that are none: {damaged[0]}" if damaged else ""
        raise ConfigError(f"no traces in {', '.join(map(str, runs))}; bdc collect makes some{first}")
    for damage in damaged[:DAMAGE_NAMED]:
        note(f"left out: {damage}")
    if len(damaged) > DAMAGE_NAMED:
        note(f"and {len(damaged) - DAMAGE_NAMED} more lines that are no traces")
    hashes = {}
    for run in runs:
        with trace_file(run).open("rb") as opened:
            hashes[f"traces of {run.name}"] = file_digest(opened, "sha256").hexdigest()
    return traces, hashes


def _show(library: ExpertLibrary, as_json: bool) -> None:
    from bdc_agents.distill.pipeline import losses_of, verdict_of

    losses, verdict = losses_of(library), verdict_of(library)
    if as_json:
        experts = [expert.model_dump() for expert in library.manifest.experts]
        told = {"library": str(library.folder), "experts": experts, "losses": losses, "verdict": verdict}
        print(json.dumps(told))
        return
    places = list(next(iter(losses.values()), {}))
    table = Table(
        "expert", "rows", "tokens", *(f"loss on {place}" for place in places), box=None, pad_edge=False
    )
    known = {expert.name: expert for expert in library.manifest.experts}
    for name in ("base", *known):
        row = losses.get(name, {})
        told = [f"{row[place]:.3f}" if place in row else "" for place in places]
        size = [f"{known[name].rows:,}", f"{known[name].tokens:,}"] if name in known else ["", ""]
        table.add_row(name, *size, *told)
    console = results()
    console.print(table)
    for sentence in verdict:
        console.print(sentence, style="dim", markup=False)
    console.print(
        f"the library is in {library.folder}; the map of its clusters in clusters.html there", markup=False
    )
