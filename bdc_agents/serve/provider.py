"""The provider `bdc:FOLDER`, which makes a library of experts the LLM of an agent."""

from pathlib import Path

from langchain_core.language_models import BaseChatModel

from bdc_agents.agents.providers import check_local, name_of
from bdc_agents.config import AgentConfig
from bdc_agents.errors import ModelError
from bdc_agents.types import content_hash


def build(config: AgentConfig) -> BaseChatModel:
    """The chat model of a library; the first request opens it.

    Raises:
        ConfigError: If a setting is given that only endpoints have.
        ModelError: If there is no library.
    """
    from bdc_agents.serve.chat_model import ChatBDC  # Here, because it loads PyTorch.

    check_local(config)
    return ChatBDC(library=str(_library(config).parent), **config.options)


def endpoint(config: AgentConfig) -> str:
    """A mark of what the folder holds now, because another library there gives other replies.

    Raises:
        ModelError: If there is no library.
    """
    return f"bdc@{content_hash(_library(config).read_text(encoding='utf-8'))}"


def _library(config: AgentConfig) -> Path:
    """The library's manifest."""
    file = Path(name_of(config), "library.json")
    if not file.is_file():
        raise ModelError(f"{config.model}: no library at {str(file.parent)!r}; bdc distill makes one")
    return file
