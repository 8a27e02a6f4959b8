"""peft's own ways to mix experts, to compare with: X-LoRA, which is trained, and Arrow, which is not."""

import asyncio
import json
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from bdc_agents.distill.training.batches import Item, cut_passes, epoch_batches
from bdc_agents.distill.training.checkpoint import read_checkpoint, write_checkpoint
from bdc_agents.distill.training.router import RouterConfig
from bdc_agents.distill.training.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import restored
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.extras import need
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest, PromptTooLong
from bdc_agents.serve.backends.transformers.decoding import cache_argument
from bdc_agents.types import content_hash


@contextmanager
def arrow(model: Any, library: ExpertLibrary, experts: Sequence[str], *, top_k: int = 3) -> Iterator[Any]:
    """A model whose tokens each pick experts by the main directions of their matrices (arXiv 2405.11157)."""
    peft = need("peft")
    config = peft.ArrowConfig(top_k=min(top_k, len(experts)), router_temperature=1.0)
    folders = [str(library.require_folder(f"experts/{name}")) for name in experts]
    with restored(model), _quiet():
        adapted = need("peft.tuners.lora.arrow").create_arrow_model(model, folders, config)
        try:
            yield adapted.eval()
        finally:
            adapted.unload()


@contextmanager
def xlora(
    model: Any, library: ExpertLibrary, experts: Sequence[str], *, per_layer: bool = True, seed: int = 42
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
        adapters={str(n): str(library.require_folder(f"experts/{name}")) for n, name in enumerate(experts)},
        layerwise_scalings=per_layer,
    )
    with restored(model), _quiet():
        model.config.use_cache = False
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)  # The classifier starts at random.
            adapted = peft.get_peft_model(model, config)
        try:
            yield adapted.eval()
        finally:
            adapted.base_model.lora_model.unload()


def classifier(model: Any) -> dict[str, Any]:
    """The parameters of X-LoRA's classifier by name, the only ones that are trained.

    By name: each forward pass switches gradients of the frozen experts on and off again.
    """
    return {name: p for name, p in model.named_parameters() if "xlora_classifier" in name}


