"""Libraries of the extra `distill`, imported when they are first used."""

from importlib import import_module
from typing import Any

from bdc_agents.errors import ModelError


def need(module: str, extra: str = "distill") -> Any:
    """The module, which an extra of this package brings.

    Args:
        module: Its full name, such as `sklearn.cluster`.
        extra: The extra to install where it is absent.

    Raises:
        ModelError: If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        package = module.split(".")[0]
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise ModelError(f"{package} is not installed; run: pip install 'bdc-agents[{extra}]'") from None
