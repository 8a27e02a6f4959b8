"""Experts combined into one adapter once and for all: TIES and DARE, as peft combines adapters."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from bdc_agents.distill.extras import need
from bdc_agents.errors import ModelError

Method = Literal["ties", "dare"]


def combine(
    states: Sequence[Mapping[str, Tensor]],
    scale: float,
    method: Method,
    *,
    density: float = 0.5,
    seed: int = 0,
) -> dict[str, Tensor]:
    """One adapter of the same rank from several, A and B each combined by itself.

    TIES keeps the largest entries, elects a sign for each, and takes the mean of those that agree
    (arXiv 2306.01708); DARE drops entries at random, rescales the rest, and then does the same
    (arXiv 2311.03099). The same as `add_weighted_adapter` of peft with weights of 1.

    Args:
        states: The adapters' tensors under peft's names.
        scale: The factor of their B A x, which the result is run with too.
        density: Share of entries that are kept.
        seed: Of what DARE drops.

    Raises:
        ModelError: If there are fewer than two adapters, or they differ in layers or shapes.
    """
    if len(states) < 2:
        raise ModelError(f"{len(states)} adapter to combine; two or more are needed")
    utils = need("peft.utils.merge_utils")
    rule = {"ties": utils.ties, "dare": utils.dare_ties}[method]
    weights = torch.full((len(states),), scale**0.5)
    combined = {}
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        for name, first in states[0].items():
            parts = [state.get(name) for state in states]
            if any(part is None or part.shape != first.shape for part in parts):
                raise ModelError(
                    f"the adapters differ in {name!r}; only those of one library can be combined"
                )
            merged = rule([part.float() for part in parts if part is not None], weights, density, "total")
            # Scaled by sqrt(scale) in A and in B already, and by `scale` when it is run.
            combined[name] = (merged / scale if ".lora_A." in name else merged).to(first.dtype)
    return combined
