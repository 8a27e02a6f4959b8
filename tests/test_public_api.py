"""The names that people type: imports, the command line, keys of `bdc.toml`, fields of files on disk.

They are written down in `public_api.txt`. A name that goes, or a parameter that does, breaks somebody's
code: keep it, or let a message say what to write instead. To write the file anew after a change that is
meant, so that its diff shows what users will meet:

    python tests/test_public_api.py
"""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import typer
from pydantic import BaseModel

FILE = Path(__file__).with_name("public_api.txt")
PACKAGES = (
    "",
    "agents",
    "chat",
    "data",
    "distill",
    "evaluate",
    "evaluate.library",
    "runs",
    "sandbox",
    "search",
    "serve",
)


def written() -> str:
    """What is public, a line each."""
    lines = [*imports(), *commands(), *settings(), *files(), *events()]
    return "\n".join(lines) + "\n"


def imports() -> Iterator[str]:
    """What each package exports, with the parameters that a call may name."""
    for package in PACKAGES:
        module = import_module(f"bdc_agents.{package}".rstrip("."))
        for name in sorted(module.__all__):
            yield f"from {module.__name__} import {name}{parameters(getattr(module, name))}"


def parameters(value: Any) -> str:
    """The parameters of a function, of a class, or of a model's fields."""
    if inspect.isclass(value) and issubclass(value, BaseModel):
        return "(" + ", ".join(value.model_fields) + ")"
    if not callable(value):
        return ""
    try:
        found = inspect.signature(value).parameters.values()
    except ValueError:
        return ""
    return "(" + ", ".join(str(one.replace(annotation=one.empty, default=one.empty)) for one in found) + ")"


def commands() -> Iterator[str]:
    """Each command with its arguments and options."""
    from bdc_agents.cli.app import app

    group: Any = typer.main.get_command(app)
    with group.make_context("bdc", ["--version"], resilient_parsing=True) as context:
        for name in group.list_commands(context):
            _, command, _ = group.resolve_command(context, [name])
            for one in command.params:
                yield f"bdc {name} {'/'.join([*one.opts, *one.secondary_opts]) if one.opts else one.name}"


def settings() -> Iterator[str]:
    """The keys of `bdc.toml`."""
    from bdc_agents.config import Settings

    for table, field in Settings.model_fields.items():
        inner = list(_models(field.annotation))
        for kind in inner:
            yield from (f"bdc.toml [{table}] {key}" for key in kind.model_fields)
        if not inner:
            yield f"bdc.toml {table}"


def files() -> Iterator[str]:
    """The fields of traces, problems and libraries on disk."""
    from bdc_agents.experts.manifest import Manifest
    from bdc_agents.types import Task, Trace

    for title, model in (("trace", Trace), ("problem", Task), ("library.json", Manifest)):
        yield from sorted(set(_fields(title, model)))


def events() -> Iterator[str]:
    """The keys of the events that graphs stream."""
    from bdc_agents.chat import ChatEvent
    from bdc_agents.serve import SolverEvent

    for title, union in (("search and chat", ChatEvent), ("solver", SolverEvent)):
        for one in get_args(union):
            keys = get_type_hints(one)
            yield f"event of {title}: {get_args(keys.pop('type'))[0]}({', '.join(keys)})"


def _fields(place: str, model: type[BaseModel], seen: tuple[type, ...] = ()) -> Iterator[str]:
    if model in seen:
        return
    for name, field in model.model_fields.items():
        yield f"{place}.{name}"
        for inner in _models(field.annotation):
            yield from _fields(f"{place}.{name}", inner, (*seen, model))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _models(inner)


def test_what_people_type_stays() -> None:
    pytest.importorskip("torch", reason="needs the extra `distill`")
    now, before = written().splitlines(), FILE.read_text(encoding="utf-8").splitlines()
    gone, new = sorted(set(before) - set(now)), sorted(set(now) - set(before))
    assert not gone, f"gone or changed; {__doc__}"
    assert not new, "new: if it is meant to be public, write the file anew: python tests/test_public_api.py"


@pytest.mark.parametrize(
    ("old", "says"),
    [
        ("bdc_agents.compare", "from bdc_agents.evaluate.library import compare"),
        ("bdc_agents.serve", "from bdc_agents.evaluate.library.methods import compare"),
    ],
)
def test_what_has_moved_is_told(old: str, says: str) -> None:
    with pytest.warns(DeprecationWarning, match=says):
        assert callable(import_module(old).compare)


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
