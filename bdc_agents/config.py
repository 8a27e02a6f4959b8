"""Settings: reads `bdc.toml`, overridden by the environment and then by the caller.

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
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from bdc_agents.errors import ConfigError, UsageError, in_words, unknown
from bdc_agents.types import Given, Suggesting
from bdc_agents.untrusted import read_toml

CONFIG_FILE = "bdc.toml"

WALK = frozenset(
    [
        "programs_per_agent",
        "answer_first",
        "expand",
        "feedback",
        "learn_from",
        "merge",
        "priors",
        "bandit",
        "resample",
        "widening",
        "widening_k",
        "widening_alpha",
    ]
)
"""Settings of the published walk alone."""

PRESETS: dict[str, dict[str, Any]] = {
    "default": {},
    # The published constants (arXiv 2502.12492): no early stop, no answer at the root, every leaf expanded,
    # one at a time, every agent asked everywhere.
    "paper": {
        "policy": "paper",
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


class OllamaConfig(Given):
    """Options of Ollama's own protocol, under Ollama's names; None for its defaults.

    Args:
        num_ctx: Tokens of the context. Ollama's default is small, and it cuts longer prompts silently.
        keep_alive: How long the model stays in memory, such as `10m`; a number means seconds, -1 forever.
        think: Whether a reasoning model reasons first, or how much: `low`, `medium`, `high`.
        num_gpu: Layers on the GPU.
        num_thread: CPU threads.
        top_k, top_p, repeat_penalty: Sampling parameters.
    """

    num_ctx: int | None = Field(default=None, ge=1)
    keep_alive: str | int | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    num_gpu: int | None = Field(default=None, ge=0)
    num_thread: int | None = Field(default=None, ge=1)
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    repeat_penalty: float | None = Field(default=None, gt=0)


class AgentConfig(Given):
    """One named agent: which LLM it is and how it may be called.

    `docs/agents.md` shows each provider.

    Args:
        model: `local:NAME`, any `init_chat_model` string such as `openai:gpt-4o-mini`, or, with
            `base_url`, the model's name at that OpenAI-compatible endpoint. A provider before the colon
            decides the protocol, with `base_url` too.
        base_url: Root of the endpoint, such as `http://localhost:8000/v1`; without it the provider's own.
        api_key: The key itself; better left out of files.
        api_key_env: Name of the environment variable that holds the key. With `base_url` only a key that
            is named here is sent, or, for Azure, the provider's.
        headers: Headers of each request. The environment variable replaces a value `$NAME`. Headers are
            neither shown nor recorded, nor part of the reply cache's key.
        proxy: Address of the proxy; None for the environment's (`HTTPS_PROXY`).
        responses_api: Whether to use OpenAI's Responses API instead of chat completions; None leaves it
            to the model, and means chat completions with `base_url`.
        api_version: Version of Azure's API, such as `2024-10-21`; None for `OPENAI_API_VERSION`.
        reasoning_effort: How much a reasoning model thinks; None leaves it to the model.
        ollama: Options of `ollama:` models, under Ollama's names.
        temperature: Temperature of all the agent's replies; None leaves it to the search.
        max_tokens: Upper bound of one reply. None for 1,024, or 8,192 for a model that is known to
            reason; a search gives more room to an agent whose replies are cut off.
        timeout: Seconds that one request may take.
        retries: Further tries after a failure that may pass.
        concurrency: Requests in flight at once.
        requests_per_second: Rate limit; None for none.
        structured: How to ask for JSON: by the endpoint's JSON schema support, its plain JSON mode, the
            prompt alone, or whichever of these works.
        price_input, price_output: US dollars for a million tokens; they win over the shipped table.
        path: For `local:`, a GGUF file to serve instead of the named one.
        options: Further keyword arguments of the chat model, such as `top_p`; parameters that only one
            endpoint knows go into its `extra_body`.
    """

    model: str = Field(min_length=1)
    base_url: str | None = None
    api_key: SecretStr | None = None
    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    # Both may hold keys, so they are left out of every dump and so of every stored run.
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
        # It reaches logs, so it shows neither credentials in an address nor options, which may be keys.
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
        """Other settings that shape a reply, beside limits and sampling; part of the reply cache's key."""
        named = self.model_dump(
            mode="json", include={"responses_api", "reasoning_effort", "ollama"}, exclude_defaults=True
        )
        return self.options | named


