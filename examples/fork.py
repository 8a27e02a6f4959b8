"""Time travel: take a finished search back to an earlier step and let it go on differently.

    python examples/fork.py AGENT OTHER_AGENT

Searches with one agent of bdc.toml, then forks the step after the first rollout with another agent
and a budget of its own. The first search stays in the checkpointer as it was.
"""

import asyncio
import sys
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents import create_search_graph, load_agents, load_task


async def main(agent: str, other: str) -> None:
    graph = create_search_graph(load_agents(names=[agent, other]))
    app = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    problem = load_task("demo:longest-streak").problem.model_dump(mode="json")
    first = await app.ainvoke(
        {"problem": problem}, config, context={"agents": [agent], "search": {"rollouts": 4}}
    )

    past = await after_first_rollout(app, config)
    fork: Any = past.config
    second = await app.ainvoke(None, fork, context={"agents": [other], "budget": {"calls": 12}})

    last: Any = [state async for state in app.aget_state_history(config) if state.values.get("solution")][-1]
    assert last.values["solution"] == first["solution"], "the original is still there"
    for name, result in ((agent, first), (other, second)):
        solution = result["solution"]
        print(name, "solved" if solution["solved"] else "not solved", solution["stopped_by"])


async def after_first_rollout(app: Any, config: Any) -> Any:
    """The step that chooses the second leaf; the newest come first in a history."""
    states = [state async for state in app.aget_state_history(config)]
    return next(s for s in states if s.next == ("select",) and s.values.get("rollouts") == 1)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
