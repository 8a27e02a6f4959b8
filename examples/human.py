"""A person in the loop, in the terminal: decide on thoughts, on the program that passes, and on more budget.

    python examples/human.py
    python examples/human.py approve "reject It must not loop." "edit Count in one pass."

Needs a bdc.toml with agents in the folder it runs in. Decisions that are given are taken one after another,
and then what is asked is approved, but for more budget. Without any they are typed: approve, edit TEXT (of a
thought, the name of a file with a program, or a number of calls), reject REASON, respond MESSAGE. The search
waits in human.sqlite, so it may be left with Ctrl-C and started again.
"""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from bdc_agents import create_search_graph, load_agents, load_task
from bdc_agents.errors import UsageError


def decision(text: str, action: Any) -> dict[str, Any]:
    """The decision that a line says, in the form that LangChain has for it."""
    kind, _, rest = text.partition(" ")
    if kind == "edit":
        edited = {
            "thought": lambda: {"text": rest},
            "accept": lambda: {"code": Path(rest).read_text(encoding="utf-8")},
            "budget": lambda: {"calls": rest},
        }[action["name"]]()
        return {"type": kind, "edited_action": {"name": action["name"], "args": edited}}
    return {"type": kind, "message": rest} if rest else {"type": kind}


async def decide(asked: Any, read: Callable[[Any], str]) -> Any:
    """Shows each question, and reads the decision."""
    decisions = []
    for action in asked["action_requests"]:
        args = action["args"]
        print(action["description"])
        print(*(f"  {name}: {value}" for name, value in args.items()), sep="\n")
        text = await asyncio.to_thread(read, action)
        decisions.append(decision(text, action))
    return Command(resume={"decisions": decisions})


async def main(*given: str) -> None:
    texts = iter(given)

    def read(action: Any) -> str:
        if not given:
            return input("> ").strip()
        text = next(texts, "reject" if action["name"] == "budget" else "approve")
        print(">", text)
        return text

    agents = load_agents()
    graph = create_search_graph(agents, budget={"calls": 12}, interrupt_for=("thoughts", "accept", "budget"))
    config: Any = {"configurable": {"thread_id": "1"}}
    async with AsyncSqliteSaver.from_conn_string("human.sqlite") as saver:
        app: Any = graph.compile(checkpointer=saver)
        waiting = (await app.aget_state(config)).interrupts
        step: Any = {"problem": load_task("demo:longest-streak").problem.model_dump(mode="json")}
        while True:
            try:
                result = {"__interrupt__": waiting} if waiting else await app.ainvoke(step, config)
            except UsageError as error:  # It says what to send; the search still waits.
                print(error)
                waiting = (await app.aget_state(config)).interrupts
                if not waiting:
                    raise
                continue
            waiting = ()
            if "__interrupt__" not in result:
                break
            step = await decide(result["__interrupt__"][0].value, read)
        solution = result["solution"]
        print("solved" if solution["solved"] else "not solved", "by", solution["agent"] or "nobody")
        print(solution["code"])


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
