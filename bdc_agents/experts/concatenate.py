"""A mixture as one plain LoRA adapter, for servers that know nothing of mixtures, such as vLLM.

    A = concat(w_i s A_i),  B = concat(B_i),  alpha = r:  B A = sum_i s B_i diag(w_i) A_i

Weights are rounded to a grid first, so that mixtures that hardly differ are one adapter, whose name
is a hash of what it holds; ranks whose weight rounds to zero are left out.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import ADAPTER, ADAPTER_CONFIG
from bdc_agents.experts.tensors import adapted_layers, peft_name
from bdc_agents.extras import need

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM accepts as `--max-lora-rank`. An adapter of a rank in between is padded with zeros."""
GRID = 64
"""Steps between weight 0 and 1. Coarser steps let more problems share an adapter; a weight is off by at most
1/128. Chosen, not measured."""


@dataclass(frozen=True)
class Concatenated:
    """A plain LoRA adapter that computes one mixture.

    Args:
        name: `mix-` and a hash of the experts and their weights.
        tensors: Under peft's names.
        config: Its `adapter_config.json`.
    """

    name: str
    tensors: dict[str, Tensor]
    config: dict[str, Any]

    def save(self, folder: Path | str) -> Path:
        """Writes the adapter to a folder of its name, which appears whole or not at all.

        Args:
            folder: That of all adapters.

        Returns:
            What `PeftModel.from_pretrained` and a server's load request take.
        """
        target = Path(folder) / self.name
        if _is_whole(target):
            return target
        shutil.rmtree(target, ignore_errors=True)  # What is left of one that somebody took away.
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{self.name}."))
        try:
            need("safetensors.torch").save_file(self.tensors, temporary / ADAPTER, metadata={"format": "pt"})
            (temporary / ADAPTER_CONFIG).write_text(json.dumps(self.config, indent=2, sort_keys=True) + "\n")
            temporary.chmod(0o755)
            temporary.rename(target)
        except OSError:
            if not _is_whole(target):  # Another process may have been quicker with the same adapter.
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return target


def _is_whole(adapter: Path) -> bool:
    return all((adapter / name).is_file() for name in (ADAPTER, ADAPTER_CONFIG))


def quantize(weights: Mapping[str, Tensor], grid: int = GRID) -> dict[str, Tensor]:
    """Weights rounded to multiples of 1 / grid; what every backend that has to agree computes with."""
    return {name: (own * grid).round() / grid + 0.0 for name, own in weights.items()}  # No -0.


@dataclass(frozen=True, eq=False)
class MixPlan:
    """Which adapter a mixture is, before it is built.

    Args:
        name: See `Concatenated`.
        rank: Of the adapter, padding included.
        weights: By layer, shape (experts, rank), rounded.
    """

    name: str
    rank: int
    weights: Mapping[str, Tensor]


