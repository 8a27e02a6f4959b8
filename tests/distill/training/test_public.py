"""The names of `bdc_agents.distill`, and what they cost to import."""

import subprocess
import sys

import pytest

import bdc_agents.distill as distill
from bdc_agents.errors import ModelError


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(distill, name) is not None for name in distill.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = distill.nonsense


def test_libraries_and_recipes_are_read_without_torch() -> None:
    code = (
        "import sys; from bdc_agents.distill import ExpertLibrary, load_recipe; load_recipe('tiny');"
        "print([m for m in ('torch', 'transformers', 'numpy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "bdc_agents.experts.devices", raising=False)
    monkeypatch.delitem(sys.modules, "bdc_agents.experts.base", raising=False)
    with pytest.raises(ModelError, match=r"torch is not installed; run: pip install 'bdc-agents\[distill\]'"):
        _ = distill.load_base