_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
"""A token of RFC 9110, of at most 100 characters: longer than any header's name in use."""


_AT_ADDRESS = re.compile(r"(.+?)@(https?://.+)")
"""A name that gives a model and the address of its endpoint."""
_AT_HOST = re.compile(r"([^@:]+)@([^@\s]+)|([^@]+)@([\w.-]+(?::\d+(?:/.*)?|/.*))")
"""The same without a scheme. In `google_vertexai:claude@20240229` a version follows, not a host."""


class WithPresets(Given):
    """Settings with presets."""

    kind: ClassVar[str]
    presets: ClassVar[Mapping[str, Mapping[str, Any]]]

    @classmethod
    def preset(cls, name: str = "default", **changes: Any) -> Self:
        """The settings of a preset, with some of them changed.

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
        policy: How a round is planned. `default` weighs moves by what is believed of them: a direct answer,
            thoughts, a program for a thought, a repair by another agent. `paper` walks to leaves by P-UCB and
            asks for thoughts and programs there, as published; a setting that only this walk has chooses it,
            where none is named. `best-of-n` asks for direct answers alone.
        beliefs: What moves by agents gave on earlier problems, as the fields of `Beliefs`.
        rollouts: The most leaves to evaluate. None leaves the end to the budget; without a budget it
            means 16, the published number.
        width: Thoughts that each agent proposes in one expansion.
        programs_per_agent: Programs that each agent writes for a path.
        c, c_base: Constants of P-UCB's exploration weight.
        gamma: Discount of the return for each step up the path.
        temperature: Sampling temperature of programs and thoughts.
        answer_first: Evaluate the root by direct answers before any thought is written.
        expand: `eager` asks for a leaf's children while the leaf is evaluated or, if its thought may
            still be refined, one round later. `lazy` asks when the search comes back to the leaf, so that
            a solved leaf costs no expansion.
        feedback: Show the best program of the path and its failing tests in prompts for further thoughts.
        refine, prune: Reflection on a thought that is no better than its parent: a leaf's thought is
            refined once; a node below which nothing is better either is pruned.
        learn_from: Which failed programs prompts for thoughts and refinements show: `all`, or those that
            are right in `part`, passing at least one public test. Small models that see a program that
            is all wrong think along its lines.
        failures_shown: Failing tests in a reflection prompt.
        stop_when_solved: End when a program passes every public test and is confirmed.
        confirm: How many passing attempts must agree on further inputs, which are made from the public
            tests; passing attempts that disagree count against them. 1 ends at the first that passes.
            More cost calls, and help where few public tests accept many wrong programs.
        split: Where passing programs do different things, ask an agent once for the expected output on the
            input on which they differ most; it counts among attempts as its earlier answers were worth. Of
            the default policy alone.
        max_depth: Longest path of thoughts; None for any.
        leaves: Moves of a round at most; each is planned as if those before it failed. None lets all agents
            answer first, then makes up to four at once, and four more for every 32 programs, up to 12: a
            problem that is not solved by then is hard. The published walk evaluates so many leaves at once,
            kept apart by virtual loss; there None is one at first, one more for every 16 rollouts, up to 8.
        priors: Use the agents' self-ratings as P; otherwise all are 1.
        judge: An agent rates programs that pass; the reward is 0.8 r + 0.2 judge.
        merge: One agent reads all proposals of a node and adds one thought made of them.
        bandit: How many agents to ask for the thoughts or programs of a node: those that improved most;
            None asks all. The first direct answers always come from all.
        skills: How likely an agent's program improves on what was there, by name, as `bdc collect`
            measures it. The bandit starts from it, and it decides whose program is handed over where
            agreement does not. A missing agent counts as one half, with less certainty.
        resample: Share of a node's visits that write new programs for the node itself instead of going on
            to its children; at the root these are further direct answers. At least half while a passing
            program awaits confirmation. 0 for none.
        widening: Ask an expanded node for more children as its visits grow, as k N^alpha.
        self_tests: Let the agents write tests for a problem without public tests.
        seed: Everything random derives from it and the node.
    """

    kind = "search"
    presets = PRESETS

    # `c`, `c_base`, `gamma` and the temperature are the published values. The other defaults were chosen
    # together; benchmarks/results/quality.md compares them as a whole with `paper` and best-of-N.
    policy: Literal["default", "paper", "best-of-n"] = "default"
    beliefs: dict[str, dict[str, tuple[float, ...]]] = {}
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
    split: bool = True
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

    @model_validator(mode="before")
    @classmethod
    def _walks(cls, fields: Any) -> Any:
        """Chooses the walk where one of its settings is given: there was no other policy once."""
        if (
            isinstance(fields, dict)
            and "policy" not in fields
            and WALK.intersection(cast("dict[str, Any]", fields))
        ):
            return {**cast("dict[str, Any]", fields), "policy": "paper"}
        return fields  # pyright: ignore[reportUnknownVariableType]


