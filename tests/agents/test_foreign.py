"""Agents over chat models of other packages, whatever these declare and raise."""

from langchain_core.language_models import FakeListChatModel

from bdc_agents.agents.chat import ChatAgent
from bdc_agents.config import AgentConfig

from .asking import SCHEMA, reason_of


class Tuned(FakeListChatModel):
    """Declares a temperature and a token limit of its own name, and no seed."""

    temperature: float | None = None
    num_predict: int | None = None

    def _call(self, *args, **kwargs):
        return f"{self.temperature} {self.num_predict} {'seed' in kwargs}"


async def test_a_foreign_model_gets_the_parameters_it_declares(ask):
    model = Tuned(responses=["x"])
    agent = ChatAgent("a", model, AgentConfig(model="x", max_tokens=50))
    assert (await agent.reply(ask(temperature=0.2, seed=3))).text == "0.2 50 False"
    assert (model.temperature, model.num_predict) == (None, None)


async def test_a_foreign_model_is_asked_for_json_in_words(ask):
    seen = []

    class Recording(FakeListChatModel):
        def _call(self, messages, *args, **kwargs):
            seen.append(messages[-1].content)
            return "{}"

    await ChatAgent("a", Recording(responses=["x"])).reply(ask("hi", json_schema=SCHEMA))
    assert seen[0].startswith("hi\n\nReply with one JSON value")
    assert '"answer"' in seen[0]


async def test_a_model_whose_profile_says_so_is_asked_by_schema(ask):
    asked = []

    class Profiled(FakeListChatModel):
        def with_structured_output(self, schema, **options):
            asked.append((schema["title"], options))
            return self | (lambda message: {"raw": message, "parsed": None})

    model = Profiled(responses=['{"answer": "4"}'], profile={"structured_output": True})
    reply = await ChatAgent("a", model).reply(ask(json_schema=SCHEMA))
    assert reply.text == '{"answer": "4"}'
    assert asked == [("Answer", {"method": "json_schema", "include_raw": True})]


async def test_a_profile_that_is_wrong_does_no_harm(ask):
    model = FakeListChatModel(responses=["{}"], profile={"structured_output": True})
    assert (await ChatAgent("a", model).reply(ask(json_schema=SCHEMA))).text == "{}"


async def test_a_foreign_model_that_raises_gives_an_agent_error(ask):
    class Broken(FakeListChatModel):
        def _call(self, *args, **kwargs):
            raise NotImplementedError("no such thing")

    reason = await reason_of(ChatAgent("a", Broken(responses=["x"])), ask())
    assert "NotImplementedError: no such thing" in reason
