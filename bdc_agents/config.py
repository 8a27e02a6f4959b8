"""Settings: `bdc.toml`, then the environment over it, then what the caller passes.

    [agents.small]
    model = "local:qwen2.5-coder-0.5b"

    [agents.mini]
    model = "openai:gpt-4o-mini"

    [search]
    preset = "default"
    rollouts = 8

    [budget]
    calls = 40

Every key can be overridden by the environment: `BDC_SEARCH__ROLLOUTS=4`.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from bdc_agents.errors import ConfigError, UsageError, unknown
from bdc_agents.foreign import read_toml
from bdc_agents.types import Frozen

CONFIG_FILE = "bdc.toml"

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # Exactly the published constants: no early stop, the root not answered, every leaf expanded,
    # one at a time, every agent asked everywhere.
    "paper": {
        "rollouts": 16,
        "width": 3,
        "programs_per_agent": 2,
        "answer_first": False,
        "expand": "eager",
        "feedback": False,
        "stop_when_solved": False,
        "confirm": 1,
        "max_depth": None,
        "leaves": 1,
        "bandit": None,
        "learn_from": "all",
        "resample": 0.0,
        "widening": False,
    },
}


class OllamaConfig(Frozen):
    """What Ollama's own protocol takes beside the prompt, under Ollama's names; None for its defaults.

    Args:
        num_ctx: Tokens of the context; Ollama's default is small, and what is longer is cut without a word.
        keep_alive: How long the model stays in memory, such as `10m`; seconds as a number, -1 for ever.
        think: Whether a reasoning model reasons first, or how much: `low`, `medium`, `high`.
        num_gpu: Layers on the GPU.
        num_thread: CPU threads.
        top_k, top_p, repeat_penalty: Of sampling.
    """

    num_ctx: int | None = Field(default=None, ge=1)
    keep_alive: str | int | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    num_gpu: int | None = Field(default=None, ge=0)
    num_thread: int | None = Field(default=None, ge=1)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0)


class AgentConfig(Frozen):
    """One named agent: which LLM it is and how it may be called.

    `docs/agents.md` shows each provider.

    Args:
        model: `local:NAME`, any `init_chat_model` string such as `openai:gpt-4o-mini`, or, with
            `base_url`, the model's name at that OpenAI-compatible endpoint. A provider before the colon
            decides the protocol, with `base_url` too.
        base_url: Root of the endpoint, such as `http://localhost:8000/v1`; without it the provider's own.
        api_key: The key itself; better left out of files.
        api_key_env: Name of the environment variable that holds the key. With `base_url` no key is sent
            but one that is named here, or, for Azure, the provider's.
        headers: Sent with each request. A value `$NAME` is that of the environment variable. None is
            shown, recorded or part of the reply cache's key.
        proxy: Address of the proxy to go through; None for what the environment says (`HTTPS_PROXY`).
        responses_api: Whether to speak OpenAI's Responses API instead of chat completions; None leaves it
            to the model, and is chat completions with `base_url`.
        api_version: Of Azure's API, such as `2024-10-21`; None for `OPENAI_API_VERSION`.
        reasoning_effort: How much a reasoning model thinks; None leaves it to the model.
        ollama: Options of `ollama:` models, in Ollama's words.
        temperature: Of programs and thoughts where the search does not set one; None leaves it
            to the search.
        max_tokens: Upper bound of one reply. None for 1,024, or 8,192 where the model is known to
            reason; a search gives more room to an agent whose replies are cut off.
        timeout: Seconds that one request may take.
        retries: Further tries after a request that failed for a passing reason.
        concurrency: Requests in flight at once.
        requests_per_second: Rate limit; None for none.
        structured: How JSON replies are asked for: by the endpoint's JSON schema support, its
            plain JSON mode, the prompt alone, or whichever of these works.
        price_input, price_output: US dollars for a million tokens, over the shipped table.
        path: For `local:`, a GGUF file to serve instead of the named one.
        options: Further keyword arguments of the chat model, such as `top_p`; those that one endpoint
            alone knows go into `extra_body` there.
    """

    model: str = Field(min_length=1)
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    # Both may hold keys, so that no dump, and with it no stored run, has them.
    headers: dict[str, SecretStr] = Field(default={}, exclude=True)
    proxy: SecretStr | None = Field(default=None, exclude=True)
    responses_api: bool | None = None
    api_version: str | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    ollama: OllamaConfig | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=16)
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=3, ge=0, le=20)
    concurrency: int = Field(default=8, ge=1)
    requests_per_second: float | None = Field(default=None, gt=0)
    structured: Literal["auto", "json_schema", "json_object", "prompt"] = "auto"
    price_input: float | None = Field(default=None, ge=0)
    price_output: float | None = Field(default=None, ge=0)
    path: Path | None = None
    options: dict[str, Any] = {}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # It reaches logs: it shows no credentials in an address, and no options, which may be keys.
        for name, value in super().__repr_args__():
            if name == "base_url" and value:
                value = re.sub(r"//[^/]*@", "//***@", value.partition("?")[0])
            yield name, "..." if name == "options" and value else value

    @field_validator("base_url")
    @classmethod
    def _is_root(cls, value: str | None) -> str | None:
        if value is None:
            return None
        scheme, colon, rest = value.partition("://")
        if not colon or scheme.lower() not in {"http", "https"} or not rest.strip("/"):
            raise ValueError("an address is needed, such as http://localhost:8000/v1")
        for ending in ("/chat/completions", "/responses", "/messages", "/api/chat"):
            if rest.rstrip("/").endswith(ending):
                raise ValueError(f"the root of the endpoint is needed: leave {ending} out")
        return value

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, value: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in value.items():
            if not _HEADER.fullmatch(name):
                raise ValueError(f"{name!r:.60} cannot be the name of a header")
            text = secret.get_secret_value()
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"the value of {name} cannot be sent: a header is one line of ASCII")
        return value

    @property
    def shaping(self) -> dict[str, Any]:
        """What else shapes a reply, beside limits and sampling: part of the reply cache's key."""
        named = self.model_dump(
            mode="json", include={"responses_api", "reasoning_effort", "ollama"}, exclude_defaults=True
        )
        return self.options | named