def train_xlora(model: Any, encoded: Encoded, config: RouterConfig, work: Path | None = None) -> float:
    """Trains X-LoRA's classifier as the router is trained, and leaves it at its best epoch.

    Args:
        model: Of `xlora`.
        encoded: The rows to train on, and those that choose the best epoch.
        config: Steps, batches, learning rate and passes.
        work: A folder for a checkpoint after each epoch; None for none. A training of the same
            inputs goes on from there, and one that is done is read.

    Returns:
        The validation loss of that epoch.
    """
    parameters = list(classifier(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    held, rows = list(range(len(encoded.validation))), encoded.train

    def validate() -> float:
        sums = plain_sums(model, encoded.validation, held, config.tokens_per_pass)
        return float(sums.sum()) / max(1, sum(row.target_tokens for row in encoded.validation))

    def copies() -> list[Tensor]:
        return [p.detach().clone() for p in parameters]

    fingerprint = _fingerprint(model, encoded, config)
    state = read_checkpoint(work, fingerprint) if work else None
    if state is None:
        state = {"epoch": 0, "steps": 0, "best": validate(), "kept": copies()}
    else:
        _put(parameters, state["now"])
        optimizer.load_state_dict(state["optimizer"])
    for epoch in range(state["epoch"], config.epochs):
        batches = epoch_batches(range(len(rows)), "xlora", batch=config.batch, epoch=epoch, seed=config.seed)
        for members in batches[: None if config.max_steps is None else config.max_steps - state["steps"]]:
            optimizer.zero_grad()
            _learn(model, rows, members, config.tokens_per_pass)
            torch.nn.utils.clip_grad_norm_(parameters, config.clip or float("inf"))
            optimizer.step()
            state["steps"] += 1
        state["epoch"] = epoch + 1
        if (loss := validate()) < state["best"]:
            state |= {"best": loss, "kept": copies()}
        if work:
            work.mkdir(parents=True, exist_ok=True)
            trained = {"now": copies(), "optimizer": optimizer.state_dict()}
            write_checkpoint(work, fingerprint, state | trained)
    _put(parameters, state["kept"])
    return state["best"]


def _put(parameters: Sequence[Any], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _fingerprint(model: Any, encoded: Encoded, config: RouterConfig) -> str:
    """A hash of what the training's result depends on: rows, settings, experts and the base's size."""
    experts = [float(p.double().sum()) for name, p in model.named_parameters() if ".lora_" in name]
    rows = [(row.key, row.ids) for row in (*encoded.train, *encoded.validation)]
    parts = [config.model_dump(mode="json", exclude={"tokens_per_pass"}), rows, len(encoded.train), experts]
    return content_hash(json.dumps(parts))


def _learn(model: Any, rows: Sequence[EncodedRow], members: Sequence[int], tokens: int) -> None:
    learnt = sum(rows[n].target_tokens for n in members)
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


class TwoPasses(DynamicCache):
    """Keys and values of the two passes that X-LoRA makes over each token, which take turns.

    The first is the base's, which the classifier reads, the second is the mixture's.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self._other = DynamicCache(config=config).layers

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> Any:
        """The keys and values of the pass so far; after its last layer, it is the other's turn."""
        found = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx + 1 == len(self.layers):
            self.layers, self._other = self._other, self.layers
        return found


class XLoraBackend:
    """Greedy replies of peft's X-LoRA.

    peft itself passes over everything before a token again; here keys and values are kept, so that
    its replies are the same and come in a fraction of the time.

    Args:
        model: Of `xlora`.
        tokenizer: With a chat template.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._cache_name = cache_argument(model)
        self._context = model.config.get_text_config().max_position_embeddings
        named = getattr(model.generation_config, "eos_token_id", None)
        ends = [*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id]
        self._ends = torch.tensor([end for end in ends if end is not None], device=model.device)
        self._lock = asyncio.Lock()

    async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """The replies to some requests, as one batch; experts and sampling of the requests do not count.

        Raises:
            PromptTooLong: If a prompt leaves no room for a reply.
        """
        prompts = [self._prompt(request) for request in requests]
        for prompt in prompts:
            if len(prompt) >= self._context:
                raise PromptTooLong(len(prompt), self._context)
        async with self._lock:
            return await asyncio.to_thread(self._write, prompts, [one.max_tokens for one in requests])

    def _prompt(self, request: ChatRequest) -> list[int]:
        messages = [dict(message) for message in request.messages]
        text = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.no_grad()
    def _write(self, prompts: Sequence[Sequence[int]], most: Sequence[int]) -> list[ChatReply]:
        device, width = self._model.device, max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(one)) + list(one) for one in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
        rooms = [self._context - len(one) for one in prompts]
        limits = torch.tensor([*map(min, most, rooms)], device=device)
        ended = torch.zeros(len(prompts), dtype=torch.bool, device=device)
        cache, fresh, written = TwoPasses(self._model.config), ids, list[Tensor]()
        while not bool(ended.all()):
            out = self._model(
                input_ids=fresh,
                attention_mask=mask,
                position_ids=(mask.cumsum(1) - 1).clamp(min=0)[:, -fresh.shape[1] :],
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_name: cache},
            )
            fresh = out.logits[:, -1:, : len(self._tokenizer)].float().argmax(-1)
            written.append(fresh)
            mask = functional.pad(mask, (0, 1), value=1)
            ended |= torch.isin(fresh[:, 0], self._ends) | (len(written) >= limits)
        replies = torch.cat(written, 1).tolist()
        return [self._reply(*one) for one in zip(prompts, replies, limits.tolist(), strict=True)]

    def _reply(self, prompt: Sequence[int], tokens: Sequence[int], limit: int) -> ChatReply:
        ends = set(self._ends.tolist())
        count = next((n + 1 for n, token in enumerate(tokens[:limit]) if token in ends), None)
        kept = tokens[:limit] if count is None else tokens[: count - 1]
        return ChatReply(
            text=self._tokenizer.decode(kept, skip_special_tokens=True),
            prompt_tokens=len(prompt),
            completion_tokens=limit if count is None else count,
            finish="length" if count is None else "stop",
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without peft's warnings about its own calls, and without progress bars of transformers."""
    bars = need("transformers").utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            bars.enable_progress_bar()
