"""Counts the usage of calls, and corrects an endpoint's counts that cannot be right.

Budgets rest on these counts. A budget that believed a -1 would never end; with a 10**30 it would end at once.
"""

import math
from collections.abc import Mapping
from typing import Any

from bdc_agents.errors import AgentError, BDCError
from bdc_agents.types import Usage

BYTES_PER_TOKEN = 4
"""Bytes of a token in English and code, for an estimate if the endpoint reports nothing."""


def size(text: str) -> int:
    """The text's bytes, which bound its tokens in any tokenizer."""
    return len(text.encode("utf-8", "replace"))


def tokens_told(told: Any, *, most: int, estimate: int) -> tuple[int, bool]:
    """A plausible count of tokens.

    Args:
        told: What the endpoint reports; None if nothing.
        most: Upper bound of a plausible count.
        estimate: Used if the endpoint reports nothing, no number, or 0 though there was text.

    Returns:
        The count, and whether the endpoint reported one that cannot be right.
    """
    if told is None:
        return estimate, False
    if not isinstance(told, int) or told <= 0:
        return estimate, told != 0 or estimate > 0
    return min(told, most), told > most


def counts_of(told: Mapping[str, Any]) -> tuple[Any, Any]:
    """The counts of prompt and completion in a message's `usage_metadata`.

    Some endpoints count a model's thoughts only in their total.
    """
    prompt, completion, total = told.get("input_tokens"), told.get("output_tokens"), told.get("total_tokens")
    if isinstance(prompt, int) and isinstance(completion, int) and isinstance(total, int):
        beside = total - prompt - completion
        completion += max(0, beside) if prompt > 0 and completion > 0 else 0
    return prompt, completion


def believed(used: Usage, bound: Usage, text: str) -> Usage:
    """A reply's usage as its agent reports it, held to what the call could take.

    Args:
        used: What the agent reports.
        bound: What `Agent.bound` returned for the call.
        text: The reply; if it is longer than allowed, it counts at its real length.
    """
    longest = max(bound.completion_tokens, size(text))
    completion = min(max(used.completion_tokens, 0), longest)
    # Attempts may divide the tokens between prompt and reply in another way, if the sum keeps the bound.
    prompt = min(max(used.prompt_tokens, 0), bound.tokens + longest - bound.completion_tokens - completion)
    excess = max(0, completion - bound.completion_tokens)
    possible = used.model_copy(
        update={
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "cost": _cost(used.cost, bound, excess),
            "failed": max(used.failed, 0),
            "cached": max(used.cached, 0),
            "seconds": max(used.seconds, 0.0),
        }
    )
    told_wrong = possible != used
    # A reply is at least one call, even if its agent counts none.
    calls = min(max(used.calls, 1), max(bound.calls, 1))
    return possible.model_copy(
        update={
            "calls": calls,
            "excess": max(used.excess, excess),
            "misreported": max(used.misreported, int(told_wrong)),
        }
    )


def _cost(cost: float | None, bound: Usage, excess: int) -> float | None:
    """The cost, held between 0 and the cost of the bound and the tokens beyond it."""
    if cost is None:
        return None
    if not math.isfinite(cost) or cost < 0:
        return bound.cost or 0.0
    if bound.cost is None:
        return cost
    # A token of the reply costs at most the bound's cost divided by the bound's reply tokens.
    return min(cost, bound.cost * (1 + excess / max(1, bound.completion_tokens)))


def of_failed(error: BDCError) -> Usage:
    """The usage of a call without a reply; if it was never made, only a failure."""
    if not isinstance(error, AgentError):
        return Usage(failed=1)
    spent = error.usage or Usage(failed=1)
    return spent.model_copy(update={"calls": max(1, spent.calls)})
