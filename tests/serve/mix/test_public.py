"""The names of `bdc_agents.serve`."""

import subprocess
import sys

import pytest

import bdc_agents.serve as serve


def test_every_public_name_is_what_it_says_and_no_module() -> None:
    code = (
        "import types; from bdc_agents.serve import __all__; import bdc_agents.serve as serve\n"
        "for name in __all__ * 2: assert not isinstance(getattr(serve, name), types.ModuleType), name"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = serve.nonsense
