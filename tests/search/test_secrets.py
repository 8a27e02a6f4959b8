"""Neither hidden tests nor labels reach an agent, an event or a trace."""

from collections.abc import Callable
from typing import Any

import pytest

from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import HiddenTests, Problem, StdinTest, Task

from .variants import VARIANTS, config_of

MakeExecutor = Callable[..., ScriptedExecutor]


def canary_task() -> Task:
    visible = StdinTest(stdin="1", expected=("2",))
    secret = StdinTest(stdin="canary-in", expected=("canary-out",))
    problem = Problem(id="p", statement="Double a number.", public_tests=(visible,))
    return Task(problem=problem, hidden=HiddenTests([secret], reference="canary-reference"))


@pytest.mark.parametrize("name", VARIANTS)
async def test_a_canary_in_the_hidden_tests_appears_nowhere(
    name: str, pair: list[ScriptedAgent], make_executor: MakeExecutor, caplog: pytest.LogCaptureFixture
) -> None:
    task = canary_task()
    events: list[Any] = []
    states: list[Any] = []
    with caplog.at_level(0):
        trace = await asolve(
            task.problem,
            pair,
            executor=make_executor(),
            search=config_of(name),
            on_event=events.append,
            on_state=states.append,
        )
    prompts = [str(request) for agent in pair for request in agent.requests]
    seen = [*prompts, repr(events), repr(states), trace.model_dump_json(), caplog.text, repr(task), str(task)]
    seen += [task.model_dump_json(), repr(task.model_dump())]
    assert prompts
    assert not [text for text in seen if "canary" in text]


async def test_labels_never_enter_a_prompt(pair: list[ScriptedAgent], make_executor: MakeExecutor) -> None:
    labels = {"difficulty": "label-hard", "tags": ("label-dp",)}
    marked = canary_task().problem.model_copy(update=labels)
    await asolve(marked, pair, executor=make_executor(), search=config_of("default"))
    assert not [request for agent in pair for request in agent.requests if "label-" in str(request)]
