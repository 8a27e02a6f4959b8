"""Pairs of steps, a better one against a worse one, and how experts learn from them."""

import json
from collections.abc import Iterable
from typing import Literal

from pydantic import Field

from bdc_agents.distill.rows import MARKERS
from bdc_agents.search import extract_traces
from bdc_agents.search.traces import Row
from bdc_agents.types import Frozen, Trace, content_hash


class PreferenceConfig(Frozen):
    """How experts learn from pairs; the table `[dpo]` of a recipe.

    Args:
        experts: The shared adapter, those of the clusters, or all; each is trained by itself.
        beta: How strongly the expert is held to its old weights; larger is stronger. 0.1 is TRL's default.
        learning_rate: The peak, of AdamW with a cosine. As a start: a twenty-fifth of the first phase's,
            because the phase is to refine; not measured.
        epochs: How often a pair is seen.
        max_steps: Most steps; None for no limit.
        batch: Pairs in a step.
        max_length: Most tokens of prompt and step together; as in `[train]`.
        min_pairs: Training pairs that an expert needs; with fewer it stays as it is. One batch; chosen, not
            measured.
    """

    experts: Literal["shared", "clusters", "all"] = "shared"
    beta: float = Field(default=0.1, gt=0)
    learning_rate: float = Field(default=2e-5, gt=0)
    epochs: int = Field(default=1, ge=1)
    max_steps: int | None = Field(default=None, ge=1)
    batch: int = Field(default=8, ge=1)
    max_length: int = Field(default=1024, ge=16)
    min_pairs: int = Field(default=8, ge=1)


def preference_pairs(traces: Iterable[Trace]) -> tuple[Row, ...]:
    """The pairs of the traces that may be trained on, each once; none with control tokens in its text."""
    kept = (trace for trace in traces if trace.decision is None or trace.decision.kept)
    rows = (row for trace in kept for row in extract_traces(trace) if row.kind == "dpo")
    return tuple({pair_key(row): row for row in rows if not _marked(row)}.values())


def pair_key(row: Row) -> str:
    """A name for a pair that depends on its text alone."""
    return content_hash(json.dumps([row.prompt, row.completion, row.rejected], sort_keys=True))


def _marked(row: Row) -> bool:
    texts = [message["content"] for message in row.prompt] + [row.completion, row.rejected or ""]
    return any(marker in text for text in texts for marker in MARKERS)
