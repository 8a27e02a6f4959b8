"""The tree pages on the port of the LangGraph server: /tree lists the searches, /tree/THREAD shows one.

    langgraph dev --no-browser

`langgraph.json` names it under `http`. The agents of `bdc.toml` may be asked where a person forks a search.
"""

from bdc_agents.config import load_settings
from bdc_agents.web import tree_app

app = tree_app([*load_settings().agents])
