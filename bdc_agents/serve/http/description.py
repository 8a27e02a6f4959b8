"""The server's description in OpenAPI 3.2: what each path takes, and everything that it may answer.

`benchmarks/serve_description.py` holds the server to it.
"""

from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Literal

from pydantic import TypeAdapter, with_config
from pydantic.json_schema import models_json_schema
from typing_extensions import TypedDict

from bdc_agents.serve.http.completion import ChatCompletion, ChatCompletionChunk
from bdc_agents.serve.http.openai import ChatBody, ErrorBody, unread
from bdc_agents.serve.http.served import WHOLE

Json = dict[str, Any]

_BY_STATUS: Mapping[int, str] = {
    400: "The request cannot be answered as it is; the message says why.",
    401: "The API key is missing or wrong.",
    403: "The host, or the page's origin, is not one of this server's.",
    404: "There is no such model.",
    408: "The client was too slow.",
    413: "The body is too large, or in too many pieces.",
    415: "The body is not declared as JSON.",
    429: "As many requests are being answered as the server takes; come again.",
    431: "The headers are too large.",
    500: "The server failed.",
    501: "The body is in a coding that the server does not know.",
    502: "What the server asks does not answer: agents, or the backend.",
    503: "The server stops, or has too many connections; come again.",
    504: "The request took longer than the server's limit.",
    505: "The request is in another version of HTTP.",
}
_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"www-authenticate": "string"},
    429: {"retry-after": "integer"},
    503: {"retry-after": "integer"},
}
"""What the answers of a status have besides, by the type of its values. Seconds, for `retry-after`."""
_PLAIN: Mapping[str, Json] = {
    "application/json": {"type": "object"},
    "text/plain": {"type": "string"},
}
_OF_CONNECTIONS = (400, 403, 408, 413, 431, 500, 501, 503, 505)
"""What any request may be answered: `connections.py` speaks before the path is known."""
_GUARDED = (*_OF_CONNECTIONS, 401, 415, 504)
"""What `Guard` may answer besides, on every path but /health."""
_ASKED = {"role": "user", "content": "Write double(n). double(2) should be 4."}


@with_config(WHOLE)
class Model(TypedDict):
    """A model of the server."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


@with_config(WHOLE)
class ModelList(TypedDict):
    """All models of the server."""

    object: Literal["list"]
    data: list[Model]


@with_config(WHOLE)
class Health(TypedDict):
    """Whether the server takes requests, and of which library."""

    status: Literal["ok", "stopping"]
    library: str | None


def described(models: Sequence[str], ignored: Collection[str], *, with_key: bool) -> Json:
    """The description of a server, as data of OpenAPI 3.2, the first version that describes events.

    Args:
        models: The names of its models.
        ignored: Fields of a request that some model of it takes and does without.
        with_key: Whether it asks for a key.
    """
    chat = _answers(
        (*_GUARDED, 404, 429, 502),
        {"application/json": "ChatCompletion"},
        "The answer, in pieces where the request has `stream`. An error ends a stream that has failed.",
    )
    chat["200"]["content"]["text/event-stream"] = {"itemSchema": _EVENT}
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    lists = _operation("models", "All models.", _answers(_GUARDED, {"application/json": "ModelList"}))
    one = _operation("model", "One model.", _answers((*_GUARDED, 404), {"application/json": "Model"}))
    health = _answers(_OF_CONNECTIONS, {"application/json": "Health"})
    either = {"anyOf": [_named("Health"), _named("ErrorBody")]}
    health["503"] = _error(503, _BY_STATUS[503]) | {"content": {"application/json": {"schema": either}}}
    paths: Json = {
        "/v1/chat/completions": {
            "post": _operation("chat", "Answers a conversation.", chat)
            | {
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": _named("ChatBody")}},
                }
            }
        },
        "/v1/models": {"get": lists},
        "/v1/models/{name}": {
            "get": one | {"parameters": [name | {"examples": {m: {"value": m} for m in models}}]}
        },
        "/health": {
            "get": _operation("health", "Whether the server takes requests; needs no key.", health)
            | {"security": []}
        },
        "/metrics": {
            "get": _operation("metrics", "Counts for Prometheus.", _answers(_GUARDED, {"text/plain": ""}))
        },
        "/openapi.json": {
            "get": _operation("description", "This.", _answers(_GUARDED, {"application/json": ""}))
        },
    }
    return {
        "openapi": "3.2.0",
        "info": {"title": "bdc serve", "version": version("bdc-agents")},
        "paths": paths,
        "components": {
            "schemas": _schemas(models, ignored),
            "responses": {str(status): _error(status, told) for status, told in _BY_STATUS.items()},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}} if with_key else {},
        },
        "security": [{"key": []}] if with_key else [],
    }


# --- the paths ----------------------------------------------------------------------------------


def _operation(name: str, summary: str, answers: Json) -> Json:
    return {"operationId": name, "summary": summary, "responses": answers}


def _answers(refusals: Sequence[int], done: Mapping[str, str], told: str = "The answer.") -> Json:
    """The answers of a path.

    Args:
        refusals: Statuses of errors.
        done: The name of the answer's schema by its media type; empty for a plain one.
        told: What the answer is.
    """
    contents = {kind: {"schema": _named(name) if name else _PLAIN[kind]} for kind, name in done.items()}
    errors = {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted({*refusals})}
    return {"200": {"description": told, "content": contents}} | errors


def _error(status: int, told: str) -> Json:
    headers = {name: {"schema": {"type": kind}} for name, kind in _HEADERS.get(status, {}).items()}
    content = {"application/json": {"schema": _named("ErrorBody")}}
    return {"description": told, "content": content} | ({"headers": headers} if headers else {})


def _named(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


_EVENT: Json = {
    "type": "object",
    "required": ["data"],
    "properties": {
        "data": {
            "anyOf": [
                {"const": "[DONE]"},
                {
                    "type": "string",
                    "contentMediaType": "application/json",
                    "contentSchema": {"anyOf": [_named("ChatCompletionChunk"), _named("ErrorBody")]},
                },
            ]
        }
    },
}
"""An event of a stream."""


# --- the schemas --------------------------------------------------------------------------------


def _schemas(models: Sequence[str], ignored: Collection[str]) -> Json:
    """The schemas by name: of the request, the answers and the error."""
    kinds = (ChatCompletion, ChatCompletionChunk, Model, ModelList, Health, ErrorBody)
    where = "#/components/schemas/{model}"
    _, answers = TypeAdapter.json_schemas(
        [(kind.__name__, "serialization", TypeAdapter[Any](kind)) for kind in kinds], ref_template=where
    )
    _, asked = models_json_schema([(ChatBody, "validation")], ref_template=where)
    more = unread(ignored)
    body: Json = asked["$defs"]["ChatBody"]
    body["properties"] = more["properties"] | body["properties"]
    body["additionalProperties"] = more["additionalProperties"]
    body["examples"] = [{"model": name, "messages": [_ASKED]} for name in models]
    return answers["$defs"] | asked["$defs"]
