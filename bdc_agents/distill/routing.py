"""The settings of the router, and what it shares with serving: one convention for weights.

A weight is the factor of one rank of one expert: 1 for all ranks of one expert and 0 elsewhere is
that expert as peft runs it, with its alpha / r; 0 everywhere is the base.
"""

from typing import Any, Literal, Self

from pydantic import Field

from bdc_agents.config import WithPresets
from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.types import Frozen

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    "paper": {"scaling": "paper", "start": "random", "top_k": None, "epochs": 5, "patience": None},
}


class RouterShape(Frozen):
    """What the router is made of.

    Args:
        hidden: Width of each layer's MLP.
        granularity: One weight for every rank of every expert, or one for an expert, which is all
            that llama.cpp can serve.
        scope: Weights for each adapted layer, or the same for the whole model.
        scaling: `default` is a softmax over experts for each rank, times alpha / r; `paper` one
            softmax over all experts and ranks without alpha / r, which makes an adapter about
            1 / (experts * rank) as strong.
        temperature: Of the softmax; below 1 is sharper.
        top_k: Experts that keep a weight in a layer, at most; None for all. Up to four cost no more than
            one adapter of peft, sixteen a tenth more on a small model (benchmarks/results/mix_qwen.json).
        layers: Numbers of the decoder layers that are routed; the others are the base's. None for
            all that have adapters.
        start: Before it is trained, the router gives every expert the problem's membership in its
            cluster, or is a random network as in the paper.
        shared: Share with which the expert trained on all rows starts; 0 leaves it out, unless a
            cluster has no expert of its own.
        floor: Smallest share with which an expert starts.
    """

    hidden: int = Field(default=64, ge=1, le=4096)
    granularity: Literal["rank", "expert"] = "rank"
    scope: Literal["layer", "model"] = "layer"
    scaling: Literal["default", "paper"] = "default"
    temperature: float = Field(default=1.0, gt=0)
    top_k: int | None = Field(default=4, ge=1)
    layers: tuple[int, ...] | None = None
    start: Literal["clusters", "random"] = "clusters"
    shared: float = Field(default=0.0, ge=0, lt=1)
    floor: float = Field(default=1e-5, gt=0, le=0.2)


class RouterConfig(RouterShape, WithPresets):
    """How the router is built and trained; `RouterConfig.preset("paper")` has the published choices.

    Args:
        floor: Smallest share with which an expert starts; larger here, since clusters that are far
            apart give all others next to nothing, and a weight near 0 hardly learns.
        learning_rate: The largest, after the warm-up and before the cosine.
        warmup: Share of the steps over which the learning rate rises.
        weight_decay: Of AdamW.
        clip: Largest norm of the gradient; None for no clipping.
        balance: Factor of the load balance term, the squared coefficient of variation of the
            experts' mean weights in a batch.
        epochs: How often every row is seen; 0 keeps the router as it starts.
        max_steps: Largest number of steps; None for no limit.
        batch: Rows in a step.
        tokens_per_pass: Tokens, padding included, in one forward pass; changes no result.
        max_length: Tokens of one row.
        validation: Share of problems held out; where it and `seed` are those of the experts'
            training, they are the same problems.
        patience: Epochs without improvement after which training stops; None for never.
        gradient_checkpointing: Compute activations twice instead of keeping them.
        checkpoint_steps: Steps between checkpoints; there is one after each epoch too.
        seed: Of the split, the order of rows and the initial weights.
    """

    kind = "router"
    presets = PRESETS

    floor: float = Field(default=0.01, gt=0, le=0.2)
    learning_rate: float = Field(default=5e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float | None = Field(default=1.0, gt=0)
    balance: float = Field(default=0.0, ge=0)
    epochs: int = Field(default=5, ge=0)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=16, ge=1)
    tokens_per_pass: int = Field(default=4096, ge=16)
    max_length: int = Field(default=1024, ge=16)
    validation: float = Field(default=0.1, ge=0, lt=1)
    patience: int | None = Field(default=2, ge=1)
    gradient_checkpointing: bool = False
    checkpoint_steps: int = Field(default=50, ge=1)
    seed: int = 42

    @classmethod
    def like(cls, train: TrainConfig, **changes: Any) -> Self:
        """Settings that see rows as the experts' training did: split, lengths, passes and seed.

        Args:
            changes: Of any setting, `preset` among them.
        """
        kept = ("max_length", "validation", "seed", "tokens_per_pass", "batch", "gradient_checkpointing")
        return cls.preset(changes.pop("preset", "default"), **{k: getattr(train, k) for k in kept} | changes)

    def shape(self) -> RouterShape:
        """What the router is made of, without how it is trained."""
        return RouterShape(**{name: getattr(self, name) for name in RouterShape.model_fields})
