"""Agents over local models, and what can be said about the models."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from bdc_agents.agents.local.server import ServerSettings, require_runtime
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.config import AgentConfig, explain
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.types import Frozen, Usage
from bdc_agents.weights.catalogue import CATALOGUE, LocalModel, find
from bdc_agents.weights.files import Announce, check_file, digest, fetch, locate, log, models_folder
from bdc_agents.weights.packages import Progress, silent

if TYPE_CHECKING:
    from bdc_agents.agents.cache import ReplyCache
    from bdc_agents.agents.local.model import Connection

PREFIX = "local:"

TIMEOUT_SECONDS = 600.0
"""Of one request where the settings name none: on a few cores a long reply takes minutes."""


class ServerOptions(Frozen):
    """The keys of an agent's `options` that say how its model is served; see `ServerSettings`."""

    slots: int = Field(default=4, ge=1, le=64)
    context: int = Field(default=16384, ge=512)
    threads: int | None = Field(default=None, ge=1, le=512)


class ModelStatus(Frozen):
    """What is known of one model of the catalogue.

    Args:
        path: The file where it is on this machine; None where it is not.
        size: Bytes of the file, on disk or to be downloaded.
        agent: Whether it can be an agent; a model without a chat template cannot.
        problem: Why the file on disk cannot be used; empty if it can.
    """

    name: str
    path: Path | None
    size: int
    sha256: str
    licence: str
    agent: bool
    problem: str = ""


class LocalAgent:
    """An agent whose model is served on this machine; its server is joined at the first request.

    Made by `local_agent`. A reply from the cache needs neither the server nor the weights.
    """

    def __init__(self, agent: Agent, connection: "Connection") -> None:
        self._agent = agent
        self._connection = connection

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        return self._agent.name

    def bound(self, request: Request) -> Usage:
        """The most that this call can take; local calls cost no money."""
        return self._agent.bound(request)

    async def reply(self, request: Request) -> Reply:
        """Answers one request.

        Raises:
            AgentError: If it did not answer after its retries.
            ModelError: If its weights or its server cannot be had.
        """
        return await self._agent.reply(request)

    async def prepare(self) -> None:
        """Fetches the weights and joins the server now, instead of at the first request."""
        await self._connection.open()

    async def aclose(self) -> None:
        """Gives its share in the server back; the server ends with its last user."""
        await self._agent.aclose()
        await self._connection.close()


def local_agent(
    name: str,
    config: AgentConfig,
    cache: "ReplyCache | None",
    *,
    folder: Path | None = None,
    progress: Progress = silent,
    announce: Announce = log.warning,
) -> LocalAgent:
    """An agent over a model of the catalogue, or over a GGUF file of the user's own.

    Args:
        name: The agent's name in the configuration.
        config: With `local:NAME` as its model; `slots`, `context` (tokens of all slots together)
            and `threads` among its options say how it is served.
        cache: Of replies; None for none.
        folder: Where models are kept; None for the user's cache folder.
        progress, announce: Told about a download; see `fetch`.

    Raises:
        ModelError: If the model is unknown or cannot be an agent, or llama.cpp is not installed.
        ConfigError: If an option is not accepted.
    """
    from bdc_agents.agents.chat import ChatAgent
    from bdc_agents.agents.local.model import Connection, ServedModel, served_model

    require_runtime()
    served, others = _split(name, config.options)
    label = config.model.removeprefix(PREFIX)
    identity, weights = _weights(label, config.path, folder, progress, announce)

    async def settings() -> ServerSettings:
        return ServerSettings(name=label, path=await weights(), sha256=identity, **served.model_dump())

    config = _adapted(config, served, others)
    connection = Connection(settings, config.timeout)
    try:
        model = served_model(label, connection, **others)
    except ValidationError as error:
        raise ConfigError(explain(error, f"agents.{name}.options", ServedModel)) from None
    agent = ChatAgent(name, model, config, cache, identity=identity, prepare=connection.open)
    return LocalAgent(agent, connection)


def describe_models(folder: Path | None = None) -> list[ModelStatus]:
    """Every model of the catalogue and whether it is on this machine; nothing is downloaded."""
    return [_status(model, folder) for model in CATALOGUE.values()]


def _status(model: LocalModel, folder: Path | None) -> ModelStatus:
    path, problem = None, ""
    try:
        path = locate(model, folder)
    except ModelError as error:
        problem = str(error)
    return ModelStatus(
        name=model.name,
        path=path,
        size=model.size,
        sha256=model.sha256,
        licence=model.licence,
        agent=model.chat,
        problem=problem,
    )


def _weights(
    label: str, path: Path | None, folder: Path | None, progress: Progress, announce: Announce
) -> tuple[str, Callable[[], Awaitable[Path]]]:
    """The hash of what is to be served, and how to get the file."""
    if path is not None:
        file = check_file(path)

        async def given() -> Path:
            return file

        return digest(file, folder or models_folder()), given
    model = find(label)
    if not model.chat:
        chats = ", ".join(sorted(known.name for known in CATALOGUE.values() if known.chat))
        raise ModelError(
            f"local:{label} is a base model without a chat template and follows no instructions; "
            f"as an agent choose one of: {chats}"
        )

    async def fetched() -> Path:
        return await fetch(model, folder, progress=progress, announce=announce)

    return model.sha256, fetched


def _split(name: str, options: dict[str, Any]) -> tuple[ServerOptions, dict[str, Any]]:
    """The options of the server, and the rest."""
    mine = {key: value for key, value in options.items() if key in ServerOptions.model_fields}
    try:
        return ServerOptions(**mine), {key: value for key, value in options.items() if key not in mine}
    except ValidationError as error:
        raise ConfigError(explain(error, f"agents.{name}.options", ServerOptions)) from None


def _adapted(config: AgentConfig, served: ServerOptions, others: dict[str, Any]) -> AgentConfig:
    """The settings with a local model's own defaults, where the user has set none."""
    defaults: dict[str, Any] = {"price_input": 0.0, "price_output": 0.0, "timeout": TIMEOUT_SECONDS}
    changes = {key: value for key, value in defaults.items() if key not in config.model_fields_set}
    # How a model is served shapes no reply, so that it is no part of the key in the cache.
    changes["options"] = others
    if config.structured == "auto":
        changes["structured"] = "json_schema"  # llama.cpp turns the schema into a grammar.
    changes["concurrency"] = min(config.concurrency, served.slots)
    return config.model_copy(update=changes)
