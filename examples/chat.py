"""A conversation with the search in the terminal: one line is one message.

    python examples/chat.py
    python examples/chat.py "Write double(x). double(4) should be 8." "double(0) should be 0"

Needs a bdc.toml with agents in the folder it runs in. Messages that are given are sent one after another;
otherwise they are typed. The tree is kept in chat.sqlite, so the next start goes on from it.
"""

import asyncio
import sys
from typing import Any

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bdc_agents import load_agents, load_settings
from bdc_agents.chat import create_chat_graph


async def say(app: Any, text: str) -> None:
    """Sends a message, and prints what comes back as it comes: progress in short, replies in full."""
    config = {"configurable": {"thread_id": "terminal"}}
    given = {"messages": [{"role": "user", "content": text}]}
    async for _, mode, part in app.astream(given, config, stream_mode=["custom", "updates"], subgraphs=True):
        if mode == "custom" and part["type"] == "progress":
            print("  ...", part["text"])
        elif mode == "updates":
            for wrote in part.values():
                for message in (wrote or {}).get("messages", []):
                    print(message.content, end="\n\n")


async def main(*texts: str) -> None:
    chat = create_chat_graph(load_agents(), budget=load_settings().budget)
    async with AsyncSqliteSaver.from_conn_string("chat.sqlite") as saver:
        app = chat.compile(checkpointer=saver)
        for text in texts:
            await say(app, text)
        while not texts and (text := await asyncio.to_thread(input, "> ")):
            await say(app, text)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
