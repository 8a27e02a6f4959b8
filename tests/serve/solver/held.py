"""Schemas of every form that is taken, and whether replies fulfil them; for the tests of the backends."""

import json
from typing import Any

import jsonschema
from pydantic import BaseModel

from bdc_agents.serve import ChatRequest
from bdc_agents.serve.backends.schemas import ANY_OBJECT, read_schema


class Point(BaseModel):
    x: int
    y: int | None = None


class Shape(BaseModel):
    name: str
    points: list[Point]


SHAPE = Shape.model_json_schema()
CHILDREN = {"type": "array", "items": {"$ref": "#/$defs/Node"}, "maxItems": 2}
TREE = {
    "$defs": {"Node": {"type": "object", "properties": {"v": {"type": "boolean"}, "of": CHILDREN}}},
    "$ref": "#/$defs/Node",
}
SCHEMAS: dict[str, Any] = {
    "an object": ANY_OBJECT,
    "a model of pydantic": SHAPE,
    "a recursive one": TREE,
    "values": {"enum": ["red", 7, None, {"a": [1]}]},
    "a constant of a type": {"const": "yes", "type": "string"},
    "bounds": {"type": "integer", "minimum": -5, "exclusiveMaximum": 40},
    "lengths": {"type": "string", "minLength": 3, "maxLength": 6},
    "a row": {"prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 2, "maxItems": 2},
    "a list": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3},
    "names that are not given": {
        "type": "object",
        "additionalProperties": {"type": "boolean"},
        "required": ["a"],
    },
    "several types": {"type": ["boolean", "null"]},
    "a choice": {
        "anyOf": [{"type": "object", "properties": {"k": {"const": 1}}, "required": ["k"]}, {"type": "null"}]
    },
    "optional properties": {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in "abc"},
        "required": ["b"],
    },
}


RAMBLING = ("an object", "a model of pydantic", "a recursive one")
"""Schemas that a random model fills without end, up to its token limit."""


def ask(schema: Any, seed: int = 0, **more: Any) -> ChatRequest:
    messages = [{"role": "user", "content": "Tell me something."}]
    return ChatRequest(
        messages, None, temperature=1.0, seed=seed, max_tokens=160, schema=read_schema(schema), **more
    )


def checked(schema: Any, replies: Any) -> int:
    """How many replies came to their end; each of those must fulfil the schema as it was given."""
    whole = [reply.text for reply in replies if reply.finish == "stop"]
    for text in whole:
        jsonschema.validate(json.loads(text), schema)
    return len(whole)
