"""Calls of agents: made together within a budget, settled one by one."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from bdc_agents.agents.limits import grown
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.agents.replies.unread import Wanted, excerpt, why_unread
from bdc_agents.agents.usage import believed, of_failed
from bdc_agents.errors import AgentError, BDCError
from bdc_agents.search.events import Emit, Purpose
from bdc_agents.search.round.budget import Account
from bdc_agents.search.round.clock import now
from bdc_agents.search.state import Json
from bdc_agents.types import CallRecord, Frozen, Move, Usage, content_hash

S = TypeVar("S")
T = TypeVar("T")


class Call(Frozen):
    """One request to one agent, and the node it is for.

    Args:
        move: What a policy of moves planned it as.
    """

    agent: str
    purpose: Purpose
    node: str
    request: Request
    move: Move | None = None

    def with_room(self, max_tokens: int) -> "Call":
        """The call with a token limit for its reply."""
        return self.model_copy(update={"request": self.request.model_copy(update={"max_tokens": max_tokens})})

    @property
    def metadata(self) -> dict[str, str]:
        """What tracers are told of it."""
        return {"purpose": self.purpose, "node": self.node} | ({"move": self.move.kind} if self.move else {})


class Answer(Frozen):
    """What became of a call.

    Args:
        reply: None where none came.
        error: Why the agent failed; empty where the search ran out of time.
        lasting: Whether the agent can answer nothing else either.
        usage: Of the call, with what was tried again; one without a reply counts as a call that failed.
        room: The token limit that the agent needs, where this reply was cut off before it had it.
    """

    call: Call
    reply: Reply | None = None
    error: str = ""
    lasting: bool = False
    usage: Usage = Usage(calls=1, failed=1)
    room: int | None = None


def derive_seed(*parts: object) -> int:
    """A seed in [0, 2^31) that depends on the parts alone."""
    digest = sha256("/".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFFFFFF


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Does all of it at once; what is alone needs no task of its own."""
    parts = [*work]
    return [await parts[0]] if len(parts) == 1 else [*await asyncio.gather(*parts)]


async def ask(
    calls: Sequence[Call],
    agents: Mapping[str, Agent],
    deadline: float | None,
    emit: Emit,
    account: Account | None = None,
) -> list[Answer]:
    """Makes the calls at once and returns their answers in order.

    Args:
        calls: What to ask; each agent limits its own concurrency.
        agents: By name.
        deadline: Reading of the clock at which requests are cancelled.
        emit: Told of each answer as it comes.
        account: Where the calls are reserved; what they take is settled there. None for no caps.
    """
    account = account or Account({})
    asking = [_Asking(call, agents[call.agent], deadline, emit, account) for call in calls]
    return await together(one.answer() for one in asking)


class _Asking:
    """One call: its request, made again with more room where the reply is cut off."""

    def __init__(
        self, call: Call, agent: Agent, deadline: float | None, emit: Emit, account: Account
    ) -> None:
        self._call, self._agent, self._deadline = call, agent, deadline
        self._emit, self._account = emit, account

    async def answer(self) -> Answer:
        """What became of the call, which is told."""
        agent, purpose, node = self._call.agent, self._call.purpose, self._call.node
        self._emit({"type": "asked", "agent": agent, "purpose": purpose, "node": node})
        bound = self._agent.bound(self._call.request)
        answer = await self._try(self._call.request, bound)
        if answer.reply and answer.reply.truncated:
            more, wider = self._wider(answer.reply.text, bound)
            self._emit(
                {
                    "type": "truncated",
                    "agent": agent,
                    "purpose": purpose,
                    "node": node,
                    "max_tokens": bound.completion_tokens,
                    "again": more and more.max_tokens,
                }
            )
            if more and wider:
                answer = _after(answer, await self._try(more, wider), wider.completion_tokens)
        cut_at = (answer.room or bound.completion_tokens) if answer.reply and answer.reply.truncated else 0
        self._emit(
            {
                "type": "answered",
                "agent": agent,
                "purpose": purpose,
                "node": node,
                "usage": answer.usage.model_dump(),
                "error": answer.error,
                "cut_at": cut_at,
            }
        )
        return answer

    def _wider(self, text: str, bound: Usage) -> tuple[Request | None, Usage | None]:
        """The request with more room for its reply; none where the agent or the budget has no more."""
        limit = grown(bound.completion_tokens, text)
        more = self._call.request.model_copy(update={"max_tokens": limit})
        wider = self._agent.bound(more)
        if wider.completion_tokens <= bound.completion_tokens or self._account.reserve(wider):
            return None, None
        return more, wider

    async def _try(self, request: Request, bound: Usage) -> Answer:
        """One request, which is reserved, and settled whatever becomes of it."""
        spare = self._account.reserve_tries(bound.calls - 1) if self._account.limited else bound.calls - 1
        if spare < bound.calls - 1:
            request = request.model_copy(update={"tries": 1 + spare})
        # One that is cancelled may have been answered and charged all the same.
        used = bound.model_copy(update={"calls": 1, "failed": 1})
        try:
            answer = await self._ask(request, bound, used)
            used = answer.usage
        finally:
            if self._account.limited:
                self._account.settle(bound, used, 1 + spare)
        return answer

    async def _ask(self, request: Request, bound: Usage, cancelled: Usage) -> Answer:
        if self._deadline is not None and self._deadline <= now():
            return Answer(call=self._call, usage=Usage())
        try:
            async with asyncio.timeout_at(self._deadline):
                traced = request.model_copy(update={"metadata": self._call.metadata})
                reply = await self._agent.reply(traced)
        except BDCError as error:  # also weights that cannot be had
            reason = error.reason if isinstance(error, AgentError) else str(error)
            lasting = not isinstance(error, AgentError) or error.lasting
            return Answer(call=self._call, error=reason, lasting=lasting, usage=_of_failed(error, bound))
        except TimeoutError:
            return Answer(call=self._call, usage=cancelled)
        used = believed(reply.usage, bound, reply.text)
        if reply.truncated:
            used += Usage(truncated=1)
        return Answer(call=self._call, reply=reply, usage=used)


