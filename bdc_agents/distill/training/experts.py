"""`train_experts`: trains one LoRA expert for each cluster and one on all rows, in one pass over the base."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.batches import Item, Step, epoch_batches, merge, plan_step
from bdc_agents.distill.training.checkpoint import LOSSES_FILE
from bdc_agents.distill.training.cross_losses import cross_losses, mean_losses
from bdc_agents.distill.training.learner import Learner
from bdc_agents.distill.training.loop import (
    NO_EFFECT,
    Loop,
    NotANumber,
    Position,
    Taken,
    Watch,
    borrowed,
    fingerprint,
    silent,
)
from bdc_agents.distill.training.loss import RowLoss, output_layer
from bdc_agents.distill.training.memory import MemoryEstimate, check_memory, estimate_memory
from bdc_agents.distill.training.rows import Encoded, EncodedRow, encode_rows
from bdc_agents.distill.training.teacher import Teacher
from bdc_agents.errors import ModelError, ProblemError
from bdc_agents.experts.base import Base, BaseIdentity
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.lora import StackedAdapters
from bdc_agents.search.traces import Row
from bdc_agents.types import content_hash

SHARED = "shared"
"""The name of the expert that is trained on all rows."""


@dataclass(frozen=True)
class Trained:
    """The result of a training: everything that goes into a library.

    Args:
        clusters: The cluster of each expert; -1 for the shared one.
        adapters: Each expert's best weights, under peft's names.
        peft_config: The adapters' `adapter_config.json`, without the base's name.
        metrics: Rows, tokens, steps, best epochs, and the losses of every expert on every cluster.
        lineage: Hashes of the rows and of the settings.
        losses: The file with the losses of all steps.
    """

    base: BaseIdentity
    tokenizer: Any
    config: TrainConfig
    clusters: dict[str, int]
    adapters: dict[str, dict[str, Tensor]]
    peft_config: dict[str, Any]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    losses: Path


class Training:
    """The experts in training: their adapters on the base, and a learner for each.

    Raises:
        ModelError: If the base cannot be adapted as configured, or `start` does not fit it.
    """

    def __init__(
        self,
        encoded: Encoded,
        experts: Mapping[str, int],
        base: Base,
        config: TrainConfig,
        *,
        start: Mapping[str, Mapping[str, Tensor]] | None = None,
        learn: Collection[str] | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.encoded, self.experts, self.base, self.config = encoded, dict(experts), base, config
        output_layer(base.model)  # Fails before anything is attached.
        self.processes = Processes()
        # Before anything is attached, as two models need the memory of both.
        soft = teacher.targets(encoded.train) if teacher else None
        self.adapters = StackedAdapters(base.model, tuple(experts), config, seed=config.seed)
        self.rows: tuple[EncodedRow, ...] = (*encoded.train, *encoded.validation)
        self.loss = RowLoss(self.adapters, self.rows, soft)
        self._taught_by = teacher.mark if teacher else ""
        self._started_from = self._set(start) if start is not None else ""
        self.learners = self._learners(experts if learn is None else learn)
        self.waves = [self.learners] if start is not None else self._waves()
        self.wave = 0

    def _set(self, start: Mapping[str, Mapping[str, Tensor]]) -> str:
        """Sets the weights to start from; returns their hash."""
        try:
            for row, name in enumerate(self.adapters.names):
                self.adapters.load(row, start[name])
        except ModelError:
            self.adapters.detach()
            raise
        return sha256(self.adapters.weights.cpu().numpy().tobytes()).hexdigest()

    def _learners(self, learn: Collection[str]) -> list[Learner]:
        split, made = len(self.encoded.train), []
        members = {
            name: [n for n, row in enumerate(self.rows) if name in learn and cluster in (-1, row.cluster)]
            for name, cluster in self.experts.items()
        }
        most = max(1, *(sum(n < split for n in mine) for mine in members.values()))
        for row, (name, mine) in enumerate(members.items()):
            own, held = [n for n in mine if n < split], [n for n in mine if n >= split]
            limit = self.config.max_steps and ceil(self.config.max_steps * len(own) / most)
            weights, grads = self.adapters.weights[row], self.adapters.grads[row]
            config = self._own_config(self.experts[name])
            made.append(Learner(name, row, own, held, weights, grads, config, limit))
        return made

    def _own_config(self, cluster: int) -> TrainConfig:
        """An expert's settings: those that go on from the shared one may have a peak of their own."""
        if cluster < 0 or self.config.start != "shared":
            return self.config
        peak = self.config.learning_rate * self.config.expert_rate
        return self.config.model_copy(update={"learning_rate": peak})

    def _waves(self) -> list[list[Learner]]:
        """The learners that train at the same time: all, or first the one that the others start from."""
        shared = [one for one in self.learners if self.experts[one.name] < 0]
        others = [one for one in self.learners if self.experts[one.name] >= 0]
        return [shared, others] if self.config.start == "shared" and shared and others else [self.learners]

    @property
    def _now(self) -> list[Learner]:
        return self.waves[self.wave]

    @property
    def mark(self) -> str:
        """A hash of everything that the result depends on."""
        names = [one.name for one in self.learners if one.members]
        further: list[Any] = [self._started_from, names] if self._started_from else []
        further += [self._taught_by] if self._taught_by else []
        return fingerprint(self.config, self.base, self.rows, len(self.encoded.train), *further)

    def run(self, work: Path, watch: Watch, *, resume: bool) -> Trained:
        """Trains to the end, from a checkpoint if there is one.

        Raises:
            ModelError: If memory does not suffice.
            TrainingStopped: If a loss is not a number.
        """
        lengths = [len(row.ids) for row in self.rows]
        most = max(lengths) * self.config.batch * len(self.learners)
        memory = estimate_memory(self.loss, self.config, max(lengths), most)
        check_memory(memory, self.config)
        end = Loop(self, work, self.mark, self.config, self.processes, watch).run(resume)
        return self._result(end, memory, work / LOSSES_FILE)

    # --- what the loop asks for ---------------------------------------------------------------

    def begin(self) -> dict[str, float]:
        """Measures the weights that training starts from, if they were given; reports nothing."""
        if self._started_from:
            self._measure_start()
        return {}

    def next_stage(self) -> bool:
        """Starts the next wave from the best weights of the expert trained on all rows."""
        if self.wave + 1 == len(self.waves):
            return False
        (shared,) = self._now
        self.wave += 1
        for one in self._now:
            self.adapters.weights[one.row] = shared.best
        self._measure_start()
        return True

    def _measure_start(self) -> None:
        found = self._validate(self._now)
        for one in self._now:
            one.begin(found.get(one.row))

    def _validate(self, learners: Sequence[Learner]) -> dict[int, float]:
        pairs = {one.row: one.held for one in learners if one.held}
        return mean_losses(self.loss, pairs, self.config.tokens_per_pass, self.processes)

    def plan(self, at: Position) -> list[Step]:
        """The steps of an epoch: each expert's own batches, merged."""
        config, batches = self.config, {}
        for one in self._now:
            own = epoch_batches(one.members, one.name, batch=config.batch, epoch=at.epoch, seed=config.seed)
            batches[one.row] = own[: one.steps_in(at.epoch)]
        return [plan_step(now, self.rows, config.tokens_per_pass) for now in merge(batches)]

    def left(self, at: Position) -> int:
        """Steps to come, if no expert stops early."""
        left = -at.done
        for wave, learners in enumerate(self.waves[self.wave :], self.wave):
            epochs = range(at.epoch if wave == self.wave else 0, self.config.epochs)
            left += sum(max(one.steps_in(epoch) for one in learners) for epoch in epochs)
        return left

    def step(self, step: Step, at: Position) -> Taken:
        """Runs this process's share of the passes, and updates every expert of the step."""
        del at
        self.adapters.grads.zero_()
        means = torch.zeros(len(self.learners), device=self.adapters.weights.device)
        results = []
        for items in step.passes[self.processes.rank :: self.processes.count]:
            losses = self.loss(items, learn=True)
            means.index_add_(0, _of(items, "expert", means), losses * _of(items, "weight", means))
            results.append((items, losses))
        self.processes.sum(means)
        self.processes.sum(self.adapters.grads)
        self._check_losses(means, results)
        return self._update(step, means.tolist())

    def _check_losses(self, means: Tensor, results: Sequence[tuple[Sequence[Item], Tensor]]) -> None:
        for one in self.learners:
            if not means[one.row].isfinite():
                bad = [
                    self.rows[item.row]
                    for items, losses in results
                    for item, loss in zip(items, losses.tolist(), strict=True)
                    if item.expert == one.row and not isfinite(loss)
                ]
                raise NotANumber(f"the loss of expert {one.name!r}", bad)

    def _update(self, step: Step, means: list[float]) -> Taken:
        items = [item for one in step.passes for item in one]
        active = [one for one in self.learners if one.row in step.experts]
        norms = {one.name: one.norm() for one in active}
        for one in active:
            if not isfinite(norms[one.name]):
                rows = [self.rows[item.row] for item in items if item.expert == one.row]
                raise NotANumber(f"the gradient of expert {one.name!r}", rows)
        return Taken(
            losses={one.name: means[one.row] for one in active},
            rates={one.name: one.update(norms[one.name]) for one in active},
            norms=norms,
            tokens=sum(len(self.rows[item.row].ids) for item in items),
        )

    def end_epoch(self, at: Position, means: Mapping[str, float]) -> dict[str, float]:
        """Measures the experts that had steps in the epoch; each keeps its best weights."""
        ended = [one for one in self._now if one.steps_in(at.epoch - 1)]
        found = self._validate(ended)
        for one in ended:
            one.end_epoch(at.epoch, means[one.name], found.get(one.row))
        return {one.name: found[one.row] for one in ended if one.row in found}

    def state(self) -> dict[str, Any]:
        """The wave, all weights and the learners."""
        learners = {one.name: one.state() for one in self.learners}
        return {"wave": self.wave, "weights": self.adapters.weights, "learners": learners}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        self.wave = state["wave"]
        self.adapters.weights.copy_(state["weights"])
        for one in self.learners:
            one.load(state["learners"][one.name])

    # --- the result ---------------------------------------------------------------------------

    def _result(self, end: Position, memory: MemoryEstimate, losses_file: Path) -> Trained:
        for one in self.learners:
            self.adapters.weights[one.row] = one.best
        held = range(len(self.encoded.train), len(self.rows))
        losses = cross_losses(
            self.loss, self.adapters.names, held, self.config.tokens_per_pass, self.processes
        )
        return Trained(
            base=self.base.identity,
            tokenizer=self.base.tokenizer,
            config=self.config,
            clusters=self.experts,
            adapters={one.name: self.adapters.state_dict(one.row) for one in self.learners},
            peft_config=self.adapters.peft_config,
            metrics={
                "losses": losses,
                "same_as_shared": self._same_as_shared(),
                "experts": {one.name: self._facts(one) for one in self.learners},
                "steps": end.count,
                "tokens": end.tokens,
                "dropped": self.encoded.dropped,
                "cut": self.encoded.cut,
                "memory": memory.model_dump(),
            },
            lineage=self._lineage(),
            losses=losses_file,
        )

    def _same_as_shared(self) -> list[str]:
        """The experts of clusters that have the weights of the shared one."""
        shared = [row for row, cluster in enumerate(self.experts.values()) if cluster < 0]
        return [
            name
            for row, (name, cluster) in enumerate(self.experts.items())
            if cluster >= 0
            and any(torch.equal(self.adapters.weights[row], self.adapters.weights[n]) for n in shared)
        ]

    def _lineage(self) -> dict[str, Any]:
        rows = sorted(f"{row.key} {row.cluster}" for row in self.rows)
        config = self.config.model_dump_json(exclude=set(NO_EFFECT))
        return {"rows": content_hash("\n".join(rows)), "training settings": content_hash(config)}

    def _facts(self, one: Learner) -> dict[str, Any]:
        return {
            "rows": len(one.members),
            "validation_rows": len(one.held),
            "tokens": sum(len(self.rows[n].ids) for n in one.members),
            "learnt_tokens": sum(self.rows[n].target_tokens for n in one.members),
            "steps": one.step,
            "best_epoch": one.best_epoch,
            "epochs": one.history,
        }


