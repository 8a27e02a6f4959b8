"""The search as LangGraph Studio and `langgraph dev` open it: agents and settings of `bdc.toml`.

    langgraph dev --no-browser

The graph's input is a problem; its context changes search settings, budget and agents of one run.
"""

from bdc_agents.agents import load_agents
from bdc_agents.config import load_settings
from bdc_agents.sandbox import create_executor
from bdc_agents.search import create_search_graph
from bdc_agents.web import tree_link

settings = load_settings()

search = create_search_graph(
    load_agents(settings),
    executor=create_executor(settings.sandbox),
    search=settings.search,
    budget=settings.budget,
    link=tree_link,
)

graph = search.compile(name="bdc-search")  # pyright: ignore[reportUnknownMemberType]
