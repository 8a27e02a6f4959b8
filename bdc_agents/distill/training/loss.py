"""The loss of rows under their experts, or under mixtures: cross-entropy on completion tokens alone.

The target of a token is the row's own next token, or, where a row has a teacher, a mix of that token and of
what the teacher would say next.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdc_agents.distill.training.batches import Item, cut_passes
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.lora import StackedAdapters

CHUNK_ELEMENTS = 1 << 24
"""Logits computed at once: 16 million, 64 MB in float32. With a vocabulary of 150,000 that is about 110
tokens. Chosen, not measured."""
CHUNK_TOKENS = 16
"""Tokens computed at once, at least: with fewer the products would be too small to be fast. Chosen."""
BASE = -1
"""The expert of an item that runs through the base alone."""


@dataclass(frozen=True, eq=False)
class Targets:
    """What a model is to say instead of one token, for each completion token of a row.

    Args:
        ids: Shape (tokens, k).
        shares: Their probabilities, shape (tokens, k); each token's sum to 1.
    """

    ids: Tensor
    shares: Tensor


Mix = Callable[[Sequence[int]], Mapping[str, Tensor]]
"""The mixture for some rows, by layer name: shape (rows, experts, rank), or broadcastable to it."""


class RowLoss:
    """Runs rows through a model with adapters.

    Args:
        adapters: Attached to the model.
        rows: What the items' row numbers refer to.
        soft: What rows are to teach instead of their own tokens, by key; it counts where a call learns, so
            that losses that are only measured can be compared whoever taught.

    Raises:
        ModelError: If the model has no output layer.
    """

    def __init__(
        self,
        adapters: StackedAdapters,
        rows: Sequence[EncodedRow],
        soft: Mapping[str, Targets] | None = None,
    ) -> None:
        self.adapters = adapters
        self.rows = rows
        self._soft = soft or {}
        self._model = adapters.model
        self._head = output_layer(self._model)
        self._device = adapters.weights.device
        self._plain_head: bool | None = None

    def __call__(self, items: Sequence[Item], *, learn: bool = False) -> Tensor:
        """The summed cross-entropy of each item's completion tokens, shape (items,).

        Args:
            learn: Also add the gradient of the items' weighted sum to the adapters' gradients.
        """
        batch = _Batch.of(items, self.rows, self._device, self._soft if learn else {})
        with self._route(items), nullcontext() if learn else torch.no_grad():
            losses, total = self._forward(batch)
            if learn:
                _backward(total)
        return torch.zeros(len(items), device=self._device).index_add_(0, batch.owner, losses)

    def _route(self, items: Sequence[Item]) -> Any:
        if all(item.expert == BASE for item in items):
            return self.adapters.route()
        return self.adapters.route(rows=torch.tensor([item.expert for item in items], device=self._device))

    def _forward(self, batch: "_Batch") -> tuple[Tensor, Tensor]:
        if self._plain_head is None:
            self._plain_head = self._head_is_plain(batch.first())
        with self._predicting(batch, whole=not self._plain_head) as hidden:
            output = self._model(input_ids=batch.ids, use_cache=False)
        if not self._plain_head:
            said = functional.log_softmax(output.logits[0].float(), 1)
            losses = -(said.gather(1, batch.targets.ids) * batch.targets.shares).sum(1)
            return losses.detach(), losses @ batch.weights
        targets = batch.targets
        return ChunkedLoss.apply(
            hidden[0], self._head.weight, self._head.bias, targets.ids, targets.shares, batch.weights
        )

    def _head_is_plain(self, batch: "_Batch") -> bool:
        """Whether the logits are the output layer's alone; some models scale or cap them."""
        if type(self._head) is not nn.Linear:
            return False
        with torch.no_grad(), self.adapters.route():
            with self._predicting(batch, whole=True) as hidden:
                logits = self._model(input_ids=batch.ids, use_cache=False).logits[0]
            # Scaled or capped logits differ by far more than rounding, which is what the tolerance allows.
            return torch.allclose(self._head(hidden[0]), logits, rtol=1e-3, atol=1e-3)

    @contextmanager
    def _predicting(self, batch: "_Batch", *, whole: bool) -> Any:
        """Lets the output layer see only the states that predict a completion token.

        Args:
            whole: All of them; otherwise one, since the loss computes its own logits.

        Yields:
            A list that will hold these states, shape (tokens, width).
        """
        found: list[Tensor] = []

        def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            states = arguments[0][batch.owner, batch.position]
            found.append(states)
            return (states if whole else states[:1].detach())[None], *arguments[1:]

        handle = self._head.register_forward_pre_hook(select)
        try:
            yield found
        finally:
            handle.remove()


