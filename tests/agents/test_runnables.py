"""Anything that answers messages is an agent: what LangChain wraps around a model, and one's own models."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel, FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from openai import DefaultAsyncHttpxClient

from bdc_agents.agents import ChatAgent, as_agents
from bdc_agents.errors import ConfigError

from .asking import SCHEMA, reason_of


@pytest.fixture
def endpoint(shared):
    shared.clear()
    return shared


@pytest.fixture
async def client():
    """Connections of one test: those that LangChain shares outlive its event loop."""
    async with DefaultAsyncHttpxClient() as opened:
        yield opened


@pytest.fixture
def model(endpoint, client):
    key = "sk-very-secret"
    return ChatOpenAI(
        model="fake", base_url=endpoint.url, api_key=key, max_retries=0, http_async_client=client
    )


def agent_of(runnable) -> ChatAgent:
    (agent,) = as_agents([runnable])
    assert isinstance(agent, ChatAgent)
    return agent


WRAPPED = {
    "bind": lambda model: model.bind(stop=["END"]),
    "with_config": lambda model: model.with_config(tags=["mine"]),
    "with_retry": lambda model: model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False),
    "twice": lambda model: model.bind(stop=["END"]).with_config(tags=["mine"]).with_retry(),
}


@pytest.mark.parametrize("wrap", WRAPPED)
async def test_a_wrapped_model_gets_what_a_model_gets(endpoint, model, ask, wrap):
    agent = agent_of(WRAPPED[wrap](model))
    reply = await agent.reply(ask(temperature=0.3, seed=7, json_schema=SCHEMA))
    (sent,) = endpoint.asked
    assert (sent["temperature"], sent["seed"], sent["response_format"]["type"]) == (0.3, 7, "json_schema")
    assert sent.get("stop") == (["END"] if wrap in ("bind", "twice") else None)
    assert (agent.name, reply.usage.prompt_tokens) == ("fake", 11)


async def test_what_is_bound_is_the_agents_setting(endpoint, model, ask):
    agent = agent_of(model.bind(temperature=0.1, max_tokens=99))
    await agent.reply(ask(temperature=0.9))
    (sent,) = endpoint.asked
    assert (sent["temperature"], sent["max_tokens"], "max_completion_tokens" in sent) == (0.1, 99, False)
    assert agent.bound(ask()).completion_tokens == 99


async def test_a_model_with_a_limit_of_its_own_sends_one_limit(endpoint, model, ask):
    await agent_of(model.model_copy(update={"max_tokens": 77})).reply(ask())
    assert (endpoint.asked[0]["max_tokens"], "max_completion_tokens" in endpoint.asked[0]) == (77, False)


async def test_a_refusal_is_learnt_through_the_wrapper(endpoint, model, ask, step, completion):
    endpoint.default = lambda sent: (
        step({"error": {"message": "Unknown parameter: 'seed'", "param": "seed"}}, 400)
        if "seed" in sent
        else step(completion())
    )
    assert (await agent_of(model.with_config(tags=["a"])).reply(ask())).usage.failed == 1


async def test_fallbacks_answer_where_the_first_model_does_not(endpoint, model, ask, step):
    endpoint.script(step({"error": {"message": "down"}}, 500))
    other = model.model_copy(update={"model_name": "other"})
    assert (await agent_of(model.with_fallbacks([other])).reply(ask(seed=3))).text == "hello"
    assert [(sent["model"], sent["seed"]) for sent in endpoint.asked] == [("fake", 3), ("other", 3)]


PROMPTS = {
    "messages": ChatPromptTemplate.from_messages([("system", "Be brief."), ("placeholder", "{messages}")]),
    "text": ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{question}")]),
    "partial": ChatPromptTemplate.from_messages([("system", "Be {how}."), ("human", "{question}")]).partial(
        how="brief"
    ),
}


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_prompt_before_the_model_takes_the_messages(endpoint, model, ask, prompt):
    agent = agent_of(PROMPTS[prompt] | model)
    assert (await agent.reply(ask("2 + 2?", temperature=0.2))).text == "hello"
    (sent,) = endpoint.asked
    assert [message["content"] for message in sent["messages"]] == ["Be brief.", "2 + 2?"]
    assert (agent.name, sent["temperature"]) == ("fake", 0.2)


async def test_a_parser_after_the_model_leaves_text(endpoint, model, ask):
    reply = await agent_of(PROMPTS["messages"] | model | StrOutputParser()).reply(ask(json_schema=SCHEMA))
    assert reply.text == "hello"
    assert "JSON schema" in endpoint.asked[0]["messages"][-1]["content"]


def answering(state):
    return {"messages": [AIMessage(f"{len(state['messages'])} messages")]}


async def test_a_compiled_graph_answers(ask):
    graph = StateGraph(MessagesState).add_node("answer", answering)
    app = graph.add_edge(START, "answer").add_edge("answer", END).compile()
    assert (await agent_of(app).reply(ask())).text == "1 messages"


async def test_a_function_answers(ask):
    agent = agent_of(RunnableLambda(lambda messages: AIMessage(messages[-1].content.upper())))
    assert (await agent.reply(ask("hi"))).text == "HI"


async def test_a_connection_of_an_earlier_event_loop_is_made_anew(ask):
    trouble = [RuntimeError("Event loop is closed")]

    def answer(messages):
        if trouble:
            raise trouble.pop()
        return AIMessage("well")

    reply = await agent_of(RunnableLambda(answer)).reply(ask())
    assert (reply.text, reply.usage.calls, reply.usage.failed) == ("well", 1, 1)


async def test_an_answer_that_is_no_message_is_called_so_once(ask):
    asked = []
    reason = await reason_of(agent_of(RunnableLambda(lambda messages: asked.append(1) or 4)), ask())
    assert "answers with a message, not with a int" in reason
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (PromptTemplate.from_template("{a} {b}") | FakeListChatModel(responses=["x"]), "variables a, b"),
        (PromptTemplate.from_template("no place") | FakeListChatModel(responses=["x"]), "has none"),
        ("openai:gpt-4o", "load_agents takes names"),
        (len, "RunnableLambda a function"),
    ],
)
def test_what_cannot_take_messages_is_refused_in_a_sentence(given, words):
    with pytest.raises(ConfigError, match=words) as caught:
        as_agents([given])
    assert len(str(caught.value)) < 300


async def test_no_key_of_a_wrapped_model_is_shown(endpoint, model, ask, step):
    endpoint.default = lambda sent: step({"error": {"message": "wrong key sk-very-secret"}}, 401)
    agent = agent_of(model.with_config(tags=["a"]).with_retry(stop_after_attempt=1))
    assert "sk-very-secret" not in await reason_of(agent, ask()) + repr(agent)


class Counting(BaseChatModel):
    """A model of one's own that keeps count in a plain attribute."""

    calls: int = 0

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        self.calls += 1
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"call {self.calls}"))])

    @property
    def _llm_type(self) -> str:
        return "counting"


async def test_a_model_that_declares_no_parameter_is_asked_itself_and_not_a_copy(ask):
    model = Counting()
    agent = agent_of(model)
    assert [(await agent.reply(ask())).text for _ in range(2)] == ["call 1", "call 2"]
    assert model.calls == 2


def test_one_model_alone_is_told_how_to_be_passed():
    with pytest.raises(ConfigError, match=r"by name or as a list: \{'a': model\}, not one RunnableLambda"):
        as_agents(RunnableLambda(lambda messages: AIMessage("hello")))  # type: ignore[arg-type]
