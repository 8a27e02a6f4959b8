"""Every event of a search is what its type says; the docs have a row for each."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.chat import ChatEvent
from bdc_agents.errors import AgentError
from bdc_agents.search import SearchEvent, asolve, create_search_graph
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem

from ..event_types import check, types_of

DOCS = Path(__file__).parents[2] / "docs" / "streaming.md"
MakeExecutor = Callable[..., ScriptedExecutor]


class Cut(ScriptedAgent):
    """Each reply is cut off."""

    async def reply(self, request: Request) -> Reply:
        return (await super().reply(request)).model_copy(update={"truncated": True})


def gone(request: Request) -> str:
    raise AgentError("gone", "its key was refused", lasting=True)


async def reviewed(agents: Any, executor: Any, problem: Problem) -> list[Any]:
    """The events of a search in which a person edits, refuses and answers what is asked."""
    graph = create_search_graph(
        agents, executor=executor, budget={"calls": 12}, interrupt_for=("thoughts", "accept", "budget")
    )
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    events: list[Any] = []
    given: Any = {"problem": problem.model_dump(mode="json")}
    for kind in ("respond", "reject", "edit", "approve", "reject"):
        events += [event async for event in app.astream(given, config, stream_mode="custom")]
        waiting = (await app.aget_state(config)).interrupts
        if not waiting:
            break
        decisions: list[Any] = []
        for action, review in zip(
            *(waiting[0].value[key] for key in ("action_requests", "review_configs")), strict=True
        ):
            chosen = kind if kind in review["allowed_decisions"] else "reject"
            args = {key: value for key, value in action["args"].items() if key != "used"}
            edited = {"name": action["name"], "args": args | ({"text": "Mine."} if "text" in args else {})}
            more = {"edited_action": edited} if chosen == "edit" else {"message": "No."}
            decisions.append({"type": chosen, **({} if chosen == "approve" else more)})
        given = Command(resume={"decisions": decisions})
    return events


async def test_every_event_is_as_its_type_says(
    pair: list[ScriptedAgent], make_agent: Any, make_executor: MakeExecutor, problem: Problem
) -> None:
    events: list[Any] = []
    many = [*pair, Cut("cut", pair[0].respond), make_agent("gone", gone)]
    for settings in ({"rollouts": 30}, {"preset": "paper", "rollouts": 8, "judge": True, "merge": True}):
        await asolve(problem, many, executor=make_executor(4), search=settings, on_event=events.append)
    events += await reviewed(pair, make_executor(), problem)
    assert check(events, SearchEvent) == {*types_of(SearchEvent)}
    assert {event["purpose"] for event in events if event["type"] == "asked"} >= {"expand", "boost", "repair"}


def test_the_docs_have_a_row_for_each_event() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", DOCS.read_text(encoding="utf-8"), re.M)
    told = {name: re.findall(r"`(\w+)`", keys) for name, keys in rows}
    for name, kind in types_of(ChatEvent).items():
        assert told[name] == [key for key in get_type_hints(kind) if key != "type"], name
