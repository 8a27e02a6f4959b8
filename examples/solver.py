"""The solver in another LangGraph app: a support desk that answers requests for small programs.

    python examples/solver.py LIBRARY "Write double(x), which returns twice x." "assert double(4) == 8"

The library's routed model answers at once. With agents in the bdc.toml of this folder, a search
takes over where its programs fail the tests; what the search finds is kept in runs/solver, from which
`bdc distill` learns.
"""

import asyncio
import sys
from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from bdc_agents import load_agents, load_settings
from bdc_agents.serve import BDCSolver


class Ticket(TypedDict, total=False):
    """The app's own state."""

    request: str
    tests: list[str]
    answer: dict[str, Any]
    reply: str


def create_app(solver: BDCSolver) -> StateGraph[Ticket]:
    async def solve(ticket: Ticket) -> Ticket:
        answer = await solver.ainvoke({"statement": ticket["request"], "tests": ticket.get("tests", [])})
        return {"answer": answer.model_dump(mode="json")}

    def reply(ticket: Ticket) -> Ticket:
        answer = ticket["answer"]
        if answer["solved"] is False:
            return {"reply": f"sorry: {answer['note'] or 'no program passes the tests'}"}
        return {"reply": answer["code"]}

    app = StateGraph(Ticket)
    app.add_node(solve)
    app.add_node(reply)
    app.add_edge(START, "solve")
    app.add_edge("solve", "reply")
    app.add_edge("reply", END)
    return app


async def main(library: str, request: str, *tests: str) -> None:
    agents = load_agents() if load_settings().agents else None
    solver = BDCSolver.from_library(library, agents=agents, traces="runs/solver")
    app = create_app(solver).compile()
    ticket = await app.ainvoke({"request": request, "tests": list(tests)})
    answer = ticket["answer"]
    print(f"system {answer['system']}, experts {answer['experts']}")
    print(ticket["reply"])
    await solver.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
