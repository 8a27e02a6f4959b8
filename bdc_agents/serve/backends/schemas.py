"""JSON schemas that replies are held to: the part of JSON Schema that every backend enforces, and no more.

llama.cpp passes over what it does not know, and the libraries of transformers and vLLM know other things. So
a schema is read here, once for all: what one of them would not check is refused, remarks are dropped, and
each schema gets one form. What fulfils the form fulfils the schema as it was given.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn

from bdc_agents.errors import UsageError

Json = dict[str, Any]
ANY_OBJECT: Mapping[str, Any] = {"type": "object"}
"""What OpenAI's `json_object` asks for."""
CHARACTERS, SCHEMAS, DEPTH = 120_000, 5000, 32
"""Most of one. OpenAI takes 120,000 characters of names, and 5,000 properties, 10 within each other."""
REPEATS = 1000
"""Most items and characters that are counted: llama.cpp counts up to 2,000."""

_REMARKS = {
    *(
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "readOnly",
        "writeOnly",
        "format",
    ),
    *("$schema", "$id", "$comment", "discriminator", "contentEncoding", "contentMediaType"),
}
"""Words that hold a value to nothing. `format` is a remark by the standard."""
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_OF_TYPES: Mapping[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("minLength", "maxLength"),
    "integer": _BOUNDS,
    "number": _BOUNDS,
    "boolean": (),
    "null": (),
}
"""Words by the type that they are about. A value of another type they hold to nothing."""
_INSTEAD = {"oneOf": "say anyOf", "allOf": "write them as one schema"}
_HOMES = ("$defs", "definitions")
_READ = {
    "type",
    "enum",
    "const",
    "anyOf",
    "$ref",
    *_HOMES,
    *(word for of in _OF_TYPES.values() for word in of),
}


def read_schema(given: Any) -> Json:
    """A schema in the form that all backends enforce.

    Raises:
        UsageError: If it is no schema, is too large, or says something that not all backends check.
    """
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError):
        raise UsageError("schema: it is no JSON, or nested without end") from None
    if len(text) > CHARACTERS:
        raise UsageError(f"schema: it has {len(text)} characters, and {CHARACTERS} are taken")
    return _Reader(given if isinstance(given, dict) else {}).whole(given)


