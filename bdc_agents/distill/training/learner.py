"""One expert in training: its own optimiser, schedule and best weights, as if it were alone."""

from collections.abc import Mapping
from math import ceil, cos, inf, pi
from typing import Any

import torch
from torch import Tensor, nn

from bdc_agents.distill.recipe import TrainConfig


class Learner:
    """Trains one row of the adapters' weights.

    Args:
        name: The expert's name.
        row: Its number.
        members: Its training rows.
        held: Its validation rows.
        weights, grads: Its row of the adapters' weights and gradients.
        limit: Largest number of its steps; None for those of all epochs.
    """

    def __init__(
        self,
        name: str,
        row: int,
        members: list[int],
        held: list[int],
        weights: Tensor,
        grads: Tensor,
        config: TrainConfig,
        limit: int | None = None,
    ) -> None:
        self.name, self.row, self.members, self.held = name, row, members, held
        self.config = config
        self.epoch_steps = ceil(len(members) / config.batch)
        steps = self.epoch_steps * config.epochs
        self.total = steps if limit is None else min(limit, steps)
        self.step = 0
        self.stopped = False
        self.stale = 0
        self.best_epoch = 0
        self.best_loss = inf
        self.best = weights.clone()
        self.history: list[dict[str, Any]] = []
        self._weights = nn.Parameter(weights)
        self._weights.grad = grads
        self._optimizer = torch.optim.AdamW(
            [self._weights],
            lr=config.learning_rate,
            betas=config.betas,
            eps=config.eps,
            weight_decay=config.weight_decay,
        )

    def steps_in(self, epoch: int) -> int:
        """Its steps in an epoch, counted from 0."""
        return 0 if self.stopped else max(0, min(self.epoch_steps, self.total - epoch * self.epoch_steps))

    def norm(self) -> float:
        """The norm of its gradient."""
        assert self._weights.grad is not None
        return float(self._weights.grad.norm())

    def update(self, norm: float) -> float:
        """One step of the optimiser, with the gradient clipped as `clip_grad_norm_` does.

        Args:
            norm: The gradient's norm.

        Returns:
            The learning rate used.
        """
        if self.config.clip is not None and self._weights.grad is not None:
            self._weights.grad.mul_(min(1.0, self.config.clip / (norm + 1e-6)))  # 1e-6 is torch's too.
        rate = learning_rate(self.step, self.total, self.config)
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        self.step += 1
        return rate

    def begin(self, loss: float | None) -> None:
        """Keeps the weights that it starts from as the best so far, in case training does not help.

        Args:
            loss: Their loss on its validation rows; None if it has none.
        """
        self.best.copy_(self._weights.detach())
        self.history.append({"epoch": 0, "validation": loss})
        if loss is not None:
            self.best_loss = loss

    def end_epoch(self, epoch: int, train: float, validation: float | None) -> None:
        """Keeps the weights if they are the best so far, and stops if none were for too long.

        Args:
            epoch: Counted from 1.
            train: Mean loss of its steps in this epoch.
            validation: Loss on its validation rows; None if it has none, and the last epoch is kept.
        """
        self.history.append({"epoch": epoch, "train": train, "validation": validation})
        if validation is None or validation < self.best_loss:
            self.best_loss = inf if validation is None else validation
            self.best_epoch, self.stale = epoch, 0
            self.best.copy_(self._weights.detach())
        else:
            self.stale += 1
        patience = self.config.patience
        self.stopped = self.step >= self.total or (patience is not None and self.stale >= patience)

    def state(self) -> dict[str, Any]:
        """Everything that changes in training, but for the weights themselves."""
        kept = ("step", "stopped", "stale", "best_epoch", "best_loss", "best", "history")
        return {key: getattr(self, key) for key in kept} | {"optimizer": self._optimizer.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state`."""
        for key, value in state.items():
            if key == "optimizer":
                self._optimizer.load_state_dict(value)
            elif key == "best":
                self.best.copy_(value)
            else:
                setattr(self, key, value)


def learning_rate(step: int, total: int, config: TrainConfig) -> float:
    """A linear warm-up, then a cosine that would reach 0 one step after the last.

    Args:
        step: Counted from 0.
        total: Steps in all.
    """
    warm = ceil(config.warmup * total)
    if step < warm:
        return config.learning_rate * (step + 1) / (warm + 1)
    return config.learning_rate * 0.5 * (1 + cos(pi * (step - warm) / max(1, total - warm)))
