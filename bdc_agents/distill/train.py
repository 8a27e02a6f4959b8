"""`train_experts`: trains one LoRA expert for each cluster and one on all rows, in one pass over the base."""

import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import ceil, isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdc_agents.distill.batches import Item, Step, epoch_batches, merge, plan_step
from bdc_agents.distill.checkpoint import LossLog, read_checkpoint, write_checkpoint
from bdc_agents.distill.cross_losses import cross_losses, mean_losses
from bdc_agents.distill.learner import Learner
from bdc_agents.distill.loss import RowLoss, output_layer
from bdc_agents.distill.memory import MemoryEstimate, check_memory, estimate_memory
from bdc_agents.distill.progress import Report, TrainingStopped, Watch, silent
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.rows import Encoded, EncodedRow, encode_rows
from bdc_agents.errors import ProblemError
from bdc_agents.experts.base import Base, BaseIdentity
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.lora import StackedAdapters, stable_seed
from bdc_agents.search.traces import Row
from bdc_agents.types import content_hash

log = logging.getLogger(__name__)

SHARED = "shared"
"""The name of the expert that is trained on all rows."""
NO_EFFECT = frozenset({"tokens_per_pass", "gradient_checkpointing", "checkpoint_steps"})
"""Settings that may change between a checkpoint and its resume, because they change no result."""
_PROGRESS = ("wave", "epoch", "done", "count", "tokens")
"""Attributes of `Training` that a checkpoint keeps."""
_ROWS_NAMED = 5
"""Rows that an error names: enough to look at, on one screen."""


