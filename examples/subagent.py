"""The search as a sub-agent of a deep agent, which plans, delegates, and reports.

    python examples/subagent.py MODEL "I need a function double(x), tested."

MODEL is any `init_chat_model` string, such as openai:gpt-4o-mini. Those that search are in the bdc.toml of
the folder it runs in. Needs `pip install 'bdc-agents[deepagents]'`.
"""

import asyncio
import sys

from deepagents import create_deep_agent
from langchain.chat_models import init_chat_model

from bdc_agents import Budget, create_search_subagent, load_agents


async def main(model: str, request: str) -> None:
    programmer = create_search_subagent(load_agents(), budget=Budget(calls=20))
    agent = create_deep_agent(model=init_chat_model(model), subagents=[programmer])
    state = await agent.ainvoke({"messages": [{"role": "user", "content": request}]})
    print(state["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
