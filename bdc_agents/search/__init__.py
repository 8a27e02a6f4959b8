"""Boost: several agents search one tree of thoughts, and programs that pass tests are the reward."""

from bdc_agents.search.events import SearchEvent
from bdc_agents.search.graph import create_search_graph
from bdc_agents.search.resume.checkpoints import PlainSerializer
from bdc_agents.search.solve import asolve, solve
from bdc_agents.search.tool import create_search_tool
from bdc_agents.search.traces import extract_traces, trace_of

__all__ = [
    "PlainSerializer",
    "SearchEvent",
    "asolve",
    "create_search_graph",
    "create_search_tool",
    "extract_traces",
    "solve",
    "trace_of",
]
