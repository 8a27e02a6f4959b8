"""Makes agents over local models, and describes the models of the catalogue."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from bdc_agents.agents.local.server import ServerSettings, require_runtime
from bdc_agents.agents.protocol import Agent, Reply, Request
from bdc_agents.config import AgentConfig, explain
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.types import Frozen, Given, Usage
from bdc_agents.weights.catalog import CATALOGUE, LocalModel, find
from bdc_agents.weights.files import Announce, check_file, digest, fetch, locate, log, models_folder
from bdc_agents.weights.packages import Progress, silent

if TYPE_CHECKING:
    from bdc_agents.agents.cache import ReplyCache
    from bdc_agents.agents.local.model import Connection

PREFIX = "local:"

TIMEOUT_SECONDS = 600.0
"""Default time limit of a request to a local model: on a few cores a long reply takes minutes."""


class ServerOptions(Given):
    """The keys of an agent's `options` that say how its model is served; see `ServerSettings`."""

    # Four slots of 4,096 tokens each: as a start, a prompt with a parent's program and a reply fit into one.
    slots: int = Field(default=4, ge=1, le=64)
    context: int = Field(default=16384, ge=512)
    threads: int | None = Field(default=None, ge=1, le=512)


class ModelStatus(Frozen):
    """The state of one model of the catalogue.

    Args:
        path: Its file on this machine; None if there is none.
        size: Bytes of the file, on disk or to download.
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
    """An agent whose model is served on this machine; the first request joins or starts its server.

    `local_agent` makes it. A cached reply needs neither the server nor the weights.
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
            ModelError: If its weights cannot be fetched or its server cannot be started.
        """
        return await self._agent.reply(request)

    async def prepare(self) -> None:
        """Fetches the weights and joins the server now, instead of at the first request."""
        await self._connection.open()

    async def aclose(self) -> None:
        """Gives up its share in the server; the server ends with its last user."""
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
    """Makes an agent over a model of the catalogue, or over the user's own GGUF file.

    Args:
        name: The agent's name in the configuration.
        config: Settings with the model `local:NAME`; the options `slots`, `context` (tokens of all
            slots together) and `threads` say how it is served.
        cache: Reply cache; None for none.
        folder: Folder of the models; None for the user's cache folder.
        progress, announce: Called about a download; see `fetch`.

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
    """Lists the models of the catalogue and whether each is on this machine; downloads nothing."""
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
    """The hash of the weights, and a function that gets their file."""
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
    """Splits options into those of the server and the rest."""
    mine = {key: value for key, value in options.items() if key in ServerOptions.model_fields}
    try:
        return ServerOptions(**mine), {key: value for key, value in options.items() if key not in mine}
    except ValidationError as error:
        raise ConfigError(explain(error, f"agents.{name}.options", ServerOptions)) from None


def _adapted(config: AgentConfig, served: ServerOptions, others: dict[str, Any]) -> AgentConfig:
    """The settings with a local model's defaults for what the user has not set."""
    defaults: dict[str, Any] = {"price_input": 0.0, "price_output": 0.0, "timeout": TIMEOUT_SECONDS}
    changes = {key: value for key, value in defaults.items() if key not in config.model_fields_set}
    # How a model is served does not change its replies, so it is no part of the cache key.
    changes["options"] = others
    if config.structured == "auto":
        changes["structured"] = "json_schema"  # llama.cpp turns the schema into a grammar.
    changes["concurrency"] = min(config.concurrency, served.slots)
    return config.model_copy(update=changes)
