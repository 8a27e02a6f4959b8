"""Trains the router, end to end through the frozen base and experts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional

from bdc_agents.config import WithPresets
from bdc_agents.distill.items import items_of_rows
from bdc_agents.distill.lessons import Lessons
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.batches import Step, epoch_batches, plan_step
from bdc_agents.distill.training.crossfit import Folds
from bdc_agents.distill.training.learner import learning_rate
from bdc_agents.distill.training.loop import (
    Loop,
    NotANumber,
    Position,
    Say,
    Taken,
    Watch,
    borrowed,
    fingerprint,
    silent,
)
from bdc_agents.distill.training.loss import RoutedLoss, count_target_tokens, row_sums
from bdc_agents.distill.training.rows import Encoded, EncodedRow, encode_rows
from bdc_agents.embed.encoder import Encoder
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import Base, check_base
from bdc_agents.experts.clusters import library_clusters
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import attach_experts
from bdc_agents.experts.router import Router, RouterShape
from bdc_agents.search.traces import Row
from bdc_agents.types import content_hash

METRICS = "router.json"
_COLLAPSED = 0.95
"""Mean weight of one expert from which a warning is given: what the others get is then next to nothing. As a
start, not measured."""
# The paper (arXiv 2502.12492): one softmax over experts and ranks, a random start, all experts, no early
# stopping.
PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"scaling": "paper", "start": "random", "top_k": None, "epochs": 5, "patience": None},
}


class RouterConfig(RouterShape, WithPresets):
    """How the router is built and trained; `RouterConfig.preset("paper")` has the published choices.

    The defaults of training are a start, not measured, unless said otherwise.

    Args:
        floor: Smallest share with which an expert starts. It is larger than in `RouterShape`, because
            clusters that are far apart give the other experts next to nothing, and a weight near 0 hardly
            learns.
        learning_rate: The peak, between the warm-up and the cosine.
        warmup: Share of the steps over which the learning rate rises.
        weight_decay: AdamW's weight decay.
        clip: Largest norm of the gradient; None for no clipping.
        balance: Factor of the load balance term, the squared coefficient of variation of the
            experts' mean weights in a batch.
        epochs: How often every row is seen; 0 keeps the untrained router.
        max_steps: Most steps; None for no limit.
        batch: Rows in a step.
        tokens_per_pass: Most tokens in one forward pass, padding included; changes no result.
        max_length: Most tokens of one row.
        validation: Share of problems held out. With the same share and `seed` as in the experts' training,
            they are the same problems.
        patience: Epochs without improvement after which training stops; None for never.
        folds: Into how many parts problems are dealt for `cross_fit`; 0 trains the router on rows that its
            experts have seen.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        checkpoint_steps: Steps between checkpoints; there is also one after each epoch.
        seed: Seed of the split, the order of rows and the initial weights.
    """

    kind = "router"
    presets = PRESETS

    floor: float = Field(default=0.01, gt=0, le=0.2)
    learning_rate: float = Field(default=5e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    balance: float = Field(default=0.0, ge=0)
    epochs: int = Field(default=5, ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=16, ge=1)
    tokens_per_pass: int = Field(default=4096, ge=16)
    max_length: int = Field(default=1024, ge=16)
    validation: float = Field(default=0.1, ge=0, lt=1)
    patience: int | None = Field(default=2, ge=1)
    folds: int = Field(default=0, ge=0, le=20)
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(default=50, ge=1)
    seed: int = 42

    @field_validator("folds")
    @classmethod
    def _some_or_none(cls, folds: int) -> int:
        if folds == 1:
            raise ValueError("1 leaves no rows to train on; take 2 or more, or 0 for no cross-fitting")
        return folds

    @classmethod
    def like(cls, train: TrainConfig, **changes: Any) -> Self:
        """Settings that see rows as the experts' training did: split, lengths, passes and seed.

        Args:
            changes: Of any setting, `preset` among them.
        """
        kept = ("max_length", "validation", "seed", "tokens_per_pass", "batch", "gradient_checkpointing")
        return cls.preset(changes.pop("preset", "default"), **{k: getattr(train, k) for k in kept} | changes)

    def shape(self) -> RouterShape:
        """What the router is made of, without how it is trained."""
        return RouterShape(**{name: getattr(self, name) for name in RouterShape.model_fields})


@dataclass(frozen=True)
class RouterTrained:
    """A trained router.

    Args:
        router: Of the best epoch by validation loss; epoch 0 is the untrained one.
        metrics: The losses of every epoch, the best one, and the experts' shares of held-out rows.
    """

    router: Router
    metrics: dict[str, Any]

    def save(self, library: ExpertLibrary) -> None:
        """Puts the router, and how its training went, into the library."""
        self.router.save(library)
        library.put(METRICS, (json.dumps(self.metrics, indent=2) + "\n").encode())


class RouterTraining:
    """A router in training, through the frozen base and experts.

    Raises:
        ModelError: If the vectors are of another encoder, or the experts do not fit the base.
    """

    def __init__(
        self,
        library: ExpertLibrary,
        encoded: Encoded,
        vectors: Tensor,
        base: Base,
        config: RouterConfig,
        work: Path | str | None = None,
        watch: Watch = silent,
        folds: Folds | None = None,
    ) -> None:
        self.config, self.base, self.watch = config, base, watch
        self.rows: tuple[EncodedRow, ...] = (*encoded.train, *encoded.validation)
        self.members = list(range(len(encoded.train)))
        self.held = list(range(len(encoded.train), len(self.rows)))
        self.work = Path(work) if work is not None else None
        self.processes = Processes()
        self.vectors = vectors.to(base.model.device)
        self.router = self._start(library)
        self._folds = folds
        names, further = self.router.experts, folds.experts if folds else ()
        states = [{name: library.weights(name) for name in names}]
        states += [{name: made[name] for name in names} for made in further]
        self.adapters = attach_experts(base.model, library.shape, states)
        self._sets = len(states)
        self._set_of = self._sets_of_rows()
        self.loss = RoutedLoss(self.adapters, self.rows, self._mix)
        self.optimizer = torch.optim.AdamW(
            self.router.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.stale, self.best_epoch, self.best_loss, self.best = 0, 0, inf, self._copy()
        self.history: list[dict[str, Any]] = []
        steps = ceil(len(self.members) / config.batch) * config.epochs
        self.steps = min(steps, config.max_steps or steps)
        # The experts' schedule, which reads its peak and warm-up from their settings.
        self._rates = TrainConfig(learning_rate=config.learning_rate, warmup=config.warmup)

    def _start(self, library: ExpertLibrary) -> Router:
        """The untrained router; its inputs are scaled by the training rows' problems."""
        router = Router.start(library, self.config.shape(), seed=self.config.seed)
        if self.vectors.shape[1] != router.facts.size:
            raise ModelError(
                f"the encoder gives vectors of {self.vectors.shape[1]} numbers, and the library's clusters "
                f"have {router.facts.size}; use the encoder {router.facts.encoder!r}"
            )
        router.to(self.vectors.device).fit_inputs(self.vectors[self.members])
        return router

    def _copy(self) -> dict[str, Tensor]:
        return {name: tensor.detach().clone() for name, tensor in self.router.state_dict().items()}

    def _sets_of_rows(self) -> list[int]:
        """Which set of experts a row meets: the library's, or in training one that has not seen it."""
        if self._folds is None:
            return [0] * len(self.rows)
        trained = [1 + self._folds.of(self.rows[n].problem_id) for n in self.members]
        return [*trained, *([0] * len(self.held))]

    def _mix(self, rows: Sequence[int]) -> Mapping[str, Tensor]:
        return self._spread(self.router.weights(self.vectors[list(rows)]), rows)

    def _spread(self, mixture: Mapping[str, Tensor], rows: Sequence[int]) -> Mapping[str, Tensor]:
        """Each row's weights at the places of its own set of experts, and 0 at those of the others."""
        if self._sets == 1:
            return mixture
        own = functional.one_hot(torch.tensor([self._set_of[n] for n in rows]), self._sets)
        own = own[:, :, None, None].to(self.vectors)
        return {name: (weights[:, None] * own).flatten(1, 2) for name, weights in mixture.items()}

    @property
    def mark(self) -> str:
        """A hash of everything that the result depends on."""
        vectors = content_hash(json.dumps(self.vectors.tolist()))
        facts = self.router.facts.model_dump(mode="json")
        folds = [self._folds.mark] if self._folds else []
        return fingerprint(self.config, self.base, self.rows, len(self.members), facts, vectors, *folds)

    def run(self, resume: bool) -> RouterTrained:
        """Trains to the end, from a checkpoint if there is one.

        Raises:
            TrainingStopped: If a loss is not a number.
        """
        if self.work:
            self.work.mkdir(parents=True, exist_ok=True)
        # Only in training mode do models of transformers checkpoint activations; the experts have no dropout.
        checkpointing = self.config.gradient_checkpointing
        with borrowed(self.base.model, train=checkpointing, checkpointing=checkpointing):
            loop = Loop(self, self.work, self.mark, self.config, self.processes, self.watch)
            return self._result(loop.run(resume))

    def close(self) -> None:
        """Takes the experts off the base."""
        self.adapters.detach()

    # --- what the loop asks for ---------------------------------------------------------------

    def begin(self) -> dict[str, float]:
        """Measures the untrained router, which is kept if training does not help."""
        return self._keep({"epoch": 0})

    def plan(self, at: Position) -> list[list[int]]:
        """The batches of an epoch; none once training has run long enough or no longer helps."""
        config = self.config
        enough = at.epoch >= config.epochs or at.count >= self.steps
        if enough or (config.patience is not None and self.stale >= config.patience):
            return []
        batches = epoch_batches(self.members, "router", batch=config.batch, epoch=at.epoch, seed=config.seed)
        return batches[: at.done + self.left(at)]

    def left(self, at: Position) -> int:
        """Steps to come, if training does not stop early."""
        return self.steps - at.count

    def step(self, step: list[int], at: Position) -> Taken:
        """One batch through the mixtures, and a step of the optimiser."""
        passes = plan_step({0: step}, self.rows, self.config.tokens_per_pass)
        self.optimizer.zero_grad()
        weights = self.router(self.vectors[step])
        mean, gradient = self._differentiate(passes, step, weights.detach())
        balance = self.config.balance * imbalance(weights)
        torch.autograd.backward((weights, balance), (gradient, None))
        norm = float(torch.nn.utils.clip_grad_norm_(self.router.parameters(), self.config.clip or inf))
        if not isfinite(mean) or not isfinite(norm):
            raise NotANumber("the router's loss or gradient", [self.rows[n] for n in step])
        rate = learning_rate(at.count, self.steps, self._rates)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        tokens = sum(len(self.rows[n].ids) for n in step)
        return Taken(losses={"router": mean}, rates={"router": rate}, norms={"router": norm}, tokens=tokens)

    def _differentiate(self, step: Step, members: list[int], weights: Tensor) -> tuple[float, Tensor]:
        """The loss of a step's rows, and its gradient with respect to the mixtures' weights."""
        leaf = weights.requires_grad_()
        leaf.grad = torch.zeros_like(weights)
        place = {row: n for n, row in enumerate(members)}
        self.loss.mix = lambda rows: self._spread(
            self.router.by_layer(leaf[:, [place[row] for row in rows]]), rows
        )
        total = torch.zeros((), device=weights.device)
        try:
            for items in step.passes[self.processes.rank :: self.processes.count]:
                total += self.loss(items, learn=True).sum() * items[0].weight
        finally:
            self.loss.mix = self._mix
        return float(self.processes.sum(total)), self.processes.sum(leaf.grad)

    def end_epoch(self, at: Position, means: Mapping[str, float]) -> dict[str, float]:
        """Keeps the router if it is the best so far."""
        return self._keep({"epoch": at.epoch, "train": means["router"]})

    def _keep(self, epoch: dict[str, Any]) -> dict[str, float]:
        """Measures the router, and keeps it if it is the best so far; the last one if nothing is held out."""
        loss = self._validate()
        self.history.append(epoch | {"validation": loss})
        if loss is None or loss < self.best_loss:
            self.best_epoch, self.stale, self.best = epoch["epoch"], 0, self._copy()
            self.best_loss = inf if loss is None else loss
        else:
            self.stale += 1
        return {} if loss is None else {"router": loss}

    def _validate(self) -> float | None:
        if not self.held:
            return None
        sums = row_sums(self.loss, [(n, 0) for n in self.held], self.config.tokens_per_pass, self.processes)
        return float(sums.sum()) / count_target_tokens(self.rows, self.held)

    def next_stage(self) -> bool:
        """There is none: the router is all there is to train."""
        return False

    _STATE = ("stale", "best_epoch", "best_loss", "best", "history")

    def state(self) -> dict[str, Any]:
        """The router, its optimiser, and the best router so far."""
        kept = {key: getattr(self, key) for key in self._STATE}
        return kept | {"router": self.router.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.router.load_state_dict(state["router"])
        self.optimizer.load_state_dict(state["optimizer"])
        for key in self._STATE:
            setattr(self, key, state[key])

    def _result(self, end: Position) -> RouterTrained:
        self.router.load_state_dict(self.best)
        numbers = self.held or self.members
        shares = expert_shares(self.router, self.vectors[numbers])
        metrics = {
            "config": self.config.model_dump(mode="json"),
            "rows": len(self.members),
            "validation_rows": len(self.held),
            "steps": end.count,
            "tokens": end.tokens,
            "epochs": self.history,
            "best_epoch": self.best_epoch,
            "loss": None if self.best_loss == inf else self.best_loss,
            "shares": shares,
            "warnings": _warnings(shares, self.history, self.best_epoch, self.config),
        }
        return RouterTrained(self.router.cpu(), metrics)


def imbalance(weights: Tensor) -> Tensor:
    """The squared coefficient of variation of the experts' mean weights: 0 where all are used alike.

    Args:
        weights: Shape (layers, batch, experts, rank).
    """
    shares = weights.mean((0, 1, 3))
    return len(shares) * ((shares / shares.sum()) ** 2).sum() - 1


@torch.no_grad()
def expert_shares(router: Router, vectors: Tensor) -> dict[str, float]:
    """The mean share of each expert in the mixtures of some problems; they sum to 1."""
    shares = router(vectors).mean((0, 1, 3))
    return dict(zip(router.experts, (shares / shares.sum()).tolist(), strict=True))


def _warnings(
    shares: Mapping[str, float], history: Sequence[Mapping[str, Any]], best: int, shape: RouterShape
) -> list[str]:
    found = []
    name = max(shares, key=lambda key: shares[key])
    residual = shape.scaling == "residual"  # There the expert of all rows has most of the weight by design.
    if shares[name] > _COLLAPSED and not residual:
        found.append(
            f"the router gives {shares[name]:.0%} of its weight to {name} whatever the problem; raise "
            "`balance` or `temperature`, or the experts are not worth mixing"
        )
    if best == 0 and history[0]["validation"] is not None:
        found.append(
            "training did not lower the validation loss, so "
            + ("the expert of all rows answers alone" if residual else "the clusters' memberships are kept")
            + "; lower learning_rate, or collect more problems"
        )
    return found


def train_router(
    library: ExpertLibrary,
    rows: Sequence[Row],
    base: Base,
    encoder: Encoder,
    config: RouterConfig | None = None,
    *,
    problems: Mapping[str, str] | None = None,
    folds: Folds | None = None,
    work: Path | str | None = None,
    watch: Watch = silent,
    resume: bool = True,
) -> RouterTrained:
    """Trains a router for a library's experts; it is not saved into the library.

    Args:
        library: With experts and clusters.
        rows: The supervised rows that the experts were trained on.
        base: The library's base; unchanged afterwards.
        encoder: The encoder that the problems were clustered with.
        config: None for the defaults.
        problems: Texts of the problems by id, as they are embedded when they are solved. The last
            message of a row's prompt stands in for a missing one.
        folds: Experts that have not seen the rows that they meet in training; None for the library's own.
        work: A folder for checkpoints and losses; None for none.
        watch: Takes a report of every step.
        resume: Continue from a checkpoint of the same inputs in `work`; the result is the same.

    Raises:
        ModelError: If base, encoder or experts do not fit, or there is nothing to route to.
        ProblemError: If no row can be used.
        TrainingStopped: If a loss is not a number.
    """
    config = config or RouterConfig()
    check_base(library, base)
    clusters = library_clusters(library)
    clusters.check_encoder(encoder)
    labels = clusters.label_of()
    encoded = encode_rows(
        rows,
        [labels.get(row.problem_id, -1) for row in rows],
        base.tokenizer,
        max_length=config.max_length,
        validation=config.validation,
        seed=config.seed,
    )
    vectors = row_vectors(rows, (*encoded.train, *encoded.validation), encoder, problems)
    training = RouterTraining(library, encoded, vectors, base, config, work, watch, folds)
    try:
        return training.run(resume)
    finally:
        training.close()


def add_router(
    library: ExpertLibrary,
    lessons: Lessons,
    base: Base,
    encoder: Encoder,
    config: RouterConfig,
    work: Path,
    say: Say,
    watch: Watch,
    folds: Folds | None = None,
) -> None:
    """Trains a router and puts it into the library; see `train_router`.

    Args:
        say: Takes the warnings.
    """
    trained = train_router(
        library,
        lessons.rows,
        base,
        encoder,
        config,
        problems=lessons.texts,
        folds=folds,
        work=work,
        watch=watch,
    )
    trained.save(library)
    for warning in trained.metrics["warnings"]:
        say(f"warning: {warning}")


def row_vectors(
    rows: Sequence[Row],
    encoded: Sequence[EncodedRow],
    encoder: Encoder,
    problems: Mapping[str, str] | None = None,
) -> Tensor:
    """The embedding of each encoded row's problem, shape (encoded rows, d)."""
    items = items_of_rows(rows, problems)
    place = {item.id: n for n, item in enumerate(items)}
    found = torch.from_numpy(encoder.embed([item.problem for item in items]))
    return found[[place[row.problem_id] for row in encoded]]
