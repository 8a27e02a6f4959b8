"""How a request becomes a call of one kind of chat model: sampling parameters and JSON replies."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda

from bdc_agents.agents.failures import REJECTED, Failure
from bdc_agents.agents.protocol import Request

Mode = Literal["text", "json_schema", "json_object", "prompt"]

FIELDS = {
    "temperature": ("temperature",),
    "seed": ("seed", "random_seed"),
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens"),
}
"""The names under which chat models declare each parameter."""

LONGEST_SEED = 2**31
"""Endpoints take 32 bits, some of them with a sign."""

INSTRUCTION = "\n\nReply with one JSON value and nothing else. It must follow this JSON schema:\n"


@dataclass(frozen=True)
class Plan:
    """How a request is put to a chat model.

    Args:
        mode: How JSON is asked for; `text` where it is not.
        refused: Parameters that the endpoint does not take.
    """

    mode: Mode = "text"
    refused: frozenset[str] = frozenset()


def is_openai(model: BaseChatModel) -> bool:
    """Whether the chat model speaks OpenAI's protocol, found out without importing its SDK."""
    return any(cls.__name__ == "BaseChatOpenAI" for cls in type(model).__mro__)


def modes(model: BaseChatModel, wanted: str) -> tuple[Mode, ...]:
    """The ways to ask for JSON that this chat model may know, best first.

    Args:
        model: The chat model.
        wanted: The agent's setting `structured`.
    """
    if is_openai(model):
        known: tuple[Mode, ...] = ("json_schema", "json_object", "prompt")
    elif (getattr(model, "profile", None) or {}).get("structured_output"):
        known = ("json_schema", "prompt")
    else:
        known = ("prompt",)
    return known if wanted == "auto" else tuple(mode for mode in known if mode == wanted) or ("prompt",)


def concede(plan: Plan, failure: Failure, allowed: Sequence[Mode]) -> Plan | None:
    """The plan without what the endpoint has refused; None if the refusal was about something else."""
    if failure.final or not (failure.status in REJECTED or failure.kind == "argument"):
        return None
    for knob in FIELDS.keys() - plan.refused:
        if re.search(rf"\b{knob}\b", failure.detail):
            return replace(plan, refused=plan.refused | {knob})
    if failure.status in REJECTED and plan.mode in allowed[:-1]:
        return replace(plan, mode=allowed[allowed.index(plan.mode) + 1])
    return None


def prepare(
    model: BaseChatModel, request: Request, plan: Plan, *, temperature: float, max_tokens: int
) -> tuple[Runnable[Any, Any], list[BaseMessage]]:
    """The chat model with the request's parameters, and the messages to send."""
    values = {"temperature": temperature, "seed": request.seed % LONGEST_SEED, "max_tokens": max_tokens}
    accepted = {knob: value for knob, value in values.items() if knob not in plan.refused}
    schema, messages = request.json_schema, list(request.messages)
    if schema is not None and plan.mode in ("json_object", "prompt"):
        messages = with_instruction(messages, schema)
    if is_openai(model):
        wanted = response_format(schema, plan.mode)
        return model.bind(**_openai_arguments(model, accepted, max_tokens, wanted)), messages
    copy = model.model_copy(update=_declared(model, accepted))
    if schema is None or plan.mode != "json_schema":
        return copy, messages
    structured = _structured(copy, schema)
    return (structured, messages) if structured else (copy, with_instruction(messages, schema))


