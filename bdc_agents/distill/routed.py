"""The loss of rows under mixtures of experts, of which each row has its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bdc_agents.distill.batches import Item, cut_passes
from bdc_agents.distill.devices import Processes
from bdc_agents.distill.lora import StackedAdapters
from bdc_agents.distill.loss import RowLoss
from bdc_agents.distill.rows import EncodedRow

Mix = Callable[[Sequence[int]], Mapping[str, Tensor]]
"""The mixture for some rows, by layer name: shape (rows, experts, rank), or broadcastable to it."""


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
        pairs: Row and expert of each; the expert does not matter to a `RoutedLoss`.
        tokens: Padded tokens in one forward pass.

    Returns:
        Shape (pairs,).
    """
    place = {pair: n for n, pair in enumerate(pairs)}
    sums = torch.zeros(len(pairs), device=loss.adapters.weights.device)
    items = [Item(row=row, expert=expert, weight=0.0) for row, expert in pairs]
    passes = cut_passes(items, loss.rows, tokens)
    share = processes or Processes()
    for one in passes[share.rank :: share.count]:
        sums[[place[item.row, item.expert] for item in one]] = loss(one)
    return share.sum(sums)


def learnt_tokens(rows: Sequence[EncodedRow], numbers: Sequence[int]) -> int:
    """The completion tokens of some rows."""
    return sum(rows[number].learnt for number in numbers)
