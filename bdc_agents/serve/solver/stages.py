"""The stages of the solver: weigh the experts, answer, check, search."""

import asyncio
import threading
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Literal

from bdc_agents.agents import as_agents
from bdc_agents.agents.replies.asked import read_program
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import BDCError
from bdc_agents.prompts import write_program
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.sandbox.protocol import Executor, Job
from bdc_agents.search import create_search_graph, trace_of
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.search.resume.history import Link
from bdc_agents.search.round.calls import derive_seed, read_aside
from bdc_agents.serve.backends.protocol import ChatRequest, PromptTooLong
from bdc_agents.serve.keeping import Keep, keep_trace
from bdc_agents.serve.routed_model import RoutedModel, shared_model
from bdc_agents.serve.solver.answers import (
    SOLVER,
    SolverAnswer,
    SolverConfig,
    best_of,
    better_of,
    problem_of,
    read_context,
    rest_of,
)
from bdc_agents.serve.solver.events import Emit, Routed
from bdc_agents.types import Problem, Usage, Verdict

Json = dict[str, Any]
_ROLES = {"system": "system", "human": "user", "ai": "assistant"}


class Stages:
    """What the stages share: the model, the sandbox, the agents. See `create_solver_graph`.

    Args:
        checkpointer: As `StateGraph.compile` takes it, for the search.
        link: Gives the address of the page that shows a thread's tree.
    """

    def __init__(
        self,
        model: RoutedModel | Path | str,
        *,
        agents: Any,
        executor: Executor | None,
        config: SolverConfig,
        search: SearchConfig,
        budget: Budget,
        keep: Keep | None,
        checkpointer: Literal[False] | None,
        link: Link | None = None,
    ) -> None:
        self._model = model
        self._opened: RoutedModel | None = None
        self.agents = as_agents(agents) if agents else ()
        self.config = config
        self.search = search
        self.budget = budget
        self.keep = keep
        self.link = link
        self._executor = executor
        self._own_executor: Executor | None = None
        self._lock = threading.Lock()
        self._closed = False
        self.search_app: Any = self._compiled_search(checkpointer)

    def run(self, state: Mapping[str, Any], context: Mapping[str, Any] | None, emit: Emit) -> "StageRun":
        """The stages of one run, at one of its nodes."""
        config, budget = read_context(context, self.config, self.budget)
        return StageRun(self, config, budget, state, emit)

    async def model(self) -> RoutedModel:
        """The routed model; the first call opens the library's folder."""
        if isinstance(self._model, RoutedModel):
            return self._model
        if self._opened is None or self._opened.closed:
            self._opened = await asyncio.to_thread(shared_model, self._model)
        return self._opened

    async def executor(self) -> Executor:
        """The sandbox; the first call creates it, unless the caller gave one."""
        found = self._executor or self._own_executor
        return found or await asyncio.to_thread(self._create_executor)

    def _create_executor(self) -> Executor:
        """Creates the sandbox once, even if several problems ask for it at the same time."""
        with self._lock:
            if self._closed:
                raise BDCError("this solver is closed; create another")
            if self._own_executor is None:
                self._own_executor = create_executor()
            return self._own_executor

    async def aclose(self) -> None:
        """Closes the sandbox, unless the caller gave it."""
        with self._lock:
            self._closed = True
            own, self._own_executor = self._own_executor, None
        if own is not None:
            await own.aclose()

    def _compiled_search(self, checkpointer: Literal[False] | None) -> Any:
        """The search, which is known before the sandbox is: a graph around it tells where its state is."""
        if not self.agents:
            return None
        graph = create_search_graph(
            self.agents, executor=_LateExecutor(self), search=self.search, link=self.link
        )
        return graph.compile(checkpointer=checkpointer, name="search")

    async def searching(self) -> Any:
        """The compiled search, and a sandbox for it."""
        await self.executor()
        return self.search_app

    @property
    def tier(self) -> str:
        """Name of the isolation in force; empty before anything has run."""
        found = self._executor or self._own_executor
        return found.tier if found else ""


