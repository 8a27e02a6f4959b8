"""The solver behind the server: `bdc-solver` answers, checks, and searches where its answer fails."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from bdc_agents.chat.understanding import Heard, Known, hear
from bdc_agents.config import SearchConfig
from bdc_agents.errors import ConfigError
from bdc_agents.search.context import settings_of
from bdc_agents.serve.http.openai import ChatBody, Refused
from bdc_agents.serve.http.search import IGNORED, check_form, content, ending_within
from bdc_agents.serve.http.served import Answer, Piece, Solved
from bdc_agents.serve.solver.answers import SolverAnswer
from bdc_agents.serve.solver.runnable import BDCSolver
from bdc_agents.serve.solver.tool import told_of_answer
from bdc_agents.types import Usage
from bdc_agents.view.text import passes, plural

SOLVER = "bdc-solver"


class SolverModel:
    """The solver as a model of the server. It reads a conversation's problem as `create_chat_graph` does.

    Args:
        solver: Freed when the server ends.
        seconds: Longest answer to a request: its budget ends a little before.
    """

    names = (SOLVER,)
    ignores = IGNORED

    def __init__(self, solver: BDCSolver, seconds: float = 300.0) -> None:
        self._solver = solver
        self._seconds = seconds

    @property
    def owner(self) -> str:
        """The library's name."""
        return self._solver.model.name

    async def answers(self, body: ChatBody) -> list[Answer]:
        """The one answer."""
        async with aclosing(self.stream(body)) as pieces:
            return [piece.answer async for piece in pieces if piece.answer is not None]

    async def stream(self, body: ChatBody) -> AsyncGenerator[Piece]:
        """What was understood, as reasoning; then the answer."""
        check_form(body)
        if (body.n or 1) > 1:
            raise Refused("the solver gives one answer: ask for n = 1", param="n")
        context = self._context(body)
        heard = await asyncio.to_thread(hear, body.texts(), Known())
        problem = heard.problem
        if problem is None or heard.does == "say":
            raise Refused(heard.text, param="messages", code="problem_not_understood")
        reasoning = _understood(heard)
        yield Piece(reasoning=reasoning)
        answer = await self._solver.ainvoke(problem, None, **context)
        told, used = _told(answer), sum(answer.usage.values(), Usage())
        text = content(body, told_of_answer(answer), told)
        yield Piece(text)
        yield Piece(
            answer=Answer(text, used.prompt_tokens, used.completion_tokens, reasoning=reasoning, told=told)
        )

    def _context(self, body: ChatBody) -> dict[str, Any]:
        """The settings of one request: its budget and seed.

        Raises:
            Refused: If the budget cannot be used.
        """
        caps = {key: value for key, value in (body.budget or {}).items() if value is not None}
        try:
            _, budget = settings_of(None, caps)
        except ConfigError as error:
            raise Refused(str(error).replace("context: budget", "budget"), param="budget") from None
        if budget.seconds is not None:
            caps["seconds"] = ending_within(self._seconds, SearchConfig(), budget)[1].seconds
        return caps | ({} if body.seed is None else {"seed": body.seed % 2**31})

    async def aclose(self) -> None:
        """Frees the solver's model, sandbox and agents."""
        await self._solver.aclose()


def _understood(heard: Heard) -> str:
    problem = heard.problem
    assert problem is not None
    what = problem.entry_point or "a program that reads standard input"
    return f"I understood: {what}, with {plural(len(problem.public_tests), 'test')}.\n\n"


def _told(answer: SolverAnswer) -> Solved:
    passed, tests = passes(answer.verdict)
    return Solved(
        solved=answer.solved,
        passed=passed,
        tests=tests,
        system=answer.system,
        confidence=answer.confidence,
        experts=answer.experts,
        code=answer.code,
        stopped_by=answer.stopped_by,
        calls=sum(used.calls for used in answer.usage.values()),
        seconds=answer.seconds,
    )