class Concatenator:
    """Makes plain adapters of a library's mixtures; the experts' weights are read once.

    Args:
        experts: Names of those that weights are given for, in order; None for all.

    Raises:
        ModelError: If an expert is missing or damaged, or is not plain LoRA.
    """

    def __init__(self, library: ExpertLibrary, experts: Sequence[str] | None = None) -> None:
        self.experts = library.names if experts is None else tuple(experts)
        shape = library.shape
        self.rank, self._scale = shape.rank, shape.scale
        self._config = _plain_config(library, self.experts[0])
        self._mark = [library.manifest.adapters, library.hashes(self.experts)]
        states = [library.weights(name) for name in self.experts]
        self.layers = adapted_layers(states[0])
        self._a = {layer: torch.cat([own[peft_name(layer, "A")] for own in states]) for layer in self.layers}
        self._b = {
            layer: torch.cat([own[peft_name(layer, "B")] for own in states], 1) for layer in self.layers
        }

    def choose(
        self, weights: Mapping[str, Tensor], *, grid: int | None = GRID, max_rank: int = RANKS[-1]
    ) -> MixPlan:
        """Which adapter these weights are; see `concatenate`."""
        found = _one_problem(weights, self.layers, (len(self.experts), self.rank))
        found = quantize(found, grid) if grid else found
        rank = _padded(max(int(own.count_nonzero()) for own in found.values()), max_rank)
        content = sha256(json.dumps([*self._mark, rank]).encode())
        for layer in self.layers:
            content.update(layer.encode() + b"\0" + found[layer].contiguous().numpy().tobytes())
        return MixPlan(f"mix-{content.hexdigest()[:16]}", rank, found)

    def build(self, mix: MixPlan) -> Concatenated:
        """The adapter."""
        tensors = {}
        for layer in self.layers:
            weights = mix.weights[layer].flatten()
            own = weights.nonzero()[:, 0]
            a, b = self._a[layer][own], self._b[layer][:, own]
            a = a * (weights[own] * self._scale).to(a.dtype)[:, None]
            pad = mix.rank - len(own)
            tensors[peft_name(layer, "A")] = torch.cat([a, a.new_zeros(pad, a.shape[1])])
            tensors[peft_name(layer, "B")] = torch.cat([b, b.new_zeros(len(b), pad)], 1).contiguous()
        return Concatenated(mix.name, tensors, self._config | {"r": mix.rank, "lora_alpha": mix.rank})


def concatenate(
    library: ExpertLibrary,
    weights: Mapping[str, Tensor],
    experts: Sequence[str] | None = None,
    *,
    grid: int | None = GRID,
    max_rank: int = RANKS[-1],
) -> Concatenated:
    """The plain LoRA adapter of one problem's mixture.

    Args:
        weights: By layer name, shape (experts, rank) or (1, experts, rank), as `Router.weights` gives
            them for one problem.
        experts: Names of those that the weights are for, such as `Router.experts`; None for all.
        grid: Steps to which weights are rounded; None to leave them as they are.
        max_rank: The server's largest rank (`--max-lora-rank` of vLLM).

    Raises:
        UsageError: If the weights are of several problems or of other layers, or the ranks in use are
            more than `max_rank`.
        ModelError: If an expert is missing or damaged.
    """
    made = Concatenator(library, experts)
    return made.build(made.choose(weights, grid=grid, max_rank=max_rank))


def _one_problem(
    weights: Mapping[str, Tensor], layers: Sequence[str], shape: tuple[int, int]
) -> dict[str, Tensor]:
    if missing := [layer for layer in layers if layer not in weights]:
        raise UsageError(f"no weights for the layer {missing[0]!r}: the router is of another library")
    found = {}
    for layer in layers:
        own = weights[layer].detach().float().cpu()
        own = own[0] if own.dim() == 3 and len(own) == 1 else own
        if own.dim() != 2 or own.shape[0] != shape[0] or own.shape[1] not in (1, shape[1]):
            raise UsageError(
                f"weights of shape {tuple(weights[layer].shape)} for one adapter; expected {shape} or (1, "
                f"{shape[0]}, {shape[1]}): experts and rank of one problem"
            )
        found[layer] = own.expand(shape)
    return found


def _padded(rank: int, limit: int) -> int:
    """The next rank that servers have."""
    fitting = [known for known in RANKS if known >= rank]
    if not fitting or fitting[0] > limit:
        wanted = f"start the server with --max-lora-rank {fitting[0]}, " if fitting else ""
        raise UsageError(
            f"the mixture needs rank {fitting[0] if fitting else rank}, and at most {limit} is allowed; "
            f"{wanted}mix fewer experts (`top_k` of the router), or round weights more coarsely (`grid`)"
        )
    return fitting[0]


def _plain_config(library: ExpertLibrary, name: str) -> dict[str, Any]:
    """That of an expert, without scaling of its own."""
    own = library.facts(f"experts/{name}/{ADAPTER_CONFIG}")
    for key, plain in (("use_dora", False), ("bias", "none")):
        if own.get(key, plain) != plain:
            raise ModelError(f"expert {name!r} has {key} = {own[key]!r}; only plain LoRA can be concatenated")
    return own | {"use_rslora": False, "lora_dropout": 0.0}