class Budget(Given):
    """Caps on what one search may use; None for no cap.

    Args:
        calls: LLM calls of all agents, including retries after an empty, damaged or late reply.
        tokens: Prompt and completion tokens of all agents. Exceeded only if an endpoint writes beyond the
            limit it was sent; the result then says so.
        money: US dollars; likewise.
        seconds: Wall time. At its end requests are cancelled and programs killed; a cancelled request
            counts at the most it can have taken.
    """

    calls: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    money: float | None = Field(default=None, gt=0)
    seconds: float | None = Field(default=None, gt=0)


class SandboxConfig(Given):
    """How programs are isolated.

    Args:
        tier: A named tier, or `auto` for the strongest this machine has.
        workers: Programs run at once; None for one per core.
        allow_unsafe: Run programs without isolation if this machine offers none. For machines that are
            isolated themselves.
        packages: Installed packages that programs may import, such as `numpy`; they are seen
            read-only. None by default.
    """

    tier: Literal["auto", "namespaces", "bubblewrap", "gvisor", "landlock", "unsafe"] = "auto"
    workers: int | None = Field(default=None, ge=1)
    allow_unsafe: bool = False
    packages: tuple[str, ...] = ()


class StoreConfig(Given):
    """Whether and where replies are cached; without a path, in the user's cache folder."""

    cache: bool = True
    path: Path | None = None


