"""Replies that are held to a JSON schema: in process, over the server, and by the chat model."""

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import openai
import pytest
from pydantic import BaseModel

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("llguidance", reason="replies of transformers are held to schemas by the extra `serve`")

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.base import load_base
from bdc_agents.serve import ChatBDC, ChatRequest, RoutedModel
from bdc_agents.serve.backends.schemas import ANY_OBJECT, read_schema
from bdc_agents.serve.backends.transformers.backend import TransformersBackend
from bdc_agents.serve.http.library import LibraryModels

from .held import RAMBLING, SCHEMAS, ask, checked
from .running import KEY, Running

# --- the schemas that are taken -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "no schema"),
        ({"type": "text"}, "schema.type: 'text' is none of object"),
        ({"oneOf": [{}]}, "say anyOf"),
        (
            {"type": "object", "properties": {"a": {"pattern": "^a$"}}},
            "schema.properties.a.pattern: it is not enforced",
        ),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {}}, "schema.not"),
        ({"type": "number", "minimum": 0}, "bounds are enforced for integers alone"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "no integer lies between"),
        ({"type": "string", "minLength": 5000}, "at most 1000"),
        ({"type": "array", "maxItems": -1}, "whole number"),
        ({"enum": []}, "1 to 1000 values"),
        ({"const": 1, "type": "string"}, "none of its values"),
        ({"$ref": "https://evil.example/schema"}, "none of the schema's $defs"),
        ({"$ref": "file:///etc/passwd"}, "none of the schema's $defs"),
        ({"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"}, "leads to itself"),
        ({"$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {}]}}, "$ref": "#/$defs/A"}, "leads to itself"),
        ({"$defs": {"A": {}}, "$ref": "#/$defs/A", "type": "string"}, "beside $ref"),
        ({"anyOf": [{}], "properties": {"a": {}}}, "beside anyOf"),
        ({"properties": [1]}, "object of schemas"),
        (
            {"type": "object", "required": ["a"], "additionalProperties": False},
            "'a' is none of the properties",
        ),
        ({"prefixItems": [{}, {}], "minItems": 3}, "as many items are enforced"),
        ({"enum": ["\ud800"]}, "no JSON"),
        ({"enum": [float("nan")]}, "no JSON"),
        ({"enum": ["x" * 200_000]}, "120000 are taken"),
        ({"anyOf": [{"type": "null"}] * 6000}, "at most 5000 schemas"),
    ],
)
def test_what_not_all_backends_enforce_is_refused(schema: Any, says: str) -> None:
    with pytest.raises(UsageError) as error:
        read_schema(schema)
    assert says in str(error.value)


def test_a_schema_nested_without_end_is_refused() -> None:
    deep: Any = {}
    for _ in range(40):
        deep = {"type": "array", "items": deep}
    with pytest.raises(UsageError, match="32 within each other"):
        read_schema(deep)
    for _ in range(100_000):
        deep = {"items": deep}
    with pytest.raises(UsageError, match="nested without end"):
        read_schema(deep)


def test_remarks_are_dropped_and_what_is_about_other_types_too() -> None:
    told = {"title": "T", "description": "d", "default": 1, "format": "email", "x-of-ours": 1}
    assert read_schema(told | {"type": "integer", "minLength": 3}) == {"type": "integer"}


# --- the backends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEMAS)
async def test_replies_in_process_fulfil_the_schema(tiny: RoutedModel, name: str) -> None:
    schema = SCHEMAS[name]
    replies = await tiny.backend.generate([ask(schema, seed) for seed in range(6)])
    assert checked(schema, replies) or name in RAMBLING, replies


async def test_rows_with_and_without_a_schema_share_a_batch(tiny: RoutedModel) -> None:
    plain = ChatRequest([{"role": "user", "content": "hi"}], None, temperature=0.8, seed=3, max_tokens=24)
    (alone,) = await tiny.backend.generate([plain])
    together = await tiny.backend.generate([ask({"enum": ["red", "blue"]}), plain, ask({"type": "boolean"})])
    assert together[1].text == alone.text, "others change nothing"
    assert json.loads(together[0].text) in ("red", "blue")
    assert json.loads(together[2].text) in (True, False)


async def test_a_stream_has_the_same_text_and_a_stop_text_still_ends_it(tiny: RoutedModel) -> None:
    request = ask({"type": "array", "items": {"type": "integer"}, "minItems": 3, "maxItems": 3}, 5)
    (whole,) = await tiny.backend.generate([request])
    pieces = [piece.text async for piece in tiny.backend.stream(request)]
    assert "".join(pieces) == whole.text
    (cut,) = await tiny.backend.generate([ask({"const": {"a": 1}}, stop=("1",))])
    assert (cut.finish, cut.text.startswith("{"), "1" in cut.text) == ("stop", True, False)


async def test_a_reply_that_does_not_fit_is_cut_off_and_says_so(tiny: RoutedModel) -> None:
    long = ChatRequest(ask(True).messages, None, max_tokens=4, schema={"enum": ["a very long text indeed"]})
    (reply,) = await tiny.backend.generate([long])
    assert (reply.finish, reply.completion_tokens) == ("length", 4)


