"""A small deterministic world: agents and an executor whose answers derive from what they are asked."""

import json
from collections.abc import Callable
from hashlib import sha256

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.sandbox.protocol import Job
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Problem


def digest(*parts: object) -> int:
    return int(sha256("/".join(map(str, parts)).encode()).hexdigest()[:8], 16)


def answer(name: str, request: Request) -> str:
    """Thoughts with ratings, or a program, all derived from the request's seed."""
    noise = digest(name, request.seed)
    if request.json_schema is None:
        return f"```python\ndef double(x):\n    return x + {noise % 1000}\n```"
    if "expected" in request.json_schema["properties"]:
        return json.dumps({"steps": "Add.", "expected": str(noise % 1000)})
    if "score" in request.json_schema["properties"]:
        return json.dumps({"score": noise % 11 / 10})
    width = request.json_schema["properties"]["thoughts"]["maxItems"]
    thoughts = [
        {
            "thought": f"{name} tries idea {digest(noise, n) % 97}",
            "reasonableness": digest(n, noise) % 11 / 10,
        }
        for n in range(width)
    ]
    return json.dumps({"thoughts": thoughts})


@pytest.fixture
def make_agent() -> Callable[..., ScriptedAgent]:
    """From a name, an agent that answers as above, or from a function of its own."""

    def make(name: str, respond: Callable[[Request], str] | None = None) -> ScriptedAgent:
        return ScriptedAgent(name, respond or (lambda request: answer(name, request)))

    return make


@pytest.fixture
def pair(make_agent: Callable[..., ScriptedAgent]) -> list[ScriptedAgent]:
    return [make_agent("ann"), make_agent("bob")]


@pytest.fixture
def make_executor() -> Callable[..., ScriptedExecutor]:
    """An executor that passes 0 to `most` of four tests, as the program's text decides."""

    def make(most: int = 3) -> ScriptedExecutor:
        def reward(job: Job) -> float:
            return digest(job.code) % (most + 1) / len(job.tests)

        return ScriptedExecutor(reward)

    return make


@pytest.fixture
def problem() -> Problem:
    tests = tuple(CallTest(call=f"double({n})", expected=(str(2 * n),)) for n in range(4))
    return Problem(id="double", statement="Double a number.", entry_point="double", public_tests=tests)
