"""The old name of `bdc_agents.evaluate.library`, which compares the ways to use a library's experts."""

import warnings
from typing import Any

from bdc_agents.evaluate import library


def __getattr__(name: str) -> Any:
    found = getattr(library, name)
    if not name.startswith("_"):
        warnings.warn(
            f"bdc_agents.compare has moved: from bdc_agents.evaluate.library import {name}",
            DeprecationWarning,
            stacklevel=2,
        )
    return found