# --- over the server ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tiny: RoutedModel) -> Iterator[Running]:
    shared = RoutedModel(tiny.backend, tiny.place, tiny.experts, "tiny")

    async def keep() -> None:
        """Leaves the backend open: other tests use it."""

    shared.aclose = keep  # type: ignore[method-assign]
    running = Running([LibraryModels(shared, 160)])
    yield running
    running.stop()


def test_openais_client_parses_what_it_asked_for(server: Running) -> None:
    class Flag(BaseModel):
        on: bool

    messages: Any = [{"role": "user", "content": "Is it on?"}]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0) as client:
        told = client.chat.completions.parse(model="bdc", messages=messages, response_format=Flag)
        assert isinstance(told.choices[0].message.parsed, Flag)
        several: Any = client.chat.completions.create(
            model="cluster-0",
            messages=messages,
            n=3,
            temperature=1.0,
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"enum": [1, 2]}}},
        )
        assert {choice.message.content for choice in several.choices} <= {"1", "2"}
        pieces = client.chat.completions.create(
            model="base", messages=messages, stream=True, response_format={"type": "json_object"}, seed=1
        )
        assert "".join(piece.choices[0].delta.content or "" for piece in pieces).startswith("{")


@pytest.mark.parametrize(
    ("form", "says"),
    [
        ({"type": "json_schema"}, "json_schema is missing"),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "strnig"}}}, "'strnig' is none of"),
        ({"type": "xml"}, "json_object"),
        ("json", "response_format"),
    ],
)
def test_a_form_that_is_none_is_said(server: Running, form: Any, says: str) -> None:
    asked = {"model": "bdc", "messages": [{"role": "user", "content": "hi"}], "response_format": form}
    answer = server.post(asked)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert says in error["message"]
    assert error["param"].split(".")[0] == "response_format"


def test_a_backend_that_cannot_says_who_can(scripted: Callable[..., RoutedModel]) -> None:
    running = Running(scripted(lambda _: "hi"))
    try:
        asked = {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}}
        answer = running.post(asked)
        assert answer.status_code == 400
        assert "llama.cpp and vllm can" in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"] == "response_format"
        assert running.post(asked | {"response_format": {"type": "text"}}).status_code == 200
    finally:
        running.stop()


# --- the chat model -------------------------------------------------------------------------------


def test_the_chat_model_gives_objects_of_the_schema(
    tiny: RoutedModel, scripted: Callable[..., RoutedModel]
) -> None:
    class Answer(BaseModel):
        sure: bool
        kind: int | None

    model = ChatBDC(routed=tiny, temperature=1.0, seed=2, max_tokens=60)
    assert isinstance(model.with_structured_output(Answer).invoke("Are you sure?"), Answer)
    bound = model.bind(response_format={"type": "json_schema", "json_schema": {"schema": {"enum": ["x"]}}})
    assert bound.invoke("hi").content == '"x"'
    unable = ChatBDC(routed=scripted(lambda _: '{"sure": true, "kind": 1}'))
    assert unable.with_structured_output(Answer).invoke("x") == Answer(sure=True, kind=1), (
        "by the prompt alone"
    )
    with pytest.raises(UsageError, match=r"llama\.cpp and vllm can"):
        unable.bind(response_format={"type": "json_object"}).invoke("hi")


def test_it_is_said_where_llguidance_is_missing(tiny: RoutedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(UsageError, match=r"bdc-agents\[serve\]"):
        asyncio.run(tiny.backend.generate([ask(ANY_OBJECT)]))


# --- a real model ---------------------------------------------------------------------------------


@pytest.mark.model
async def test_a_real_model_fills_a_schema_as_it_would_write_it() -> None:
    """Held to a schema it says what it says freely, where that fits; what it must not write it does not."""
    try:
        base = load_base("local:smollm2-135m", dtype="float32", device="cpu")
    except ModelError as error:
        pytest.skip(f"the model cannot be had: {error}")
    backend = TransformersBackend(
        base.model, base.tokenizer, (), lambda _: nullcontext(), identity="real", context=1024
    )
    told = "Alice is 30 years old and lives in Paris. Give her name, age and city as a JSON object."
    asked = ChatRequest([{"role": "user", "content": told}], None, max_tokens=60)
    fields = {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}}
    fitting = {"type": "object", "properties": fields, "required": [*fields]}
    other = {"type": "object", "properties": {"years": {"type": "integer"}}, "required": ["years"]}
    try:
        free, held, otherwise = await backend.generate(
            [asked, *(replace(asked, schema=read_schema(schema)) for schema in (fitting, other))]
        )
    finally:
        await backend.aclose()
    assert json.loads(held.text) == {"name": "Alice", "age": 30, "city": "Paris"}
    assert held.text == free.text
    assert json.loads(otherwise.text) == {"years": 30}
