"""Compares the ways to use a library's experts: loss and problems solved, speed and memory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bdc_agents.extras import missing

if TYPE_CHECKING:
    from bdc_agents.compare.config import METHODS, CompareConfig
    from bdc_agents.compare.run import Watch, compare
    from bdc_agents.compare.summary import CompareSummary, MethodFigures

__all__ = ["METHODS", "CompareConfig", "CompareSummary", "MethodFigures", "Watch", "compare"]

_LAZY = {
    "METHODS": "config",
    "CompareConfig": "config",
    "CompareSummary": "summary",
    "MethodFigures": "summary",
    "Watch": "run",
    "compare": "run",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'bdc_agents.compare' has no attribute {name!r}")
    try:
        return getattr(import_module(f"bdc_agents.compare.{_LAZY[name]}"), name)
    except ModuleNotFoundError as error:
        raise missing(error) or error from None
