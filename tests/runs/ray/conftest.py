import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings, StoreConfig
from bdc_agents.runs import read_traces
from bdc_agents.testing import ScriptedEndpoint

AGENTS = ("ann", "bob")


def reply(body: dict[str, Any]) -> str:
    """Thoughts, or a program that is the seed's and the agent's alone."""
    if "response_format" in body:
        ideas = [{"thought": f"idea {body['seed'] % 7} {n}", "reasonableness": 0.5} for n in range(2)]
        return json.dumps({"thoughts": ideas})
    return f"```python\nx = {body['seed']}\n```"


class World:
    """An endpoint over HTTP that may be slow, and what was asked of it."""

    def __init__(self, folder: Path, endpoint: ScriptedEndpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.delay = 0.0
        self.open = 0
        self.settings = Settings(
            agents={name: self.agent(name) for name in AGENTS},
            search=SearchConfig(rollouts=3, width=2),
            budget=Budget(calls=8),
            store=StoreConfig(path=folder / "cache"),
        )

    def agent(self, name: str, **more: Any) -> AgentConfig:
        settings = {"model": name, "base_url": self.endpoint.url, "structured": "json_schema", "retries": 0}
        return AgentConfig.model_validate(settings | more)

    def respond(self, body: dict[str, Any]) -> str:
        self.open += 1
        try:
            time.sleep(self.delay)
            return reply(body)
        finally:
            self.open -= 1

    @property
    def repeated(self) -> int:
        """Requests that were made once more than needed."""
        asked = Counter(json.dumps(body, sort_keys=True) for body in self.endpoint.requests)
        return asked.total() - len(asked)

    def ids(self, run: str = "run") -> list[str]:
        """The problems in the trace file, in its order."""
        return [trace.problem.id for trace in read_traces(self.folder / run)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made: list[World] = []
    with ScriptedEndpoint(lambda body: made[0].respond(body)) as endpoint:
        made.append(World(tmp_path, endpoint))
        yield made[0]
