"""Providers that other packages announce by an entry point."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bdc_agents.agents import load_agents, registry
from bdc_agents.agents.providers import chat_model, endpoint_of
from bdc_agents.config import AgentConfig, Settings
from bdc_agents.errors import BDCError

MODULE = """
from langchain_core.language_models.fake_chat_models import FakeListChatModel

def build(config):
    return FakeListChatModel(responses=[config.model])

def endpoint(config):
    return "acme/" + config.model
"""


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package with two providers, of which one is broken."""
    (tmp_path / "acme_llm.py").write_text(MODULE)
    metadata = tmp_path / "acme-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[{registry.GROUP}]\nacme = acme_llm\nbroken_one = acme_llm.absent\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._announced.cache_clear()
    yield
    registry._announced.cache_clear()


@pytest.mark.usefixtures("acme")
def test_a_package_adds_a_provider() -> None:
    config = AgentConfig(model="acme:fast")
    model = chat_model("a", config)()
    assert model.invoke("hello").content == "acme:fast"
    assert endpoint_of(config) == "acme/acme:fast"
    [agent] = load_agents(Settings(agents={"quick": config}))
    assert agent.name == "quick"


@pytest.mark.usefixtures("acme")
def test_a_broken_provider_and_a_misspelled_one_are_told() -> None:
    with pytest.raises(BDCError, match=r"'broken_one' \(acme_llm.absent\) cannot be loaded"):
        chat_model("a", AgentConfig(model="broken-one:x"))
    with pytest.raises(BDCError, match="did you mean acme"):
        chat_model("a", AgentConfig(model="acmee:x"))


def test_a_library_is_a_provider_of_this_package() -> None:
    assert "bdc" in registry.registered()
    with pytest.raises(BDCError, match="bdc:nowhere: no library at 'nowhere'"):
        chat_model("a", AgentConfig(model="bdc:nowhere"))