_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""A token of RFC 9110, at a sane length."""


_AT_ADDRESS = re.compile(r"(.+?)@(https?://.+)")
"""A model and the address of its endpoint, where a name gives both."""
_AT_HOST = re.compile(r"([^@:]+)@([^@\s]+)|([^@]+)@([\w.-]+(?::\d+(?:/.*)?|/.*))")
"""The same without its scheme; `google_vertexai:claude@20240229` is a version and no host."""


class WithPresets(Frozen):
    """Settings of which there are named sets."""

    kind: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def preset(cls, name: str = "default", **changes: Any) -> Self:
        """A named set of settings, with some of them changed.

        Raises:
            ConfigError: If there is no such preset or setting, or a value is out of range.
        """
        if name not in cls.presets:
            raise ConfigError(unknown(f"{cls.kind} preset", name, cls.presets))
        try:
            return cls(**{**cls.presets[name], **changes})
        except ValidationError as error:
            raise ConfigError(explain(error, f"{cls.kind} settings", cls)) from None


class SearchConfig(WithPresets):
    """The knobs of MC-Tree-Of-Agents; `SearchConfig.preset("paper")` has the published ones.

    Args:
        rollouts: How many leaves are evaluated at most. None leaves the end to the budget, or is 16
            where there is no budget.
        width: Thoughts that each agent proposes in one expansion.
        programs_per_agent: Programs that each agent writes for a path.
        c, c_base: Constants of P-UCB's exploration weight.
        gamma: Discount of the return for each step up the path.
        temperature: Sampling temperature of programs and thoughts.
        answer_first: Evaluate the root by direct answers before any thought is written.
        expand: `eager` asks for children of a leaf while it is evaluated or, where its thought may still
            be refined, in the round after; `lazy` when the search comes back to it, so that a solved leaf
            costs no expansion.
        feedback: Show the best program of the path and its failing tests to those who think on.
        refine, prune: Reflection on a thought that is no better than its parent: a leaf's is refined
            once; a node below which nothing is better either is pruned.
        learn_from: Which failed programs are shown to those who think on or refine: `all`, or those
            that are right in `part`, passing at least one public test. Small models that see a
            program which is all wrong think along its lines.
        failures_shown: Failing tests in a reflection prompt.
        stop_when_solved: End when a program passes every public test and is confirmed.
        confirm: How many attempts that pass must agree: do the same on further inputs, made from the
            public tests; those that disagree count against them. 1 ends at the first that passes. It
            costs calls, and helps where few public tests accept many wrong programs.
        max_depth: Longest path of thoughts; None for any.
        leaves: Leaves evaluated at once, kept apart by virtual loss. None for one at first, as each may
            end the search, and one more for every 16 rollouts, up to 8: a problem that is not solved by
            then is hard, and its tree large enough to keep them apart.
        priors: Use the agents' self-ratings as P; otherwise all are 1.
        judge: An agent rates programs that pass; the reward is 0.8 r + 0.2 judge.
        merge: One agent reads all proposals of a node and adds one thought made of them.
        bandit: How many agents are asked for the thoughts or the programs of a node, those that
            improved most; None asks all. The first direct answers are asked of all.
        skills: How likely a program of an agent improves on what was there, by name, as `bdc collect`
            measures it; where the bandit starts from, and whose program is handed over where agreement
            does not tell. An agent that is left out counts as one half, with less certainty.
        resample: Share of a node's visits that write new programs for the node itself, beside those
            that go on to its children; at the root these are further direct answers. At least half
            where a program passes and is to be confirmed. 0 for none.
        widening: Ask an expanded node for more children as its visits grow, as k N^alpha.
        self_tests: Where a problem has no public test, let the agents write some.
        seed: Everything random derives from it and the node.
    """

    kind = "search"
    presets = PRESETS

    rollouts: int | None = Field(default=None, ge=1)
    width: int = Field(default=5, ge=1, le=16)
    programs_per_agent: int = Field(default=1, ge=1, le=32)
    c: float = Field(default=4.0, ge=0)
    c_base: float = Field(default=10.0, gt=0)
    gamma: float = Field(default=0.9, gt=0, le=1)
    temperature: float = Field(default=0.7, ge=0, le=2)
    answer_first: bool = True
    expand: Literal["lazy", "eager"] = "lazy"
    feedback: bool = True
    refine: bool = True
    prune: bool = True
    learn_from: Literal["all", "part"] = "part"
    failures_shown: int = Field(default=6, ge=1)
    stop_when_solved: bool = True
    confirm: int = Field(default=2, ge=1)
    max_depth: int | None = Field(default=8, ge=1)
    leaves: int | None = Field(default=None, ge=1, le=64)
    priors: bool = True
    judge: bool = False
    merge: bool = False
    bandit: int | None = Field(default=1, ge=1)
    skills: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}
    resample: float = Field(default=0.25, ge=0, le=1)
    widening: bool = True
    widening_k: float = Field(default=2.0, gt=0)
    widening_alpha: float = Field(default=0.5, gt=0, lt=1)
    self_tests: bool = False
    seed: int = 42


class Budget(Frozen):
    """Caps on what one search may use; None for no cap.

    Args:
        calls: LLM calls of all agents, those that are made again after an empty, damaged or late reply
            included.
        tokens: Prompt and completion tokens of all agents. Passed only by what an endpoint writes
            beyond the limit it was sent, which the result then says.
        money: US dollars; likewise.
        seconds: Wall time. At its end requests are cancelled and programs killed; a request that is
            cancelled counts at the most it can have taken.
    """

    calls: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)


class SandboxConfig(Frozen):
    """How programs are isolated.

    Args:
        tier: A named tier, or `auto` for the strongest this machine has.
        workers: Programs run at once; None for one per core.
        allow_unsafe: Run programs without isolation where there is none. For machines that are
            isolated themselves.
        packages: Installed packages that programs may import, such as `numpy`; they are seen
            read-only. None by default.
    """

    tier: Literal["auto", "namespaces", "bubblewrap", "gvisor", "landlock", "unsafe"] = "auto"
    workers: int | None = Field(default=None, ge=1)
    allow_unsafe: bool = False
    packages: tuple[str, ...] = ()


class StoreConfig(Frozen):
    """Where replies and models are kept; None for the user's cache folder."""

    cache: bool = True
    path: Path | None = None


