"""A conversation with the search: a LangGraph graph whose state has `messages`.

`create_chat_graph` is for chat clients, such as agent-chat-ui and Studio's chat mode: a person states a
problem in words, sees what was understood, watches the search, and goes on from its tree.
`create_search_subagent` reads one message likewise, for another agent.
"""

from bdc_agents.chat.graph import create_chat_graph
from bdc_agents.chat.state import ChatEvent
from bdc_agents.chat.subagent import create_search_subagent

__all__ = ["ChatEvent", "create_chat_graph", "create_search_subagent"]
