"""Prices: what the tokens of a call cost, in US dollars."""

from collections.abc import Mapping
from typing import Any

from bdc_agents.types import Frozen

MILLION = 1_000_000
"""Tokens for which providers state their prices."""


class Price(Frozen):
    """The price of one LLM's tokens: fixed numbers, or a row of the price table that is shipped.

    Args:
        input, output: US dollars for a million tokens; they win over the table.
        model: The model's name in the table.
        provider: The provider's name in the table or in LangChain.
        url: Root of the endpoint, if only that tells the provider.
    """

    input: float | None = None
    output: float | None = None
    model: str = ""
    provider: str | None = None
    url: str | None = None

    def cost(self, prompt: int, completion: int, *, read: int = 0, written: int = 0) -> float | None:
        """The cost of one call; None if no price is known.

        Args:
            prompt: All prompt tokens.
            completion: All completion tokens, including those of reasoning.
            read, written: Prompt tokens that the provider read from its cache or wrote to it.
        """
        if self.input is not None and self.output is not None:
            return (self.input * prompt + self.output * completion) / MILLION
        listed = self._listed(prompt, completion, read, written)
        if listed is None:
            return None
        cost_in = listed[0] if self.input is None else self.input * prompt / MILLION
        cost_out = listed[1] if self.output is None else self.output * completion / MILLION
        return cost_in + cost_out

    def bound(self, prompt: int, completion: int) -> float | None:
        """The most that these tokens can cost: writing to a provider's cache may cost extra."""
        costs = (self.cost(prompt, completion), self.cost(prompt, completion, written=prompt))
        return max((cost for cost in costs if cost is not None), default=None)

    def _listed(self, prompt: int, completion: int, read: int, written: int) -> tuple[float, float] | None:
        if not self.model or (self.provider is None and self.url is None):
            return None
        from genai_prices import Usage, calc_price

        tokens: dict[str, int] = {"input_tokens": prompt, "output_tokens": completion}
        if 0 < read + written <= prompt:
            tokens |= {"cache_read_tokens": read, "cache_write_tokens": written}
        where: dict[str, Any] = {"provider_api_url": self.url} if self.url else {"provider_id": self.provider}
        try:
            price = calc_price(Usage(**tokens), self.model, **where)
        except (LookupError, ValueError):
            return None
        # Other parts of the price, such as a fee for each request, count as input.
        return float(price.total_price - price.output_price), float(price.output_price)


def cached_tokens(usage: Mapping[str, Any]) -> dict[str, int]:
    """The prompt cache's tokens in a message's `usage_metadata`, as arguments of `Price.cost`."""
    details = usage.get("input_token_details") or {}
    told = {"read": details.get("cache_read") or 0, "written": details.get("cache_creation") or 0}
    return {name: max(0, value) for name, value in told.items()}