class Settings(BaseSettings):
    """All settings of one project, as read by `load_settings`."""

    model_config = SettingsConfigDict(
        env_prefix="BDC_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    agents: dict[str, AgentConfig] = {}
    search: SearchConfig = SearchConfig()
    budget: Budget = Budget()
    sandbox: SandboxConfig = SandboxConfig()
    store: StoreConfig = StoreConfig()
    eval: dict[str, Any] = {}
    """What `bdc eval` compares; it checks this table itself."""

    def __init__(self, **values: Any) -> None:
        _check_variables(type(self))
        try:
            super().__init__(**values)
        except SettingsError as error:
            raise ConfigError(_explain_json(error)) from None
        except RecursionError:
            raise ConfigError(
                "a setting of the file or of a BDC_ variable is nested too deeply to be read; write it flat"
            ) from None

    def agent(self, name: str) -> AgentConfig:
        """The settings of an agent that is configured, or of one that its name describes.

        Args:
            name: A configured name, `provider:model`, or `MODEL@http://HOST/v1`.

        Raises:
            ConfigError: If the address in it cannot be used, or has no scheme.
        """
        if name in self.agents:
            return self.agents[name]
        described = _AT_ADDRESS.fullmatch(name)
        if bare := None if described else _AT_HOST.fullmatch(name):
            model, host = (part for part in bare.groups() if part)
            raise ConfigError(
                f"agent {name!r}: an address begins with http:// or https://; write {model}@http://{host}"
            )
        if not described:
            return AgentConfig(model=name)
        model, url = described.groups()
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query:
            # A name is shown and recorded everywhere.
            raise ConfigError(
                f"agent {model}@{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}: a name holds "
                "no key; write a table [agents.NAME] with this model and base_url, and api_key_env"
            )
        try:
            return AgentConfig(model=model, base_url=url)
        except ValidationError as error:
            raise ConfigError(explain(error, f"agent {name!r}", AgentConfig)) from None

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, data: Any) -> Any:
        search = data.get("search") if isinstance(data, dict) else None
        if isinstance(search, dict) and "preset" in search:
            changes = {key: value for key, value in search.items() if key != "preset"}
            chosen = SearchConfig.preset(str(search["preset"]))
            return data | {"search": chosen.model_dump() | changes}
        return data

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, whose content arrives as `init_settings`."""
        return env_settings, init_settings


def load_settings(path: Path | str | None = None) -> Settings:
    """Reads the settings of a project.

    Args:
        path: A TOML file; None reads `bdc.toml` of the working directory where there is one.

    Raises:
        ConfigError: If the file is missing or malformed, or a value is not accepted.
    """
    file = Path(path) if path is not None else Path(CONFIG_FILE)
    if path is not None and not file.is_file():
        raise ConfigError(f"no settings file {str(file)!r}; write one, or leave --config out")
    data = _read_toml(file) if file.is_file() else {}
    try:
        return Settings(**data)
    except ValidationError as error:
        source = str(file) if file.is_file() else "environment"
        raise ConfigError(explain(error, source, Settings)) from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file}: not valid TOML: {error}") from None


_MOST_TOLD = 20
"""Lines; a file of somebody else's can be wrong in a million places."""