def _of(items: Sequence[Item], name: str, like: Tensor) -> Tensor:
    return torch.tensor([getattr(item, name) for item in items], device=like.device)


def train_experts(
    rows: Sequence[Row],
    clusters: Sequence[int] | Mapping[str, int],
    base: Base,
    work: Path | str,
    config: TrainConfig | None = None,
    *,
    experts: Mapping[str, int] | None = None,
    start: Mapping[str, Mapping[str, Tensor]] | None = None,
    learn: Collection[str] | None = None,
    teacher: Teacher | None = None,
    watch: Watch = silent,
    resume: bool = True,
) -> Trained:
    """Trains an expert for each cluster and, unless switched off, one on all rows.

    Args:
        rows: Supervised rows, as `training_rows` or `read_rows` give them.
        clusters: The cluster of each row, or of each problem by its id. A row without a cluster (-1)
            trains only the shared expert.
        base: A base of `load_base`; unchanged afterwards.
        work: A folder for checkpoints and `losses.jsonl`.
        config: None for the defaults.
        experts: The cluster of each expert by name, -1 for the shared one; None for one expert for
            each cluster that has rows.
        start: Weights to start from, of every expert, under peft's names. An expert that training does
            not improve keeps them.
        learn: Experts to train; None for all. The others are only measured.
        teacher: Whose probabilities the training rows teach besides; None for the rows alone.
        watch: Takes a report of every step.
        resume: Continue from a checkpoint of the same inputs in `work`; the result is the same.

    Raises:
        ProblemError: If there are too few rows.
        ModelError: If the base cannot be adapted as configured, or memory does not suffice.
        TrainingStopped: If a loss is not a number.
    """
    config = config or TrainConfig()
    if isinstance(clusters, Mapping):
        clusters = [clusters.get(row.problem_id, -1) for row in rows]
    encoded = encode_rows(
        rows,
        clusters,
        base.tokenizer,
        max_length=config.max_length,
        validation=config.validation,
        seed=config.seed,
    )
    members = assign(encoded, config) if experts is None else dict(experts)
    work = Path(work)
    work.mkdir(parents=True, exist_ok=True)
    with borrowed(base.model, train=True, checkpointing=config.gradient_checkpointing):
        training = Training(encoded, members, base, config, start=start, learn=learn, teacher=teacher)
        try:
            return training.run(work, watch, resume=resume)
        finally:
            training.adapters.detach()