def _declared(model: BaseChatModel, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters for which the chat model declares a field.

    Setting a field works with every provider; not every one takes arguments of the call.
    """
    known = type(model).model_fields
    named = {next((f for f in FIELDS[knob] if f in known), ""): value for knob, value in values.items()}
    named.pop("", None)
    # The reply is needed as a whole, and at many endpoints a stream carries no token counts.
    return named | {"disable_streaming": True}


def _openai_arguments(
    model: BaseChatModel, accepted: dict[str, Any], max_tokens: int, wanted: dict[str, Any] | None
) -> dict[str, Any]:
    """Arguments for an OpenAI-compatible model.

    `response_format` goes into the body as it is: the SDK, when it knows of it, raises on a
    truncated reply and loses the text.
    """
    arguments = accepted | {"stream": False}
    if getattr(model, "use_responses_api", None):
        arguments.pop("seed", None)
        return arguments | ({"response_format": wanted} if wanted else {})
    body: dict[str, Any] = dict(getattr(model, "extra_body", None) or {})
    if _renames_limit(model) != ("max_tokens" in accepted):
        arguments["max_tokens"] = max_tokens
    else:
        arguments.pop("max_tokens", None)
        body["max_tokens"] = max_tokens
    if wanted:
        body["response_format"] = wanted
    return arguments | ({"extra_body": body} if body else {})


def _renames_limit(model: BaseChatModel) -> bool:
    """Whether the token limit would reach a foreign endpoint as `max_completion_tokens`.

    `ChatOpenAI` sends that name. Older servers do not know it, and would not keep the limit.
    """
    url = str(getattr(model, "openai_api_base", None) or "")
    renames = any(cls.__name__ == "ChatOpenAI" for cls in type(model).__mro__)
    return renames and bool(url) and "openai.com" not in url


def _structured(model: BaseChatModel, schema: Mapping[str, Any]) -> Runnable[Any, Any] | None:
    """The model bound to the schema; None where it does not take it after all."""
    titled = {"title": schema_name(schema), **schema}
    try:
        parser = model.with_structured_output(titled, method="json_schema", include_raw=True)
    except (NotImplementedError, ValueError, TypeError):
        return None
    return parser | RunnableLambda(_raw)


def _raw(result: Any) -> Any:
    return result["raw"]


def response_format(schema: Mapping[str, Any] | None, mode: Mode) -> dict[str, Any] | None:
    """The `response_format` of a request; None where it has none."""
    if schema is None or mode not in ("json_schema", "json_object"):
        return None
    if mode == "json_object":
        return {"type": "json_object"}
    described = {"name": schema_name(schema), "schema": dict(schema)}
    return {"type": "json_schema", "json_schema": described | ({"strict": True} if is_strict(schema) else {})}


def schema_name(schema: Mapping[str, Any]) -> str:
    """The schema's title as endpoints accept it."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or "reply"))[:64]


def is_strict(schema: Any) -> bool:
    """Whether every object in the schema requires all its properties and forbids others.

    Only such schemas may be sent as strict ones.
    """
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties")
    if isinstance(properties, Mapping) or schema.get("type") == "object":
        closed = schema.get("additionalProperties") is False
        if not closed or set(schema.get("required", ())) != set(properties or ()):
            return False
    return all(is_strict(value) for value in schema.values())


def with_instruction(messages: Sequence[BaseMessage], schema: Mapping[str, Any]) -> list[BaseMessage]:
    """The messages with the schema, and what to do with it, at the end of the last one."""
    added = INSTRUCTION + json.dumps(schema, ensure_ascii=False)
    if not messages:
        return [HumanMessage(added.strip())]
    last = messages[-1]
    content = last.content + added if isinstance(last.content, str) else [*last.content, _block(added)]
    return [*messages[:-1], last.model_copy(update={"content": content})]


def _block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


_CUT = ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded")


def was_truncated(message: AIMessage) -> bool:
    """Whether the reply ended at its token limit, in any provider's words."""
    told = message.response_metadata
    reasons = (
        told.get("finish_reason"),
        told.get("stop_reason"),
        told.get("done_reason"),
        told.get("stopReason"),
    )
    incomplete = told.get("incomplete_details") or {}
    reasons = (*reasons, incomplete.get("reason") if isinstance(incomplete, Mapping) else None)
    return any(str(reason).lower() in _CUT for reason in reasons)


def text_of(message: AIMessage) -> str:
    """The reply's text, all its blocks joined; a refusal where there is no text."""
    text = str(message.text) or str(message.additional_kwargs.get("refusal") or "")
    return text.encode("utf-8", "replace").decode("utf-8")
