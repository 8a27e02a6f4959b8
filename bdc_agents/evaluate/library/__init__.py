"""Compares the ways to use a library's experts: loss and problems solved, speed and memory."""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily

if TYPE_CHECKING:
    from bdc_agents.evaluate.library.config import METHODS, CompareConfig
    from bdc_agents.evaluate.library.run import Watch, compare
    from bdc_agents.evaluate.library.summary import CompareSummary, MethodFigures

__all__ = ["METHODS", "CompareConfig", "CompareSummary", "MethodFigures", "Watch", "compare"]

_HOMES = {
    "METHODS": "bdc_agents.evaluate.library.config",
    "CompareConfig": "bdc_agents.evaluate.library.config",
    "CompareSummary": "bdc_agents.evaluate.library.summary",
    "MethodFigures": "bdc_agents.evaluate.library.summary",
    "Watch": "bdc_agents.evaluate.library.run",
    "compare": "bdc_agents.evaluate.library.run",
}

__getattr__ = lazily(__name__, _HOMES)