def _of_failed(error: BDCError, bound: Usage) -> Usage:
    """What a failed call took: a call at least, so that no search makes it for ever."""
    used = believed(of_failed(error), bound, "")
    return used.model_copy(update={"failed": max(1, used.failed)})


def _after(cut: Answer, again: Answer, limit: int) -> Answer:
    """The second answer with what both took; the first where the second is none."""
    usage = cut.usage + again.usage
    if again.reply is None:
        return cut.model_copy(update={"usage": usage})
    return again.model_copy(update={"usage": usage, "room": limit})


_LONG = 8_000
"""Characters. A program with words around it is shorter and read in milliseconds; a hostile reply takes
seconds of CPU by its length, in which other searches of this event loop would stand still."""


async def read_each(read: Callable[[Answer], T], answers: Sequence[Answer]) -> list[T]:
    """What is read in each answer, in order; a long one in a thread, so that the event loop goes on.

    One after another: the result does not depend on which thread is done first.
    """
    return [await read_aside(read, answer, answer.reply.text if answer.reply else "") for answer in answers]


async def read_aside(read: Callable[[S], T], given: S, text: str) -> T:
    """What is read in something, in a thread where its text is long."""
    return await asyncio.to_thread(read, given) if len(text) > _LONG else read(given)


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


def records(
    answers: Sequence[Answer], before: Mapping[str, Json], malformed: Sequence[Answer] = ()
) -> dict[str, Json]:
    """What became of each call, as a trace keeps it, by its prompt and seed.

    Args:
        answers: In the order in which they were planned.
        before: The calls before them. One that is made again, since its reply held nothing, is another call.
        malformed: Those whose reply could not be read; an excerpt of it is kept.
    """
    found: dict[str, Json] = {}
    unread = {id(answer) for answer in malformed}
    for order, answer in enumerate(answers, len(before)):
        request, used = answer.call.request, answer.usage
        prompt = content_hash("\0".join(str(message.content) for message in request.messages))
        record = CallRecord(
            order=order,
            agent=answer.call.agent,
            purpose=answer.call.purpose,
            node=answer.call.node,
            move=answer.call.move,
            prompt=prompt,
            seed=request.seed,
            prompt_tokens=used.prompt_tokens,
            completion_tokens=used.completion_tokens,
            cost=used.cost,
            seconds=round(used.seconds, 3),
            cached=used.cached > 0,
            error="" if answer.reply else (answer.error or TIME_IS_UP)[:_ERROR],
            **(_unread(answer) if id(answer) in unread else {}),
        )
        key = f"{prompt}/{answer.call.agent}/{request.seed}"
        while key in before or key in found:
            key += "/again"
        found[key] = record.model_dump(mode="json", exclude_defaults=True)
    return found


def _unread(answer: Answer) -> dict[str, str]:
    """Why nothing was read in a reply, and an excerpt of what it said."""
    reply = answer.reply
    if reply is None:
        return {}
    wanted = _WANTED.get(answer.call.purpose, "thought")
    why = why_unread(reply.text, wanted, truncated=reply.truncated)
    return {"unread": why, "said": excerpt(reply.text)}


_WANTED: Mapping[Purpose, Wanted] = {"boost": "program", "repair": "program", "split": "output"}

TIME_IS_UP = "the time was up"
"""Why no reply came to a call that was cut off, or had to be left out, when the search ended."""
_ERROR = 300
"""Characters of an error in a trace: endpoints answer with whole pages."""


def failures(answers: Sequence[Answer]) -> dict[str, str]:
    """Why calls failed, by agent: the last reason of each."""
    return {answer.call.agent: answer.error for answer in answers if answer.error}


def rooms(answers: Sequence[Answer]) -> dict[str, int]:
    """The token limits that agents turned out to need."""
    found: dict[str, int] = {}
    for answer in answers:
        if answer.room:
            found[answer.call.agent] = max(answer.room, found.get(answer.call.agent, 0))
    return found
