"""What one run may set differently from its graph.

It is read as a whole: one message names all that is wrong with it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, cast

from pydantic import BaseModel, ValidationError
from typing_extensions import TypedDict

from bdc_agents.config import PRESETS, Budget, SearchConfig, explain
from bdc_agents.errors import ConfigError, refuse, unknown

Json = dict[str, Any]
Changed = TypeVar("Changed", SearchConfig, Budget)


def _changes(model: type[BaseModel], **more: Any) -> Any:
    """A dict with some of a model's fields, as Studio and MCP clients show it in a form."""
    fields = {name: Annotated[field.annotation, field] for name, field in model.model_fields.items()}
    return TypedDict(f"{model.__name__}Changes", more | fields, total=False)  # pyright: ignore


if TYPE_CHECKING:
    SearchChanges = BudgetChanges = Json
else:
    SearchChanges = _changes(SearchConfig, preset=Literal[tuple(PRESETS)])
    BudgetChanges = _changes(Budget)


class SearchContext(TypedDict, total=False):
    """What a run may set differently from the graph it runs.

    Args:
        search: Fields of `SearchConfig` to change, and `preset` to start from.
        budget: Fields of `Budget`.
        agents: Names of the agents that take part.
    """

    search: SearchChanges
    budget: BudgetChanges
    agents: list[str]


def read_context(
    context: SearchContext | None, search: SearchConfig, budget: Budget, agents: Collection[str] | None = None
) -> tuple[SearchConfig, Budget]:
    """The settings of one run: the graph's own with the run's changes over them.

    Args:
        context: What the run changes.
        search, budget: The graph's own settings.
        agents: Names of the graph's agents; None where they are not known yet.

    Raises:
        ConfigError: If a key or an agent is unknown, or a value of another kind or out of range; its message
            has a line for each.
    """
    _check_kind("context", context, Mapping, "a dict")
    given, wrong = dict(context or {}), list[str]()
    for key in [key for key in given if key not in SearchContext.__annotations__]:
        wrong.append(unknown("key of the context", str(key), SearchContext.__annotations__))
    caps, changes = _table("context", given, "budget", wrong), _table("context", given, "search", wrong)
    found = (
        _with_preset("context: search", search, changes, wrong),
        _changed("context: budget", budget, caps, wrong),
    )
    _check_names(given.get("agents"), agents, wrong)
    refuse(wrong)
    return found


def _table(source: str, given: Mapping[str, Any], key: str, wrong: list[str]) -> Json:
    """The changes under a key; none where they are no dict, which is told."""
    value = given.get(key)
    if value is None or isinstance(value, Mapping):
        return dict(cast("Json", value or {}))
    wrong.append(f"{source}: {key} is a dict, not {value!r:.80}")
    return {}


def _check_names(names: Any, agents: Collection[str] | None, wrong: list[str]) -> None:
    # The characters of a text could each be the name of an agent.
    if names is not None and not isinstance(names, list | tuple):
        wrong.append(f"context: agents is a list of names, not {names!r:.80}")
        return
    for name in cast("Sequence[object]", names or ()):
        if not isinstance(name, str):
            wrong.append(f"context: agents: a name is a text, not {name!r:.80}")
        elif agents is not None and name not in agents:
            wrong.append(unknown("agent", name, agents))


def _with_preset(source: str, search: SearchConfig, changes: Json, wrong: list[str]) -> SearchConfig:
    """The settings with changes, of which `preset` names others to start from."""
    preset = changes.pop("preset", None)
    if preset in PRESETS:
        search = SearchConfig.preset(preset)
    elif preset:
        wrong.append(f"{source}: {unknown('search preset', str(preset), PRESETS)}")
    return _changed(source, search, changes, wrong)


def _changed(source: str, settings: Changed, changes: Json, wrong: list[str]) -> Changed:
    """The settings with changes; as they were where one cannot be used, which is told."""
    if not changes:
        return settings
    try:
        return settings.model_validate(settings.model_dump(exclude_unset=True) | changes)
    except ValidationError as error:
        wrong += explain(error, source, type(settings)).splitlines()
        return settings


def settings_of(
    search: SearchConfig | Mapping[str, Any] | None, budget: Budget | Mapping[str, Any] | None
) -> tuple[SearchConfig, Budget]:
    """Settings as callers give them: models, dicts such as a run's context has (with `preset`), or nothing.

    Raises:
        ConfigError: If one is something else, a key is unknown, or a value of another kind or out of range.
    """
    base = search if isinstance(search, SearchConfig) else SearchConfig()
    own = budget if isinstance(budget, Budget) else Budget()
    _check_kind("search", search, SearchConfig | Mapping, "a SearchConfig or a dict")
    _check_kind("budget", budget, Budget | Mapping, "a Budget or a dict")
    changes = dict(search) if isinstance(search, Mapping) else {}
    caps = dict(budget) if isinstance(budget, Mapping) else {}
    wrong = list[str]()
    found = _with_preset("search", base, changes, wrong), _changed("budget", own, caps, wrong)
    refuse(wrong)
    return found


def _check_kind(what: str, value: object, kind: Any, named: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise ConfigError(f"{what} is {named}, not {value!r:.80}")
