"""The solver as LangGraph Studio and `langgraph dev` open it: the library of BDC_LIBRARY.

    BDC_LIBRARY=experts/library/mine langgraph dev --no-browser

System 1 is the library's routed model; System 2 the agents of `bdc.toml`, where there are any. The
library is opened for the first problem.
"""

import os

from bdc_agents.agents import load_agents
from bdc_agents.config import load_settings
from bdc_agents.sandbox import create_executor
from bdc_agents.serve import create_solver_graph
from bdc_agents.web import tree_link

settings = load_settings()

solver = create_solver_graph(
    os.environ.get("BDC_LIBRARY", "experts/library/mine"),
    agents=load_agents(settings) if settings.agents else None,
    executor=create_executor(settings.sandbox),
    search=settings.search,
    budget=settings.budget,
    link=tree_link,
)

graph = solver.compile(name="bdc-solver")  # pyright: ignore[reportUnknownMemberType]
