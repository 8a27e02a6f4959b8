"""What a training of experts gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from bdc_agents.distill.base import BaseIdentity
from bdc_agents.distill.recipe import TrainConfig


@dataclass(frozen=True)
class Trained:
    """What a training gives: everything that goes into a library.

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
