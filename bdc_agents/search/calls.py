"""Calls of agents: made together, settled one by one."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from hashlib import sha256
from time import monotonic
from typing import Any, Literal, TypeVar

from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.errors import AgentError, BDCError
from bdc_agents.search.state import Emit, Json
from bdc_agents.types import Frozen, Usage

T = TypeVar("T")
Purpose = Literal["expand", "boost", "refine", "merge", "judge", "tests"]


class Call(Frozen):
    """One request to one agent, and the node it is for."""

    agent: str
    purpose: Purpose
    node: str
    request: Request


class Answer(Frozen):
    """What became of a call.

    Args:
        reply: None where none came.
        error: Why the agent failed; empty where the search ran out of time.
        spent: What the attempts of a failed call took.
    """

    call: Call
    reply: Reply | None = None
    error: str = ""
    spent: Usage = Usage(failed=1)

    @property
    def usage(self) -> Usage:
        """Of this call; a call without a reply counts as failed."""
        return self.reply.usage if self.reply else self.spent + Usage(calls=1)


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2^31) that depends on the parts alone."""
    digest = sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Does all of it at once; what is alone needs no task of its own."""
    parts = [*work]
    return [await parts[0]] if len(parts) == 1 else [*await asyncio.gather(*parts)]


async def ask(
    calls: Sequence[Call], agents: Mapping[str, Agent], deadline: float | None, emit: Emit
) -> list[Answer]:
    """Makes the calls at once and returns their answers in order.

    Args:
        calls: What to ask; each agent limits its own concurrency.
        agents: By name.
        deadline: Reading of the monotonic clock, in seconds, after which replies are no longer waited for.
        emit: Told of each answer as it comes.
    """
    return await together(_ask_one(call, agents[call.agent], deadline, emit) for call in calls)


async def _ask_one(call: Call, agent: Agent, deadline: float | None, emit: Emit) -> Answer:
    emit({"type": "asked", "agent": call.agent, "purpose": call.purpose, "node": call.node})
    left = None if deadline is None else max(0.0, deadline - monotonic())
    try:
        async with asyncio.timeout(left):
            answer = Answer(call=call, reply=await agent.reply(call.request))
    except BDCError as error:  # also weights that cannot be had
        failed = error if isinstance(error, AgentError) else AgentError(call.agent, str(error))
        answer = Answer(call=call, error=failed.reason, spent=failed.usage or Usage(failed=1))
    except TimeoutError:
        answer = Answer(call=call)
    emit(_answered(answer))
    return answer


def _answered(answer: Answer) -> Json:
    call = answer.call
    return {
        "type": "answered",
        "agent": call.agent,
        "purpose": call.purpose,
        "node": call.node,
        "usage": answer.usage.model_dump(),
        "error": answer.error,
    }


def settle(answers: Sequence[Answer], malformed: Sequence[Answer] = ()) -> dict[str, Json]:
    """What the calls used, by agent.

    Args:
        answers: All answers.
        malformed: Those whose reply could not be read.
    """
    used: dict[str, Usage] = {}
    for answer in answers:
        used[answer.call.agent] = used.get(answer.call.agent, Usage()) + answer.usage
    for answer in malformed:
        used[answer.call.agent] = used[answer.call.agent] + Usage(malformed=1)
    return {name: usage.model_dump() for name, usage in used.items()}


def failures(answers: Sequence[Answer]) -> dict[str, str]:
    """Why agents failed, by agent: they take no further part."""
    return {answer.call.agent: answer.error for answer in answers if answer.error}
