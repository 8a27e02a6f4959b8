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
from bdc_agents.search.wiring import Graph, GraphNode, Route
from bdc_agents.serve.model import RoutedModel
from bdc_agents.serve.solver.answers import SolverConfig
from bdc_agents.serve.solver.stages import Keep, Stages
from bdc_agents.types import Problem

Json = dict[str, Any]
Agents = Mapping[str, Answering] | Sequence[Agent | Answering]


class SolverInput(TypedDict):
    """What a caller passes: a `Problem`, its fields, or its statement."""

    problem: Problem


class SolverOutput(TypedDict, total=False):
    """What a run returns: the `SolverAnswer` as plain data."""

    problem: Json
    answer: Json


class SolverState(SolverOutput, total=False):
    """Everything between the nodes.

    Args:
        experts: Each expert's weight.
        programs: What System 1 has written, each with its verdict once it has run.
        next: The node that follows, as the last one decided; empty at the end.
        usage: Of System 1.
        seconds: Wall time of finished nodes.
    """

    experts: dict[str, float]
    routed_by: str
    programs: list[Json]
    next: str
    usage: Json
    seconds: float
    note: str


class SolverContext(TypedDict, total=False):
    """What a run may set differently from the graph it runs.

    Args:
        samples, temperature, max_tokens, escalate, seed: See `SolverConfig`.
        calls, tokens, money, seconds: See `Budget`; of System 1 and System 2 together.
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
) -> StateGraph[SolverState, SolverContext, SolverInput, SolverOutput]:
    """The solver as an uncompiled graph: the caller picks the checkpointer.

    Args:
        model: The routed model of a library, System 1; or the library's folder, which is then opened
            for the first problem.
        agents: Of the search, System 2; None for a solver that never escalates.
        executor: Runs the programs; None creates the strongest sandbox of this machine when the
            first program is to be run, which lasts as long as the process. Give one that you close.
        config: How a problem is answered; a run's context may change it.
        search: Settings of the search.
        budget: Caps on what one problem uses, in both systems together.
        keep: Takes the trace of each search, such as to write it to a trace store.
        checkpoints: Whether the steps of the search go to the caller's checkpointer too.

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
    )
    return graph_of(stages)


def graph_of(stages: Stages) -> StateGraph[SolverState, SolverContext, SolverInput, SolverOutput]:
    """The solver's graph over stages that the caller frees at the end."""
    nodes = _Nodes(stages)
    graph = Graph(
        SolverState, context_schema=SolverContext, input_schema=SolverInput, output_schema=SolverOutput
    )
    for node in (nodes.route, nodes.answer, nodes.check, nodes.escalate):
        graph.add_node(node.__name__, GraphNode(node))
    graph.add_edge(START, "route")
    graph.add_edge("route", "answer")
    graph.add_conditional_edges("answer", Route(after_answer), ["check", "escalate"])
    graph.add_conditional_edges("check", Route(after_check), ["answer", "escalate", END])
    graph.add_edge("escalate", END)
    return graph


def after_answer(state: SolverState) -> str:
    """Programs are checked; where System 1 could write none, the search begins."""
    fresh = any(program.get("verdict") is None for program in state.get("programs", []))
    return "escalate" if state.get("next") == "escalate" and not fresh else "check"


def after_check(state: SolverState) -> str:
    """As `check` decided; an edit that comes before it did leads to another answer."""
    decided = state.get("next")
    return END if decided == "" else "escalate" if decided == "escalate" else "answer"


SolverRuntime = Runtime[SolverContext]


class _Nodes:
    """The nodes: each reads the state, calls one stage, and writes what changed."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    async def route(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Reads the problem once and weighs the experts for it."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.route()

    async def answer(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Lets the routed solver write a program: the first greedily, the others by sampling."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.answer() | {"seconds": run.seconds}

    async def check(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Runs the programs on the public tests, and decides what comes next."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.check() | {"seconds": run.seconds}

    async def escalate(self, state: SolverState, runtime: SolverRuntime) -> Json:
        """Searches, and hands over the better of both systems' programs."""
        run = self._stages.run(state, runtime.context, runtime.stream_writer)
        return await run.escalate() | {"seconds": run.seconds}
