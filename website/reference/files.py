"""The fields of a library's manifest, from the models that read it."""

import inspect
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from bdc_agents.experts.manifest import Manifest
from website.reference.names import Names

HEAD = """# The format of a library

A library of `bdc distill` is a folder. Every file is data: none is run, and none is a pickle.

| in the folder | is |
|---|---|
| `library.json` | the manifest below: the base, the experts, and the hash and size of every file |
| `README.md` | a model card |
| `experts/NAME/` | an adapter of PEFT: `adapter_model.safetensors` and `adapter_config.json` |
| `router.safetensors` | the router, where one was trained |
| `clusters.json` | how new problems are placed |
| `clusters.html`, `clusters.png`, `validation.json` | the clusters as a map, and held against chance |
| `metrics.json`, `losses.jsonl` | how training went |
| `tokenizer/` | the base's tokenizer and chat template |

`bdc distill --check LIBRARY` compares every file with the manifest.
[Serving](../serving.md#libraries-from-elsewhere) says what is refused.

## `library.json`"""


def library_page(names: Names) -> str:
    """The manifest, a table for each of its objects."""
    return "\n\n".join([HEAD, *_tables(Manifest, names, "###", set())]) + "\n"


def _tables(model: type[BaseModel], names: Names, level: str, seen: set[type]) -> Iterator[str]:
    if model in seen:
        return
    seen.add(model)
    if model is not Manifest:
        yield f"{level} `{model.__name__}` {{ #{model.__name__.lower()} }}"
    yield " ".join((inspect.getdoc(model) or "").split("\n\n")[0].split())
    said = names.fields(f"{model.__module__}.{model.__name__}")
    rows = []
    inner: list[type[BaseModel]] = []
    for key, field in model.model_fields.items():
        kinds = list(_models(field.annotation))
        inner += kinds
        points = "".join(f" ([{kind.__name__}](#{kind.__name__.lower()}))" for kind in kinds)
        rows.append(f"| `{key}` | {said.get(key, '')}{points} |".replace("||", "|"))
    yield "\n".join(["| field | holds |", "|---|---|", *rows])
    for kind in inner:
        yield from _tables(kind, names, level, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
