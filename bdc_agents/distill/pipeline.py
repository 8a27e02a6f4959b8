"""`distill`: the whole way from traces to a library of experts.

Each stage keeps its result beside the library, in `OUT.work`, under a hash of its input. So an interrupted
pipeline goes on, and one with unchanged input has nothing to do.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bdc_agents.config import explain
from bdc_agents.distill.clustering.cluster import cluster_items
from bdc_agents.distill.clustering.report import write_cluster_report
from bdc_agents.distill.clustering.validation import Validation, validate
from bdc_agents.distill.items import Embedded, embed_items
from bdc_agents.distill.lessons import KnownSolution, Lessons, lessons_of
from bdc_agents.distill.recipe import RECIPE, Recipe
from bdc_agents.distill.save import making, save_library
from bdc_agents.distill.training.cross_losses import Losses, verdict
from bdc_agents.distill.training.crossfit import cross_fit
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.distill.training.loop import Say, Watch, silent
from bdc_agents.distill.training.preference import PreferenceConfig, check_pairs, prefer, preference_pairs
from bdc_agents.distill.training.router import RouterConfig, add_router
from bdc_agents.distill.training.rows import ROWS, rows_of_experts
from bdc_agents.distill.training.teacher import Teacher, TeacherConfig
from bdc_agents.embed.encoder import Encoder, EncoderConfig
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.experts.base import Base, load_base
from bdc_agents.experts.clusters import CLUSTERS, Clusters, ClusterSettings
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import MANIFEST
from bdc_agents.experts.router import ROUTER, routable
from bdc_agents.search.traces import Row
from bdc_agents.sync import run_sync
from bdc_agents.types import Trace, content_hash

FEWEST = 8
"""Solved problems below which nothing is clustered. Chosen, not measured."""
REPORT = ("clusters.html", "clusters.png", "validation.json")


@dataclass(frozen=True)
class Distilled:
    """What the pipeline made.

    Args:
        validation: The validation of the clusters; None if the library was there already.
    """

    library: ExpertLibrary
    validation: Validation | None = None


def distill(
    traces: Sequence[Trace],
    out: Path | str,
    recipe: Recipe,
    *,
    lineage: Mapping[str, Any] | None = None,
    one_expert: bool = False,
    references: Sequence[KnownSolution] = (),
    say: Say = silent,
    watch: Watch = silent,
) -> Distilled:
    """Clusters solved problems, trains an expert for each cluster, one on all, and their router.

    Args:
        traces: The traces; those whose decision forbids training are left out.
        out: The library's folder; an older library there is replaced.
        recipe: The base, and the settings of every stage.
        lineage: The source of the traces, by name, for instance hashes of their files.
        one_expert: Train one expert on all rows if there are too few problems to cluster.
        references: Known solutions to learn too; see `lessons_of`.
        say: Takes messages about the progress.
        watch: Takes a report of every training step.

    Raises:
        UsageError: If too few problems are solved.
        ModelError: If the base or the encoder cannot be loaded or adapted.
        TrainingStopped: If a loss is not a number.
    """
    lessons = lessons_of(traces, recipe.rows, references)
    if lessons.solved < (1 if one_expert else FEWEST):
        known = f" and of {len(references)} problems with known solutions" if references else ""
        raise UsageError(
            f"{lessons.solved} problems of {len(traces)} traces{known} give rows that may be trained on; "
            f"clusters need at least {FEWEST}: collect more, or train one expert on all of them with "
            "--one-expert"
        )
    preferences = None if recipe.dpo is None else _settings(PreferenceConfig, recipe.dpo, "dpo")
    pairs = preference_pairs(lessons.traces, preferences.pairs) if preferences else ()
    inputs = content_hash(
        "\n".join([recipe.identity(), *sorted(row.model_dump_json() for row in (*lessons.rows, *pairs))])
    )
    if (found := _unchanged(Path(out), inputs)) is not None:
        say("the library is there already, made from the same traces and settings")
        return Distilled(found)
    with making(Path(out)) as work:
        told = {**(lineage or {}), "inputs": inputs}
        return _make(lessons, pairs, preferences, Path(out), recipe, work, told, say, watch)


def _make(
    lessons: Lessons,
    pairs: Sequence[Row],
    preferences: PreferenceConfig | None,
    out: Path,
    recipe: Recipe,
    work: Path,
    lineage: Mapping[str, Any],
    say: Say,
    watch: Watch,
) -> Distilled:
    rows = lessons.rows
    routing = _settings(RouterConfig, RouterConfig.like(recipe.train, **recipe.route).model_dump(), "route")
    if preferences is not None:
        check_pairs(len(pairs), preferences)
    base = _base(recipe, say)
    teacher = _teacher(recipe, base, work, say)
    clusters, validation, encoder = None, None, None
    if lessons.solved >= FEWEST:
        clusters, validation, encoder = _cluster(lessons, base, recipe, work, say)
    labels = clusters.label_of() if clusters and clusters.count > 1 else {}
    say(f"training {clusters.count + 1 if labels and clusters else 1} experts on {len(rows)} rows")
    trained = train_experts(rows, labels, base, work, recipe.train, teacher=teacher, watch=watch)
    if preferences is not None:
        trained = prefer(trained, pairs, rows, labels, base, work, preferences, say=say)
    names = (CLUSTERS, *REPORT)
    files = {name: (work / name).read_bytes() for name in names if clusters and (work / name).is_file()}
    files[RECIPE] = recipe.model_dump_json().encode()
    files[ROWS] = (json.dumps(rows_of_experts(rows, labels, trained.clusters)) + "\n").encode()
    library = save_library(out, trained, files=files, lineage=lineage)
    if encoder and routable(library):
        folds = None
        if routing.folds:
            folds = cross_fit(
                rows,
                labels,
                trained.clusters,
                base,
                work,
                recipe.train,
                routing.folds,
                teacher=teacher,
                say=say,
                watch=watch,
            )
        say("training the router")
        add_router(library, lessons, base, encoder, routing, work / "router", say, watch, folds)
    elif clusters and clusters.count > 1:
        say("no router: no cluster improved its expert, so all are the same")
    return Distilled(library, validation)


def _unchanged(out: Path, inputs: str) -> ExpertLibrary | None:
    """The library that is there, if it is whole and made from the same inputs."""
    if not (out / MANIFEST).is_file():
        return None
    library = ExpertLibrary(out)
    whole = ROUTER in library.manifest.files or not routable(library)
    same = library.manifest.lineage.get("inputs") == inputs
    return library if same and whole and not library.check() else None


def _base(recipe: Recipe, say: Say) -> Base:
    say(f"loading the base {recipe.base.model}")
    return load_base(
        recipe.base.model,
        revision=recipe.base.revision,
        dtype=recipe.train.dtype,
        quantize=recipe.train.quantize,
        announce=say,
    )


def _teacher(recipe: Recipe, base: Base, work: Path, say: Say) -> Teacher | None:
    if recipe.teacher is None:
        return None
    config = _settings(TeacherConfig, recipe.teacher, "teacher")

    def load() -> Base:
        return load_base(config.model, revision=config.revision, dtype=recipe.train.dtype, announce=say)

    return Teacher(config, load, work, base, say)


def _cluster(
    lessons: Lessons, base: Base, recipe: Recipe, work: Path, say: Say
) -> tuple[Clusters, Validation, Encoder]:
    settings = _settings(ClusterSettings, recipe.cluster, "cluster")
    encoder_config = _settings(EncoderConfig, recipe.embed, "embed")
    items = lessons.items(lambda text: len(base.tokenizer(text, add_special_tokens=False).input_ids))
    say(f"embedding {len(items)} solved problems")
    encoder = run_sync(load_encoder(encoder_config, base=(base.model, base.tokenizer)))
    embedded = embed_items(items, encoder)
    clusters = cluster_items(embedded, settings)
    say(f"{clusters.count} clusters of {', '.join(map(str, clusters.sizes()))} problems")
    for note in clusters.notes:
        say(note)
    clusters.save(work / CLUSTERS)
    return clusters, _validated(clusters, embedded, work, say), encoder


def _validated(clusters: Clusters, embedded: Embedded, work: Path, say: Say) -> Validation:
    """The validation and its report; read again where the same clusters were validated before."""
    mark, key = work / "validated", content_hash(clusters.to_json())
    if mark.is_file() and mark.read_text() == key:
        validation = Validation.model_validate_json((work / "validation.json").read_text())
    else:
        say("asking whether the clusters mean anything")
        validation = validate(clusters, embedded)
        write_cluster_report(work, clusters, embedded, validation)
        mark.write_text(key)
    say(validation.verdict)
    for warning in validation.warnings:
        say(f"warning: {warning}")
    return validation


def _settings(model: type[Any], given: Mapping[str, Any], table: str) -> Any:
    preset = dict(given)
    try:
        if "preset" in preset:
            return model.preset(preset.pop("preset"), **preset)
        return model(**preset)
    except ValidationError as error:
        raise ConfigError(explain(error, f"[{table}] of the recipe", model)) from None


def losses_of(library: ExpertLibrary) -> Losses:
    """The held-out loss per token of the base and every expert, by cluster; see `cross_losses`."""
    return library.metrics()["losses"]


def verdict_of(library: ExpertLibrary) -> list[str]:
    """In words, whether each expert is the best one on its own cluster."""
    tokens = {expert.name: expert.tokens for expert in library.manifest.experts}
    metrics = library.metrics()
    return verdict(metrics["losses"], tokens, same=metrics.get("same_as_shared", ()))
