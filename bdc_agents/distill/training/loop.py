"""The loop of a training: epochs, steps, reports, checkpoints, and going on after a kill.

What is trained is an argument, a `Trainee`: the experts (`distill/training/experts.py`) or the router
(`distill/training/router.py`).
"""

import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Never, Protocol

import torch

from bdc_agents.distill.training.checkpoint import LossLog, read_checkpoint, write_checkpoint
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.errors import BDCError
from bdc_agents.experts.base import Base
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.lora import stable_seed
from bdc_agents.types import Frozen, content_hash

log = logging.getLogger(__name__)

NO_EFFECT = frozenset({"tokens_per_pass", "gradient_checkpointing", "checkpoint_steps"})
"""Settings that may change between a checkpoint and its resume, because they change no result."""
_ROWS_NAMED = 5
"""Rows that an error names: enough to look at, on one screen."""


class TrainingStopped(BDCError):
    """A loss or gradient is no longer a number; the checkpoint holds what was learnt before."""


class Report(Frozen):
    """The progress of a training, after a step or, with `validation`, after an epoch.

    Args:
        epoch: Number of the epoch, from 1.
        step: Steps so far, of `steps`.
        losses: Mean loss of each expert's batch in this step.
        rates, norms: Learning rate and norm of the gradient of each expert in this step.
        validation: Loss of each expert on its validation rows.
        tokens: Trained on so far, prompts included.
        seconds: Since the training started or was resumed.
    """

    epoch: int
    step: int
    steps: int
    losses: dict[str, float] = {}
    rates: dict[str, float] = {}
    norms: dict[str, float] = {}
    validation: dict[str, float] = {}
    tokens: int = 0
    seconds: float = 0.0


Watch = Callable[[Report], None]
"""Takes the report of each step and each epoch."""
Say = Callable[[str], None]
"""Takes what a person is told of the progress, a line each."""


def silent(_: object) -> None:
    """Takes a report or a line and shows nothing."""


@dataclass(frozen=True)
class Position:
    """How far a training is.

    Args:
        epoch: Finished epochs of the stage at hand.
        done: Finished steps of the epoch at hand.
        count: Finished steps of the whole training.
        tokens: Trained on so far, prompts included.
    """

    epoch: int = 0
    done: int = 0
    count: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Taken:
    """A step that was taken.

    Args:
        losses, rates, norms: As in `Report`.
        tokens: Trained on in this step.
    """

    losses: dict[str, float]
    rates: dict[str, float]
    norms: dict[str, float]
    tokens: int


class NotANumber(Exception):
    """A step was not taken, because a loss or gradient is not a number.

    Args:
        what: In words, such as `the router's loss`.
        rows: The rows that it may come from.
    """

    def __init__(self, what: str, rows: Sequence[EncodedRow]) -> None:
        super().__init__(what)
        self.what, self.rows = what, rows


class LoopConfig(Protocol):
    """The settings that the loop reads."""

    @property
    def seed(self) -> int:
        """Seed of dropout."""
        ...

    @property
    def learning_rate(self) -> float:
        """Named in the advice of an error."""
        ...

    @property
    def checkpoint_steps(self) -> int:
        """Steps between checkpoints; there is also one after each epoch."""
        ...


class Trainee(Protocol):
    """What the loop trains."""

    def begin(self) -> dict[str, float]:
        """Measures the weights that a fresh training starts from; returns validation losses to report."""
        ...

    def plan(self, at: Position) -> Sequence[Any]:
        """All steps of the epoch at hand, the finished ones included; none at the end of the stage."""
        ...

    def left(self, at: Position) -> int:
        """Steps to come, if nothing stops early."""
        ...

    def step(self, step: Any, at: Position) -> Taken:
        """Takes a step of the plan.

        Raises:
            NotANumber: If a loss or gradient is not a number; nothing has changed then.
        """
        ...

    def end_epoch(self, at: Position, means: Mapping[str, float]) -> dict[str, float]:
        """Ends an epoch; returns validation losses to report.

        Args:
            at: After the epoch.
            means: Mean training loss of the epoch, by expert.
        """
        ...

    def next_stage(self) -> bool:
        """Turns to what is trained next, from epoch 0; false at the end."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that changes in training, as tensors and plain data."""
        ...

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        ...