@dataclass(frozen=True)
class Trained:
    """The result of a training: everything that goes into a library.

    Args:
        clusters: The cluster of each expert; -1 for the shared one.
        adapters: Each expert's best weights, under peft's names.
        peft_config: The adapters' `adapter_config.json`, but for the base's name.
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
    """The state of one training: what is attached to the base, and each expert's learner."""

    def __init__(
        self,
        encoded: Encoded,
        experts: Mapping[str, int],
        base: Base,
        work: Path,
        config: TrainConfig,
        watch: Watch,
        *,
        start: Mapping[str, Mapping[str, Tensor]] | None = None,
        learn: Collection[str] | None = None,
    ) -> None:
        self.encoded, self.experts, self.base = encoded, dict(experts), base
        self.work, self.config, self.watch = work, config, watch
        output_layer(base.model)
        self.processes = Processes()
        self._was_training = base.model.training
        self.adapters = StackedAdapters(base.model, tuple(experts), config, seed=config.seed)
        self.rows: tuple[EncodedRow, ...] = (*encoded.train, *encoded.validation)
        self.loss = RowLoss(self.adapters, self.rows)
        self._started_from = self._load(start) if start is not None else ""
        self.learners = self._learners(experts if learn is None else learn)
        self.waves = [self.learners] if start is not None else self._waves()
        self.wave, self.epoch, self.done, self.count, self.tokens = 0, 0, 0, 0, 0
        self.sums: dict[str, list[float]] = defaultdict(list)
        self.log = LossLog(work, write=self.processes.main)
        self._started = time.monotonic()
        self.memory: MemoryEstimate | None = None

    def _load(self, start: Mapping[str, Mapping[str, Tensor]]) -> str:
        """Sets the weights to go on from; gives their hash."""
        for row, name in enumerate(self.adapters.names):
            self.adapters.load(row, start[name])
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
            made.append(Learner(name, row, own, held, weights, grads, self.config, limit))
        return made

    def _waves(self) -> list[list[Learner]]:
        """Who is trained at the same time: all, or before the others the one they start from."""
        shared = [one for one in self.learners if self.experts[one.name] < 0]
        others = [one for one in self.learners if self.experts[one.name] >= 0]
        return [shared, others] if self.config.start == "shared" and shared and others else [self.learners]

    @property
    def _now(self) -> list[Learner]:
        return self.waves[self.wave]

    def run(self, resume: bool) -> Trained:
        """Trains to the end, from a checkpoint where there is one."""
        model = self.base.model
        model.train()
        if self.config.gradient_checkpointing:
            switch_checkpointing(model, "enable")({"use_reentrant": False})
        self._check_memory()
        resumed = resume and self._resume()
        self.log.cut(self.count)
        if self._started_from and not resumed:
            self._begin()
        self._run_wave()
        while self.wave + 1 < len(self.waves):
            self._hand_down()
            self._run_wave()
        return self._result()

    def _run_wave(self) -> None:
        while self.epoch < self.config.epochs and any(one.steps_in(self.epoch) for one in self._now):
            self._run_epoch()

    def _hand_down(self) -> None:
        """Has the next wave start from the best weights of the expert trained on all rows."""
        (shared,) = self._now
        self.wave, self.epoch = self.wave + 1, 0
        for one in self._now:
            self.adapters.weights[one.row] = shared.best
        self._begin()

    def _begin(self) -> None:
        """Measures the weights that training goes on from."""
        pairs = {one.row: one.held for one in self._now if one.held}
        found = mean_losses(self.loss, pairs, self.config.tokens_per_pass, self.processes)
        for one in self._now:
            one.begin(found.get(one.row))

    def close(self) -> None:
        """Gives the base back as it was."""
        if self.config.gradient_checkpointing:
            switch_checkpointing(self.base.model, "disable")()
        self.adapters.detach()
        self.base.model.train(self._was_training)

    def _check_memory(self) -> None:
        lengths = [len(row.ids) for row in self.rows]
        most = max(lengths) * self.config.batch * len(self.learners)
        self.memory = estimate_memory(self.loss, self.config, max(lengths), most)
        check_memory(self.memory, self.config)

    def _run_epoch(self) -> None:
        steps = self._plan()
        while self.done < len(steps):
            self._run_step(steps[self.done])
            if self.done % self.config.checkpoint_steps == 0 and self.done < len(steps):
                self._save()
        self._end_epoch()

    def _plan(self) -> list[Step]:
        config, batches = self.config, {}
        for one in self._now:
            own = epoch_batches(one.members, one.name, batch=config.batch, epoch=self.epoch, seed=config.seed)
            batches[one.row] = own[: one.steps_in(self.epoch)]
        return [plan_step(now, self.rows, config.tokens_per_pass) for now in merge(batches)]

    def _run_step(self, step: Step) -> None:
        torch.manual_seed(stable_seed(self.config.seed, self.count, self.processes.rank))
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
        self._update(step, means.tolist())

    def _update(self, step: Step, means: list[float]) -> None:
        active = [one for one in self.learners if one.row in step.experts]
        norms = {one.name: one.norm() for one in active}
        for one in active:
            if not isfinite(norms[one.name]):
                rows = [i.row for items in step.passes for i in items if i.expert == one.row]
                self._stop(f"the gradient of expert {one.name!r}", rows)
        rates = {one.name: one.update(norms[one.name]) for one in active}
        losses = {one.name: means[one.row] for one in active}
        for name, loss in losses.items():
            self.sums[name].append(loss)
        self.count, self.done = self.count + 1, self.done + 1
        self.tokens += sum(len(self.rows[i.row].ids) for items in step.passes for i in items)
        self._tell(losses=losses, rates=rates, norms=norms)

    def _check_losses(self, means: Tensor, results: Sequence[tuple[Sequence[Item], Tensor]]) -> None:
        for one in self.learners:
            if not means[one.row].isfinite():
                bad = [
                    item.row
                    for items, losses in results
                    for item, loss in zip(items, losses.tolist(), strict=True)
                    if item.expert == one.row and not isfinite(loss)
                ]
                self._stop(f"the loss of expert {one.name!r}", bad)

    def _stop(self, what: str, rows: Sequence[int]) -> None:
        self._save()
        named = ", ".join(f"{self.rows[n].key} ({self.rows[n].problem_id})" for n in rows[:_ROWS_NAMED])
        more = f" and {len(rows) - _ROWS_NAMED} more" if len(rows) > _ROWS_NAMED else ""
        raise TrainingStopped(
            f"{what} is not a number in step {self.count + 1} (epoch {self.epoch + 1}), rows {named}{more}. "
            f"The weights before it are kept in {self.work}. Lower learning_rate (now "
            f"{self.config.learning_rate:g}) or leave these rows out, and train again"
        )

    def _end_epoch(self) -> None:
        ended = [one for one in self._now if one.steps_in(self.epoch)]
        pairs = {one.row: one.held for one in ended if one.held}
        found = mean_losses(self.loss, pairs, self.config.tokens_per_pass, self.processes)
        self.epoch, self.done = self.epoch + 1, 0
        for one in ended:
            mean = sum(self.sums[one.name]) / len(self.sums[one.name])
            one.end_epoch(self.epoch, mean, found.get(one.row))
        self.sums.clear()
        self._save()
        if found:
            self._tell(validation={one.name: found[one.row] for one in ended if one.row in found})

    def _tell(self, **what: Any) -> None:
        report = Report(
            epoch=self.epoch + ("losses" in what),
            step=self.count,
            steps=self.count + self._left(),
            tokens=self.tokens,
            seconds=time.monotonic() - self._started,
            **what,
        )
        self.log.add(report.model_dump(exclude_defaults=True))
        if self.processes.main:
            self.watch(report)

    def _left(self) -> int:
        """Steps to come, if nobody stops early."""
        left = -self.done
        for wave, learners in enumerate(self.waves[self.wave :], self.wave):
            epochs = range(self.epoch if wave == self.wave else 0, self.config.epochs)
            left += sum(max(one.steps_in(epoch) for one in learners) for epoch in epochs)
        return left

    def _save(self) -> None:
        if self.processes.main:
            state = {key: getattr(self, key) for key in _PROGRESS} | {
                "sums": dict(self.sums),
                "weights": self.adapters.weights,
                "learners": {one.name: one.state() for one in self.learners},
            }
            write_checkpoint(self.work, self.fingerprint(), state)

    def _resume(self) -> bool:
        state = read_checkpoint(self.work, self.fingerprint())
        if state is None:
            return False
        self.adapters.weights.copy_(state["weights"])
        for one in self.learners:
            one.load(state["learners"][one.name])
        self.sums.update(state["sums"])
        for name in _PROGRESS:
            setattr(self, name, state[name])
        log.info("training goes on after step %d", self.count)
        return True

    def fingerprint(self) -> str:
        """A hash of everything that the result depends on."""
        config = self.config.model_dump(mode="json", exclude=set(NO_EFFECT))
        rows = [(row.key, row.cluster, row.ids) for row in self.rows]
        parts = [config, self.base.identity.model_dump(mode="json"), rows, len(self.encoded.train)]
        if self._started_from:
            parts += [self._started_from, [one.name for one in self.learners if one.members]]
        return content_hash(json.dumps(parts, sort_keys=True))

    def _result(self) -> Trained:
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
                "steps": self.count,
                "tokens": self.tokens,
                "dropped": self.encoded.dropped,
                "cut": self.encoded.cut,
                "memory": self.memory.model_dump() if self.memory else None,
            },
            lineage=self._lineage(),
            losses=self.log.file,
        )

    def _same_as_shared(self) -> list[str]:
        """The experts of clusters that have not left the weights that they started from."""
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


