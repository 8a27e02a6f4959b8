"""The tree of a search in the browser, while it grows: beside Studio, and of `bdc solve --web`.

`tree_app` is a Starlette app for `langgraph.json` (`"http": {"app": ...}`): its pages stand on the LangGraph
server's port, read threads through the server's own API as whoever asks, and let a person step in.
`tree_link` gives a graph the address of its thread's page.
"""

from typing import TYPE_CHECKING

from bdc_agents.extras import lazily
from bdc_agents.web.links import tree_link

if TYPE_CHECKING:
    from bdc_agents.web.studio import tree_app

__all__ = ["tree_app", "tree_link"]

# A graph that only links to its page needs no Starlette.
__getattr__ = lazily(__name__, {"tree_app": "bdc_agents.web.studio"})