def assign(encoded: Encoded, config: TrainConfig) -> dict[str, int]:
    """The experts to train, and the cluster of each; -1 for the shared one.

    Raises:
        ProblemError: If a cluster has too few training rows, or nothing can be trained.
    """
    sizes = Counter(row.cluster for row in encoded.train)
    found = {row.cluster for row in (*encoded.train, *encoded.validation)} - {-1}
    few = {cluster: sizes[cluster] for cluster in sorted(found) if sizes[cluster] < config.min_rows}
    if few and (config.small == "error" or not config.shared):
        listed = ", ".join(f"cluster {cluster} has {size}" for cluster, size in few.items())
        raise ProblemError(
            f"an expert needs min_rows={config.min_rows} training rows; {listed}. Solve more problems, "
            "take fewer clusters, lower min_rows, or set small = 'shared' so that these train the shared "
            "expert alone"
        )
    experts = {f"cluster-{cluster}": cluster for cluster in sorted(found - few.keys())}
    experts |= {SHARED: -1} if config.shared else {}
    if not experts or len(encoded.train) < config.min_rows:
        raise ProblemError(
            f"{len(encoded.train)} training rows in {len(found)} clusters; an expert needs "
            f"min_rows={config.min_rows}. Solve more problems, or lower min_rows"
        )
    return experts
