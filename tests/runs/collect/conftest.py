import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

World = Any  # of the conftest.py above
COLLECT = ("-m", "bdc_agents.cli", "collect", "demo", "--out", "run", "--json", "--limit", "5")


@pytest.fixture
def start(world: World) -> Callable[..., subprocess.Popen[str]]:
    """Starts `bdc collect demo` in a process of its own, which asks the endpoint."""
    world.configure()

    def begin(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *COLLECT, *more],
            cwd=world.folder,
            env=os.environ | {"XDG_CACHE_HOME": str(world.folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin
