"""Estimates the memory of a training from one short row, before it starts."""

from typing import Any

import torch
from torch import Tensor

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.batches import Item
from bdc_agents.distill.training.loss import CHUNK_ELEMENTS, CHUNK_TOKENS, RowLoss, output_layer
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.extras import need
from bdc_agents.types import Frozen

PROBE_TOKENS = 32
"""Tokens of the row that is measured: fast on any device. Memory grows with tokens, so the rest follows."""
_COPIES = 6
"""Copies of the adapters: weights, gradients, two moments, the best weights, one checkpoint."""
_SPARE = 1.1
"""Margin for allocators and the largest temporary. Chosen, not measured."""


class MemoryEstimate(Frozen):
    """Bytes that training takes on top of the base that is loaded.

    Args:
        adapters: Weights, gradients and optimisers of all experts.
        activations: Kept for the backward pass of one forward pass.
        logits: Of one chunk of the output layer.
        available: Free on the device.
    """

    adapters: int
    activations: int
    logits: int
    available: int

    @property
    def needed(self) -> int:
        """All of it."""
        return int(_SPARE * (self.adapters + self.activations + self.logits))


def estimate_memory(loss: RowLoss, config: TrainConfig, longest: int, tokens: int) -> MemoryEstimate:
    """What training will take at most, from what a short row keeps for its backward pass.

    Args:
        loss: Over the attached adapters.
        longest: Tokens of the longest row.
        tokens: Padded tokens of all rows of the largest step: a pass never holds more.
    """
    probe = min(PROBE_TOKENS, longest)
    row = EncodedRow(key="", problem_id="", ids=(0,) * probe, start=1)
    kept = _kept_bytes(RowLoss(loss.adapters, [row]))
    widest = max(min(config.tokens_per_pass, tokens), longest)
    vocabulary = len(output_layer(loss.adapters.model).weight)  # pyright: ignore[reportArgumentType]
    return MemoryEstimate(
        adapters=_COPIES * loss.adapters.weights.nbytes,
        activations=kept * widest // probe,
        # Logits and their gradient, in float32, of as many tokens as `ChunkedLoss` takes at once.
        logits=2 * 4 * max(CHUNK_ELEMENTS, CHUNK_TOKENS * vocabulary),
        available=available_memory(loss.adapters.weights.device),
    )


def check_memory(estimate: MemoryEstimate, config: TrainConfig) -> None:
    """Refuses a training that would not fit.

    Raises:
        ModelError: With the numbers, and what to lower.
    """
    if estimate.needed <= estimate.available:
        return
    parts = {"activations": estimate.activations, "adapters and optimisers": estimate.adapters}
    listed = ", ".join(f"{name} {value / 1e9:.1f} GB" for name, value in parts.items())
    advice = [f"lower tokens_per_pass (now {config.tokens_per_pass}) or max_length ({config.max_length})"]
    if not config.gradient_checkpointing:
        advice.append("set gradient_checkpointing = true")
    if estimate.adapters > estimate.activations:
        advice.insert(0, f"lower rank (now {config.rank}) or adapt fewer `targets`")
    raise ModelError(
        f"training needs about {estimate.needed / 1e9:.1f} GB besides the base, and "
        f"{estimate.available / 1e9:.1f} GB are free ({listed}); {'; or '.join(advice)}; or take a "
        "smaller base"
    )


def available_memory(device: torch.device) -> int:
    """Bytes free on the device; on a CPU those that the machine can give without swapping."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(need("psutil").virtual_memory().available)


def _kept_bytes(loss: RowLoss) -> int:
    """Bytes that the forward pass of its one row keeps, weights aside."""
    own = {p.untyped_storage().data_ptr() for p in loss.adapters.model.parameters()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    def unpack(tensor: Tensor) -> Any:
        return tensor

    item = Item(row=0, expert=0, weight=0.0)
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        loss([item], learn=True)
    return sum(seen.values())
