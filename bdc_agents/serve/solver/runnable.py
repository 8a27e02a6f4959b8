"""BDCSolver: the solver as a LangChain runnable, `solver.invoke(problem)`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from langchain_core.runnables import Runnable, RunnableConfig

from bdc_agents.agents import load_agents
from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.serve.keeping import trace_keeper
from bdc_agents.serve.routed_model import RoutedModel
from bdc_agents.serve.solver.answers import SolverAnswer, SolverConfig, problem_of
from bdc_agents.serve.solver.graph import Agents, graph_of
from bdc_agents.serve.solver.stages import Stages
from bdc_agents.sync import cancelled_once, run_sync
from bdc_agents.types import Problem, Task

Solvable = Problem | Task | Mapping[str, Any] | str


class BDCSolver(Runnable[Solvable, SolverAnswer]):
    """Solves a programming problem: at once if it can, by a search if it must.

    System 1, the routed model, writes a program and checks it on the public tests. If the program fails,
    System 1 samples others. If those fail too, System 2 searches, given agents and permission.

        solver = BDCSolver.from_library("experts/library/mine", agents=["openai:gpt-4o-mini"])
        answer = solver.invoke({"statement": "Write add(a, b).", "tests": ["assert add(1, 2) == 3"]})
        print(answer.code, answer.solved, answer.experts)

    Args:
        model: System 1: the routed model of a library.
        agents: System 2: agents, chat models, or None for a solver that never searches.
        executor: Runs the programs; None creates this machine's strongest sandbox for the first program.
        config: How to answer a problem.
        search: Settings of the search.
        budget: Caps for one problem, for both systems together. System 1 checks them between its calls;
            the search never exceeds them.
        traces: A run folder for the traces of the searches, for `bdc distill`; created if needed.
    """

    def __init__(
        self,
        model: RoutedModel,
        *,
        agents: Agents | None = None,
        executor: Executor | None = None,
        config: SolverConfig | None = None,
        search: SearchConfig | None = None,
        budget: Budget | None = None,
        traces: Path | str | None = None,
    ) -> None:
        self.model = model
        self.name = "BDCSolver"
        self._own_agents: Sequence[Agent] = ()
        self._stages = Stages(
            model,
            agents=agents,
            executor=executor,
            config=config or SolverConfig(),
            search=search or SearchConfig(),
            budget=budget or Budget(),
            keep=trace_keeper(traces) if traces is not None else None,
            checkpointer=False,
        )
        self._app: Any = graph_of(self._stages).compile(checkpointer=False, name="solver")

    @classmethod
    def from_library(
        cls,
        folder: Path | str,
        backend: str = "transformers",
        *,
        agents: Agents | Sequence[str] | None = None,
        escalate: bool = True,
        samples: int = 4,
        executor: Executor | None = None,
        search: SearchConfig | None = None,
        budget: Budget | None = None,
        traces: Path | str | None = None,
        config: SolverConfig | None = None,
        **options: Any,
    ) -> Self:
        """Opens a library and loads its base.

        Args:
            folder: A library of `bdc distill`, or `ORG/NAME` of one on the Hugging Face hub.
            backend: See `RoutedModel.from_library`.
            agents: As for the solver, or names as `load_agents` takes them.
            escalate, samples: See `SolverConfig`; `config` has the others.
            executor, search, budget, traces: As for the solver.
            options: Further arguments of `RoutedModel.from_library`.

        Raises:
            ModelError: If the library or its base cannot be used.
        """
        config = (config or SolverConfig()).model_copy(update={"escalate": escalate, "samples": samples})
        # Before the base, which loads slowly: a wrong name fails at once.
        named = _named(agents)
        given: Any = named or agents
        model = RoutedModel.from_library(folder, backend, **options)
        solver = cls(
            model,
            agents=given,
            executor=executor,
            config=config,
            search=search,
            budget=budget,
            traces=traces,
        )
        solver._own_agents = named
        return solver

    @property
    def InputType(self) -> Any:
        """The type of the input, for the schemas of Runnable."""
        return Problem | dict[str, Any] | str

    @property
    def OutputType(self) -> type[SolverAnswer]:
        """The type of the output."""
        return SolverAnswer

    def invoke(self, input: Solvable, config: RunnableConfig | None = None, **kwargs: Any) -> SolverAnswer:
        """Solves one problem.

        Args:
            input: See `problem_of`.
            config: Callbacks, tags and the like, as for every Runnable.
            kwargs: Settings for this call only: keys of `SolverContext`.

        Raises:
            ProblemError: If it is not a problem, or it is too long for the model's context and there is
                no search to turn to.
            SandboxError: If the sandbox cannot run programs.
        """
        work: Any = self._solve
        return self._call_with_config(work, input, config, **kwargs)

    def _solve(self, given: Solvable, config: RunnableConfig, **kwargs: Any) -> SolverAnswer:
        return self._read(self._app.invoke({"problem": problem_of(given)}, config, context=kwargs))

    async def ainvoke(
        self, input: Solvable, config: RunnableConfig | None = None, **kwargs: Any
    ) -> SolverAnswer:
        """`invoke` without blocking. Problems that are solved at the same time share batches."""
        work: Any = self._asolve
        return await self._acall_with_config(work, input, config, **kwargs)

    async def _asolve(self, given: Solvable, config: RunnableConfig, **kwargs: Any) -> SolverAnswer:
        run = self._app.ainvoke({"problem": problem_of(given)}, config, context=kwargs)
        return self._read(await cancelled_once(run))

    @staticmethod
    def _read(state: Mapping[str, Any]) -> SolverAnswer:
        return SolverAnswer.model_validate(state["answer"])

    async def aclose(self) -> None:
        """Frees the model, and the sandbox and agents that this solver created; not those of the caller."""
        await self._stages.aclose()
        await self.model.aclose()
        for agent in self._own_agents:
            await agent.aclose()

    def close(self) -> None:
        """`aclose` for synchronous callers."""
        run_sync(self.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _named(given: Any) -> Sequence[Agent]:
    """The agents, if the caller gives their names; empty if he gives the agents themselves."""
    if given and not isinstance(given, Mapping) and all(isinstance(name, str) for name in given):
        return load_agents(names=list(given))
    return ()
