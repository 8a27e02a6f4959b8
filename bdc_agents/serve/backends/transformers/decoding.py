"""Decodes several replies at once; rows join and leave the batch between two tokens.

Rows are padded on the left. Each has its own positions, seed and mixture, so its text does not depend
on the other rows, up to rounding.

Not by transformers' continuous batching (5.24): it packs all requests into one row, where a mixture for each
row has no place, samples all or none, and draws for all from one random state.
"""

import inspect
import math
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from bdc_agents.errors import BDCError
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest
from bdc_agents.serve.backends.transformers.detokenize import Detokenizer
from bdc_agents.serve.backends.transformers.guide import Guide

Mix = Callable[[Sequence[ChatRequest]], AbstractContextManager[Any]]
"""Within the context, the model applies the experts of these requests, one request a row."""


@dataclass(eq=False)
class Row:
    """A reply in the making.

    Args:
        prompt: Its tokens.
        limit: Most tokens of the reply.
        guide: What holds the reply to its schema.
        failed: Why the reply cannot go on.
    """

    request: ChatRequest
    prompt: list[int]
    limit: int
    text: Detokenizer
    guide: Guide | None = None
    last: int = -1
    count: int = 0
    logprob: float = 0.0
    ended: bool = False
    failed: BDCError | None = None
    draws: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.draws = random.Random(self.request.seed)

    @property
    def length(self) -> int:
        """Tokens that the model has read or is about to read."""
        return len(self.prompt) + self.count

    @property
    def whole(self) -> bool:
        """Whether the reply has come to its end."""
        return self.ended or self.text.stopped or (self.guide is not None and self.guide.complete)

    @property
    def done(self) -> bool:
        """Whether nothing more is written."""
        return self.whole or self.count >= self.limit or self.failed is not None

    def forbidden(self) -> Tensor | None:
        """Which tokens its schema forbids now, shape (vocabulary,); None without one."""
        try:
            return None if self.guide is None else self.guide.forbidden()
        except BDCError as error:
            self.failed = error
            return None

    def take(self, token: int, logprob: float, ends: frozenset[int]) -> str:
        """Adds a token; returns the text that can be shown."""
        self.last, self.count = token, self.count + 1
        self.logprob += logprob
        self.ended = token in ends
        if self.guide is not None:
            try:
                self.guide.take(token)
            except BDCError as error:
                self.failed = error
        shown = "" if self.ended else self.text.add(token)
        return shown + self.text.finish() if self.done else shown

    def reply(self) -> ChatReply:
        """The finished reply."""
        mean = self.logprob / self.count if self.count else 0.0
        return ChatReply(
            text=self.text.text,
            prompt_tokens=len(self.prompt),
            completion_tokens=self.count,
            finish="stop" if self.whole else "length",
            probability=min(1.0, float(torch.tensor(mean).exp())),
        )


