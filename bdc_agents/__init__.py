"""Several LLMs search one tree of thoughts, and what they find becomes a fast solver.

Boost (`bdc_agents.search`): agents search a shared tree, with programs run on public tests as the
reward. Disentangle and Customize turn what they found into experts and a routed solver
(arXiv 2502.12492).

    from bdc_agents import load_agents, load_task, solve

    task = load_task("demo:longest-streak")
    trace = solve(task.problem, load_agents("bdc.toml"))
    print(trace.solution.code)
"""

from typing import TYPE_CHECKING

from bdc_agents.config import Budget, SearchConfig, Settings, load_settings
from bdc_agents.errors import BDCError
from bdc_agents.extras import lazily
from bdc_agents.types import (
    CallTest,
    HiddenTests,
    Problem,
    ScriptTest,
    Solution,
    StdinTest,
    Task,
    TestCase,
    Trace,
    Verdict,
)

if TYPE_CHECKING:
    from bdc_agents.agents import load_agents
    from bdc_agents.chat import create_search_subagent
    from bdc_agents.data import load_task, load_tasks
    from bdc_agents.sandbox import create_executor
    from bdc_agents.search import (
        asolve,
        create_search_graph,
        create_search_tool,
        extract_traces,
        solve,
    )

__all__ = [
    "BDCError",
    "Budget",
    "CallTest",
    "HiddenTests",
    "Problem",
    "ScriptTest",
    "SearchConfig",
    "Settings",
    "Solution",
    "StdinTest",
    "Task",
    "TestCase",
    "Trace",
    "Verdict",
    "asolve",
    "create_executor",
    "create_search_graph",
    "create_search_subagent",
    "create_search_tool",
    "extract_traces",
    "load_agents",
    "load_settings",
    "load_task",
    "load_tasks",
    "solve",
]

# Names whose modules import LangGraph or chat models are loaded on first use, so that `bdc --help` is quick.
_HOMES = {
    "asolve": "bdc_agents.search",
    "create_executor": "bdc_agents.sandbox",
    "create_search_graph": "bdc_agents.search",
    "create_search_subagent": "bdc_agents.chat",
    "create_search_tool": "bdc_agents.search",
    "extract_traces": "bdc_agents.search",
    "load_agents": "bdc_agents.agents",
    "load_task": "bdc_agents.data",
    "load_tasks": "bdc_agents.data",
    "solve": "bdc_agents.search",
}

__getattr__ = lazily(__name__, _HOMES)
