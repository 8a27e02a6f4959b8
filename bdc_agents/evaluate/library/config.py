"""What is to be compared, kept in `compare.json` so that it can be done again."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from bdc_agents.config import OPTIONS, explain
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.runs import write_text
from bdc_agents.types import Given
from bdc_agents.untrusted import read_whole

CONFIG_FILE = "compare.json"
_LARGEST = 2**20
"""Most bytes of it: a thousand times what a comparison of all methods has."""
FIXED = ("uniform", "nearest", "membership")
"""Mixtures that nobody trains."""
COMBINED: tuple[Literal["ties", "dare"], ...] = ("ties", "dare")
"""Methods that add all experts to the base's weights, once and for all."""
ROUTERS = {"router-default": "default", "router-paper": "paper"}
"""The hypernetwork's two scalings of its weights, by method."""
PEERS = ("arrow", "xlora")
"""peft's own methods."""
METHODS = ("base", "experts", *FIXED, *COMBINED, *PEERS, *ROUTERS)
"""All methods, in the order of the table; `experts` are all that differ, `shared` among them."""


class CompareConfig(Given):
    """One comparison.

    Args:
        library: Folder of the library.
        problems: Data sets or ranges of them, such as `mbpp:11-110`.
        traces: The traces that the library was made from, as run folders or files. Methods that the
            library does not hold are trained on them.
        methods: Some of `METHODS`; `experts` means all of the library, the shared one included.
        filters: Conditions for the problems, such as `difficulty=introductory`.
        limit: Most problems.
        shuffle_seed: None keeps the order of the data sets.
        base: The base's place, if it is not where the library says.
        dtype: Number format of the base.
        max_tokens: Most tokens of one reply; as in `SolverConfig`.
        batch: Replies that are written at once; changes no result but for rounding.
        density: Share of entries that TIES and DARE keep; see `combine`.
    """

    library: str
    problems: tuple[str, ...] = Field(min_length=1)
    traces: tuple[str, ...] = ()
    methods: tuple[str, ...] = METHODS
    filters: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)
    shuffle_seed: int | None = None
    base: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    max_tokens: int = Field(default=512, ge=1)
    batch: int = Field(default=8, ge=1, le=1024)
    density: float = Field(default=0.5, gt=0, le=1)

    @field_validator("methods")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in value if name not in METHODS]:
            raise ValueError(unknown("method", wrong[0], METHODS))
        if not value:
            raise ValueError(f"no method; known: {', '.join(METHODS)}")
        # The order of the table, whatever the order in which they were named.
        return tuple(name for name in METHODS if name in value)

    def fixed(self) -> dict[str, Any]:
        """What every row of one folder shares: all but the methods, how they are run, and places."""
        return self.model_dump(mode="json", exclude={"methods", "batch", "traces", "library", "base"})


def build_config(**values: Any) -> CompareConfig:
    """A configuration from what was given; values that are None were not.

    Raises:
        ConfigError: If a value is not accepted.
    """
    given = {key: value for key, value in values.items() if value is not None and value != ()}
    try:
        return CompareConfig(**given)
    except ValidationError as error:
        raise ConfigError(explain(error, OPTIONS, CompareConfig)) from None


def read_config(file: Path) -> CompareConfig:
    """What `write_config` wrote.

    Raises:
        ConfigError: If it is missing or something else.
    """
    try:
        return CompareConfig.model_validate_json(read_whole(file, _LARGEST))
    except OSError:
        raise ConfigError(f"no configuration {str(file)!r}; name the {CONFIG_FILE} of a comparison") from None
    except ValidationError as error:
        raise ConfigError(explain(error, str(file), CompareConfig)) from None
    except ValueError as error:
        raise ConfigError(f"{str(file)!r} cannot be used: {error}; name a {CONFIG_FILE}") from None


def write_config(folder: Path, config: CompareConfig) -> None:
    """Keeps the configuration in its folder, atomically.

    Raises:
        UsageError: If it cannot be written there.
    """
    write_text(folder / CONFIG_FILE, config.model_dump_json(indent=2) + "\n")
