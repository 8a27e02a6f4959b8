"""What the methods are made of: the library with its base, its encoder and its training rows."""

from collections.abc import Sequence
from functools import cached_property

import torch
from pydantic import ValidationError
from torch import Tensor

from bdc_agents.config import explain
from bdc_agents.distill.items import problem_text
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.loop import Say
from bdc_agents.distill.training.router import METRICS, PRESETS, RouterConfig, row_vectors
from bdc_agents.distill.training.rows import Encoded, encode_rows, training_rows
from bdc_agents.distill.update import ROWS
from bdc_agents.embed.encoder import BASE, Encoder, config_named
from bdc_agents.embed.load import load_encoder
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.evaluate.library.config import ROUTERS, CompareConfig
from bdc_agents.experts.base import Base, check_base, load_base
from bdc_agents.experts.clusters import CLUSTERS, Clusters, library_clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.router import ROUTER, Router
from bdc_agents.runs.store import scan_traces
from bdc_agents.search.traces import Row, row_key
from bdc_agents.sync import run_sync
from bdc_agents.types import Problem, Trace, content_hash


class Bench:
    """A library, and what belongs to it, loaded when it is first needed.

    Args:
        config: Of the comparison.
        say: Told in words what is being done.
        base, encoder: The library's, where they are loaded already.

    Raises:
        ModelError: If the library is missing or damaged.
    """

    def __init__(
        self, config: CompareConfig, say: Say, base: Base | None = None, encoder: Encoder | None = None
    ) -> None:
        self.config, self.say = config, say
        self._base, self._encoder = base, encoder
        self.library = ExpertLibrary(config.library)
        # A library of one expert has none: there is nothing to choose from.
        self.clusters = library_clusters(self.library) if CLUSTERS in self.library.manifest.files else None
        self.experts = self.library.distinct
        self._vectors: dict[str, Tensor] = {}

    @property
    def mixes(self) -> bool:
        """Whether there are experts to mix, and clusters to mix them by."""
        return self.clusters is not None and len(self.experts) > 1

    @property
    def seen(self) -> frozenset[str]:
        """The problems that the library was made from, as far as it is known."""
        traced = (trace.problem.id for trace in self.traces) if self.clusters is None else ()
        return frozenset(self.clusters.ids if self.clusters else traced)

    @cached_property
    def base(self) -> Base:
        """The library's base; blocks while it is loaded."""
        told = self.library.manifest.base
        name = self.config.base or str(told.get("name", ""))
        if self._base is None:
            self.say(f"loading the base {name}")
        base = self._base or load_base(
            name,
            revision=None if self.config.base else told.get("revision"),
            dtype=self.config.dtype,
            quantize=told.get("quantize"),
            announce=self.say,
        )
        check_base(self.library, base)
        return base

    @cached_property
    def encoder(self) -> Encoder:
        """The encoder that the clusters were made with."""
        if self._encoder is not None:
            encoder = self._encoder
        else:
            config = config_named(self.clustered.encoder)
            base = (self.base.model, self.base.tokenizer) if config.model == BASE else None
            encoder = run_sync(load_encoder(config, base=base))
        self.clustered.check_encoder(encoder)
        return encoder

    @property
    def clustered(self) -> Clusters:
        """The clusters, for what only they can tell.

        Raises:
            ModelError: If the library has none.
        """
        return self.clusters or library_clusters(self.library)

    def embed(self, problems: Sequence[Problem]) -> Tensor:
        """The embeddings of problems, shape (problems, d), each computed once.

        With an encoder that is the base itself it is to be called before experts are attached.
        """
        if not self.mixes:  # As for `vectors_of`.
            return torch.zeros(len(problems), 1)
        if new := [one for one in problems if one.id not in self._vectors]:
            found = torch.from_numpy(self.encoder.embed([problem_text(one) for one in new]))
            self._vectors |= {one.id: vector for one, vector in zip(new, found, strict=True)}
        return torch.stack([self._vectors[one.id] for one in problems])

    # --- what is trained on -----------------------------------------------------------------

    @cached_property
    def traces(self) -> list[Trace]:
        """The traces that were named; none where none were."""
        return [
            trace
            for store in self.config.traces
            for trace in scan_traces(store, lambda damage: self.say(f"left out: {damage}"))
        ]

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The training rows of the problems in the library's clusters."""
        rows = tuple(row for row in training_rows(self.traces) if row.problem_id in self.seen)
        if self.config.traces and not rows:
            raise UsageError(
                f"none of the problems of {', '.join(self.config.traces)} is in the library "
                f"{self.library.folder}; name the traces that it was made from"
            )
        return rows

    def problems(self) -> dict[str, str]:
        """The text of each traced problem, as it is embedded."""
        return {trace.problem.id: problem_text(trace.problem) for trace in self.traces}

    @property
    def rows_hash(self) -> str:
        """Tells the training rows from all others."""
        return content_hash("\n".join(sorted(map(row_key, self.rows))))

    def encode(self, rows: Sequence[Row]) -> Encoded:
        """Training rows as they were in the training of the library's router."""
        labels = self.clusters.label_of() if self.clusters else {}
        return encode_rows(
            rows,
            [labels.get(row.problem_id, -1) for row in rows],
            self.base.tokenizer,
            max_length=self.routing.max_length,
            validation=self.routing.validation,
            seed=self.routing.seed,
        )

    def encode_all(self, rows: Sequence[Row]) -> Encoded:
        """Rows that are scored alone, every one of them in `validation`."""
        labels = [-1] * len(rows)
        found = encode_rows(
            rows, labels, self.base.tokenizer, max_length=self.routing.max_length, validation=0.0
        )
        return found.model_copy(update={"train": (), "validation": found.train})

    def vectors_of(self, rows: Sequence[Row], encoded: Encoded) -> Tensor:
        """The embedding of the problem of each validation row."""
        if not self.mixes:  # Nothing looks at them, and there is no encoder to make them with.
            return torch.zeros(len(encoded.validation), 1)
        return row_vectors(rows, encoded.validation, self.encoder, self.problems())

    def rows_at_hand(self) -> tuple[int, int]:
        """How many of the rows that the library was made from were named, and how many there were.

        A library that does not say counts as wholly at hand.
        """
        if ROWS not in self.library.manifest.files:
            return len(self.rows), len(self.rows)
        told: dict[str, list[str]] = self.library.facts(ROWS)
        learnt = {key for keys in told.values() for key in keys}
        return len(learnt & {row_key(row) for row in self.rows}), len(learnt)

    # --- routers ----------------------------------------------------------------------------

    @cached_property
    def routing(self) -> RouterConfig:
        """How the library's router was trained; the defaults where it has none."""
        if METRICS not in self.library.manifest.files:
            return RouterConfig.like(TrainConfig())
        try:
            return RouterConfig.model_validate(self.library.facts(METRICS).get("config"))
        except ValidationError as error:
            raise ModelError(explain(error, str(self.library.folder / METRICS), RouterConfig)) from None

    @cached_property
    def own_router(self) -> tuple[str, Router] | None:
        """The library's router, and its name in the table."""
        if ROUTER not in self.library.manifest.files:
            return None
        router = Router.load(self.library)
        scaling = router.facts.shape.scaling
        return next(name for name, own in ROUTERS.items() if own == scaling), router

    def router_config(self, name: str) -> RouterConfig:
        """How the router of the other scaling is trained: on the same rows, with the same passes."""
        settings = self.routing.model_dump()
        if ROUTERS[name] == "paper":
            return RouterConfig(**settings | PRESETS["paper"])
        plain = RouterConfig()
        changed = {key: getattr(plain, key) for key in PRESETS["paper"]}
        return RouterConfig(**settings | (changed if self.routing.scaling == "paper" else {}))


def need_traces(what: str) -> ModelError:
    """The error of a method that has to be trained, and of which there are no traces."""
    return ModelError(
        f"{what} is trained on the traces that the library was made from; name them with --traces RUN"
    )
