import os
from collections.abc import Callable
from typing import Any

import pytest

from ...warm import Started, Warm

World = Any  # of the conftest.py above
COLLECT = ("-m", "bdc_agents.cli", "collect", "demo", "--out", "run", "--json", "--limit", "5")


@pytest.fixture
def start(world: World, python: Warm) -> Callable[..., Started]:
    """Starts `bdc collect demo` in a process of its own, which asks the endpoint."""
    world.configure()

    def begin(*more: str) -> Started:
        environment = os.environ | {"XDG_CACHE_HOME": str(world.folder / "home")}
        return python.start([*COLLECT, *more], world.folder, environment)

    return begin
