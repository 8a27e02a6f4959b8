"""Which layers of a model LoRA adapts, as peft itself decides it."""

import warnings
from collections import Counter
from typing import Any

import torch
from torch import nn

from bdc_agents.distill.recipe import AdapterConfig
from bdc_agents.errors import ModelError
from bdc_agents.extras import need


def match_targets(model: Any, config: AdapterConfig) -> tuple[list[str], dict[str, Any]]:
    """The layers that peft would adapt, found on a copy of the model that has no weights.

    Args:
        model: A causal language model of transformers.

    Returns:
        The layers' names, in the model's order, and peft's `adapter_config.json` for them.

    Raises:
        ModelError: If no layer matches, one of them is not linear, or peft does not know what to
            adapt in this architecture.
    """
    peft = need("peft")
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    asked = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        use_rslora=config.rslora,
        target_modules=None if targets == "default" else targets,
        layers_to_transform=list(config.layers) if config.layers is not None else None,
    )
    with warnings.catch_warnings():  # Of a copy that nobody sees.
        warnings.simplefilter("ignore")
        with torch.device("meta"):
            copy = type(model)(model.config)
        try:
            adapted = peft.get_peft_model(copy, asked)
        except ValueError as error:
            raise ModelError(_explain(model, config, str(error))) from None
    matched = set(adapted.base_model.targeted_module_names)
    names = [name for name, _ in model.named_modules() if name in matched]
    for name in names:
        linear_size(name, model.get_submodule(name))
    return names, _plain(adapted.peft_config["default"].to_dict())


def linear_size(name: str, module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear layer, also of a quantised one or a `Conv1D`.

    Raises:
        ModelError: If it is another kind of layer.
    """
    if hasattr(module, "nx") and hasattr(module, "nf"):
        return int(module.nx), int(module.nf)  # pyright: ignore[reportArgumentType]
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return int(module.in_features), int(module.out_features)  # pyright: ignore[reportArgumentType]
    raise ModelError(
        f"target {name!r} is a {type(module).__name__}; only linear layers can have experts: "
        "leave it out of `targets`"
    )


def linear_names(model: nn.Module) -> dict[str, int]:
    """The last parts of the names of a model's linear layers, and how many layers have each."""
    found: Counter[str] = Counter()
    for name, module in model.named_modules():
        if hasattr(module, "in_features") or hasattr(module, "nf"):
            found[name.rsplit(".", 1)[-1]] += 1
    return dict(found)


def _explain(model: Any, config: AdapterConfig, reason: str) -> str:
    known = linear_names(model)
    choices = ", ".join(f"{name} ({count})" for name, count in sorted(known.items()))
    kind = getattr(model.config, "model_type", type(model).__name__)
    if not known:
        return f"a model of type {kind!r} has no linear layer that peft can adapt; choose another base"
    if config.targets == "default":
        return (
            f"peft has no default targets for a model of type {kind!r}; set `targets` to 'all-linear' or "
            f"to some of its linear layers: {choices}"
        )
    layers = "" if config.layers is None else f" in the layers {list(config.layers)}"
    depth = getattr(model.config, "num_hidden_layers", None)
    numbers = f"; layers are numbered 0 to {depth - 1}" if depth and config.layers is not None else ""
    return (
        f"targets {config.targets!r}{layers} match no linear layer of this model ({kind}); its linear "
        f"layers are: {choices}{numbers} (peft: {reason.splitlines()[0]:.120})"
    )


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """As JSON would have it: sets become sorted lists, enums their values."""
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    return {key: getattr(value, "value", value) for key, value in plain.items()} | {"inference_mode": True}
