"""`ChatAgent`: an agent over a LangChain chat model or another Runnable."""

import asyncio
import json
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from bdc_agents.agents.answered import (
    as_message,
    had_an_error,
    text_of,
    thought,
    was_filtered,
    was_truncated,
)
from bdc_agents.agents.cache import ReplyCache, reply_key
from bdc_agents.agents.described import address, hide, long_secrets, model_name, price_of, reasons, secrets
from bdc_agents.agents.failures import LONGEST_WAIT, Endpoint, Failure, diagnose, how_long, shown_url
from bdc_agents.agents.knobs import (
    LONGEST_SEED,
    Mode,
    Plan,
    fallback_plan,
    modes,
    prepare,
    told,
    with_instruction,
)
from bdc_agents.agents.limits import LONGEST_REASONED, LONGEST_REPLY, Pace
from bdc_agents.agents.prices import Price, cached_tokens
from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.agents.runnables import Answering, input_of, is_one_model, models_in, with_models
from bdc_agents.agents.usage import BYTES_PER_TOKEN, counts_of, size, tokens_told
from bdc_agents.config import AgentConfig
from bdc_agents.errors import AgentError, BDCError
from bdc_agents.types import Usage

log = logging.getLogger(__name__)

Prepare = Callable[[], Awaitable[object]]

_TOLD_WAIT = 5.0
"""Seconds from which on a wait that a server asks for is told: shorter ones are over before one wonders."""
_BACKOFF_CAP = 30.0
"""Longest pause before a retry when the server names none. Chosen, not measured."""
_RESEED = 7919
"""Step of the seed after an empty reply: the same seed would give the same nothing. Any step but 0 works."""

_MOST_FALLBACKS = 12
"""Fallback plans for one request; each leaves out at least one parameter or mode. Chosen, not measured: an
endpoint that refuses more refuses everything."""

_TEMPLATE_TOKENS = 256
"""Tokens that a chat template may add, for the bound: some add a system prompt of their own."""
_MESSAGE_TOKENS = 16
"""Tokens that a chat template may add to each message, for the bound: role names and marks."""


_TAGS = ("bdc-agents", TAG_NOSTREAM)
"""Of each run of an agent's LLM. An agent answers the search: where a graph around it streams messages, chat
clients would show its raw replies, mostly JSON, as answers to the person."""


