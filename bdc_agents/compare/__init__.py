"""Compares the ways to use a library's experts: loss and problems solved, speed and memory."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

if TYPE_CHECKING:
    from bdc_agents.compare.config import METHODS, CompareConfig
    from bdc_agents.compare.run import Watch, compare
    from bdc_agents.compare.summary import CompareSummary, MethodFigures

__all__ = ["METHODS", "CompareConfig", "CompareSummary", "MethodFigures", "Watch", "compare"]

_HOMES = {
    "METHODS": "bdc_agents.compare.config",
    "CompareConfig": "bdc_agents.compare.config",
    "CompareSummary": "bdc_agents.compare.summary",
    "MethodFigures": "bdc_agents.compare.summary",
    "Watch": "bdc_agents.compare.run",
    "compare": "bdc_agents.compare.run",
}

__getattr__ = lazily(__name__, _HOMES)
