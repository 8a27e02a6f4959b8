import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.config import AgentConfig, Budget, SearchConfig, Settings, StoreConfig
from bdc_agents.runs import read_traces
from bdc_agents.runs.collect.engine import local_engine
from bdc_agents.runs.collect.run import CollectConfig, Collected, acollect
from bdc_agents.testing import ScriptedEndpoint, ScriptedExecutor
from bdc_agents.types import (
    Attempt,
    CallTest,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Thought,
    Trace,
    TreeStats,
    Usage,
    Verdict,
)


def _trace(problem_id: str = "demo:one", code: str = "def f():\n    return 1\n") -> Trace:
    verdict = Verdict(results=(TestResult(outcome="passed", shown="f()", expected="1"),), tier="namespaces")
    attempt = Attempt(program="k", agent="small", author="mini", reward=1.0)
    return Trace(
        problem=Problem(
            id=problem_id, statement="Return 1.", public_tests=(CallTest(call="f()", expected=("1",)),)
        ),
        solution=Solution(
            problem_id=problem_id,
            solved=bool(code),
            code=code,
            reward=1.0,
            agent="small",
            node="0.0",
            verdict=verdict,
            stopped_by="solved",
            usage={"small": Usage(calls=2, prompt_tokens=10, completion_tokens=5, seconds=1.0)},
            tree=TreeStats(nodes=2, evaluated=1, pruned=0, refined=0, depth=1, programs=1, rollouts=1),
            tier="namespaces",
        ),
        nodes=(
            Node(children=("0.0",)),
            Node(id="0.0", parent="0", thought=Thought(text="one", agent="mini"), attempts=(attempt,)),
        ),
        programs={"k": Program(code=code, agent="small", verdict=verdict)},
    )


@pytest.fixture
def make_trace() -> Callable[..., Trace]:
    return _trace


# --- an endpoint that searches ask, here or on other machines -----------------------------------------

AGENTS = ("ann", "bob")
DEMO = CollectConfig(datasets=("demo",), limit=5)


class World:
    """An endpoint over HTTP that may be slow or silent, what was asked of it, and runs that ask it."""

    def __init__(self, folder: Path, endpoint: ScriptedEndpoint) -> None:
        self.folder = folder
        self.endpoint = endpoint
        self.delay = 0.0
        self.open = 0
        self.executor = ScriptedExecutor(lambda job: len(job.code) % 3 / 2)
        self.settings = Settings(
            agents={name: self.agent(name) for name in AGENTS},
            search=SearchConfig(rollouts=3, width=2),
            budget=Budget(calls=8),
            store=StoreConfig(path=folder / "cache"),
        )

    def agent(self, name: str, **more: Any) -> AgentConfig:
        settings = {"model": name, "base_url": self.endpoint.url, "structured": "json_schema", "retries": 0}
        return AgentConfig.model_validate(settings | more)

    def configure(self, extra: str = "") -> None:
        """Writes the same settings to `bdc.toml`, with some lines more for each agent."""
        tables = [
            f'[agents.{name}]\nmodel = "{name}"\nbase_url = "{self.endpoint.url}"\nretries = 0\n'
            f'structured = "json_schema"\n{extra}'
            for name in AGENTS
        ]
        limits = "[search]\nrollouts = 3\nwidth = 2\n[budget]\ncalls = 8\n"
        (self.folder / "bdc.toml").write_text("".join(tables) + limits)

    def respond(self, body: dict[str, Any]) -> str:
        """Thoughts, or a program that is the seed's and the agent's alone."""
        self.open += 1
        time.sleep(self.delay)
        self.open -= 1
        if "response_format" in body:
            ideas = [{"thought": f"idea {body['seed'] % 7} {n}", "reasonableness": 0.5} for n in range(2)]
            return json.dumps({"thoughts": ideas})
        return f"```python\nx = {body['seed']}\n```"

    async def collect(self, run: str = "run", config: CollectConfig = DEMO, **more: Any) -> Collected:
        changes = {key: more.pop(key) for key in list(more) if key in Settings.model_fields}
        settings = self.settings.model_copy(update=changes)
        engine = local_engine(executor=self.executor)
        return await acollect(config, self.folder / run, settings, engine=engine, **more)

    @property
    def asked(self) -> Counter[str]:
        """How often each request was made."""
        return Counter(json.dumps(body, sort_keys=True) for body in self.endpoint.requests)

    @property
    def repeated(self) -> int:
        """Requests that were made once more than needed."""
        return self.asked.total() - len(self.asked)

    def ids(self, run: str = "run") -> list[str]:
        """The problems in the trace file, in its order."""
        return [trace.problem.id for trace in read_traces(self.folder / run)]

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
