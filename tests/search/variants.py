"""Settings that differ in what a search does, and what two of its trees are compared by."""

from typing import Any

from bdc_agents.config import SearchConfig
from bdc_agents.types import Trace

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {"rollouts": 8},
    "paper": {"preset": "paper", "rollouts": 6},
    "leaves": {"rollouts": 12, "leaves": 3},
    "widening": {"rollouts": 8, "widening": True, "width": 1},
    "merge-bandit-judge": {"rollouts": 6, "merge": True, "bandit": 1, "judge": True},
    "plain": {"rollouts": 6, "refine": False, "prune": False, "priors": False, "feedback": False},
}


def config_of(name: str, **changes: Any) -> SearchConfig:
    fields = {"preset": "default"} | VARIANTS[name] | changes
    return SearchConfig.preset(fields.pop("preset"), **fields)


def replay(trace: Trace) -> dict[str, Any]:
    """What a golden file holds: everything but times and versions."""
    return trace.model_dump(
        mode="json",
        exclude={"created": True, "package": True, "settings": True, "problem": True, "programs": True}
        | {"calls": {"__all__": {"seconds", "prompt"}}}
        | {"solution": {"seconds", "verdict"}},
        exclude_defaults=True,
    )
