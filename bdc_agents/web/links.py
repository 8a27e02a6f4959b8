"""Links: where the page of a thread's tree is."""

import os
from urllib.parse import quote

ADDRESS = "BDC_URL"
"""Environment variable with the address at which people reach the LangGraph server, as behind a proxy."""
_SERVER = "LANGGRAPH_API_URL"
"""Where `langgraph dev` says its own address."""


def tree_link(thread: str) -> str:
    """The address of the page that shows a thread's tree; a path where the server's own is unknown."""
    base = os.environ.get(ADDRESS) or os.environ.get(_SERVER) or ""
    return f"{base.rstrip('/')}/tree/{quote(thread, safe='')}"