# Not `transformers.Trainer`: it has one optimiser, one schedule and one best model, where each expert has its
# own, and all share every forward pass. Tried on a router's network, it resumes as exactly and takes 7.5 ms a
# step, a plain step 2.7; but it would train the router alone, and so leave two loops again.
class Loop:
    """Runs a training to its end. A resumed one gives the result of one that was not cut off.

    Args:
        trainee: What is trained.
        work: Folder of checkpoint and `losses.jsonl`; None for neither.
        mark: Hash of everything that the result depends on; see `fingerprint`.
        config: See `LoopConfig`.
        processes: The processes that train together; the main one writes and reports.
        watch: Takes reports.
    """

    def __init__(
        self,
        trainee: Trainee,
        work: Path | None,
        mark: str,
        config: LoopConfig,
        processes: Processes,
        watch: Watch = silent,
    ) -> None:
        self._trainee = trainee
        self._work = work
        self._mark = mark
        self._config = config
        self._processes = processes
        self._watch = watch
        self._log = LossLog(work or Path(), write=work is not None and processes.main)
        self._at = Position()
        self._losses: dict[str, list[float]] = defaultdict(list)
        self._started = time.monotonic()

    def run(self, resume: bool) -> Position:
        """Trains, from a checkpoint of the same inputs if `resume` and there is one; returns the end.

        Raises:
            TrainingStopped: If a loss or gradient is not a number.
        """
        resumed = resume and self._resume()
        self._log.cut(self._at.count if resumed else -1)
        if not resumed and (found := self._trainee.begin()):
            self._save()
            self._report(validation=found)
        while True:
            while steps := self._trainee.plan(self._at):
                self._run_epoch(steps)
            if not self._trainee.next_stage():
                return self._at
            self._at = replace(self._at, epoch=0)

    def _run_epoch(self, steps: Sequence[Any]) -> None:
        while self._at.done < len(steps):
            self._run_step(steps[self._at.done])
            if self._at.done % self._config.checkpoint_steps == 0 and self._at.done < len(steps):
                self._save()
        means = {name: sum(losses) / len(losses) for name, losses in self._losses.items()}
        self._losses.clear()
        self._at = replace(self._at, epoch=self._at.epoch + 1, done=0)
        found = self._trainee.end_epoch(self._at, means)
        self._save()
        if found:
            self._report(validation=found)

    def _run_step(self, step: Any) -> None:
        at = self._at
        # Each step has its own seed, so that a resumed training drops out what a whole one would.
        torch.manual_seed(stable_seed(self._config.seed, at.count, self._processes.rank))
        try:
            taken = self._trainee.step(step, at)
        except NotANumber as error:
            self._stop(error)
        self._at = replace(at, done=at.done + 1, count=at.count + 1, tokens=at.tokens + taken.tokens)
        for name, loss in taken.losses.items():
            self._losses[name].append(loss)
        self._report(losses=taken.losses, rates=taken.rates, norms=taken.norms)

    def _report(self, **what: dict[str, float]) -> None:
        report = Report(
            epoch=self._at.epoch + ("losses" in what),
            step=self._at.count,
            steps=self._at.count + self._trainee.left(self._at),
            tokens=self._at.tokens,
            seconds=time.monotonic() - self._started,
            **what,
        )
        self._log.add(report.model_dump(exclude_defaults=True))
        if self._processes.main:
            self._watch(report)

    def _stop(self, error: NotANumber) -> Never:
        self._save()
        named = ", ".join(f"{row.key} ({row.problem_id})" for row in error.rows[:_ROWS_NAMED])
        more = f" and {len(error.rows) - _ROWS_NAMED} more" if len(error.rows) > _ROWS_NAMED else ""
        kept = f"The weights before it are kept in {self._work}. " if self._work else ""
        raise TrainingStopped(
            f"{error.what} is not a number in step {self._at.count + 1} (epoch {self._at.epoch + 1}), rows "
            f"{named}{more}. {kept}Lower learning_rate (now {self._config.learning_rate:g}) or leave these "
            "rows out, and train again"
        ) from None

    def _save(self) -> None:
        if self._work and self._processes.main:
            state = {**asdict(self._at), "sums": dict(self._losses), **self._trainee.state()}
            write_checkpoint(self._work, self._mark, state)

    def _resume(self) -> bool:
        state = read_checkpoint(self._work, self._mark) if self._work else None
        if state is None:
            return False
        self._at = Position(**{field.name: state.pop(field.name) for field in fields(Position)})
        self._losses.update(state.pop("sums"))
        self._trainee.load(state)
        log.info("training goes on after step %d", self._at.count)
        return True


def fingerprint(config: Frozen, base: Base, rows: Sequence[EncodedRow], training: int, *more: Any) -> str:
    """A hash of everything that a training's result depends on.

    Args:
        rows: For training and validation.
        training: How many of them are for training.
        more: Plain data that only this kind of training depends on.
    """
    parts = [
        config.model_dump(mode="json", exclude=set(NO_EFFECT)),
        base.identity.model_dump(mode="json"),
        [(row.key, row.cluster, row.ids) for row in rows],
        training,
        *more,
    ]
    return content_hash(json.dumps(parts, sort_keys=True))


@contextmanager
def borrowed(model: Any, *, train: bool, checkpointing: bool) -> Iterator[None]:
    """Within the context, a base is set up for training; after it, base and random state are as before.

    Args:
        train: Switch on dropout.
        checkpointing: Compute activations twice instead of keeping them.
    """
    before = model.training
    device = model.device
    model.train(train)
    if checkpointing:
        _switch_checkpointing(model, "enable")({"use_reentrant": False})
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        if checkpointing:
            _switch_checkpointing(model, "disable")()
        model.train(before)


def _switch_checkpointing(model: Any, switch: str) -> Any:
    """The model's method that enables or disables gradient checkpointing; transformers renamed it."""
    return getattr(model, f"activation_checkpointing_{switch}", None) or getattr(
        model, f"gradient_checkpointing_{switch}"
    )
