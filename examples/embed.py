"""The search as a node of another LangGraph app, with that app's own state and checkpointer.

    python examples/embed.py "Write double(x), which returns twice x." "assert double(4) == 8"

Needs a bdc.toml with agents in the folder it runs in.
"""

import asyncio
import sys
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from bdc_agents import create_search_graph, load_agents
from bdc_agents.data import problem_from_statement


class Ticket(TypedDict, total=False):
    """The app's own state; `problem` and `solution` are what it shares with the search."""

    request: str
    tests: list[str]
    problem: dict[str, Any]
    solution: dict[str, Any]
    reply: str


def understand(ticket: Ticket) -> Ticket:
    problem = problem_from_statement(ticket["request"], ticket["tests"])
    return {"problem": problem.model_dump(mode="json")}


def reply(ticket: Ticket) -> Ticket:
    solution = ticket["solution"]
    return {"reply": solution["code"] if solution["solved"] else "sorry, no program passes the tests"}


def create_app() -> StateGraph[Ticket]:
    app = StateGraph(Ticket)
    app.add_node(understand)
    app.add_node("search", create_search_graph(load_agents()).compile())
    app.add_node(reply)
    app.add_edge(START, "understand")
    app.add_edge("understand", "search")
    app.add_edge("search", "reply")
    app.add_edge("reply", END)
    return app


async def main(request: str, *tests: str) -> None:
    app = create_app().compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "ticket-1"}}
    ticket: Ticket = {"request": request, "tests": list(tests)}
    # Events of the search reach whoever streams the app, with the subgraph that they come from.
    async for _, event in app.astream(ticket, config, stream_mode="custom", subgraphs=True):
        if event["type"] == "node":
            print("node", event["node"]["id"], "value", event["node"]["value"])
    print((await app.aget_state(config)).values["reply"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