class Settings(Suggesting, BaseSettings):
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
        """The settings of a configured agent, or of one that its name describes.

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
            # Names are shown and recorded everywhere.
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
            return data | {"search": chosen.model_dump(exclude_unset=True) | changes}
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
"""Lines of an error message: a file from elsewhere can be wrong in a million places."""


def explain(error: ValidationError, source: str, model: type[BaseModel]) -> str:
    """Explains each field that was not accepted in one line: where, what it was, what is right.

    Args:
        error: Error of pydantic.
        source: The file or option that the values came from.
        model: The model that the values were meant for.
    """
    # A default that depends on another field fails along with it and tells nothing new.
    items = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
    told = [_explain_one(dict(item), source, model) for item in items[:_MOST_TOLD]]
    further = len(items) - len(told)
    return "\n".join([*told, *([f"{source}: and {further} more"] if further else [])])


def _explain_one(item: dict[str, Any], source: str, model: type[BaseModel]) -> str:
    location = item["loc"]
    place = f"{source}: {'.'.join(str(part) for part in location)}"
    if source == OPTIONS and location:
        place = _option(*map(str, location))
    variable = _variable_of(location) if issubclass(model, BaseSettings) else ""
    if variable:
        source = f"environment variable {variable}"
        place = f"{source}: {'.'.join(str(part) for part in location)}"
    raised = item.get("ctx", {}).get("error")
    if isinstance(raised, UsageError):  # Its own words say what is wrong.
        return f"{source}: {raised}"
    if item["type"] == "extra_forbidden":
        alone = variable == _variable(location)
        return _unknown_variable(location, model) if alone else f"{source}: {_unknown_key(location, model)}"
    if not location:  # What is wrong with the whole of it has no place, and is too long to be shown.
        return f"{source}: {in_words(item)}"
    hidden = item["type"] == "missing" or not _SECRET.isdisjoint(location)
    value = "" if hidden else f" (found {item['input']!r:.80})"
    if item["type"] == "dict_type":
        return f"{place}: {_TABLE_NEEDED.get(str(location[-1]), 'a table is needed')}{value}"
    return f"{place}: {in_words(item)}{value}"


OPTIONS = "options"
"""The source of values that came from options of the command line."""
_NAMED_OTHERWISE = {"filters": "--filter", "solvers": "--solver", "agents": "--agent", "methods": "--methods"}


def _option(name: str, *inside: str) -> str:
    """The option that a setting came from."""
    if name == "pool" and inside:
        return f"--{inside[0]}-total"
    return _NAMED_OTHERWISE.get(name, f"--{name.replace('_', '-')}")


_TABLE_NEEDED = {
    "headers": 'a table is needed, such as headers = { "X-Team" = "search" }, with $NAME for what is secret',
    "options": "a table is needed, such as options = { top_p = 0.9 }",
    "skills": "a table is needed, such as skills = { small = 0.4 }",
}


def _unknown_key(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Says that a key is unknown, and names the nearest known keys at its place."""
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
    """The keys that are known at the place of an unknown one."""
    *parents, _ = location or ("",)
    at: type[BaseModel] | None = model
    named = False  # Whether the next part is the user's own name, as in a table of agents.
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
    """The environment variable that a value came from; empty if it came from elsewhere.

    A variable wins over the file, so one that is set is the source. One variable may give a whole table
    as JSON.
    """
    present = {name.upper(): name for name in os.environ if name.upper().startswith(_PREFIX)}
    for end in range(len(location), 0, -1):
        name = present.get(_variable(location[:end]))
        if name and (end == len(location) or f'"{location[end]}"' in os.environ[name]):
            return name
    return ""


def _check_variables(model: type[BaseSettings]) -> None:
    """Refuses a misspelled table, which pydantic-settings would ignore.

    Raises:
        ConfigError: If a variable such as `BDC_SERCH__ROLLOUTS` names no table.
    """
    for name in os.environ:
        table, between, rest = name.upper().removeprefix(_PREFIX).partition(_BETWEEN)
        if name.upper().startswith(_PREFIX) and between and table.lower() not in model.model_fields:
            place = tuple(rest.lower().split(_BETWEEN))
            tables = [known for known in model.model_fields if _takes(model, (known, *place))]
            # Name the table even if it lacks the key: its own error then lists its keys.
            known = tables or get_close_matches(table.lower(), model.model_fields, n=1)
            choices = [_variable((one, *place)) for one in known]
            choices = choices or [_variable((one, "")) + "..." for one in model.model_fields]
            raise ConfigError(unknown("environment variable", name, choices))


def _takes(model: type[BaseModel], location: tuple[str, ...]) -> bool:
    """Whether there is a setting at this place; accepts any name in the user's own tables."""
    known = (_known_keys(location[:end], model) for end in range(1, len(location) + 1))
    if location[0] in ("agents", "eval"):
        return len(location) > 2 and location[0] == "agents" and location[2] in AgentConfig.model_fields
    return all(part in keys for part, keys in zip(location, known, strict=True))


def _explain_json(error: SettingsError) -> str:
    """Names the variable that must hold a table as JSON and does not; hides its value, which may be a key."""
    field = re.search(r'field "(\w+)"', str(error))
    start = _variable([field[1]] if field else [])
    names = ", ".join(sorted(name for name in os.environ if name.upper().startswith(start)))
    return f"environment variable {names}: a table is needed, written as JSON: {error.__cause__ or error}"
