"""LangChain's own suites for a tool, as they are for every tool of ours that takes a problem."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.tools import BaseTool

RIGHT = "def double(x):\n    return 2 * x"
DOUBLE = {"statement": "Write double(x), twice x.", "tests": ["double(0) == 0", "double(4) == 8"]}


class Suite:
    """To be mixed into a suite; the fixture `make` makes the tool."""

    @pytest.fixture(autouse=True)
    def made(self, make: Callable[..., BaseTool]) -> None:
        self._tool = make()

    @property
    def tool_constructor(self) -> BaseTool:
        return self._tool

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return DOUBLE
