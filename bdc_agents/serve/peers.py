"""peft's own ways to mix experts, to compare with: X-LoRA, which is trained, and Arrow, which is not."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdc_agents.distill.batches import Item, cut_passes, epoch_batches
from bdc_agents.distill.extras import need
from bdc_agents.distill.library import ExpertLibrary
from bdc_agents.distill.routing import RouterConfig
from bdc_agents.distill.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError


@contextmanager
def arrow(model: Any, library: ExpertLibrary, experts: Sequence[str], *, top_k: int = 3) -> Iterator[Any]:
    """A model whose tokens each pick experts by the main directions of their matrices (arXiv 2405.11157)."""
    peft = need("peft")
    config = peft.ArrowConfig(top_k=min(top_k, len(experts)), router_temperature=1.0)
    folders = [str(library.adapter_folder(name)) for name in experts]
    with _restored(model), _quiet():
        adapted = need("peft.tuners.lora.arrow").create_arrow_model(model, folders, config)
        try:
            yield adapted.eval()
        finally:
            adapted.unload()


@contextmanager
def xlora(
    model: Any, library: ExpertLibrary, experts: Sequence[str], *, per_layer: bool = True
) -> Iterator[Any]:
    """A model with an untrained X-LoRA classifier, which weighs experts for each token (arXiv 2402.07148).

    Raises:
        ModelError: If peft's X-LoRA cannot read adapters of this architecture.
    """
    if not hasattr(model, "model"):
        raise ModelError(
            f"peft's X-LoRA reads models whose layers lie under `model`, not {type(model).__name__}"
        )
    peft = need("peft")
    config = peft.XLoraConfig(
        task_type="CAUSAL_LM",
        hidden_size=model.config.hidden_size,
        # It names the adapters by their number, and activates them by these names.
        adapters={str(n): str(library.adapter_folder(name)) for n, name in enumerate(experts)},
        layerwise_scalings=per_layer,
    )
    with _restored(model), _quiet():
        model.config.use_cache = False
        adapted = peft.get_peft_model(model, config)
        try:
            yield adapted.eval()
        finally:
            adapted.base_model.lora_model.unload()


def train_xlora(model: Any, encoded: Encoded, config: RouterConfig) -> float:
    """Trains X-LoRA's classifier as the router is trained, and leaves it at its best epoch.

    Args:
        model: Of `xlora`.
        config: Steps, batches, learning rate and passes.

    Returns:
        The validation loss of that epoch.
    """
    # By name: each forward pass switches gradients of the frozen experts on and off again.
    parameters = [p for name, p in model.named_parameters() if "xlora_classifier" in name]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    held, rows = list(range(len(encoded.validation))), encoded.train

    def validate() -> float:
        sums = plain_sums(model, encoded.validation, held, config.tokens_per_pass)
        return float(sums.sum()) / max(1, sum(row.learnt for row in encoded.validation))

    best, kept, steps = validate(), [p.detach().clone() for p in parameters], 0
    for epoch in range(config.epochs):
        batches = epoch_batches(range(len(rows)), "xlora", batch=config.batch, epoch=epoch, seed=config.seed)
        for members in batches[: None if config.max_steps is None else config.max_steps - steps]:
            optimizer.zero_grad()
            _learn(model, rows, members, config.tokens_per_pass)
            torch.nn.utils.clip_grad_norm_(parameters, config.clip or float("inf"))
            optimizer.step()
            steps += 1
        if (loss := validate()) < best:
            best, kept = loss, [p.detach().clone() for p in parameters]
    with torch.no_grad():
        for parameter, value in zip(parameters, kept, strict=True):
            parameter.copy_(value)
    return best


def _learn(model: Any, rows: Sequence[EncodedRow], members: Sequence[int], tokens: int) -> None:
    learnt = sum(rows[n].learnt for n in members)
    for one in _passes(rows, members, tokens):
        (_losses(model, [rows[n] for n in one]).sum() / learnt).backward()


def plain_sums(model: Any, rows: Sequence[EncodedRow], numbers: Sequence[int], tokens: int) -> Tensor:
    """The summed loss of the completion tokens of rows under any causal language model.

    Args:
        numbers: Of the rows.
        tokens: Padded tokens in one forward pass.

    Returns:
        Shape (numbers,).
    """
    sums, place = torch.zeros(len(numbers)), {number: n for n, number in enumerate(numbers)}
    with torch.no_grad():
        for one in _passes(rows, numbers, tokens):
            sums[[place[n] for n in one]] = _losses(model, [rows[n] for n in one]).cpu()
    return sums


def _passes(rows: Sequence[EncodedRow], numbers: Sequence[int], tokens: int) -> list[list[int]]:
    items = [Item(row=number, expert=0, weight=0.0) for number in numbers]
    return [[item.row for item in one] for one in cut_passes(items, rows, tokens)]


def _losses(model: Any, rows: Sequence[EncodedRow]) -> Tensor:
    """The summed loss of each row's completion, shape (rows,)."""
    width, device = max(len(row.ids) for row in rows), model.device
    ids = torch.zeros(len(rows), width, dtype=torch.long, device=device)
    mask, learnt = torch.zeros_like(ids), torch.zeros(len(rows), width, dtype=torch.bool, device=device)
    for n, row in enumerate(rows):
        ids[n, : len(row.ids)] = torch.tensor(row.ids)
        mask[n, : len(row.ids)] = 1
        learnt[n, row.start : len(row.ids)] = True
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses.view(len(rows), -1) * learnt[:, 1:]).sum(1)


@contextmanager
def _restored(model: Any) -> Iterator[None]:
    """Gives the model back as it was: peft freezes it, sets attributes, and leaves some behind."""
    trainable = {name: p.requires_grad for name, p in model.named_parameters()}
    use_cache, training, attributes = model.config.use_cache, model.training, set(vars(model))
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trainable.get(name, False))
        for name in vars(model).keys() - attributes:
            delattr(model, name)
        model.config.use_cache = use_cache
        model.train(training)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings of peft about its own calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