def switch_checkpointing(model: Any, switch: str) -> Any:
    """The model's method that enables or disables gradient checkpointing; transformers renamed it.

    Args:
        switch: `enable` or `disable`.
    """
    return getattr(model, f"activation_checkpointing_{switch}", None) or getattr(
        model, f"gradient_checkpointing_{switch}"
    )


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
    watch: Watch = silent,
    resume: bool = True,
) -> Trained:
    """Trains an expert for each cluster and, unless switched off, one on all rows.

    Args:
        rows: Supervised rows, as `training_rows` or `read_rows` give them.
        clusters: The cluster of each row, or of each problem by its id; a row of none (-1) trains
            the shared expert alone.
        base: Of `load_base`; it is given back as it was.
        work: A folder for checkpoints and `losses.jsonl`.
        config: The defaults if None.
        experts: The cluster of each expert by name, -1 for the shared one; None for one expert for
            each cluster that has rows.
        start: Weights to go on from, by expert and peft's names, for all of them; one that training
            does not improve keeps them.
        learn: The experts that are trained; None for all. The others are only compared with them.
        watch: Told about every step.
        resume: Go on from a checkpoint of the same inputs in `work`, to the same result.

    Raises:
        ProblemError: If there are too few rows.
        ModelError: If the base cannot be adapted as configured, or memory will not do.
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
    device = base.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        training = Training(encoded, members, base, work, config, watch, start=start, learn=learn)
        try:
            return training.run(resume)
        finally:
            training.close()


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
