"""Training the router: end to end through the frozen base and experts."""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, inf, isfinite
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import Field
from torch import Tensor

from bdc_agents.config import WithPresets
from bdc_agents.distill.batches import Step, epoch_batches, plan_step
from bdc_agents.distill.checkpoint import LossLog, read_checkpoint, write_checkpoint
from bdc_agents.distill.items import items_of_rows
from bdc_agents.distill.learner import learning_rate
from bdc_agents.distill.loss import RoutedLoss, count_target_tokens, row_sums
from bdc_agents.distill.progress import Report, TrainingStopped, Watch, silent
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.rows import Encoded, EncodedRow, encode_rows
from bdc_agents.distill.train import NO_EFFECT, switch_checkpointing
from bdc_agents.embed.encoder import Encoder
from bdc_agents.errors import ModelError
from bdc_agents.experts.adapters import check_base, library_clusters, load_experts
from bdc_agents.experts.base import Base
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import stable_seed
from bdc_agents.experts.router import Router, RouterShape
from bdc_agents.search.traces import Row
from bdc_agents.types import content_hash

log = logging.getLogger(__name__)

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
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(default=50, ge=1)
    seed: int = 42

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
    """The state of one training of a router."""

    def __init__(
        self,
        library: ExpertLibrary,
        encoded: Encoded,
        vectors: Tensor,
        base: Base,
        config: RouterConfig,
        work: Path | str | None = None,
        watch: Watch = silent,
    ) -> None:
        self.config, self.base, self.watch = config, base, watch
        self.rows: tuple[EncodedRow, ...] = (*encoded.train, *encoded.validation)
        self.members = list(range(len(encoded.train)))
        self.held = list(range(len(encoded.train), len(self.rows)))
        self.work = Path(work) if work is not None else None
        self.processes = Processes()
        self.vectors = vectors.to(base.model.device)
        self.router = self._start(library)
        self.adapters = load_experts(library, base.model, self.router.experts)
        self.loss = RoutedLoss(self.adapters, self.rows, self._mix)
        self.optimizer = torch.optim.AdamW(
            self.router.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.log = LossLog(self.work or Path(), write=self.work is not None and self.processes.main)
        self.epoch, self.done, self.count, self.tokens, self.stale = 0, 0, 0, 0, 0
        self.best_epoch, self.best_loss, self.best = 0, inf, self._copy()
        self.history: list[dict[str, Any]] = []
        self.sums: list[float] = []
        steps = ceil(len(self.members) / config.batch) * config.epochs
        self.steps = min(steps, config.max_steps or steps)
        # The experts' schedule, which reads its peak and warm-up from their settings.
        self._rates = TrainConfig(learning_rate=config.learning_rate, warmup=config.warmup)
        self._was_training = base.model.training
        self._started = time.monotonic()

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

    def _mix(self, rows: Sequence[int]) -> Mapping[str, Tensor]:
        return self.router.weights(self.vectors[list(rows)])

    def run(self, resume: bool) -> RouterTrained:
        """Trains to the end, from a checkpoint where there is one."""
        # Only in training mode do models of transformers checkpoint activations.
        self.base.model.train(self.config.gradient_checkpointing)
        if self.config.gradient_checkpointing:
            switch_checkpointing(self.base.model, "enable")({"use_reentrant": False})
        if self.work:
            self.work.mkdir(parents=True, exist_ok=True)
        resumed = resume and self._resume()
        self.log.cut(self.count if resumed else -1)
        if not resumed:
            self._keep({"epoch": 0, "validation": self._validate()})
        while self.epoch < self.config.epochs and self.count < self.steps and not self._stopped():
            self._run_epoch()
        return self._result()

    def close(self) -> None:
        """Gives the base back as it was."""
        if self.config.gradient_checkpointing:
            switch_checkpointing(self.base.model, "disable")()
        self.adapters.detach()
        self.base.model.train(self._was_training)

    def _stopped(self) -> bool:
        return self.config.patience is not None and self.stale >= self.config.patience

    def _run_epoch(self) -> None:
        batches = epoch_batches(
            self.members, "router", batch=self.config.batch, epoch=self.epoch, seed=self.config.seed
        )
        batches = batches[: self.done + self.steps - self.count]
        while self.done < len(batches):
            self._run_step(batches[self.done])
            if self.done % self.config.checkpoint_steps == 0 and self.done < len(batches):
                self._save()
        mean = sum(self.sums) / len(self.sums)
        self.epoch, self.done, self.sums = self.epoch + 1, 0, []
        self._keep({"epoch": self.epoch, "train": mean, "validation": self._validate()})

    def _run_step(self, members: list[int]) -> None:
        torch.manual_seed(stable_seed(self.config.seed, self.count, self.processes.rank))
        step = plan_step({0: members}, self.rows, self.config.tokens_per_pass)
        self.optimizer.zero_grad()
        weights = self.router(self.vectors[members])
        mean, gradient = self._differentiate(step, members, weights.detach())
        balance = self.config.balance * imbalance(weights)
        torch.autograd.backward((weights, balance), (gradient, None))
        norm = float(torch.nn.utils.clip_grad_norm_(self.router.parameters(), self.config.clip or inf))
        if not isfinite(mean) or not isfinite(norm):
            self._stop(members)
        rate = learning_rate(self.count, self.steps, self._rates)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.count, self.done = self.count + 1, self.done + 1
        self.tokens += sum(len(self.rows[n].ids) for n in members)
        self.sums.append(mean)
        self._tell(losses={"router": mean}, rates={"router": rate}, norms={"router": norm})

    def _differentiate(self, step: Step, members: list[int], weights: Tensor) -> tuple[float, Tensor]:
        """The loss of a step's rows, and its gradient with respect to the mixtures' weights."""
        leaf = weights.requires_grad_()
        leaf.grad = torch.zeros_like(weights)
        place = {row: n for n, row in enumerate(members)}
        self.loss.mix = lambda rows: self.router.by_layer(leaf[:, [place[row] for row in rows]])
        total = torch.zeros((), device=weights.device)
        try:
            for items in step.passes[self.processes.rank :: self.processes.count]:
                total += self.loss(items, learn=True).sum() * items[0].weight
        finally:
            self.loss.mix = self._mix
        return float(self.processes.sum(total)), self.processes.sum(leaf.grad)

    def _stop(self, members: list[int]) -> None:
        self._save()
        named = ", ".join(f"{self.rows[n].key} ({self.rows[n].problem_id})" for n in members[:5])
        raise TrainingStopped(
            f"the router's loss or gradient is not a number in step {self.count + 1} (epoch "
            f"{self.epoch + 1}), rows {named}. Lower learning_rate (now "
            f"{self.config.learning_rate:g}) or leave these rows out, and train again"
        )

    def _validate(self) -> float | None:
        if not self.held:
            return None
        self.base.model.eval()
        sums = row_sums(self.loss, [(n, 0) for n in self.held], self.config.tokens_per_pass, self.processes)
        self.base.model.train(self.config.gradient_checkpointing)
        return float(sums.sum()) / count_target_tokens(self.rows, self.held)

    def _keep(self, epoch: dict[str, Any]) -> None:
        """Keeps the router if it is the best so far; the last one where nothing is held out."""
        self.history.append(epoch)
        loss = epoch["validation"]
        if loss is None or loss < self.best_loss:
            self.best_epoch, self.stale, self.best = epoch["epoch"], 0, self._copy()
            self.best_loss = inf if loss is None else loss
        else:
            self.stale += 1
        self._save()
        if loss is not None:
            self._tell(validation={"router": loss})

    def _tell(self, **what: Any) -> None:
        report = Report(
            epoch=self.epoch + ("losses" in what),
            step=self.count,
            steps=self.steps,
            tokens=self.tokens,
            seconds=time.monotonic() - self._started,
            **what,
        )
        self.log.add(report.model_dump(exclude_defaults=True))
        if self.processes.main:
            self.watch(report)

    _STATE = (
        "epoch",
        "done",
        "count",
        "tokens",
        "stale",
        "best_epoch",
        "best_loss",
        "best",
        "history",
        "sums",
    )

    def _save(self) -> None:
        if self.work and self.processes.main:
            state = {key: getattr(self, key) for key in self._STATE}
            state |= {"router": self.router.state_dict(), "optimizer": self.optimizer.state_dict()}
            write_checkpoint(self.work, self.fingerprint(), state)

    def _resume(self) -> bool:
        state = read_checkpoint(self.work, self.fingerprint()) if self.work else None
        if state is None:
            return False
        self.router.load_state_dict(state.pop("router"))
        self.optimizer.load_state_dict(state.pop("optimizer"))
        for key, value in state.items():
            setattr(self, key, value)
        log.info("the router's training goes on after step %d", self.count)
        return True

    def fingerprint(self) -> str:
        """A hash of everything that the result depends on."""
        config = self.config.model_dump(mode="json", exclude=set(NO_EFFECT))
        rows = [(row.key, row.cluster, row.ids) for row in self.rows]
        vectors = content_hash(json.dumps(self.vectors.tolist()))
        parts = [config, self.base.identity.model_dump(mode="json"), rows, len(self.members), vectors]
        return content_hash(json.dumps([*parts, self.router.facts.model_dump(mode="json")], sort_keys=True))

    def _result(self) -> RouterTrained:
        self.router.load_state_dict(self.best)
        numbers = self.held or self.members
        shares = expert_shares(self.router, self.vectors[numbers])
        metrics = {
            "config": self.config.model_dump(mode="json"),
            "rows": len(self.members),
            "validation_rows": len(self.held),
            "steps": self.count,
            "tokens": self.tokens,
            "epochs": self.history,
            "best_epoch": self.best_epoch,
            "loss": None if self.best_loss == inf else self.best_loss,
            "shares": shares,
            "warnings": _warnings(shares, self.history, self.best_epoch),
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


def _warnings(shares: Mapping[str, float], history: Sequence[Mapping[str, Any]], best: int) -> list[str]:
    found = []
    name = max(shares, key=lambda key: shares[key])
    if shares[name] > _COLLAPSED:
        found.append(
            f"the router gives {shares[name]:.0%} of its weight to {name} whatever the problem; raise "
            "`balance` or `temperature`, or the experts are not worth mixing"
        )
    if best == 0 and history[0]["validation"] is not None:
        found.append(
            "training did not lower the validation loss, so the clusters' memberships are kept; "
            "lower learning_rate, or collect more problems"
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
    work: Path | str | None = None,
    watch: Watch = silent,
    resume: bool = True,
) -> RouterTrained:
    """Trains a router for a library's experts; it is not saved into the library.

    Args:
        library: With experts and clusters.
        rows: Supervised rows, those that the experts were trained on.
        base: The library's base; it is given back as it was.
        encoder: The one that the problems were clustered with.
        config: The defaults if None.
        problems: Texts of the problems by id, as they are embedded when they are solved; where one is
            missing, the last message of a row's prompt stands for it.
        work: A folder for checkpoints and losses; None for none.
        watch: Told about every step.
        resume: Go on from a checkpoint of the same inputs in `work`, to the same result.

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
    device = base.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        training = RouterTraining(library, encoded, vectors, base, config, work, watch)
        try:
            return training.run(resume)
        finally:
            training.close()


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