class ChatAgent:
    """An agent over anything that answers messages: adds limits, retries, usage, JSON replies, a cache.

    Safe to share between concurrent searches. Several event loops may use it one after another if
    `model` is a function, which then builds a new model for each.

    Args:
        name: Its name in the configuration.
        model: A chat model without retries of its own, a Runnable that answers messages, or a
            function that builds either.
        config: Limits and sampling parameters; None for the defaults.
        cache: Reply cache; None for none.
        identity: Tells this LLM from all others in the cache, such as the hash of its weights;
            None for its address and name.
        price: Price of its tokens; None looks it up.
        key: The environment variable that holds its API key, for messages.
        reasoning: Whether the LLM reasons before it answers; also detected from a given chat model.
        prepare: Awaited before each request outside its time limit, for example to start a server.
        backoff: Seconds before the first retry; doubled for each further one. Half a second, as the SDK of
            OpenAI waits.
    """

    def __init__(
        self,
        name: str,
        model: Answering | Callable[[], Answering],
        config: AgentConfig | None = None,
        cache: ReplyCache | None = None,
        *,
        identity: str | None = None,
        price: Price | None = None,
        key: str = "",
        reasoning: bool = False,
        prepare: Prepare | None = None,
        backoff: float = 0.5,
    ) -> None:
        self._name = name
        self._model = model
        inside = models_in(model) if isinstance(model, Runnable) else []
        first = inside[0] if inside else model
        self.config = config or AgentConfig(model=model_name(first) or name)
        self._cache = cache
        self._identity = (
            identity or f"{shown_url(address(first)) or type(first).__name__}|{self.config.model}"
        )
        self._price = price or price_of(self.config, first)
        self._key = key or self.config.api_key_env or ""
        self._usual = LONGEST_REASONED if reasoning or any(map(reasons, inside)) else LONGEST_REPLY
        self._prepare = prepare
        self._backoff = backoff
        self._pace = Pace(self.config.requests_per_second)
        self._here: dict[asyncio.AbstractEventLoop, _LoopPart] = {}
        self._working_plans: dict[bool, Plan] = {}  # The plan that worked, without and with a schema.
        self._notes: list[str] = []
        self._answered = False  # Whether a reply has ever come.
        self._absent = False  # Whether all tries of a call found nobody listening.

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._name

    @property
    def notes(self) -> tuple[str, ...]:
        """What the agent sends differently because the endpoint refused it, one sentence each."""
        return tuple(self._notes)

    def __repr__(self) -> str:
        return f"<ChatAgent {self._name!r}: {self.config.model}>"

    # --- what a call can take ---------------------------------------------------------------

    def bound(self, request: Request) -> Usage:
        """The most that this call can take; a budget reserves it before the call.

        It counts a token for each byte, and no tokenizer makes more. It holds if the endpoint keeps
        the token limit. All attempts share the tokens; one without a response takes none, but counts
        as a call.
        """
        sent = sum(_bytes(message) for message in request.messages)
        schema = len(json.dumps(request.json_schema).encode()) if request.json_schema is not None else 0
        prompt = sent + schema + _TEMPLATE_TOKENS + _MESSAGE_TOKENS * len(request.messages)
        completion = self._longest(request)
        cost = self._price.bound(prompt, completion)
        return Usage(
            calls=self._tries(request), prompt_tokens=prompt, completion_tokens=completion, cost=cost
        )

    def _longest(self, request: Request) -> int:
        """The token limit of the reply: the setting, or else the request's, or else the usual one."""
        return self.config.max_tokens or request.max_tokens or self._usual

    def _tries(self, request: Request) -> int:
        return min(request.tries or math.inf, 1 + self.config.retries)  # pyright: ignore[reportReturnType]

    # --- calls ------------------------------------------------------------------------------

    async def reply(self, request: Request) -> Reply:
        """Answers one request; takes the reply from the cache if there is one.

        Raises:
            AgentError: If it did not answer after its retries.
        """
        request = request.model_copy(update={"temperature": self._temperature(request)})
        reply = await self._cached(request)
        return reply if request.temperature else reply.model_copy(update={"sampled": False})

    async def _cached(self, request: Request) -> Reply:
        if self._cache is None:
            return await self._ask(request)
        config = self.config
        key = reply_key(
            self._identity,
            request.model_copy(update={"max_tokens": None}),
            max_tokens=self._longest(request),
            structured=config.structured,
            options=config.shaping,
        )
        return await self._cache.fetch(key, lambda: self._ask(request))

    def _temperature(self, request: Request) -> float:
        own = self.config.temperature
        return request.temperature if own is None else own

    async def _ask(self, request: Request) -> Reply:
        """Makes the call; retries if that may help, and leaves out what the endpoint refuses."""
        spent, tries, fallbacks, plan, asked = Usage(), 0, 0, self._plan(request), request
        while True:
            outcome = await self._attempt(asked, plan)
            if isinstance(outcome, Reply):
                self._keep_plan(request, plan)
                self._answered = True
                return outcome.model_copy(update={"usage": spent + outcome.usage})
            failure, used = outcome
            spent += used
            self._absent = self._absent and failure.refused
            if fallbacks < _MOST_FALLBACKS and (other := self._fallback_plan(request, failure, plan)):
                plan, fallbacks = other, fallbacks + 1
                continue
            tries += 1
            if not self._again(request, failure, tries, spent):
                self._absent = failure.refused and (self._absent or tries > self.config.retries)
                reason = self._explain(failure, tries)
                raise AgentError(self._name, reason, spent, lasting=failure.lasting) from None
            if failure.kind == "empty":
                asked = request.model_copy(update={"seed": (request.seed + tries * _RESEED) % LONGEST_SEED})
            await self._pause(failure, tries)

    def _fallback_plan(self, request: Request, failure: Failure, plan: Plan) -> Plan | None:
        here, limit = self._in_this_loop(), plan.limit(self._longest(request))
        return fallback_plan(plan, failure, self._modes(), here.first, limit)

    def _keep_plan(self, request: Request, plan: Plan) -> None:
        """Keeps the plan that worked, and warns once of what it leaves out."""
        self._working_plans[request.json_schema is not None] = plan.lasting
        for note in told(plan, self._modes()[0]):
            if note not in self._notes:
                self._notes.append(note)
                log.warning("agent %r: %s", self._name, note)

    def _plan(self, request: Request) -> Plan:
        structured = request.json_schema is not None
        if structured in self._working_plans:
            return self._working_plans[structured]
        refused = frozenset[str]().union(*(plan.refused for plan in self._working_plans.values()))
        longest = min((plan.longest for plan in self._working_plans.values() if plan.longest), default=None)
        return Plan(self._modes()[0] if structured else "text", refused, longest)

    async def _attempt(self, request: Request, plan: Plan) -> "Reply | tuple[Failure, Usage]":
        """Makes one request: the reply, or the failure with its usage."""
        if self._prepare is not None:
            await self._prepare()
        here = self._in_this_loop()
        async with here.gate:
            await self._pace.turn()
            started = time.perf_counter()
            try:
                message, messages = await self._invoke(here, request, plan)
            except BDCError:
                raise
            except Exception as error:
                failure = self._judged(diagnose(error))
                hidden = hide(failure.detail, secrets(models_in(here.model), self.config))
                charged = int(failure.charged)
                used = Usage(calls=charged, failed=1, seconds=time.perf_counter() - started)
                return replace(failure, detail=hidden), used
            usage = self._usage(request, message, messages, time.perf_counter() - started)
        text, truncated = text_of(message), was_truncated(message)
        if failure := _no_reply(message, text, truncated):
            return failure, usage.model_copy(update={"failed": 1})
        # A gateway may echo what it was sent; a reply ends up in prompts, programs and traces.
        text = hide(text, long_secrets(models_in(here.model), self.config))
        return Reply(text=text, usage=usage, truncated=truncated)

    async def _invoke(
        self, here: "_LoopPart", request: Request, plan: Plan
    ) -> tuple[AIMessage, list[BaseMessage]]:
        """The model's message, and the messages that were sent."""
        runnable, messages = self._prepared(here, request, plan)
        config = RunnableConfig(tags=[*_TAGS, f"agent:{self._name}"], metadata=self._metadata(request))
        if not models_in(runnable):
            config["run_name"] = self._run_name(request)
        async with asyncio.timeout(self.config.timeout):
            answer = await runnable.ainvoke(input_of(runnable, messages), config)
        message = as_message(answer)
        if message is None:
            raise _NoMessage(f"an agent answers with a message, not with a {type(answer).__name__}")
        return message, messages

    def _run_name(self, request: Request) -> str:
        """What tracers call a run of the LLM, such as `small: boost`."""
        purpose = request.metadata.get("purpose")
        return f"{self._name}: {purpose}" if purpose else self._name

    def _metadata(self, request: Request) -> dict[str, str]:
        return {"agent": self._name, **request.metadata}

    def _prepared(
        self, here: "_LoopPart", request: Request, plan: Plan
    ) -> tuple[Answering, list[BaseMessage]]:
        sent: list[list[BaseMessage]] = []

        def put(model: BaseChatModel) -> Answering:
            runnable, messages = prepare(model, request, plan, max_tokens=self._longest(request))
            sent.append(messages)
            # On the model itself, so that its run has the name also behind a prompt or in a fallback.
            return runnable.with_config(run_name=self._run_name(request))

        runnable = with_models(here.model, put)
        if sent:
            return runnable, sent[0]
        messages = list(request.messages)
        schema = request.json_schema
        return runnable, messages if schema is None else with_instruction(messages, schema)

    def _usage(
        self, request: Request, message: AIMessage, messages: list[BaseMessage], seconds: float
    ) -> Usage:
        """The usage that the endpoint reports if it is plausible, otherwise an estimate."""
        metadata: dict[str, Any] = dict(message.usage_metadata or {})
        told_prompt, told_completion = counts_of(metadata)
        text, thoughts = text_of(message), thought(message)
        limit, written = self._longest(request), size(text) + (size(thoughts) if thoughts != text else 0)
        guess = math.ceil(written / BYTES_PER_TOKEN)
        prompt, wrong_prompt = tokens_told(
            told_prompt,
            most=self.bound(request).prompt_tokens,
            estimate=math.ceil(sum(_bytes(sent) for sent in messages) / BYTES_PER_TOKEN),
        )
        completion, wrong_completion = tokens_told(
            told_completion,
            most=max(limit, written),
            # The estimate may lie above the limit by chance. Twice the limit means that it was not kept.
            estimate=guess if guess > 2 * limit else min(guess, limit),
        )
        return Usage(
            calls=1,
            prompt_tokens=prompt,
            completion_tokens=completion,
            excess=max(0, completion - limit),
            misreported=int(wrong_prompt or wrong_completion),
            cost=self._price.cost(prompt, completion, **cached_tokens(metadata)),
            seconds=seconds,
        )

    # --- retries ----------------------------------------------------------------------------

    def _judged(self, failure: Failure) -> Failure:
        """The failure, made final if this agent has never answered and retries are hopeless.

        A web page from an agent that never answered means a wrong address; from one that did, trouble of
        a proxy. If nobody listens and nobody ever did, the tries of one call suffice for a server that is
        about to start; further calls ask once each. A server that has answered may be restarting, so
        each call waits for it with all its tries.
        """
        if self._answered:
            return failure
        hopeless = failure.kind == "foreign" or (failure.refused and self._absent)
        return replace(failure, final=True) if hopeless else failure

    def _again(self, request: Request, failure: Failure, tries: int, spent: Usage) -> bool:
        """Whether to try again: it may help, is allowed, and stays within the bound."""
        if not failure.passing or tries > self.config.retries or (failure.wait or 0.0) > LONGEST_WAIT:
            return False
        most, limit = self.bound(request), self._longest(request)
        if spent.calls >= most.calls:
            return False
        cost = (spent.cost or 0.0) + (self._price.bound(spent.prompt_tokens, limit) or 0.0)
        tokens = spent.tokens + spent.prompt_tokens + limit
        return tokens <= most.tokens and (most.cost is None or cost <= most.cost)

    async def _pause(self, failure: Failure, tries: int) -> None:
        """Waits as long as the server asks, or twice as long as before."""
        if failure.wait is not None:
            longer = self._pace.hold(failure.wait)
            if longer >= _TOLD_WAIT:  # Not for each of the calls that the same limit turned away.
                why = failure.status or failure.kind
                log.warning(
                    "agent %r: its endpoint asks to wait %s (%s)", self._name, how_long(failure.wait), why
                )
        # Between half and one and a half times the pause, so that callers who failed together come apart.
        delay = min(_BACKOFF_CAP, self._backoff * 2 ** (tries - 1)) * random.uniform(0.5, 1.5)
        await asyncio.sleep(max(delay, failure.wait or 0.0))

    def _explain(self, failure: Failure, tries: int) -> str:
        endpoint = Endpoint(
            model=self.config.model,
            url=shown_url(address(self._in_this_loop().first)),
            key=self._key,
            timeout=self.config.timeout,
        )
        return failure.explain(endpoint, tries)

    # --- the model in this event loop -------------------------------------------------------

    def _in_this_loop(self) -> "_LoopPart":
        """The model and gate of the running loop; connections and locks cannot cross loops."""
        loop = asyncio.get_running_loop()
        if loop not in self._here:
            self._forget_closed_loops()
            model = self._model if isinstance(self._model, Runnable) else self._model()
            self._here[loop] = _LoopPart(model, asyncio.Semaphore(self.config.concurrency))
        return self._here[loop]

    def _forget_closed_loops(self) -> None:
        self._here = {loop: here for loop, here in self._here.items() if not loop.is_closed()}

    def _modes(self) -> tuple[Mode, ...]:
        here = self._in_this_loop()
        return modes(here.first, self.config.structured) if is_one_model(here.model) else ("prompt",)

    async def aclose(self) -> None:
        """Closes the agent's connections; a later request makes new ones."""
        self._forget_closed_loops()
        here = self._here.pop(asyncio.get_running_loop(), None)
        if here is not None and not isinstance(self._model, Runnable):
            client = getattr(here.first, "root_async_client", None)
            if client is not None:
                await client.close()


@dataclass(frozen=True)
class _LoopPart:
    """The model and the gate of one event loop."""

    model: Answering
    gate: asyncio.Semaphore

    @property
    def first(self) -> object:
        """The chat model that is asked first; the Runnable itself if none can be found in it."""
        return next(iter(models_in(self.model)), self.model)


class _NoMessage(Exception):
    """A Runnable answered with something other than a message; retries would not help."""


def _no_reply(message: AIMessage, text: str, truncated: bool) -> Failure | None:
    """The failure that a message is; None if it is a reply."""
    if had_an_error(message):
        return Failure("malformed", "the server behind it failed half way")
    if text.strip() or truncated:
        return None
    return Failure("filtered" if was_filtered(message) else "empty")


def _bytes(message: BaseMessage) -> int:
    content = message.content
    return len(
        (content if isinstance(content, str) else json.dumps(content, default=str)).encode("utf-8", "replace")
    )
