"""The search as a tool of an agent: the agent states a problem with tests, and uses the program it gets.

    python examples/tool.py MODEL "I need a function double(x). What is double(21)?"

MODEL is any `init_chat_model` string, such as openai:gpt-4o-mini: the agent that talks. Those that search are
in the bdc.toml of the folder it runs in.
"""

import asyncio
import sys

from langchain.agents import create_agent

from bdc_agents import Budget, create_search_tool, load_agents


async def main(model: str, request: str) -> None:
    tool = create_search_tool(load_agents(), budget=Budget(calls=20))
    agent = create_agent(model, tools=[tool], system_prompt="Solve programming problems by your tool.")
    given = {"messages": [{"role": "user", "content": request}]}
    async for mode, chunk in agent.astream(given, stream_mode=["custom", "values"]):
        if mode == "custom" and chunk["type"] == "node":  # the search, while it goes on
            print("node", chunk["node"]["id"], "value", chunk["node"]["value"])
        elif mode == "values":
            last = chunk["messages"][-1]
            if last.type == "tool":
                print("agents asked:", *last.artifact["solution"]["usage"])
    print(last.text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