class Batch:
    """The rows being decoded, and their keys and values in the model.

    Args:
        model: A causal language model of transformers.
        mix: See `Mix`.
        ends: Tokens that end a reply.
        vocabulary: Number of tokens that the tokenizer knows. A model may have logits for more.
    """

    def __init__(self, model: Any, mix: Mix, ends: frozenset[int], vocabulary: int) -> None:
        self._model = model
        self._cache_name = cache_argument(model)
        self._mix = mix
        self._ends = ends
        self._vocabulary = vocabulary
        self._mask = torch.zeros(0, 0, dtype=torch.long)
        self._cache: Any = None
        self.rows: list[Row] = []

    @property
    def joinable(self) -> bool:
        """Whether rows can join the batch: only plain attention keeps keys that can be padded."""
        layers = self._cache.layers if self.rows else ()
        return all(type(layer) is DynamicLayer for layer in layers)

    def join(self, rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Reads the prompts of new rows; returns the first text of each."""
        longest = max(len(row.prompt) for row in rows)
        ids = torch.zeros(len(rows), longest, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(rows):
            ids[number, longest - len(row.prompt) :] = torch.tensor(row.prompt)
            mask[number, longest - len(row.prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        logits = self._forward(rows, ids, mask, positions, cache)
        told = self._draw(rows, logits)
        if self.rows:
            cache, mask = _side_by_side((self._cache, self._mask), (cache, mask))
        self._cache, self._mask = cache, mask
        self.rows = [*self.rows, *rows]
        return told

    def step(self) -> list[tuple[Row, str]]:
        """Decodes one more token of each row; returns the text that can be shown."""
        ids = torch.tensor([[row.last] for row in self.rows])
        positions = torch.tensor([[row.length - 1] for row in self.rows])
        self._mask = torch.cat([self._mask, torch.ones_like(ids)], 1)
        logits = self._forward(self.rows, ids, self._mask, positions, self._cache)
        return self._draw(self.rows, logits)

    def leave(self, gone: Callable[[Row], bool]) -> None:
        """Removes rows, and the padding that only they needed."""
        kept = [number for number, row in enumerate(self.rows) if not gone(row)]
        if len(kept) == len(self.rows):
            return
        self.rows = [self.rows[number] for number in kept]
        if not kept:
            self.clear()
            return
        index = torch.tensor(kept)
        self._mask = self._mask[index]
        self._cache.batch_select_indices(index.to(self._model.device))
        spare = int(self._mask.any(0).long().argmax())
        if spare and self.joinable:
            self._mask = self._mask[:, spare:]
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, spare:], layer.values[:, :, spare:]

    def clear(self) -> None:
        """Forgets all rows."""
        self.rows, self._cache = [], None
        self._mask = torch.zeros(0, 0, dtype=torch.long)

    def _forward(
        self, rows: Sequence[Row], ids: Tensor, mask: Tensor, positions: Tensor, cache: Any
    ) -> Tensor:
        device = self._model.device
        with torch.inference_mode(), self._mix([row.request for row in rows]):
            out = self._model(
                input_ids=ids.to(device),
                attention_mask=mask.to(device),
                position_ids=positions.to(device),
                use_cache=True,
                logits_to_keep=1,
                **{self._cache_name: cache},
            )
        return out.logits[:, -1, : self._vocabulary].float()

    def _draw(self, rows: Sequence[Row], logits: Tensor) -> list[tuple[Row, str]]:
        tokens, logprobs = choose(logits, rows)
        return [
            (row, row.take(token, logprob, self._ends))
            for row, token, logprob in zip(rows, tokens, logprobs, strict=True)
        ]


def cache_argument(model: Any) -> str:
    """The name of `forward`'s argument for keys and values; transformers 5.24 renamed it for most models.

    Args:
        model: A model of transformers, with or without peft's adapters.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in inspect.signature(base.forward).parameters else "past_key_values"


def choose(logits: Tensor, rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """The next token of each row and its log-probability at temperature 1.

    A row draws one number from its own generator and inverts the cumulative probabilities with it. Other
    rows draw from theirs, so they do not change its tokens. What a schema forbids is not drawn; the
    probabilities stay the model's own.

    Args:
        logits: Shape (rows, vocabulary), float32.
    """
    with torch.inference_mode():
        logprobs = logits.log_softmax(-1)
        for number, row in enumerate(rows):
            if (forbidden := row.forbidden()) is not None:
                logits[number].masked_fill_(forbidden.to(logits.device), -math.inf)
        tokens = logits.argmax(-1)
        for number, row in enumerate(rows):
            if row.request.temperature > 0:
                tokens[number] = _sample(logits[number], row.request, row.draws.random())
        return tokens.tolist(), logprobs.gather(-1, tokens[:, None])[:, 0].tolist()


def _sample(logits: Tensor, request: ChatRequest, draw: float) -> Tensor:
    probabilities = (logits.double() / request.temperature).softmax(-1)
    order = None
    if request.top_p < 1:
        probabilities, order = probabilities.sort(descending=True, stable=True)
        # Keeps the token that reaches the share, and all before it.
        probabilities = probabilities * (probabilities.cumsum(-1) - probabilities < request.top_p)
    cumulated = probabilities.cumsum(-1)
    target = cumulated[-1:] * draw
    place = torch.searchsorted(cumulated, target, right=True).clamp(max=len(cumulated) - 1)[0]
    return place if order is None else order[place]


def _side_by_side(one: tuple[Any, Tensor], other: tuple[Any, Tensor]) -> tuple[Any, Tensor]:
    """Two batches as one, the shorter padded on the left."""
    (first, first_mask), (second, second_mask) = one, other
    longest = max(first_mask.shape[1], second_mask.shape[1])

    def padded(tensor: Tensor, axis: int) -> Tensor:
        shape = list(tensor.shape)
        shape[axis] = longest - shape[axis]
        return torch.cat([tensor.new_zeros(shape), tensor], axis) if shape[axis] else tensor

    with torch.inference_mode():
        for mine, theirs in zip(first.layers, second.layers, strict=True):
            mine.keys = torch.cat([padded(mine.keys, 2), padded(theirs.keys, 2)])
            mine.values = torch.cat([padded(mine.values, 2), padded(theirs.values, 2)])
    return first, torch.cat([padded(first_mask, 1), padded(second_mask, 1)])
