"""Combines experts into the weights of their base, once for all problems: TIES and DARE.

It combines what each expert adds to a weight, B A. A and B have no meaning apart. Experts with the same
weights count once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor

from bdc_agents.errors import ModelError
from bdc_agents.experts.tensors import layer_of, peft_name

Method = Literal["ties", "dare"]
Deltas = Iterable[tuple[str, Tensor]]
"""By layer: what is added to its weight, shape (outputs, inputs)."""


def combine(
    states: Sequence[Mapping[str, Tensor]],
    scale: float,
    method: Method,
    *,
    density: float = 0.5,
    seed: int = 0,
) -> Iterator[tuple[str, Tensor]]:
    """The combined update of several adapters, one layer at a time.

    TIES keeps each adapter's largest entries, elects the sign with the larger sum for each entry, and
    takes the mean of those that have it (arXiv 2306.01708). DARE drops entries at random and rescales
    the rest, so that what is left of each adapter is that adapter on average (arXiv 2311.03099); the
    mean is then over those that had the elected sign before entries were dropped. Over those that kept
    it, as in peft, adapters that are alike would come out larger than each of them: what one drops,
    another keeps and doubles. Where all signs agree it is `dare_ties` of mergekit with equal weights.

    Args:
        states: The adapters' tensors under peft's names; equal ones count once.
        scale: The factor of their B A x.
        density: Share of entries that are kept; peft's and mergekit's examples also take half.
        seed: Seed of what DARE drops.

    Raises:
        ModelError: If there are fewer than two adapters, or they differ in layers or shapes.
    """
    if len(states) < 2:
        raise ModelError(f"{len(states)} adapter to combine; two or more are needed")
    _check(states)
    apart = _distinct(states)
    return _combined(apart, scale, method, density, torch.Generator().manual_seed(seed))


def _combined(
    states: Sequence[Mapping[str, Tensor]],
    scale: float,
    method: Method,
    density: float,
    generator: torch.Generator,
) -> Iterator[tuple[str, Tensor]]:
    for name in states[0]:
        if (layer := layer_of(name)) is None:
            continue
        other = peft_name(layer, "B")
        whole = torch.stack([scale * (state[other].float() @ state[name].float()) for state in states])
        if len(states) == 1:
            yield layer, whole[0]
        else:
            kept = _largest(whole, density) if method == "ties" else _drawn(whole, density, generator)
            yield layer, _mean_of_agreeing(kept, kept if method == "ties" else whole)


def _largest(whole: Tensor, density: float) -> Tensor:
    """Each adapter's largest entries, the others zero."""
    flat = whole.flatten(1)
    places = flat.abs().topk(int(density * flat.shape[1]), dim=1).indices
    return torch.zeros_like(flat).scatter(1, places, flat.gather(1, places)).view_as(whole)


def _drawn(whole: Tensor, density: float, generator: torch.Generator) -> Tensor:
    """Entries that were drawn, rescaled so that on average nothing changes; the others zero."""
    return whole * torch.bernoulli(torch.full_like(whole, density), generator=generator) / density


def _mean_of_agreeing(kept: Tensor, counted: Tensor) -> Tensor:
    """The sum of those that have the elected sign, by how many of the counted ones have it."""
    elected = torch.where(kept.sum(0) >= 0, 1.0, -1.0)
    agreeing = (counted.sign() == elected).sum(0).clamp(min=1)
    return (kept * (kept.sign() == elected)).sum(0) / agreeing


def _check(states: Sequence[Mapping[str, Tensor]]) -> None:
    for name, first in states[0].items():
        if any(name not in state or state[name].shape != first.shape for state in states):
            raise ModelError(f"the adapters differ in {name!r}; only those of one library can be combined")


def _distinct(states: Sequence[Mapping[str, Tensor]]) -> list[Mapping[str, Tensor]]:
    """Each adapter once, however many copies of it there are."""
    found: list[Mapping[str, Tensor]] = []
    for state in states:
        if not any(all(torch.equal(state[name], one[name]) for name in state) for one in found):
            found.append(state)
    return found


@contextmanager
def added(model: Any, deltas: Deltas) -> Iterator[None]:
    """Within the context, the model's weights include the given updates; after it, they are as before.

    Raises:
        ModelError: If a layer's weight is quantised, so that nothing can be added to it.
    """
    before: list[tuple[Any, Tensor]] = []
    try:
        with torch.no_grad():
            for layer, delta in deltas:
                module = model.get_submodule(layer)
                weight = module.weight
                if not weight.is_floating_point():
                    raise ModelError(
                        f"layer {layer!r} is quantised, and combined experts are added to its weights; load "
                        "the base without quantisation, or leave `ties` and `dare` out"
                    )
                before.append((weight, weight.data))
                # GPT-2's `Conv1D` holds its weight the other way round.
                delta = delta.T if hasattr(module, "nf") else delta
                weight.data = (weight.float() + delta.to(weight.device)).to(weight.dtype)
        yield
    finally:
        for weight, data in before:
            weight.data = data
