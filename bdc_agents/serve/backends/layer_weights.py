"""Spells out the experts of a request as weights by layer, expert and rank."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bdc_agents.serve.backends.protocol import ExpertWeights


def layer_weights(
    experts: ExpertWeights | str | None, names: Sequence[str], layers: Sequence[str], rank: int
) -> dict[str, Tensor]:
    """The weights that a request means. Experts and layers that it does not name have weight 0.

    Args:
        experts: As in `ChatRequest`.
        names: All experts, in order.
        layers: All adapted layers.

    Returns:
        By layer, shape (experts, rank).
    """
    order, given = _given(experts, names)
    found = {}
    for layer in layers:
        found[layer] = torch.zeros(len(names), rank)
        own = given if isinstance(given, Tensor) else given.get(layer)
        if own is not None:
            found[layer][order] = own.detach().float().cpu().expand(len(order), rank)
    return found


def _given(
    experts: ExpertWeights | str | None, names: Sequence[str]
) -> tuple[list[int], Tensor | Mapping[str, Tensor]]:
    """The numbers of the experts, and their weights: one tensor for every layer, or by layer."""
    if experts is None:
        return [], {}
    if isinstance(experts, str):
        return [names.index(experts)], torch.ones(1, 1)
    order = [names.index(name) for name in experts.experts]
    if experts.layers is not None:
        return order, experts.layers
    return order, torch.tensor([[weight] for weight in experts.experts.values()])
