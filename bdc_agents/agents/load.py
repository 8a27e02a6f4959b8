"""Loads agents: from settings, from model strings such as `openai:gpt-4o-mini`, from chat models."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self, TypeGuard

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import HumanMessage
from langchain_core.runnables import Runnable
from pydantic import ValidationError

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.described import model_name, reasons
from bdc_agents.agents.failures import shown_url
from bdc_agents.agents.protocol import Agent, Request
from bdc_agents.agents.providers import chat_model, check_local, endpoint_of, key_variables
from bdc_agents.agents.runnables import Answering, bound_arguments, input_of, models_in
from bdc_agents.config import AgentConfig, Settings, explain, load_settings
from bdc_agents.errors import AgentError, BDCError, ConfigError, unknown
from bdc_agents.sync import run_sync
from bdc_agents.types import Frozen

LOCAL = "local:"


class LoadedAgents(list[Agent]):
    """Agents that are closed together: `async with load_agents() as agents`, or `with`.

    They may be used again afterwards, and then hold connections and local servers anew.
    """

    async def aclose(self) -> None:
        """Closes every agent, also where closing another fails; the failure is raised in the end."""
        async with AsyncExitStack() as closing:
            for agent in self:
                closing.push_async_callback(agent.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        run_sync(self.aclose())


def load_agents(
    settings: Settings | Path | str | None = None,
    names: Sequence[str] | None = None,
    *,
    replies: ReplyCache | None = None,
) -> LoadedAgents:
    """Loads the agents of a project. Calls and starts nothing yet.

    With `async with load_agents() as agents`, or `with`, connections and local servers are freed at the end.

    Args:
        settings: Settings, or their file; None for `bdc.toml` in the working directory.
        names: Configured names, model strings such as `openai:gpt-4o-mini` and
            `local:qwen2.5-coder-0.5b`, or `MODEL@http://HOST/v1`; None for all configured agents. A
            name that comes twice gives two agents with distinct names.
        replies: The reply cache; None for the one of the settings.

    Raises:
        ConfigError: If a name or setting is unknown or malformed, or an API key is missing.
        ModelError: If a model is unknown, or a package that it needs is not installed.
    """
    if not isinstance(settings, Settings):
        settings = load_settings(settings)
    # A single name is meant as one, not as its letters.
    chosen = [names] if isinstance(names, str) else list(settings.agents if names is None else names)
    if not chosen:
        raise ConfigError(
            "no agents: add a table such as [agents.small] with model = 'local:qwen2.5-coder-0.5b' to "
            "the settings, or name a model such as openai:gpt-4o-mini"
        )
    configs = [_config(name, settings) for name in chosen]
    cache = replies or ReplyCache.open(settings.store)
    named = zip(distinct(chosen), configs, strict=True)
    return LoadedAgents(_agent(name, config, cache) for name, config in named)


def _config(name: str, settings: Settings) -> AgentConfig:
    config = settings.agent(name)
    before, colon, after = config.model.partition(":")
    if name in settings.agents or config.base_url or (before and colon and after):
        return config
    hint = (
        "; write a model as provider:model, such as openai:gpt-4o-mini, or as NAME@http://HOST/v1 for an "
        "endpoint of yours"
    )
    told = unknown("agent", name, settings.agents)
    raise ConfigError(told if "did you mean" in told else told + hint)


def _agent(name: str, config: AgentConfig, cache: ReplyCache | None) -> Agent:
    if config.model.startswith(LOCAL) and not config.base_url:
        from bdc_agents.agents.local import local_agent

        check_local(config)
        return local_agent(name, config, cache)
    endpoint, build = endpoint_of(config), chat_model(name, config)
    return ChatAgent(
        name,
        build,
        config,
        cache,
        identity=f"{shown_url(endpoint) or endpoint}|{config.model}",
        key=" or ".join(key_variables(config)),
        reasoning=_reasons(config, build),
    )


def _reasons(config: AgentConfig, build: Callable[[], BaseChatModel]) -> bool:
    """Whether an agent reasons: as the settings say, or else judged by its model."""
    think = config.ollama.think if config.ollama else None
    if config.reasoning_effort is not None or think is not None:
        return config.reasoning_effort not in (None, "none") or bool(think)
    return reasons(build())


def distinct(names: Iterable[str]) -> list[str]:
    """The names in order; a repeated name gets a number: a, b, a-2."""
    names = list(names)
    taken: set[str] = set()
    result: list[str] = []
    for name in names:
        number, fresh = 1, name
        while fresh in taken or (number > 1 and fresh in names):
            number += 1
            fresh = f"{name}-{number}"
        taken.add(fresh)
        result.append(fresh)
    return result


def as_agents(
    models: Mapping[str, Agent | Answering] | Sequence[Agent | Answering],
) -> tuple[Agent, ...]:
    """Makes agents of the caller's chat models; agents among them stay as they are.

    Any Runnable that answers messages will do: a chat model, also with `bind`, `with_config`,
    `with_retry` or `with_fallbacks`, a prompt piped into one, a compiled graph with a state of messages.

    Args:
        models: Chat models by name, or a list; in a list each is named after its model.

    Raises:
        ConfigError: If there are none, one cannot be an agent, or a name is empty or comes twice.
    """
    if _is_answering(models) or isinstance(models, str):
        raise ConfigError(
            f"agents are given by name or as a list: {{'a': model}}, not one {type(models).__name__}"
        )
    named = list(models.items()) if isinstance(models, Mapping) else _named(models)
    if not named:
        raise ConfigError("no agents: pass at least one chat model or agent")
    agents = tuple(_as_agent(name, model) for name, model in named)
    names = [agent.name for agent in agents]
    if not all(name.strip() for name in names):
        raise ConfigError(f"an agent has an empty name, among {names}; give each one a name")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"agents need distinct names, but these come twice: {', '.join(twice)}")
    return agents


def _named(models: Sequence[Agent | Answering]) -> list[tuple[str, Agent | Answering]]:
    raw = [model for model in models if _is_answering(model)]
    names = iter(distinct(_name_of(model) for model in raw))
    return [(next(names) if _is_answering(model) else "", model) for model in models]


def _is_answering(model: object) -> TypeGuard[Answering]:
    return isinstance(model, Runnable) and not isinstance(model, Agent)


def _name_of(model: Answering) -> str:
    first = next(iter(models_in(model)), None)
    return model_name(first) or type(first or model).__name__


def _as_agent(name: str, model: object) -> Agent:
    if _is_answering(model):
        input_of(model, ())  # Raises now if the prompt before the model cannot take messages.
        return ChatAgent(name, model, _own_config(name, model))
    if not isinstance(model, Agent):
        given = repr(model) if isinstance(model, str) else f"a {type(model).__name__}"
        raise ConfigError(
            f"{given:.80} is neither a chat model, nor another Runnable that answers messages, nor an agent; "
            "load_agents takes names, RunnableLambda a function"
        )
    if name and name != model.name:
        raise ConfigError(f"the agent {model.name!r} cannot be called {name!r}; use its own name")
    return model


def _own_config(name: str, model: Answering) -> AgentConfig:
    """Settings that keep the temperature and token limit that the chat model was built or bound with."""
    first, bound = next(iter(models_in(model)), None), bound_arguments(model)
    own: dict[str, Any] = {}
    for field in ("temperature", "max_tokens"):
        value = bound.get(field, getattr(first, field, None))
        if isinstance(value, int | float):
            own[field] = value
    own |= {"max_tokens": limit} if isinstance(limit := bound.get("max_completion_tokens"), int) else {}
    try:
        return AgentConfig.model_validate({"model": model_name(first) or name or "model"} | own)
    except ValidationError as error:
        raise ConfigError(explain(error, f"agent {name!r}", AgentConfig)) from None


class Ping(Frozen):
    """Whether an agent answers, and how fast.

    Args:
        seconds: Time to a short reply; includes the start of a local server.
        tokens_per_second: Completion tokens in that time; None if it did not answer.
        error: Why it did not answer; empty if it did.
        notes: What the agent sends differently because the endpoint refused it.
    """

    name: str
    ok: bool
    seconds: float
    tokens_per_second: float | None = None
    error: str = ""
    notes: tuple[str, ...] = ()


async def ping(agent: Agent) -> Ping:
    """Asks an agent for a short reply, bypassing its cache."""
    question = HumanMessage("Count from 1 to 20 in digits, separated by spaces.")
    # The cache holds no reply for a seed that no request had.
    seed = time.time_ns() % 2**31
    request = Request(messages=(question,), temperature=0.0, seed=seed, metadata={"purpose": "ping"})
    started = time.perf_counter()
    try:
        reply = await agent.reply(request)
    except BDCError as error:
        reason = error.reason if isinstance(error, AgentError) else str(error)
        return Ping(name=agent.name, ok=False, seconds=time.perf_counter() - started, error=reason)
    seconds = time.perf_counter() - started
    rate = reply.usage.completion_tokens / (reply.usage.seconds or seconds or 1.0)
    notes = tuple(getattr(agent, "notes", ()))
    return Ping(name=agent.name, ok=True, seconds=seconds, tokens_per_second=rate, notes=notes)
