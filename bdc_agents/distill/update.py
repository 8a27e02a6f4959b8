"""`update`: folds new traces into a library: places their problems and trains the experts concerned."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bdc_agents.distill.items import Item
from bdc_agents.distill.lessons import KnownSolution, Lessons, lessons_of
from bdc_agents.distill.recipe import RECIPE, Recipe, fitting_recipe, used_recipe
from bdc_agents.distill.save import Renewal, making, write_renewed
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.distill.training.loop import Say, Watch, silent
from bdc_agents.distill.training.router import RouterConfig, add_router
from bdc_agents.distill.training.rows import ROWS, rows_of_experts
from bdc_agents.embed.encoder import BASE, Encoder, EncoderConfig, config_named
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.base import Base, check_base, load_base
from bdc_agents.experts.clusters import CLUSTERS, Clusters, library_clusters
from bdc_agents.experts.library import ExpertLibrary, save_folder
from bdc_agents.experts.manifest import Manifest
from bdc_agents.experts.router import routable
from bdc_agents.search.traces import Row, row_key
from bdc_agents.sync import run_sync
from bdc_agents.types import Trace, content_hash


class UpdatePlan:
    """Which rows are new to which expert; made before anything is loaded."""

    def __init__(self, library: ExpertLibrary, recipe: Recipe, rows: Sequence[Row]) -> None:
        self.library, self.recipe, self.rows = library, recipe, rows
        self.keys = [row_key(row) for row in rows]
        self.clusters = library_clusters(library) if CLUSTERS in library.manifest.files else None
        self.experts = {expert.name: expert.cluster for expert in library.manifest.experts}
        self.learnt = self._learnt()
        known = frozenset().union(*self.learnt.values())
        labels = self.clusters.label_of() if self.clusters else {}
        # New to everyone; and those for which an expert waits, since it had too few of them.
        self.new = [row for row, key in zip(rows, self.keys, strict=True) if key not in known]
        self.waiting = [
            row
            for row, key in zip(rows, self.keys, strict=True)
            if any(
                key in known and key not in self.learnt[name]
                for name, cluster in self.experts.items()
                if cluster in (-1, labels.get(row.problem_id, -1))
            )
        ]

    def _learnt(self) -> dict[str, frozenset[str]]:
        """The rows that each expert was trained on; guessed by problem if the library does not keep them."""
        if ROWS in self.library.manifest.files:
            told = self.library.facts(ROWS)
            return {name: frozenset(map(str, told.get(name, ()))) for name in self.experts}
        seen = frozenset(self.clusters.ids if self.clusters else ())
        old = frozenset(key for row, key in zip(self.rows, self.keys, strict=True) if row.problem_id in seen)
        return dict.fromkeys(self.experts, old)

    def old_known(self) -> tuple[int, int]:
        """How many of the rows that the library was made from are at hand, and how many there were."""
        before = frozenset().union(*self.learnt.values())
        return len(before & set(self.keys)), len(before)


@dataclass(frozen=True)
class Updated:
    """The result of an update.

    Args:
        changed: The experts whose weights are new.
        trained: Those that were trained further; one that training did not improve kept its weights.
        rows: How many rows were new.
        problems: How many problems were new to the clusters.
    """

    library: ExpertLibrary
    changed: tuple[str, ...] = ()
    trained: tuple[str, ...] = ()
    rows: int = 0
    problems: int = 0


def update(
    folder: Path | str,
    traces: Sequence[Trace],
    *,
    recipe: Recipe | None = None,
    references: Sequence[KnownSolution] = (),
    lineage: Mapping[str, Any] | None = None,
    base: Base | str | None = None,
    encoder: Encoder | None = None,
    say: Say = silent,
    watch: Watch = silent,
) -> Updated:
    """Folds new traces into a library.

    Args:
        folder: The library's folder; it is replaced if something is new.
        traces: The new traces; and, if you have them, those that the library was made from, so that the
            experts do not forget them.
        recipe: How to train experts and router; None for the recipe that the library keeps.
        references: Known solutions to learn too; see `lessons_of`.
        lineage: The source of the traces, by name.
        base: The library's base, or its place if it is not where the library says.
        encoder: The encoder of the clusters, if it is loaded already.
        say: Takes messages about the progress.
        watch: Takes a report of every training step.

    Raises:
        ModelError: If the library is damaged, or base, encoder or recipe do not fit it.
        UsageError: If there is too little to go on with.
        TrainingStopped: If a loss is not a number.
    """
    folder = Path(folder)
    ExpertLibrary(folder)  # Fails first, so that no work folder appears beside a missing library.
    with making(folder) as work:
        library = ExpertLibrary(folder)
        if damage := library.check():
            raise ModelError(f"library {folder}: {damage[0]}; restore it before it is updated")
        used = fitting_recipe(library, recipe or used_recipe(folder))
        lessons = lessons_of(traces, used.rows, references)
        plan = UpdatePlan(library, used, lessons.rows)
        if not plan.new and not plan.waiting:
            _clean(work)  # A kill after the library's replacement may have left something.
            say("nothing is new: every row of these traces was learnt before")
            return Updated(library)
        return _Update(plan, lessons, lineage or {}, work, base, encoder, say, watch).run()


class _Update:
    """A running update."""

    def __init__(
        self,
        plan: UpdatePlan,
        lessons: Lessons,
        lineage: Mapping[str, Any],
        work: Path,
        base: Base | str | None,
        encoder: Encoder | None,
        say: Say,
        watch: Watch,
    ) -> None:
        self.plan, self.lessons, self.lineage, self.say, self.watch = plan, lessons, lineage, say, watch
        self.library, self.recipe = plan.library, plan.recipe
        self.inputs = content_hash(
            "\n".join(
                [self.library.manifest.model_dump_json(), self.recipe.model_dump_json(), *sorted(plan.keys)]
            )
        )
        self.work = work / f"update-{self.inputs[:16]}"
        self.base = base if isinstance(base, Base) else self._load_base(base)
        check_base(self.library, self.base)
        self.encoder = encoder

    def run(self) -> Updated:
        """Trains, or goes on with training, and replaces the library."""
        self.work.mkdir(parents=True, exist_ok=True)
        self._tell()
        clusters, added = self._place()
        labels = clusters.label_of() if clusters else {}
        learn = self._concerned(labels)
        if not learn:
            return Updated(self.library, rows=len(self.plan.new), problems=added)
        renewal = self._train(clusters, labels, learn)
        staged = self.work / "library"
        made = write_renewed(staged, self.library, renewal)
        if clusters is not None and routable(made):
            self.say("training the router again")
            routing = RouterConfig.like(self.recipe.train, **self.recipe.route)
            encoder, place = self._encoder(clusters), self.work / "router"
            add_router(made, self.lessons, self.base, encoder, routing, place, self.say, self.watch)
        folder = self.library.folder
        save_folder(folder, lambda place: shutil.copytree(staged, place, dirs_exist_ok=True))
        _clean(self.work.parent)
        return Updated(ExpertLibrary(folder), renewal.changed, tuple(learn), len(self.plan.new), added)

    def _load_base(self, named: str | None) -> Base:
        told = self.library.manifest.base
        name = named or str(told.get("name", ""))
        self.say(f"loading the base {name}")
        return load_base(
            name,
            revision=None if named else told.get("revision"),
            dtype=self.recipe.train.dtype,
            quantize=self.recipe.train.quantize,
            announce=self.say,
        )

    def _tell(self) -> None:
        there, were = self.plan.old_known()
        waiting = f", and {len(self.plan.waiting)} wait for an expert" if self.plan.waiting else ""
        self.say(f"{len(self.plan.new)} rows are new{waiting}")
        if not there:
            self.say(
                "the traces that the library was made from were not named: its experts are trained further "
                "on the new rows alone, and may forget; name the old runs too"
            )
        elif there < were:
            self.say(
                f"{there} of the {were} rows that the library was made from are at hand, and go in again"
            )

    # --- placing ----------------------------------------------------------------------------

    def _place(self) -> tuple[Clusters | None, int]:
        """The clusters with the new problems in them; centroids stay, and so do the old problems."""
        clusters = self.plan.clusters
        if clusters is None:
            return None, 0
        known = set(clusters.ids)
        tokenizer = self.base.tokenizer
        items = self.lessons.items(lambda text: len(tokenizer(text, add_special_tokens=False).input_ids))
        new = [item for item in items if item.id not in known]
        encoder = self._encoder(clusters)
        if not new:
            return clusters, 0
        vectors = encoder.embed([item.problem for item in new])
        memberships = clusters.place(vectors)
        labels = memberships.argmax(1)
        for cluster in sorted(set(labels.tolist())):
            self.say(f"{int((labels == cluster).sum())} new problems are placed in cluster {cluster}")
        return _extended(clusters, new, memberships, labels), len(new)

    def _encoder(self, clusters: Clusters) -> Encoder:
        """The encoder of the clusters, checked."""
        if self.encoder is None:
            config = config_named(clusters.encoder)
            if self.recipe.embed:
                kept = {key: value for key, value in self.recipe.embed.items() if key != "model"}
                config = EncoderConfig(**config.model_dump() | kept)
            base = (self.base.model, self.base.tokenizer) if config.model == BASE else None
            self.encoder = run_sync(load_encoder(config, base=base))
        clusters.check_encoder(self.encoder)
        return self.encoder

    # --- training ---------------------------------------------------------------------------

    def _concerned(self, labels: Mapping[str, int]) -> list[str]:
        """The experts that have something new to learn, and enough rows to learn from.

        Raises:
            UsageError: If there are too few rows for any of them.
        """
        learn, few = list[str](), list[str]()
        for name, cluster in self.plan.experts.items():
            mine = [
                key
                for row, key in zip(self.plan.rows, self.plan.keys, strict=True)
                if cluster in (-1, labels.get(row.problem_id, -1))
            ]
            if not set(mine) - self.plan.learnt[name]:
                continue
            if len(mine) < self.recipe.train.min_rows:
                few.append(f"{name} has {len(mine)}")
            else:
                learn.append(name)
        if few and not learn and self.plan.new:
            raise UsageError(
                f"too few rows to train on: {', '.join(few)}, and min_rows is {self.recipe.train.min_rows}; "
                "name the runs that the library was made from too, or collect more"
            )
        if few:
            self.say(f"left as they are, with too few rows at hand for now: {', '.join(few)}")
        return learn

    def _train(self, clusters: Clusters | None, labels: Mapping[str, int], learn: list[str]) -> Renewal:
        self.say(f"training {', '.join(learn)} further on {len(self.plan.rows)} rows")
        library = self.library
        trained = train_experts(
            self.plan.rows,
            labels,
            self.base,
            self.work,
            self.recipe.train,
            experts=self.plan.experts,
            start={name: library.weights(name) for name in library.names},
            learn=learn,
            watch=self.watch,
        )
        changed = tuple(name for name in learn if trained.metrics["experts"][name]["best_epoch"] > 0)
        for name in sorted(set(learn) - set(changed)):
            self.say(f"{name} keeps its weights: training did not lower its held-out loss")
        now = rows_of_experts(self.plan.rows, labels, {name: self.plan.experts[name] for name in learn})
        learnt = {name: sorted(self.plan.learnt[name] | set(now.get(name, ()))) for name in library.names}
        files = {ROWS: (json.dumps(learnt) + "\n").encode(), RECIPE: self.recipe.model_dump_json().encode()}
        if clusters is not None:
            files[CLUSTERS] = clusters.to_json().encode()
        return Renewal(
            trained=trained,
            learn=tuple(learn),
            changed=changed,
            files=files,
            lineage=self._lineage(),
            rows=len(self.plan.new),
        )

    def _lineage(self) -> dict[str, Any]:
        """Both inputs: the library as it was, with its own lineage, and the traces."""
        before: Manifest = self.library.manifest
        step = {
            "library": content_hash(before.model_dump_json()),
            "made": before.created,
            "traces": dict(self.lineage),
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        updates = [*before.lineage.get("updates", ()), step]
        return before.lineage | dict(self.lineage) | {"inputs": self.inputs, "updates": updates}


def _clean(work: Path) -> None:
    """Removes what updates left beside a library; the lock admits one process."""
    for place in work.glob("update-*"):
        shutil.rmtree(place, ignore_errors=True)


def _extended(clusters: Clusters, new: Sequence[Item], memberships: Any, labels: Any) -> Clusters:
    """Clusters with further problems, placed where they are."""
    return replace(
        clusters,
        ids=(*clusters.ids, *(item.id for item in new)),
        labels=np.concatenate([clusters.labels, labels.astype(np.int64)]),
        memberships=np.concatenate([clusters.memberships, memberships.astype(np.float32)]),
        tokens=np.concatenate([clusters.tokens, np.array([item.tokens for item in new], np.int64)]),
        notes=(*clusters.notes, f"{len(new)} problems were placed into these clusters later, by an update."),
    )