def explain(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """One line for each field that was not accepted: where, what it was, what is right.

    Args:
        error: What pydantic found.
        source: The file or option that the values came from.
        model: The model that the values were meant for.
    """
    # A default that is made of another field's value fails with that field, and says nothing of its own.
    items = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
    told = [_explain_one(dict(item), source, model) for item in items[:_MOST_TOLD]]
    further = len(items) - len(told)
    return "\n".join([*told, *([f"{source}: and {further} more"] if further else [])])


def _explain_one(item: dict[str, Any], source: str, model: type[BaseModel]) -> str:
    location = item["loc"]
    place = ".".join(str(part) for part in location)
    variable = _variable_of(location) if issubclass(model, BaseSettings) else ""
    if variable:
        source = f"environment variable {variable}"
    raised = item.get("ctx", {}).get("error")
    if isinstance(raised, UsageError):  # It says in words of its own what is wrong.
        return f"{source}: {raised}"
    if item["type"] == "extra_forbidden":
        alone = variable == _variable(location)
        return _unknown_variable(location, model) if alone else f"{source}: {_unknown_key(location, model)}"
    hidden = item["type"] == "missing" or not _SECRET.isdisjoint(location)
    value = "" if hidden else f" (found {item['input']!r:.80})"
    if item["type"] == "dict_type":
        return f"{source}: {place}: {_TABLE_NEEDED.get(str(location[-1]), 'a table is needed')}{value}"
    return f"{source}: {place}: {item['msg'].removeprefix('Value error, ')}{value}"


_TABLE_NEEDED = {
    "headers": 'a table is needed, such as headers = { "X-Team" = "search" }, with $NAME for what is secret',
    "options": "a table is needed, such as options = { top_p = 0.9 }",
    "skills": "a table is needed, such as skills = { small = 0.4 }",
}


def _unknown_key(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """That a key is not known, and the nearest of those that are known at its place."""
    *parents, last = (str(part) for part in location)
    prefix = "".join(f"{part}." for part in parents)
    known = _known_keys(location, model)
    near = get_close_matches(last, known, n=3)
    if not near:
        return unknown("key", f"{prefix}{last}", [prefix + name for name in known])
    return f"unknown key {prefix + last!r}; did you mean {', '.join(prefix + name for name in near)}?"


def _unknown_variable(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    *parents, last = (str(part) for part in location)
    near = get_close_matches(last, _known_keys(location, model), n=3) or _known_keys(location, model)[:10]
    choices = ", ".join(_variable((*parents, name)) for name in near)
    return f"unknown environment variable {_variable(location)!r}; did you mean {choices}?"


_SECRET = {"api_key", "api_key_env", "headers", "proxy", "options", "base_url"}
"""Keys whose values may hold a key, so that no message shows them."""


def _known_keys(location: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    """The keys accepted where an unknown one was found."""
    *parents, _ = location or ("",)
    at: type[BaseModel] | None = model
    named = False  # Whether the next part is a name of the user's, as in a table of agents.
    for part in parents:
        if named or at is None:
            named = False
            continue
        field = at.model_fields.get(str(part))
        inner = (field.annotation, *get_args(field.annotation)) if field else ()
        at = next((t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)), at)
        named = get_origin(inner[0]) is dict if inner else False
    return [*(at or model).model_fields]


# --- the environment ------------------------------------------------------------------------

_PREFIX, _BETWEEN = "BDC_", "__"


def _variable(location: Iterable[str | int]) -> str:
    return _PREFIX + _BETWEEN.join(str(part) for part in location).upper()


def _variable_of(location: tuple[str | int, ...]) -> str:
    """The environment variable that a value came from; empty where none gives it.

    What is set there wins over the file, so that one which is set is the one to blame. A table may be
    given as JSON by one variable.
    """
    present = {name.upper(): name for name in os.environ if name.upper().startswith(_PREFIX)}
    for end in range(len(location), 0, -1):
        name = present.get(_variable(location[:end]))
        if name and (end == len(location) or f'"{location[end]}"' in os.environ[name]):
            return name
    return ""


def _check_variables(model: type[BaseSettings]) -> None:
    """Refuses a misspelled table, which pydantic-settings would leave unread.

    Raises:
        ConfigError: If a variable such as `BDC_SERCH__ROLLOUTS` names no table.
    """
    for name in os.environ:
        table, between, rest = name.upper().removeprefix(_PREFIX).partition(_BETWEEN)
        if name.upper().startswith(_PREFIX) and between and table.lower() not in model.model_fields:
            place = tuple(rest.lower().split(_BETWEEN))
            tables = [known for known in model.model_fields if _takes(model, (known, *place))]
            # A table that has no such key is named all the same: its own refusal says which ones it has.
            known = tables or get_close_matches(table.lower(), model.model_fields, n=1)
            choices = [_variable((one, *place)) for one in known]
            choices = choices or [_variable((one, "")) + "..." for one in model.model_fields]
            raise ConfigError(unknown("environment variable", name, choices))


def _takes(model: type[BaseModel], location: tuple[str, ...]) -> bool:
    """Whether there is a setting at this place, every name of a user's own taken."""
    known = (_known_keys(location[:end], model) for end in range(1, len(location) + 1))
    if location[0] in ("agents", "eval"):
        return len(location) > 2 and location[0] == "agents" and location[2] in AgentConfig.model_fields
    return all(part in keys for part, keys in zip(location, known, strict=True))


def _explain_json(error: SettingsError) -> str:
    """Which variable holds no JSON where a table is needed; its value may hold a key."""
    field = re.search(r'field "(\w+)"', str(error))
    start = _variable([field[1]] if field else [])
    names = ", ".join(sorted(name for name in os.environ if name.upper().startswith(start)))
    return f"environment variable {names}: a table is needed, written as JSON: {error.__cause__ or error}"
