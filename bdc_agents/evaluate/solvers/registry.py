"""Makes solvers by their names:

    single:large                      one agent, one program
    best-of:8                         eight programs of all agents, the best on the public tests
    repair:4,agents=small             a program, then up to four corrections after failing tests
    search:paper,rollouts=8           the search, with a preset and changes to it

A solver is named as KIND, or KIND:ARGUMENT, then options after commas. Further kinds are added with
`register_solver`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bdc_agents.agents.protocol import Agent
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.evaluate.solvers.protocol import Solver
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.types import Frozen


class Tools(Frozen, arbitrary_types_allowed=True):
    """The parts that solvers are made of.

    Args:
        agents: All agents by name.
        team: Names of the agents of a solver that names none.
        executor: Runs programs on the public tests.
        search: Search settings of a solver that names no preset.
        budget: Caps for one solver on one problem.
        temperature: Temperature of a solver that names none; None for that of the search settings.
    """

    agents: Mapping[str, Agent]
    team: tuple[str, ...]
    executor: Executor
    search: SearchConfig = SearchConfig()
    budget: Budget = Budget()
    temperature: float | None = None


class Spec(Frozen):
    """A solver's name, taken apart.

    Args:
        text: The whole name, as in results.
        kind: The part before the first colon.
        argument: The part after it; empty without a colon.
        options: The parts after commas, by key.
    """

    text: str
    kind: str
    argument: str = ""
    options: dict[str, str] = {}

    @classmethod
    def parse(cls, text: str) -> "Spec":
        """Reads a solver's name.

        Raises:
            ConfigError: If an option is not written as key=value.
        """
        head, *parts = (part.strip() for part in text.split(","))
        kind, _, argument = head.partition(":")
        options: dict[str, str] = {}
        for part in parts:
            key, equals, value = (word.strip() for word in part.partition("="))
            if not (key and equals and value):
                raise ConfigError(
                    f"solver {text!r}: {part!r} is not an option; write key=value, such as temperature=0"
                )
            options[key] = value
        return cls(
            text=",".join([head, *parts]), kind=kind.strip(), argument=argument.strip(), options=options
        )

    def agents(self) -> tuple[str, ...]:
        """The agents that it names; none if it takes the whole team."""
        named = self.options.get("agents") or (self.argument if self.kind == "single" else "")
        return tuple(name for name in named.split("+") if name)

    def chosen(self, tools: Tools) -> list[Agent]:
        """Its agents, in order."""
        return [tools.agents[name] for name in self.agents() or tools.team]

    def temperature(self, tools: Tools) -> float:
        """Its sampling temperature."""
        common = tools.search.temperature if tools.temperature is None else tools.temperature
        return self.number("temperature", common, float)

    def number(self, key: str, default: Any, kind: type[Any] = int) -> Any:
        """A number among its options.

        Raises:
            ConfigError: If it is not a number.
        """
        text = self.options.get(key)
        return default if text is None else _number(self.text, key, text, kind)

    def count(self, what: str, default: int | None = None) -> int:
        """Its argument as a number of at least 1.

        Raises:
            ConfigError: If it is no such number, or missing without a default.
        """
        if not self.argument and default is not None:
            return default
        value = _number(self.text, what, self.argument, int)
        if value < 1:
            raise ConfigError(f"solver {self.text!r}: {what} must be at least 1, not {value}")
        return value

    def check_options(self, known: Sequence[str]) -> None:
        """Refuses options that the solver does not have.

        Raises:
            ConfigError: If there is one.
        """
        for key in self.options:
            if key not in known:
                raise ConfigError(f"solver {self.text!r}: {unknown('option', key, known)}")


def _number(solver: str, key: str, text: str, kind: type[Any]) -> Any:
    try:
        return kind(text)
    except ValueError:
        example = "8" if kind is int else "0.7"
        raise ConfigError(
            f"solver {solver!r}: {key} must be a number such as {example}, not {text!r}"
        ) from None


Factory = Callable[[Spec, Tools], Solver]
_KINDS: dict[str, tuple[Factory, str]] = {}


def register_solver(kind: str, factory: Factory, usage: str) -> None:
    """Registers a kind of solver, or replaces the one of the same name.

    Args:
        kind: The part of a solver's name before the colon.
        factory: Makes a solver from its name and its parts.
        usage: How the kind is written, for messages, such as `best-of:N`.
    """
    _KINDS[kind] = factory, usage


def solver_kinds() -> dict[str, str]:
    """How each known kind is written."""
    return {kind: usage for kind, (_, usage) in _KINDS.items()}


def check_kind(spec: Spec) -> None:
    """Refuses a kind that is not known.

    Raises:
        ConfigError: If it is not.
    """
    if spec.kind not in _KINDS:
        shown = ", ".join(usage for _, usage in _KINDS.values())
        raise ConfigError(f"{unknown('solver', spec.kind, _KINDS)}; solvers are written as {shown}")


def create_solver(spec: Spec, tools: Tools) -> Solver:
    """The solver of this name.

    Raises:
        ConfigError: If the kind is not known, or its argument or an option cannot be used.
    """
    check_kind(spec)
    return _KINDS[spec.kind][0](spec, tools)
