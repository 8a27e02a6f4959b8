"""LangChain's own test suites for chat models, with a tiny real model behind ChatBDC."""

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("langchain_tests")

from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from bdc_agents.serve import ChatBDC, RoutedModel

_OPENED: dict[str, Any] = {}


@pytest.fixture(autouse=True)
def opened(tiny: RoutedModel) -> None:
    """The library that the suites' parameters name, which they read before any test runs."""
    _OPENED["routed"] = tiny


class _Suite:
    """What ChatBDC can: everything with text. The suites skip the rest."""

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatBDC

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**_OPENED, "model": "bdc"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {"temperature": 0, "max_tokens": 24, "timeout": 60, "stop": [], "max_retries": 2}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "cluster-1"


class TestUnit(_Suite, ChatModelUnitTests):
    pass


class TestIntegration(_Suite, ChatModelIntegrationTests):
    @property
    def has_structured_output(self) -> bool:
        # A random model writes no JSON; below is one that does.
        return False


class TestIntegrationWithJson(_Suite, ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def writes_json(self, opened: None, scripted: Callable[..., RoutedModel]) -> None:
        _OPENED["routed"] = scripted(lambda _: '{"setup": "Why?", "punchline": "Because."}')

    @property
    def supports_json_mode(self) -> bool:
        return True
