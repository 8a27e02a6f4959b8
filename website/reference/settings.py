"""The keys of `bdc.toml`, from the models that read it."""

import inspect
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bdc_agents.config import PRESETS, WALK, AgentConfig, Settings
from bdc_agents.evaluate.config import EvalConfig
from website.reference.names import Names

HEAD = """# Settings

`bdc.toml` in the folder where you work holds the agents and the settings of a search. `bdc config --example`
prints a file with every key, `bdc config --schema` is its schema for editors. A misspelled key is answered
by the nearest right one.

The environment wins over the file: a table, two underscores, and the key in capitals, such as
`BDC_BUDGET__CALLS=8`. Options of a command win over both."""

TABLES = {
    "agents": "[agents.NAME]",
    "search": "[search]",
    "budget": "[budget]",
    "sandbox": "[sandbox]",
    "store": "[store]",
    "eval": "[eval]",
}


def settings_page(names: Names) -> str:
    """A table of keys for each table of the file."""
    parts = [HEAD]
    for table, title in TABLES.items():
        model = {"agents": AgentConfig, "eval": EvalConfig}.get(table) or Settings.model_fields[
            table
        ].annotation
        parts += _section(title, table, model, names)
        if table == "search":
            parts += list(_presets())
        if table == "agents":
            inner = next(kind for kind in _models(AgentConfig.model_fields["ollama"].annotation))
            parts += _section("[agents.NAME.ollama]", "agents-ollama", inner, names)
    return "\n\n".join(parts) + "\n"


def _section(title: str, anchor: str, model: Any, names: Names) -> Iterator[str]:
    yield f"## `{title}` {{ #{anchor} }}"
    yield " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())
    said = names.fields(f"{model.__module__}.{model.__name__}")
    rows = [_row(anchor, key, field, said.get(key, "")) for key, field in model.model_fields.items()]
    yield "\n".join(["| key | means |", "|---|---|", *rows])


def _row(table: str, key: str, field: FieldInfo, said: str) -> str:
    walk = " Of the published walk alone." if table == "search" and key in WALK else ""
    default = _default(field)
    takes = _takes(field) + (f"; {default}" if default else "")
    return f"| `{key}` | *{takes}.* {_cell(said)}{walk} |"


def _takes(field: FieldInfo) -> str:
    kind = _kind(field.annotation)
    bounds = [
        f"{sign} {getattr(one, name):g}"
        for one in field.metadata
        for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if getattr(one, name, None) is not None
    ]
    return _cell(", ".join([kind, *bounds]))


WORDS = {
    str: "text",
    int: "number",
    float: "number",
    bool: "`true`, `false`",
    dict: "table",
    tuple: "list",
    list: "list",
    frozenset: "list",
}


def _kind(annotation: Any) -> str:
    """What to write, in the words of TOML."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{one}`" for one in get_args(annotation))
    if get_origin(annotation) in WORDS:
        return WORDS[get_origin(annotation)]
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return "table"
    if annotation in WORDS:
        return WORDS[annotation]
    inner = [one for one in get_args(annotation) if one is not type(None) and not isinstance(one, FieldInfo)]
    kinds = dict.fromkeys(_kind(one) for one in inner if inspect.isclass(one) or get_args(one))
    return " or ".join(kinds) or "text"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=False)
    if value is None or value in ({}, (), "") or isinstance(value, BaseModel) or field.default_factory:
        return ""
    return f"default `{str(value).lower() if isinstance(value, bool) else value}`"


def _presets() -> Iterator[str]:
    yield "### The preset `paper` { #paper }"
    yield (
        '`preset = "paper"` sets the published constants '
        "([arXiv 2502.12492](https://arxiv.org/abs/2502.12492)); keys beside it win."
    )
    rows = [f"| `{key}` | `{_toml(value)}` |" for key, value in PRESETS["paper"].items()]
    yield "\n".join(["| key | value |", "|---|---|", *rows])


def _toml(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _models(annotation: Any) -> Iterator[Any]:
    for one in (annotation, *get_args(annotation)):
        if inspect.isclass(one) and issubclass(one, BaseModel):
            yield one


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