class _Reader:
    """Reads one schema.

    Args:
        root: Its `$defs` are what references lead to.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        named = {f"#/{home}/{name}": schema for home in _HOMES for name, schema in _members(root, home)}
        self._defs = named
        self._names = {place: f"d{number}" for number, place in enumerate(named)}
        self._read = 0

    def whole(self, root: Any) -> Json:
        """The whole schema, with the schemas that its references lead to."""
        defs = {self._names[place]: self.read(schema, place, 0) for place, schema in self._defs.items()}
        read = self.read(root, "schema", 0)
        try:
            TopologicalSorter({name: _straight(schema) for name, schema in defs.items()}).prepare()
        except CycleError:
            raise UsageError("schema: a definition leads to itself without anything between") from None
        return read | ({"$defs": defs} if defs else {})

    def read(self, schema: Any, place: str, depth: int) -> Json:
        """One schema within the whole.

        Args:
            place: Where it stands, for errors.
        """
        self._read += 1
        if self._read > SCHEMAS or depth > DEPTH:
            _refuse(place, f"at most {SCHEMAS} schemas are taken, and {DEPTH} within each other")
        if schema is True:
            return {}
        if not isinstance(schema, dict):
            _refuse(place, 'it is no schema; give an object, such as {"type": "string"}')
        words = {word for word in schema if word not in _REMARKS and not word.startswith("x-")} - {*_HOMES}
        if unknown := sorted(words - _READ):
            instead = _INSTEAD.get(unknown[0], "leave it out")
            _refuse(f"{place}.{unknown[0]}", f"it is not enforced here; {instead}")
        for word in ("$ref", "anyOf"):
            if word in words:
                if len(words) > 1:
                    _refuse(place, f"what stands beside {word} is not enforced; put it inside")
                return (
                    self._reference(schema, place) if word == "$ref" else self._choice(schema, place, depth)
                )
        types = _types(schema, place)
        if "const" in words or "enum" in words:
            return _values(schema, types, place)
        if len(types) == len(_OF_TYPES):
            return {}
        read = [self._of_type(kind, schema, place, depth) for kind in types]
        return read[0] if len(read) == 1 else {"anyOf": read}

    # --- the forms ----------------------------------------------------------------------------

    def _reference(self, schema: Json, place: str) -> Json:
        name = self._names.get(schema["$ref"]) if isinstance(schema["$ref"], str) else None
        if name is None:
            _refuse(
                f"{place}.$ref", f"it leads to {schema['$ref']!r:.80}, which is none of the schema's $defs"
            )
        return {"$ref": f"#/$defs/{name}"}

    def _choice(self, schema: Json, place: str, depth: int) -> Json:
        given = schema["anyOf"]
        if not isinstance(given, list) or not given:
            _refuse(f"{place}.anyOf", "it must be a list of schemas")
        return {"anyOf": [self.read(one, f"{place}.anyOf.{n}", depth + 1) for n, one in enumerate(given)]}

    def _of_type(self, kind: str, schema: Json, place: str, depth: int) -> Json:
        if kind == "object":
            return self._object(schema, place, depth)
        if kind == "array":
            return self._array(schema, place, depth)
        if kind == "string":
            return {"type": kind} | _counts(schema, "minLength", "maxLength", place)
        if kind == "number" and (found := [word for word in _BOUNDS if word in schema]):
            _refuse(f"{place}.{found[0]}", "bounds are enforced for integers alone; leave it out")
        return {"type": kind} | (_bounds(schema, place) if kind == "integer" else {})

    def _object(self, schema: Json, place: str, depth: int) -> Json:
        within = f"{place}.properties"
        read = {
            name: self.read(one, f"{within}.{name}", depth + 1)
            for name, one in _members(schema, "properties")
        }
        required = schema.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            _refuse(f"{place}.required", "it must be a list of names")
        others: Any = schema.get("additionalProperties", not read)
        if missing := [name for name in required if name not in read]:
            if others is False:
                _refuse(f"{place}.required", f"{missing[0]!r:.80} is none of the properties")
            rest = {} if others is True else self.read(others, f"{place}.additionalProperties", depth + 1)
            read |= dict.fromkeys(missing, rest)
        if not isinstance(others, bool):
            others = self.read(others, f"{place}.additionalProperties", depth + 1)
        whole: Json = {"type": "object"}
        if read:
            whole |= {"properties": read, "required": [name for name in read if name in required]}
        return whole | ({"additionalProperties": others} if read or others is not True else {})

    def _array(self, schema: Json, place: str, depth: int) -> Json:
        counts = _counts(schema, "minItems", "maxItems", place)
        if "prefixItems" in schema:
            return self._row(schema, counts, place, depth)
        items = schema.get("items", True)
        if items is False:
            return {"enum": [[]]}
        return {"type": "array", "items": self.read(items, f"{place}.items", depth + 1)} | counts

    def _row(self, schema: Json, counts: Json, place: str, depth: int) -> Json:
        """An array of as many items as it has schemas for."""
        given = schema["prefixItems"]
        if not isinstance(given, list) or not given:
            _refuse(f"{place}.prefixItems", "it must be a list of schemas")
        size = len(given)
        if not counts.get("minItems", 0) <= size <= counts.get("maxItems", size):
            _refuse(
                f"{place}.prefixItems", f"it has {size} schemas; as many items are enforced, and no others"
            )
        items = [self.read(one, f"{place}.prefixItems.{n}", depth + 1) for n, one in enumerate(given)]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": size, "maxItems": size}


def _members(schema: Mapping[str, Any], word: str) -> Iterable[tuple[str, Any]]:
    found = schema.get(word, {})
    if not isinstance(found, dict):
        _refuse(word, "it must be an object of schemas")
    return found.items()


def _types(schema: Json, place: str) -> list[str]:
    """The types that a value may have: those that are named, or that the other words are about."""
    named = schema.get("type")
    if named is None:
        about = [kind for kind in _OF_TYPES if any(word in schema for word in _OF_TYPES[kind])]
        return [kind for kind in about if kind != "number"] or [*_OF_TYPES]
    types: list[Any] = named if isinstance(named, list) and named else [named]
    for kind in types:
        if not isinstance(kind, str) or kind not in _OF_TYPES:
            _refuse(f"{place}.type", f"{kind!r:.80} is none of {', '.join(_OF_TYPES)}")
    return list(dict.fromkeys(types))


def _values(schema: Json, types: list[str], place: str) -> Json:
    given = [schema["const"]] if "const" in schema else schema["enum"]
    if not isinstance(given, list) or not 0 < len(given) <= REPEATS:
        _refuse(f"{place}.enum", f"it must be a list of 1 to {REPEATS} values")
    fitting = [value for value in given if any(_is(value, kind) for kind in types)]
    if not fitting:
        _refuse(place, f"none of its values is of the type {' or '.join(types)}")
    return {"enum": fitting}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool) or value is None:
        return kind == ("null" if value is None else "boolean")
    if isinstance(value, int | float):
        return kind == "number" or (kind == "integer" and value == int(value))
    return kind == {str: "string", list: "array", dict: "object"}[type(value)]


def _counts(schema: Json, least: str, most: str, place: str) -> Json:
    """Limits of a length, the upper one no higher than what all backends count."""
    read: Json = {}
    for word in (least, most):
        if word not in schema:
            continue
        value = schema[word]
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value) or value < 0:
            _refuse(f"{place}.{word}", "it must be a whole number of 0 or more")
        read[word] = int(value)
    if read.get(least, 0) > min(REPEATS, read.get(most, REPEATS)):
        _refuse(
            f"{place}.{least}", f"it is {read[least]}; at most {min(REPEATS, read.get(most, REPEATS))} can be"
        )
    return read | ({most: min(REPEATS, read[most])} if most in read else {})


def _bounds(schema: Json, place: str) -> Json:
    """Bounds of an integer, as the least and the greatest."""
    read: Json = {}
    for word in _BOUNDS:
        if word not in schema:
            continue
        value = schema[word]
        if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 2**53:
            _refuse(f"{place}.{word}", "it must be a number, at most 2**53 from 0")
        if word in ("minimum", "exclusiveMinimum"):
            least = math.ceil(value) if word == "minimum" else math.floor(value) + 1
            read["minimum"] = max(least, read.get("minimum", least))
        else:
            most = math.floor(value) if word == "maximum" else math.ceil(value) - 1
            read["maximum"] = min(most, read.get("maximum", most))
    if read.get("minimum", -math.inf) > read.get("maximum", math.inf):
        _refuse(place, "no integer lies between its bounds")
    return read


def _straight(schema: Json) -> Iterator[str]:
    """The definitions that a schema leads to without a property or an item between."""
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2]
    for one in schema.get("anyOf", ()):
        yield from _straight(one)


def _refuse(place: str, why: str) -> NoReturn:
    raise UsageError(f"{place:.200}: {why}")
