"""Every error this package raises on purpose.

A failed candidate program is data (a `Verdict`), never an exception. Errors are the caller's mistake or a
broken environment; their messages say what was wrong, what would be right and what to do next. The base
is a `RuntimeError`, and a mistake in the caller's input is also a `ValueError`: LangGraph's server, and so
Studio, RemoteGraph and MCP, passes on the messages of Python's own errors, and reports all others as "An
internal error occurred".

    BDCError                  (RuntimeError)
    ├── UsageError            (ValueError) the caller's input; the command line exits with 2
    │   ├── ConfigError       bdc.toml, the environment or an option
    │   ├── ProblemError      a problem, its tests, a data file or an address
    │   └── ModelError        a model's name, weights or hash
    │       └── NotInstalled  what this machine lacks; the command line exits with 3
    ├── AgentError            an agent did not answer after its retries
    └── SandboxError          programs cannot be run
        └── SandboxRefused    this machine offers no isolation
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

_LONGEST_NAME = 200
"""Characters of a name in a message: longer ones come from damaged files, and would hide what is wrong."""
_NEAREST, _SHOWN = 5, 10
"""Names that a message suggests, and those that it lists where none is near: they fit on two lines."""


_WRONG = 12
"""Lines of what is wrong with settings: more would hide what to do."""
_DIFFERENCES = 4
"""Differences of two settings that a message tells: more would hide what to do."""


class BDCError(RuntimeError):
    """Base of every error raised on purpose by this package."""


class UsageError(BDCError, ValueError):
    """The caller's input cannot be used as it is."""


class ConfigError(UsageError):
    """A setting is unknown, malformed or out of range."""


class ProblemError(UsageError):
    """A problem, one of its tests, or the file it comes from cannot be used."""


class ModelError(UsageError):
    """A model's name, weights or runtime cannot be used."""


class NotInstalled(ModelError):
    """This machine lacks what is needed: a package, weights, a GPU, or room on its disk."""


class AgentError(BDCError):
    """An agent did not answer after its retries.

    Args:
        agent: Name of the agent.
        reason: One line on what went wrong and what to do.
        usage: The `Usage` of its attempts; None if they took nothing.
        lasting: Whether the agent cannot answer anything else either, for example because its key is
            refused.
    """

    def __init__(self, agent: str, reason: str, usage: Any = None, *, lasting: bool = False) -> None:
        super().__init__(f"agent {agent!r}: {reason}")
        self.agent = agent
        self.reason = reason
        self.usage = usage
        self.lasting = lasting


class SandboxError(BDCError):
    """Programs cannot be run because the sandbox itself failed."""


class SandboxRefused(SandboxError):
    """This machine offers no isolation, so untrusted programs are not run."""


def refuse(wrong: Sequence[str]) -> None:
    """Raises one error for all that is wrong with settings, so that nobody mends them one at a time.

    Args:
        wrong: A line for each; none raises nothing.

    Raises:
        ConfigError: If there is any.
    """
    more = [f"and {len(wrong) - _WRONG} more"] if len(wrong) > _WRONG else []
    if wrong:
        raise ConfigError("\n".join([*wrong[:_WRONG], *more]))


def _readable(name: str) -> str:
    """A name that may come from a file, shortened and without what a terminal would obey."""
    if name.isprintable() and len(name) <= _LONGEST_NAME:
        return name
    return f"{ascii(name[: _LONGEST_NAME // 2])[1:-1]}..."


def in_a_sentence(differences: Sequence[str]) -> str:
    """The first differences one after another, and how many more there are."""
    more = f"; and {len(differences) - _DIFFERENCES} more" if len(differences) > _DIFFERENCES else ""
    return "; ".join(differences[:_DIFFERENCES]) + more


def other_agents(then: Iterable[str], now: Iterable[str]) -> str:
    """Says which agents took part and which ones do now; empty where they are the same."""
    before, after = sorted(set(then)), sorted(set(now))
    if before == after:
        return ""
    one, other = (", ".join(map(_readable, names)) or "none" for names in (before, after))
    return f"agents: {one} in the run, {other} now"


def in_words(item: Mapping[str, Any]) -> str:
    """What pydantic finds wrong at a place, as what is needed there; other checks say it in their own words.

    Args:
        item: One of the `errors()` of a validation error.
    """
    kind, limits = str(item["type"]), item.get("ctx", {})
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        bound = limits.get(name)
        return words.format(f"{bound:,g}" if isinstance(bound, int | float) else bound)
    if kind in _TOO_SHORT:
        least = int(limits.get("min_length", 1))
        return "it is empty" if least == 1 else f"at least {least:,} {_TOO_SHORT[kind]} are needed"
    if kind in _TOO_LONG:
        return f"at most {int(limits.get('max_length', 0)):,} {_TOO_LONG[kind]} are taken"
    return next(
        (words for names, words in _NEEDED.items() if kind in names),
        str(item["msg"]).removeprefix("Value error, "),
    )


_NEEDED: Mapping[tuple[str, ...], str] = {
    ("missing",): "it is missing",
    ("string_type",): "a text is needed",
    ("int_type", "int_parsing", "int_from_float"): "a whole number is needed",
    ("float_type", "float_parsing", "finite_number"): "a number is needed",
    ("bool_type", "bool_parsing"): "true or false is needed",
    ("list_type", "tuple_type"): "a list is needed",  # Nobody who writes a file knows tuples.
    ("dict_type", "model_type", "model_attributes_type"): "an object is needed",
}
_BOUNDS = {
    "greater_than": ("gt", "more than {} is needed"),
    "greater_than_equal": ("ge", "at least {} is needed"),
    "less_than": ("lt", "less than {} is needed"),
    "less_than_equal": ("le", "at most {} is taken"),
    "literal_error": ("expected", "one of {} is needed"),
    "enum": ("expected", "one of {} is needed"),
}
_TOO_SHORT = {"string_too_short": "characters", "too_short": "entries"}
_TOO_LONG = {"string_too_long": "characters", "too_long": "entries"}


def unknown(what: str, value: str, choices: Iterable[str]) -> str:
    """Says that `value` is not one of `choices`, nearest ones first.

    Args:
        what: The kind of thing, such as "agent".
        value: What the caller wrote.
        choices: The accepted values.
    """
    known = sorted(map(_readable, choices))
    value = value if len(value) <= _LONGEST_NAME else f"{value[:_LONGEST_NAME]}..."
    near = get_close_matches(
        value, known, n=_NEAREST, cutoff=0.5
    )  # Half the letters: typing errors and halves.
    if near:
        return f"unknown {what} {value!r}; did you mean {', '.join(near)}?"
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    shown = ", ".join(known[:_SHOWN]) + more
    return f"unknown {what} {value!r}; choose one of: {shown or 'none are defined'}"
