"""The solver as a LangGraph graph: System 1 answers and checks itself, System 2 searches.

    route ─► answer ─► check ─┬─► end
                  ▲           ├─► answer     another try within its budget
                  └───────────┘
                       check ─┴─► escalate ─► end

`route` weighs the experts once, and the weights hold for every program. `check` runs the programs
on the public tests. `escalate` is the search of `bdc_agents.search`, with what is left of the budget.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from bdc_agents.agents.protocol import Agent
from bdc_agents.agents.runnables import Answering
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.resume.history import Link, page_of
from bdc_agents.search.wiring import Graph, Route
from bdc_agents.serve.keeping import Keep
from bdc_agents.serve.routed_model import RoutedModel
from bdc_agents.serve.solver.answers import SolverConfig
from bdc_agents.serve.solver.stages import Stages
from bdc_agents.types import Problem

Json = dict[str, Any]
Agents = Mapping[str, Answering] | Sequence[Agent | Answering]


class SolverInput(TypedDict):
    """The input of a run: a `Problem`, its fields, or its statement."""

    problem: Problem


class SolverOutput(TypedDict, total=False):
    """The output of a run: the `SolverAnswer` as plain data."""

    problem: Json
    answer: Json


class SolverState(SolverOutput, total=False):
    """The state that the nodes share.

    Args:
        experts: Each expert's weight.
        programs: System 1's programs, each with its verdict once it has run.
        searched: Namespace of the search's checkpoints; empty where none ran.
        tree_url: Address of the page that shows the search's tree, where there is one.
        next: The node that the last one chose; empty at the end.
        usage: System 1's usage.
        seconds: Wall time of finished nodes.
    """

    experts: dict[str, float]
    routed_by: str
    programs: list[Json]
    next: str
    usage: Json
    seconds: float
    note: str
    searched: str
    tree_url: str


class SolverContext(TypedDict, total=False):
    """The settings that a run may override.

    Args:
        samples, temperature, max_tokens, escalate, seed: See `SolverConfig`.
        calls, tokens, money, seconds: See `Budget`; they cap System 1 and System 2 together.
    """

    samples: int
    temperature: float
    max_tokens: int
    escalate: bool
    seed: int
    calls: int
    tokens: int
    money: float
    seconds: float


def create_solver_graph(
    model: RoutedModel | Path | str,
    *,
    agents: Agents | None = None,
    executor: Executor | None = None,
    config: SolverConfig | None = None,
    search: SearchConfig | None = None,
    budget: Budget | None = None,
    keep: Keep | None = None,
    checkpoints: bool = True,
    link: Link | None = None,
) -> StateGraph[SolverState, SolverContext, SolverInput, SolverOutput]:
    """The solver as an uncompiled graph: the caller picks the checkpointer.

    Args:
        model: System 1: the routed model of a library, or its folder, which the first problem opens.
        agents: System 2: the agents of the search; None for a solver that never escalates.
        executor: Runs the programs. None creates this machine's strongest sandbox for the first program,
            and it lasts as long as the process; give your own to close it earlier.
        config: How to answer a problem; a run's context may override it.
        search: Settings of the search.
        budget: Caps for one problem, for both systems together.
        keep: Takes the trace of each search, for instance to store it.
        checkpoints: Whether the caller's checkpointer also gets the steps of the search.
        link: From a thread's id to the address of a page that shows the tree of its search; see
            `create_search_graph`.

    Returns:
        A graph whose input is `{"problem": ...}` and whose output holds `answer` as plain data.
    """
    stages = Stages(
        model,
        agents=agents,
        executor=executor,
        config=config or SolverConfig(),
        search=search or SearchConfig(),
        budget=budget or Budget(),
        keep=keep,
        checkpointer=None if checkpoints else False,
        link=link,
    )
    return graph_of(stages)


def graph_of(stages: Stages) -> StateGraph[SolverState, SolverContext, SolverInput, SolverOutput]:
    """The solver's graph over stages, which the caller closes at the end."""
    nodes = _Nodes(stages)
    graph = Graph(
        SolverState, context_schema=SolverContext, input_schema=SolverInput, output_schema=SolverOutput
    )
    for node in (nodes.route, nodes.answer, nodes.check):
        graph.add_step(node)
    graph.add_step(nodes.escalate, within=stages.search_app)
    graph.add_edge(START, "route")
    graph.add_edge("route", "answer")
    graph.add_conditional_edges("answer", Route(after_answer), ["check", "escalate"])
    graph.add_conditional_edges("check", Route(after_check), ["answer", "escalate", END])
    graph.add_edge("escalate", END)
    return graph


def after_answer(state: SolverState) -> str:
    """The node after `answer`: the search if System 1 could not write a program, else the check."""
    fresh = any(program.get("verdict") is None for program in state.get("programs", []))
    return "escalate" if state.get("next") == "escalate" and not fresh else "check"


def after_check(state: SolverState) -> str:
    """The node that `check` chose. After an edit of the state before `check` ran, System 1 answers again."""
    decided = state.get("next")
    return END if decided == "" else "escalate" if decided == "escalate" else "answer"


SolverRuntime = Runtime[SolverContext]


class _Nodes:
    """The nodes; each reads the state, runs one stage, and returns the changes."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    async def route(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Reads the problem and weighs the experts for it."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.route(page_of(self._stages.link, runtime))

    async def answer(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Has System 1 write programs: the first greedily, the others by sampling."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.answer() | {"seconds": run.seconds}

    async def check(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Runs the programs on the public tests, and decides what comes next."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.check() | {"seconds": run.seconds}

    async def escalate(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Searches, and answers with the better of both systems' programs."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        info = runtime.execution_info
        searched = info.checkpoint_ns if info else ""
        return await run.escalate() | {"seconds": run.seconds, "searched": searched}
