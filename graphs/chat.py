"""The search as a chat, as agent-chat-ui and Studio's chat mode open it: agents and settings of `bdc.toml`.

    langgraph dev --no-browser

A message states a problem in words, with tests in the text, in a code block or as JSON; further messages
go on from the same tree.
"""

from bdc_agents.agents import load_agents
from bdc_agents.chat import create_chat_graph
from bdc_agents.config import load_settings
from bdc_agents.sandbox import create_executor
from bdc_agents.web import tree_link

settings = load_settings()

chat = create_chat_graph(
    load_agents(settings),
    executor=create_executor(settings.sandbox),
    search=settings.search,
    budget=settings.budget,
    link=tree_link,
)

graph = chat.compile(name="bdc-chat")  # pyright: ignore[reportUnknownMemberType]
