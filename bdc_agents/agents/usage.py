"""What calls took, as far as it can be: an endpoint's own counts are corrected where they cannot be right.

A budget rests on these counts. One that believed a -1 or a 10**30 would never end, or end at once.
"""

import math
from collections.abc import Mapping
from typing import Any

from bdc_agents.errors import AgentError, BDCError
from bdc_agents.types import Usage

BYTES_PER_TOKEN = 4
"""Of English and code, for an estimate where an endpoint tells nothing."""


def size(text: str) -> int:
    """The text's bytes: no tokenizer makes more tokens than there are."""
    return len(text.encode("utf-8", "replace"))


def tokens_told(told: Any, *, most: int, estimate: int) -> tuple[int, bool]:
    """A count of tokens that can be right.

    Args:
        told: What the endpoint says; None where it says nothing at all.
        most: More than there can be.
        estimate: Taken where it says nothing, nothing that is a count, or none where some were written.

    Returns:
        The count, and whether the endpoint told one that cannot be.
    """
    if told is None:
        return estimate, False
    if not isinstance(told, int) or told <= 0:
        return estimate, told != 0 or estimate > 0
    return min(told, most), told > most


def counts_of(told: Mapping[str, Any]) -> tuple[Any, Any]:
    """The counts of prompt and completion in a message's `usage_metadata`.

    Some endpoints count what a model thinks in their total alone.
    """
    prompt, completion, total = told.get("input_tokens"), told.get("output_tokens"), told.get("total_tokens")
    if isinstance(prompt, int) and isinstance(completion, int) and isinstance(total, int):
        beside = total - prompt - completion
        completion += max(0, beside) if prompt > 0 and completion > 0 else 0
    return prompt, completion


def believed(used: Usage, bound: Usage, text: str) -> Usage:
    """What a reply took as its agent says, held to what the call could take.

    Args:
        used: What the agent says.
        bound: The most that the call could take by its `Agent.bound`.
        text: The reply. One that is longer than it was allowed to be takes the tokens it has.
    """
    longest = max(bound.completion_tokens, size(text))
    completion = min(max(used.completion_tokens, 0), longest)
    # Several attempts may share their tokens otherwise, as long as the sum is that of the bound.
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
    # A reply is a call, also where an agent counts none; what is cached may have taken more once.
    calls = min(max(used.calls, 1), max(bound.calls, 1))
    return possible.model_copy(
        update={
            "calls": calls,
            "excess": max(used.excess, excess),
            "misreported": max(used.misreported, int(told_wrong)),
        }
    )


def _cost(cost: float | None, bound: Usage, excess: int) -> float | None:
    """A cost that is not below nothing, nor above that of the bound and of the tokens beyond it."""
    if cost is None:
        return None
    if not math.isfinite(cost) or cost < 0:
        return bound.cost or 0.0
    if bound.cost is None:
        return cost
    # A token of the reply costs no more than the bound would if all of it were for the reply.
    return min(cost, bound.cost * (1 + excess / max(1, bound.completion_tokens)))


def of_failed(error: BDCError) -> Usage:
    """What a call without a reply took; nothing but a failure where it could not even be made."""
    if not isinstance(error, AgentError):
        return Usage(failed=1)
    spent = error.usage or Usage(failed=1)
    return spent.model_copy(update={"calls": max(1, spent.calls)})
