"""Requests in the shapes of editors and their agents: tools, histories with calls, parts, extra fields."""

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bdc_agents.sandbox import create_executor
from bdc_agents.serve import RoutedModel
from bdc_agents.serve.http.library import LibraryModels
from bdc_agents.serve.http.search import SearchModels
from bdc_agents.testing import ScriptedAgent

from .running import KEY, Running

STATED = "Write double(n). double(2) should be 4 and double(3) should be 6."
RIGHT = "```python\ndef double(n):\n    return 2 * n\n```"
USAGE = {"include_usage": True}


def tool(name: str, **more: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
    return {"type": "function", "function": {"name": name, "parameters": parameters, **more}}


def called(name: str, number: str = "call_1") -> dict[str, Any]:
    return {"id": number, "type": "function", "function": {"name": name, "arguments": '{"path": "main.py"}'}}


SYSTEM = {"role": "system", "content": "You are a highly skilled software engineer with many tools ..."}
USER = {"role": "user", "content": STATED}
EDITORS: dict[str, dict[str, Any]] = {
    # The task in tags, the state of the editor in a second part.
    "cline": {
        "messages": [
            SYSTEM,
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": f"<task>\n{STATED}\n</task>"},
                    {
                        "type": "text",
                        "text": "<environment_details>\n# Files\n</environment_details>",
                    },
                ],
            },
        ],
        "temperature": 0,
        "stream": True,
        "stream_options": USAGE,
    },
    # With native tools, after a call of one.
    "cline, a second turn": {
        "messages": [
            SYSTEM,
            {"role": "user", "content": [{"type": "text", "text": f"<task>\n{STATED}\n</task>"}]},
            {"role": "assistant", "content": None, "tool_calls": [called("read_file")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "def double(n): ..."},
        ],
        "temperature": 0,
        "stream": True,
        "stream_options": USAGE,
        "tools": [tool("read_file", strict=False), tool("attempt_completion", strict=False)],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    },
    "continue": {
        "messages": [
            {"role": "system", "content": "<important_rules>\nYou are in agent mode.\n</important_rules>"},
            USER,
            {"role": "assistant", "content": " ", "tool_calls": [called("read_file", "toolu_01")]},
            {"role": "tool", "tool_call_id": "toolu_01", "content": [{"type": "text", "text": "empty"}]},
        ],
        "max_tokens": 4096,
        "stream": True,
        "tools": [tool("read_file"), tool("run_terminal_command")],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "prediction": {"type": "content", "content": "def double(n):"},
    },
    "aider": {
        "messages": [
            SYSTEM,
            {"role": "user", "content": "I am not sharing any files that you can edit yet."},
            {
                "role": "assistant",
                "content": "Ok, based on your requests I will suggest files to edit.",
            },
            USER,
        ],
        "temperature": 0,
        "stream": True,
    },
    # By the AI SDK: what the model thought stands in the history, as text and as a part.
    "opencode": {
        "messages": [
            SYSTEM,
            USER,
            {
                "role": "assistant",
                "content": "",
                "reasoning_content": "I should look.",
                "tool_calls": [called("read"), called("glob", "call_2")],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "<file>\n</file>"},
            {"role": "tool", "tool_call_id": "call_2", "content": ""},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                    {"type": "text", "text": "There is nothing."},
                ],
            },
        ],
        "max_tokens": 32000,
        "temperature": 0,
        "top_p": 1,
        "tools": [tool("read", description="Reads a file"), tool("bash")],
        "tool_choice": "auto",
        "stream": True,
        "stream_options": USAGE,
    },
    # Parts and null where others leave a field out; a tool that takes a text.
    "zed": {
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "You are a coding assistant."}]},
            {"role": "user", "content": [{"type": "text", "text": STATED}]},
            {
                "role": "assistant",
                "content": [],
                "tool_calls": [
                    {"id": "c", "type": "custom", "custom": {"name": "apply_patch", "input": "*** Begin"}}
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "done"}]},
        ],
        "stream": True,
        "max_completion_tokens": 8192,
        "stop": [],
        "temperature": 1.0,
        "tool_choice": None,
        "parallel_tool_calls": None,
        "tools": [],
        "prompt_cache_key": "thread-1",
        "reasoning_effort": None,
        "stream_options": USAGE,
    },
    "copilot": {
        "messages": [{**SYSTEM, "name": "copilot"}, USER],
        "temperature": 0.1,
        "top_p": 1,
        "max_tokens": 4096.0,
        "n": 1,
        "stream": None,
        "tools": [tool("edit_file")],
        "prompt_cache_options": {"mode": "auto"},
        "logprobs": False,
        "logit_bias": {},
        "store": False,
    },
}


@pytest.fixture(scope="module")
def server(scripted: Callable[..., RoutedModel]) -> Iterator[Running]:
    executor = create_executor()
    agents = [ScriptedAgent(name, lambda _: RIGHT) for name in ("one", "two")]
    library = LibraryModels(scripted(lambda _: RIGHT), 100)
    running = Running([library, SearchModels(agents, executor, close=executor.aclose)])
    yield running
    running.stop()


@pytest.mark.parametrize("model", ["bdc", "bdc-search"])
@pytest.mark.parametrize("editor", EDITORS)
def test_the_requests_of_editors_are_answered(server: Running, editor: str, model: str) -> None:
    asked = EDITORS[editor] | {"model": model}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        given = {"extra_body": asked, "model": model, "messages": asked["messages"]}
        answer: Any = client.chat.completions.create(**given, stream=bool(asked["stream"]))
        pieces: list[Any] = list(answer) if asked["stream"] else [answer]
    texts = [getattr(one, "delta", None) or one.message for piece in pieces for one in piece.choices]
    text = "".join(one.content or "" for one in texts)
    assert "return 2 * n" in text
    assert model == "bdc" or "passes 2 of 2 tests" in text
    if asked.get("stream_options"):
        assert pieces[-1].usage.total_tokens > 0
        assert pieces[-1].choices == []
    told = next(piece.bdc for piece in pieces if getattr(piece, "bdc", None))
    if model == "bdc":
        assert ("calls no tools" in told.get("note", "")) == bool(asked.get("tools")), (
            "nothing is dropped in silence"
        )


def test_what_was_said_with_tools_is_read_as_text(server: Running) -> None:
    asked = EDITORS["opencode"]["messages"] + EDITORS["zed"]["messages"][2:] + [USER]
    assert server.post({"model": "bdc", "messages": asked}).status_code == 200
    library: Any = server.model[0]
    read = [(one["role"], one["content"]) for one in library._model.backend.requests[-1].messages[2:-1]]
    assert read == [
        (
            "assistant",
            'Calling the tool `read` with {"path": "main.py"}.\n'
            'Calling the tool `glob` with {"path": "main.py"}.',
        ),
        ("user", "The tool returned:\n<file>\n</file>"),
        ("user", "The tool returned:\n"),
        ("assistant", "There is nothing."),
        ("assistant", "Calling the tool `apply_patch` with *** Begin."),
        ("user", "The tool returned:\ndone"),
    ]


@pytest.mark.parametrize("model", ["bdc", "bdc-search"])
@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "read"}}])
def test_a_call_that_must_be_made_is_refused(server: Running, model: str, choice: Any) -> None:
    asked = {"model": model, "messages": [USER], "tools": [tool("read")], "tool_choice": choice}
    answer = server.post(asked)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "tool_choice"
    assert "does not call tools" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": "1"},
        {"stream": 1},
        {"stream": "yes"},
        {"max_tokens": True},
        {"max_tokens": 4.5},
        {"seed": "7"},
        {"tools": "read"},
        {"model": None},
        {"stream_options": {"include_usage": 1}},
        {"best_of": True},
    ],
)
def test_another_type_than_the_fields_is_refused(server: Running, wrong: dict[str, Any]) -> None:
    answer = server.post({"model": "bdc", "messages": [USER]} | wrong)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"] or "").split(".")[0] == next(iter(wrong))


def test_a_client_that_names_no_model_gets_the_first_one_and_what_it_does_without() -> None:
    agents = [ScriptedAgent(name, lambda _: RIGHT) for name in ("one", "two")]
    executor = create_executor()
    running = Running([SearchModels(agents, executor, close=executor.aclose)])
    try:
        answer = running.post({"messages": [USER], "top_k": 40})
        assert answer.status_code == 200, answer.text
    finally:
        running.stop()


@pytest.mark.parametrize("text", ["NaN", "-Infinity"])
def test_what_is_no_number_in_json_is_no_json(server: Running, text: str) -> None:
    answer = server.post(
        f'{{"messages": [{{"role": "user", "content": "hi"}}], "temperature": {text}}}'.encode()
    )
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]["message"]
