"""A conversation with the search: a LangGraph graph whose state has `messages`.

`create_chat_graph` is for chat clients, such as agent-chat-ui and Studio's chat mode: a person states a
problem in words, sees what was understood, watches the search, and goes on from its tree.
"""

from bdc_agents.chat.graph import create_chat_graph

__all__ = ["create_chat_graph"]
