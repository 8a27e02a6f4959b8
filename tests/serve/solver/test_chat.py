"""ChatBDC beyond what every chat model does."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core.exceptions import ContextOverflowError, OutputParserException
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from bdc_agents import Settings, load_agents
from bdc_agents.agents import Request
from bdc_agents.config import AgentConfig, StoreConfig
from bdc_agents.errors import AgentError, ModelError, UsageError
from bdc_agents.serve import ChatBDC, ChatRequest, RoutedModel
from bdc_agents.serve.backends.protocol import PromptTooLong

Make = Callable[..., RoutedModel]


class City(BaseModel):
    """A city."""

    name: str
    people: int


def test_the_reply_says_who_answered(scripted: Make) -> None:
    model = scripted(lambda _: "four")
    chat = ChatBDC(routed=model, stop=["END"], seed=3)
    message = chat.invoke(
        [SystemMessage("Be brief."), HumanMessage("2 + 2?"), AIMessage("?"), HumanMessage("!")]
    )
    assert message.content == "four"
    told = message.response_metadata
    assert told["experts"] == {"cluster-0": 0.09, "cluster-1": 0.91}
    assert told["model_name"] == "scripted/bdc"
    (request,) = model.backend.requests  # pyright: ignore[reportAttributeAccessIssue]
    assert [m["role"] for m in request.messages] == ["system", "user", "assistant", "user"]
    assert (request.seed, request.stop, request.temperature) == (3, ("END",), 0.0)


def test_one_expert_and_the_base_can_be_asked(scripted: Make) -> None:
    def respond(request: ChatRequest) -> str:
        return str(request.experts)

    assert ChatBDC(routed=scripted(respond), model="base").invoke("hi").content == "None"
    assert ChatBDC(routed=scripted(respond)).invoke("hi", model="cluster-1").content == "cluster-1"
    with pytest.raises(ModelError, match="unknown model 'cluster-9'; did you mean"):
        ChatBDC(routed=scripted(respond), model="cluster-9").invoke("hi")


@pytest.mark.parametrize("include_raw", [False, True])
def test_structured_output_where_the_base_can(scripted: Make, include_raw: bool) -> None:
    model = scripted(lambda _: 'Sure: ```json\n{"name": "Ghent", "people": 265000}\n```')
    chat = ChatBDC(routed=model).with_structured_output(City, include_raw=include_raw)
    found = chat.invoke("Name a city.")
    assert (found["parsed"] if include_raw else found) == City(name="Ghent", people=265000)
    prompt = model.backend.requests[0].messages[-1]["content"]  # pyright: ignore[reportAttributeAccessIssue]
    assert '"people"' in prompt
    plain = ChatBDC(routed=model).with_structured_output(City.model_json_schema(), method="json_schema")
    assert plain.invoke("Name a city.") == {"name": "Ghent", "people": 265000}


@pytest.mark.parametrize("text", ["no idea", '{"name": "Ghent"}'])
def test_structured_output_where_it_cannot(scripted: Make, text: str) -> None:
    chat = ChatBDC(routed=scripted(lambda _: text))
    with pytest.raises(OutputParserException):
        chat.with_structured_output(City).invoke("Name a city.")
    raw: Any = chat.with_structured_output(City, include_raw=True).invoke("Name a city.")
    assert raw["raw"].content == text
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)


def test_tools_and_other_media_are_refused_in_words(scripted: Make) -> None:
    chat = ChatBDC(routed=scripted(lambda _: "four"))
    with pytest.raises(NotImplementedError, match="cannot call tools"):
        chat.bind_tools([City])
    with pytest.raises(NotImplementedError, match="cannot call tools"):
        chat.invoke("hi", tools=[{"type": "function"}])
    image = HumanMessage([{"type": "image_url", "image_url": {"url": "https://example.org/x.png"}}])
    with pytest.raises(UsageError, match="image_url"):
        chat.invoke([image])
    with pytest.raises(UsageError, match="no text from the user"):
        chat.invoke([SystemMessage("hi")])
    with pytest.raises(UsageError, match="needs a library"):
        ChatBDC().invoke("hi")


def test_a_history_with_tools_is_read_as_text(scripted: Make) -> None:
    model = scripted(lambda _: "four")
    call = {"name": "add", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    said = [HumanMessage("hi"), AIMessage("", tool_calls=[call]), ToolMessage("4", tool_call_id="1")]
    ChatBDC(routed=model).invoke([*said, AIMessage(""), HumanMessage("and?")])
    (asked,) = model.backend.requests  # pyright: ignore[reportAttributeAccessIssue]
    assert [(one["role"], one["content"]) for one in asked.messages] == [
        ("user", "hi"),
        ("assistant", 'Calling the tool `add` with {"a": 1}.'),
        ("user", "The tool returned:\n4"),
        ("assistant", ""),
        ("user", "and?"),
    ]
    # The problem is what the user says: `hi`, an empty line, `and?`.
    assert asked.experts.experts["cluster-0"] == 0.08  # pyright: ignore


def test_without_a_seed_every_call_draws_anew(scripted: Make) -> None:
    model = scripted(lambda _: "four")
    for chat, given in ((ChatBDC(routed=model, temperature=1.0), {}), (ChatBDC(routed=model, seed=7), {})):
        for _ in range(3):
            chat.invoke("hi", **given)
    ChatBDC(routed=model, seed=7).invoke("hi", seed=0)
    seeds = [request.seed for request in model.backend.requests]  # pyright: ignore[reportAttributeAccessIssue]
    assert len(set(seeds[:3])) == 3
    assert seeds[3:] == [7, 7, 7, 0]


@pytest.mark.parametrize(
    "name", ["top_k", "min_p", "best_of", "repetition_penalty", "logit_bias", "tempreature"]
)
def test_no_argument_is_dropped_in_silence(scripted: Make, name: str) -> None:
    chat = ChatBDC(routed=scripted(lambda _: "four"))
    with pytest.raises(UsageError, match=name):
        chat.invoke("hi", **{name: 5})
    with pytest.raises(ValueError, match=name):
        ChatBDC(**{name: 5})
    assert chat.invoke("hi", top_k=-1, min_p=0.0, best_of=1, user="me").content == "four"


async def test_a_stream_that_is_left_ends_the_work(scripted: Make) -> None:
    model = scripted(lambda _: "a long story " * 10)
    stream = ChatBDC(routed=model).astream("hi")
    await anext(stream)
    assert model.backend.running == 1  # pyright: ignore[reportAttributeAccessIssue]
    await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue]
    for _ in range(10):  # LangChain leaves it to the event loop to close what is inside.
        await asyncio.sleep(0)
    assert model.backend.running == 0  # pyright: ignore[reportAttributeAccessIssue]


def test_a_prompt_that_is_too_long_is_langchains_own_error(scripted: Make) -> None:
    def refuse(_: ChatRequest) -> str:
        raise PromptTooLong(2000, 1000)

    chat = ChatBDC(routed=scripted(refuse))
    with pytest.raises(ContextOverflowError, match="2000 tokens"):
        chat.invoke("hi")
    with pytest.raises(ContextOverflowError, match="2000 tokens"):
        list(chat.stream("hi"))


# --- as an agent --------------------------------------------------------------------------------------


@pytest.fixture
def settings(library_folder: Path, base_folder: Path, tmp_path: Path) -> Settings:
    options = {"options": {"dtype": "float32", "device": "cpu"}, "model": "cluster-0"}
    config = AgentConfig(model=f"bdc:{library_folder}", max_tokens=16, options=options)
    return Settings(agents={"own": config}, store=StoreConfig(cache=False))


async def test_a_library_is_an_agent_of_the_search(
    settings: Settings, letters: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def encoder(*_: Any, **__: Any) -> Any:
        return letters

    monkeypatch.setattr("bdc_agents.serve.weighing.load_encoder", encoder)
    (agent,) = load_agents(settings)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    for wanted in (None, schema):
        asked = Request(messages=(HumanMessage("hi"),), temperature=0.5, seed=7, json_schema=wanted)
        reply = await agent.reply(asked)
        assert reply.usage.completion_tokens == 16
        assert reply.truncated
        assert (await agent.reply(asked)).text == reply.text
    long = Request(messages=(HumanMessage("x" * 3000),))
    with pytest.raises(AgentError, match="context holds 1024"):
        await agent.reply(long)
    await agent.aclose()


def test_an_agent_without_its_library_is_refused(tmp_path: Path) -> None:
    settings = Settings(agents={"own": AgentConfig(model=f"bdc:{tmp_path}")})
    with pytest.raises(ModelError, match="no library at"):
        load_agents(settings)


def test_replies_of_a_changed_library_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    from bdc_agents.agents.providers import endpoint_of

    config = AgentConfig(model=f"bdc:{tmp_path}")
    (tmp_path / "library.json").write_text(json.dumps({"made": 1}))
    before = endpoint_of(config)
    (tmp_path / "library.json").write_text(json.dumps({"made": 2}))
    assert endpoint_of(config) != before
