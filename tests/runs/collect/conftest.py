import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings, StoreConfig
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect import CollectConfig, Collected, acollect
from bdc_agents.runs.engine import local_engine
from bdc_agents.testing import ScriptedEndpoint, ScriptedExecutor

DEMO = CollectConfig(datasets=("demo",), limit=5)


def reply(body: dict[str, Any]) -> str:
    """Thoughts, or a program that is the seed's and the agent's alone."""
    if "response_format" in body:
        ideas = [{"thought": f"idea {body['seed'] % 7} {n}", "reasonableness": 0.5} for n in range(2)]
        return json.dumps({"thoughts": ideas})
    return f"```python\nx = {body['seed']}\n```"


class World:
    """An endpoint over HTTP that may be slow or silent, and runs that ask it."""

    def __init__(self, folder: Path, endpoint: ScriptedEndpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.delay = 0.0
        self.executor = ScriptedExecutor(lambda job: len(job.code) % 3 / 2)
        agents = {
            name: AgentConfig.model_validate(
                {
                    "model": name,
                    "base_url": endpoint.url,
                    "api_key": "k",
                    "structured": "json_schema",
                    "retries": 0,
                }
            )
            for name in ("ann", "bob")
        }
        self.settings = Settings(
            agents=agents,
            search=SearchConfig(rollouts=3, width=2),
            budget=Budget(calls=8),
            store=StoreConfig(path=folder / "cache"),
        )

    def respond(self, body: dict[str, Any]) -> str:
        time.sleep(self.delay)
        return reply(body)

    async def collect(self, run: str = "run", config: CollectConfig = DEMO, **more: Any) -> Collected:
        changes = {key: more.pop(key) for key in list(more) if key in Settings.model_fields}
        settings = self.settings.model_copy(update=changes)
        engine = local_engine(executor=self.executor)
        return await acollect(config, self.folder / run, settings, engine=engine, **more)

    @property
    def asked(self) -> Counter[str]:
        """How often each request was made."""
        return Counter(json.dumps(body, sort_keys=True) for body in self.endpoint.requests)

    def traces(self, run: str = "run") -> dict[str, Any]:
        """What is in the trace file by problem, without times and what came from the cache."""
        traces = read_traces(self.folder / run)
        assert len({trace.problem.id for trace in traces}) == len(traces), "one record a problem"
        return {trace.problem.id: timeless(trace.model_dump(mode="json")) for trace in traces}


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = {"seconds", "created", "cached", "saved"}
        return {key: timeless(item) for key, item in value.items() if key not in dropped}
    return [timeless(item) for item in value] if isinstance(value, list) else value


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made: list[World] = []
    with ScriptedEndpoint(lambda body: made[0].respond(body)) as endpoint:
        made.append(World(tmp_path, endpoint))
        yield made[0]


@pytest.fixture
def start(world: World) -> Callable[..., subprocess.Popen[str]]:
    """Starts `bdc collect demo` in a process of its own, which asks the endpoint."""
    tables = [
        f'[agents.{name}]\nmodel = "{name}"\nbase_url = "{world.endpoint.url}"\napi_key = "k"\nretries = 0\n'
        'structured = "json_schema"\n'
        for name in ("ann", "bob")
    ]
    limits = "[search]\nrollouts = 3\nwidth = 2\n[budget]\ncalls = 8\n"
    (world.folder / "bdc.toml").write_text("".join(tables) + limits)
    words = [
        sys.executable,
        "-m",
        "bdc_agents.cli",
        "collect",
        "demo",
        "--out",
        "run",
        "--json",
        "--limit",
        "5",
    ]

    def begin(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*words, *more],
            cwd=world.folder,
            env=os.environ | {"XDG_CACHE_HOME": str(world.folder / "home")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin
