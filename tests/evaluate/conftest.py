"""Small problems with hidden tests, and agents whose replies are known."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.evaluate.solvers.registry import Tools
from bdc_agents.sandbox import Executor, create_executor
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import CallTest, HiddenTests, Problem, Task

RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
WRONG = "```python\ndef double(x):\n    return x\n```"


@pytest.fixture
def right() -> str:
    return RIGHT


@pytest.fixture
def wrong() -> str:
    return WRONG


@pytest.fixture
def make_task() -> Callable[..., Task]:
    """Doubling a number: two public tests, three hidden ones."""

    def make(name: str = "double", public: int = 2, hidden: int = 3, **labels: Any) -> Task:
        def tests(numbers: range) -> tuple[CallTest, ...]:
            return tuple(CallTest(call=f"double({n})", expected=(str(2 * n),)) for n in numbers)

        problem = Problem(
            id=name,
            statement=f"Double a number ({name}).",
            entry_point="double",
            public_tests=tests(range(1, 1 + public)),
            **labels,
        )
        return Task(problem=problem, hidden=HiddenTests(tests(range(10, 10 + hidden))))

    return make


@pytest.fixture
async def executor() -> AsyncIterator[Executor]:
    """The real sandbox."""
    made = create_executor()
    yield made
    await made.aclose()


@pytest.fixture
def make_agent() -> Callable[..., ScriptedAgent]:
    """An agent that gives these replies in turn, the last one for ever; or what a function says."""

    def make(*replies: str | Callable[[Request], str], name: str = "ann", **more: Any) -> ScriptedAgent:
        left = list(replies)

        def respond(request: Request) -> str:
            reply = left.pop(0) if len(left) > 1 else left[0]
            return reply if isinstance(reply, str) else reply(request)

        return ScriptedAgent(name, respond, **more)

    return make


@pytest.fixture
def make_tools(executor: Executor) -> Callable[..., Tools]:
    """Tools over some agents, all of them the team."""

    def make(*agents: ScriptedAgent, budget: Budget | None = None, temperature: float | None = None) -> Tools:
        return Tools(
            agents={agent.name: agent for agent in agents},
            team=tuple(agent.name for agent in agents),
            executor=executor,
            search=SearchConfig(rollouts=3, width=1),
            budget=budget or Budget(),
            temperature=temperature,
        )

    return make


# --- the command -----------------------------------------------------------------------------


@pytest.fixture
def problems(workplace: Path) -> Callable[..., Path]:
    """Writes a file of problems, every second one labelled hard."""

    def write(count: int = 6, hidden: bool = True, file: str = "set.jsonl") -> Path:
        rows = [
            {
                "id": f"p{number}",
                "statement": f"Double a number, please ({number}).",
                "entry_point": "double",
                "difficulty": "hard" if number % 2 else "easy",
                "tags": ["maths"],
                "public_tests": [{"call": "double(2)", "expected": "4"}],
            }
            | (
                {"hidden_tests": [{"call": f"double({number})", "expected": str(2 * number)}]}
                if hidden
                else {}
            )
            for number in range(3, 3 + count)
        ]
        (workplace / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
        return workplace / file

    return write


@pytest.fixture
def configure(configure: Callable[..., list[dict[str, Any]]]) -> Callable[..., list[dict[str, Any]]]:
    """Starts an endpoint and names it in bdc.toml, with replies not cached."""

    def start(
        respond: Callable[[dict[str, Any]], str] = lambda _: RIGHT, extra: str = ""
    ) -> list[dict[str, Any]]:
        return configure(respond, extra=f"[store]\ncache = false\n{extra}", key="secret-key")

    return start
