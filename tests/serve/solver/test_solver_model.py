"""The solver behind the server: `bdc-solver` answers by itself, and searches where its program fails."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bdc_agents.sandbox import create_executor
from bdc_agents.serve import BDCSolver, RoutedModel
from bdc_agents.serve.http.library import LibraryModels
from bdc_agents.serve.http.solver import SolverModel
from bdc_agents.testing import ScriptedAgent

from .running import KEY, Running

RIGHT, WRONG = (f"```python\ndef double(n):\n    return {body}\n```" for body in ("2 * n", "n"))
EASY = "Write double(n). double(2) should be 4 and double(3) should be 6."
HARD = f"{EASY} This is hard."


@pytest.fixture(scope="module")
def server(scripted: Callable[..., RoutedModel]) -> Iterator[Running]:
    def respond(request: Any) -> str:
        return WRONG if "hard" in request.messages[-1]["content"] else RIGHT

    executor = create_executor()
    model = scripted(respond)
    agents = [ScriptedAgent(name, lambda _: RIGHT) for name in ("one", "two")]
    solver = BDCSolver(model, agents=agents, executor=executor)
    running = Running([LibraryModels(model, 100), SolverModel(solver)])
    yield running
    running.stop()


def asked(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "bdc-solver", "messages": [{"role": "user", "content": text}], **more}


@pytest.mark.parametrize(("text", "system"), [(EASY, 1), (HARD, 2)])
def test_it_answers_at_once_or_searches(server: Running, text: str, system: int) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        assert "bdc-solver" in [model.id for model in client.models.list()]
        whole: Any = client.chat.completions.create(**asked(text))
        pieces: list[Any] = list(client.chat.completions.create(**asked(text), stream=True))
    message = whole.choices[0].message
    assert "return 2 * n" in message.content
    assert "I understood: double, with 2 tests" in message.reasoning_content
    assert (whole.bdc["solved"], whole.bdc["system"], whole.bdc["tests"]) == (True, system, 2)
    assert pieces[-1].bdc["system"] == system
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert "return 2 * n" in streamed


def test_the_answer_as_json(server: Running) -> None:
    answer = server.post(asked(EASY, response_format={"type": "json_object"})).json()
    told = json.loads(answer["choices"][0]["message"]["content"])
    assert told == {"text": told["text"], **answer["bdc"]}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"budget": {"cals": 1}}, "budget"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "messages"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}, "response_format"),
        ({"tools": [{}], "tool_choice": "required"}, "tool_choice"),
    ],
)
def test_what_it_cannot_do_is_said(server: Running, change: dict[str, Any], param: str) -> None:
    for stream in (False, True):
        answer = server.post(asked(EASY) | change | {"stream": stream})
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param