class _LateExecutor:
    """The sandbox of the stages, which exists once something runs; see `Executor`."""

    def __init__(self, stages: Stages) -> None:
        self._stages = stages

    @property
    def tier(self) -> str:
        """See `Executor`."""
        return self._stages.tier

    async def run(self, job: Job) -> Verdict:
        """See `Executor`."""
        return await (await self._stages.executor()).run(job)

    async def aclose(self) -> None:
        """Nothing: the stages close their sandbox."""


class StageRun:
    """The stages for one problem.

    Args:
        state: The graph's state at the start of a node.
        emit: Takes events as plain dicts.
    """

    def __init__(
        self, stages: Stages, config: SolverConfig, budget: Budget, state: Mapping[str, Any], emit: Emit
    ) -> None:
        self._began = monotonic()
        self._stages = stages
        self._config = config
        self._budget = budget
        self._state = state
        self._emit = emit
        self._problem: Problem = problem_of(state.get("problem"))

    @property
    def seconds(self) -> float:
        """Wall time of the run so far."""
        return self._state.get("seconds", 0.0) + monotonic() - self._began

    # --- the stages -------------------------------------------------------------------------

    async def route(self, page: str | None = None) -> Json:
        """Weighs the experts for the problem.

        Args:
            page: Address of the page that shows the tree, once the problem is searched for.
        """
        model = await self._stages.model()
        weights = await model.place(await _text(self._problem))
        experts = {name: round(weight, 6) for name, weight in weights.experts.items()}
        routed = Routed(type="routed", problem=self._problem.id, experts=experts, routed_by=weights.by)
        if page:
            routed["tree_url"] = page
        self._emit(routed)
        return {
            **({"tree_url": page} if page else {}),
            "problem": self._problem.model_dump(mode="json"),
            "experts": experts,
            "routed_by": weights.by,
            "programs": [],
            "next": "answer",
            "usage": Usage().model_dump(),
            "seconds": monotonic() - self._began,
            "note": "",
            "searched": "",
            "answer": {},
        }

    async def answer(self) -> Json:
        """Writes the programs of one round together. If the prompt is too long, the search is next."""
        model, started = await self._stages.model(), monotonic()
        try:
            replies = await model.backend.generate(await self._requests(model))
        except PromptTooLong as error:
            if not self._may_escalate():
                raise
            return {"next": "escalate", "note": f"System 1 could not answer: {error}"}
        used = Usage.model_validate(self._state["usage"]) + Usage(seconds=monotonic() - started)
        programs: list[Json] = list(self._state["programs"])
        for reply in replies:
            cut = reply.finish == "length"
            read = partial(read_program, problem=self._problem, truncated=cut)
            code = await read_aside(read, reply.text, reply.text)
            used += Usage(
                calls=1, prompt_tokens=reply.prompt_tokens, completion_tokens=reply.completion_tokens
            )
            programs.append({"code": code, "confidence": reply.probability, "verdict": None})
            self._emit({"type": "answered", "code": code, "confidence": reply.probability})
        return {"next": "check", "programs": programs, "usage": used.model_dump()}

    async def _requests(self, model: RoutedModel) -> list[ChatRequest]:
        """The requests of this round, one a program; the prompt is the one of training."""
        messages = [
            {"role": _ROLES[message.type], "content": str(message.content)}
            for message in write_program(self._problem, ())
        ]
        asked = await model.request(
            messages, text=await _text(self._problem), max_tokens=self._config.max_tokens
        )
        first = len(self._state["programs"])
        drawn: Json = {"temperature": self._config.temperature, "top_p": self._config.top_p}
        return [
            replace(
                asked,
                seed=derive_seed(self._config.seed, self._problem.id, number),
                **(drawn if number else {}),
            )
            for number in range(first, first + self._round(first))
        ]

    async def check(self) -> Json:
        """Runs the new programs, and chooses the next node; empty at the end."""
        programs: list[Json] = [dict(program) for program in self._state["programs"]]
        if not programs:  # An edit of the state may leave none.
            return {"next": "answer"}
        tests = self._problem.public_tests
        if not tests:
            return {
                "next": "",
                "answer": best_of(self._problem, programs, self._common()).model_dump(mode="json"),
            }
        await self._execute(programs)
        answer = best_of(self._problem, programs, self._common())
        after, note = self._next(answer, len(programs))
        answer = answer.model_copy(update={"note": note})
        return {"next": after, "programs": programs, "answer": answer.model_dump(mode="json"), "note": note}

    async def escalate(self) -> Json:
        """Searches with the rest of the budget, and keeps the trace."""
        left = self._left()
        if left is None:
            answer = self._own().model_copy(update={"note": "the budget is used up"})
            return {"answer": answer.model_dump(mode="json")}
        caps = left.model_dump(exclude_none=True)
        self._emit({"type": "escalated", "problem": self._problem.id, "budget": caps})
        app = await self._stages.searching()
        state = await app.ainvoke(
            {"problem": self._problem.model_dump(mode="json")}, context={"budget": caps}
        )
        settings = {
            "search": self._stages.search.model_dump(mode="json"),
            "budget": caps,
            "agents": {agent.name: {"model": _model_of(agent)} for agent in self._stages.agents},
        }
        trace = trace_of(state, settings)
        keep = self._stages.keep
        name, note = await keep_trace(keep, trace) if keep is not None else ("", "")
        answer = better_of(self._own(), trace.solution, self._common(), kept=bool(name))
        answer = answer.model_copy(
            update={"note": "; ".join(part for part in (self._state["note"], note) if part)}
        )
        return {"answer": answer.model_dump(mode="json")}

    # --- helpers ----------------------------------------------------------------------------

    async def _execute(self, programs: list[Json]) -> None:
        """Adds a verdict to each program. Programs that differ only in layout run once."""
        executor = await self._stages.executor()
        known: dict[str, Json] = {
            program_key(program["code"]): program["verdict"] for program in programs if program["verdict"]
        }
        fresh = {
            key: program["code"] for program in programs if (key := program_key(program["code"])) not in known
        }
        jobs = (job_for(self._problem, code, self._problem.public_tests) for code in fresh.values())
        verdicts = await asyncio.gather(*(executor.run(job) for job in jobs))
        for key, verdict in zip(fresh, verdicts, strict=True):
            known[key] = verdict.model_dump(mode="json")
            self._emit({"type": "program", "code": fresh[key], "reward": verdict.reward})
        for program in programs:
            program["verdict"] = known[program_key(program["code"])]

    def _next(self, answer: SolverAnswer, written: int) -> tuple[str, str]:
        """The next node after a check; at the end of a failed run also the reason."""
        if answer.solved:
            return "", ""
        if self._left() is None:
            return "", "the budget is used up"
        if written < self._config.samples:
            return "answer", ""
        if self._may_escalate():
            return "escalate", ""
        why = "it has no agents" if not self._stages.agents else "`escalate` is off"
        return "", f"no program passes every public test, and the solver does not search: {why}"

    def _round(self, written: int) -> int:
        """How many programs to write now: one first, then all others that the budget's calls allow."""
        wanted = 1 if not written else self._config.samples - written
        left = self._left()
        return wanted if left is None or left.calls is None else min(wanted, left.calls)

    def _may_escalate(self) -> bool:
        tests = bool(self._problem.public_tests) or self._stages.search.self_tests
        return self._config.escalate and bool(self._stages.agents) and tests

    def _left(self) -> Budget | None:
        return rest_of(self._budget, Usage.model_validate(self._state["usage"]), self.seconds)

    def _common(self) -> Json:
        return {
            "experts": self._state["experts"],
            "routed_by": self._state["routed_by"],
            "usage": {SOLVER: Usage.model_validate(self._state["usage"])},
            "seconds": round(self.seconds, 3),
        }

    def _own(self) -> SolverAnswer:
        """System 1's answer; an empty one if it could not give any."""
        if self._state["answer"]:
            return SolverAnswer.model_validate(self._state["answer"])
        return SolverAnswer(problem_id=self._problem.id, solved=False, code="", **self._common())


async def _text(problem: Problem) -> str:
    """The part of a problem that is embedded, as in training."""

    def read() -> str:
        from bdc_agents.distill.items import problem_text

        return problem_text(problem)

    # In a thread, because the import would block the event loop.
    return await asyncio.to_thread(read)


def _model_of(agent: Any) -> str:
    return str(getattr(getattr(agent, "config", None), "model", agent.name))