def output_layer(model: Any) -> nn.Module:
    """The layer that makes logits.

    Raises:
        ModelError: If the model has none.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise ModelError(f"a {type(model).__name__} has no output layer; choose a causal language model")
    return head


def _backward(total: Tensor) -> None:
    with warnings.catch_warnings():
        # Gradients are laid out like the weights, one expert a row; torch warns of that.
        warnings.filterwarnings("ignore", message="grad and param do not obey")
        total.backward()


@dataclass(frozen=True)
class _Batch:
    """Items as tensors: padded ids, and where each completion token is predicted, with its target."""

    ids: Tensor
    owner: Tensor
    position: Tensor
    targets: Targets
    weights: Tensor

    @classmethod
    def of(
        cls,
        items: Sequence[Item],
        rows: Sequence[EncodedRow],
        device: torch.device,
        soft: Mapping[str, Targets],
    ) -> "_Batch":
        own = [rows[item.row] for item in items]
        width = max(len(row.ids) for row in own)
        # Padded on the right without a mask: no token attends to a later one.
        ids = torch.tensor([[*row.ids, *([0] * (width - len(row.ids)))] for row in own], device=device)
        places = [(n, at) for n, row in enumerate(own) for at in range(row.start - 1, len(row.ids) - 1)]
        owner, position = torch.tensor(places, device=device).T
        weights = torch.tensor([item.weight for item in items], device=device)[owner]
        next_ids = ids[owner, position + 1][:, None]
        targets = Targets(next_ids, torch.ones_like(next_ids, dtype=torch.float32))
        return cls(ids, owner, position, _taught(own, targets, soft), weights)

    def first(self) -> "_Batch":
        """Its first row alone."""
        mine = self.owner == 0
        targets = Targets(self.targets.ids[mine], self.targets.shares[mine])
        return _Batch(self.ids[:1], self.owner[mine], self.position[mine], targets, self.weights[mine])


def _taught(rows: Sequence[EncodedRow], own: Targets, soft: Mapping[str, Targets]) -> Targets:
    """The targets of some rows, one after another: a teacher's where there is one, else their own tokens."""
    given = [soft.get(row.key) for row in rows]
    width = max((one.ids.shape[1] for one in given if one is not None), default=1)
    if width == 1:
        return own
    spare = width - 1  # Tokens without a teacher: the rest of the width has a share of 0.
    ids, shares = functional.pad(own.ids, (0, spare)), functional.pad(own.shares, (0, spare))
    at = 0
    for row, one in zip(rows, given, strict=True):
        if one is not None:
            part = slice(at, at + row.target_tokens), slice(0, one.ids.shape[1])
            ids[part], shares[part] = one.ids.to(ids), one.shares.to(shares)
        at += row.target_tokens
    return Targets(ids, shares)


class ChunkedLoss(torch.autograd.Function):
    """Cross-entropy over a frozen output layer; keeps the gradient of its input, never the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        shares: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Losses of each token against its `Targets`, shape (tokens,), and their sum under `weights`."""
        learn = ctx.needs_input_grad[0]
        gradient = torch.empty_like(states) if learn else None
        losses = torch.empty(len(states), device=states.device)
        size = max(CHUNK_TOKENS, CHUNK_ELEMENTS // len(weight))
        for start in range(0, len(states), size):
            part = slice(start, start + size)
            logits = functional.linear(states[part], weight, bias).float()
            picked = (logits.gather(1, ids[part]) * shares[part]).sum(1)
            losses[part] = logits.logsumexp(1) - picked
            if gradient is not None:
                soft = torch.softmax(logits, 1, out=logits)
                soft.scatter_add_(1, ids[part], -shares[part])
                gradient[part] = soft.mul_(weights[part, None]).to(states.dtype) @ weight
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(losses)
        return losses, losses @ weights

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The gradient of the states under that of the weighted sum."""
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[1], None, None, None, None, None


class RoutedLoss(RowLoss):
    """As `RowLoss`, with a mixture of the experts for every row instead of one expert.

    Args:
        adapters: Attached to the model.
        rows: What the items' row numbers refer to.
        mix: Gives the mixtures; may be replaced at any time.
    """

    def __init__(self, adapters: StackedAdapters, rows: Sequence[EncodedRow], mix: Mix) -> None:
        super().__init__(adapters, rows)
        self.mix = mix

    def _route(self, items: Sequence[Item]) -> Any:
        return self.adapters.route(weights=self.mix([item.row for item in items]))


def row_sums(
    loss: RowLoss, pairs: Sequence[tuple[int, int]], tokens: int, processes: Processes | None = None
) -> Tensor:
    """The summed loss of rows, without dropout.

    Args:
        pairs: Row and expert of each, `BASE` for the base alone; a `RoutedLoss` ignores the expert.
        tokens: Padded tokens in one forward pass.

    Returns:
        Shape (pairs,).
    """
    place = {pair: n for n, pair in enumerate(pairs)}
    sums = torch.zeros(len(pairs), device=loss.adapters.weights.device)
    # The base alone has no row among the adapters, so its rows have passes of their own.
    groups = [[pair for pair in pairs if (pair[1] == BASE) is base] for base in (True, False)]
    items = [[Item(row=row, expert=expert, weight=0.0) for row, expert in group] for group in groups]
    passes = [one for group in items for one in cut_passes(group, loss.rows, tokens)]
    share, model = processes or Processes(), loss.adapters.model
    training = model.training
    model.eval()
    for one in passes[share.rank :: share.count]:
        sums[[place[item.row, item.expert] for item in one]] = loss(one)
    model.train(training)
    return share.sum(sums)


def count_target_tokens(rows: Sequence[EncodedRow], numbers: Sequence[int]) -> int:
    """The completion tokens of some rows."""
    return sum(rows[number].target_tokens for number in numbers)
