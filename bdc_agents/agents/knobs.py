"""Turns a request into a call of one kind of chat model: its parameters, and how to ask for JSON."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.runnables import Runnable, RunnableLambda

from bdc_agents.agents.failures import REJECTED, Failure
from bdc_agents.agents.protocol import Request
from bdc_agents.agents.refusals import highest_allowed, mentions, refuses, room_in_context

Mode = Literal["text", "json_schema", "json_object", "prompt"]

FIELDS = {
    "temperature": ("temperature",),
    "seed": ("seed", "random_seed"),
    "max_tokens": ("max_tokens", "max_output_tokens", "num_predict", "max_new_tokens"),
}
"""The names that chat models declare for each parameter of a request."""

LIMITS = ("max_tokens", "max_completion_tokens")
"""The token limit's two names in OpenAI's protocol; the older one is what most other servers know."""

_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    "seed": ("random_seed",),
    "max_tokens": ("max_completion_tokens", "max_output_tokens", "maxOutputTokens", "num_predict"),
    "max_completion_tokens": ("max_tokens", "max_output_tokens"),
    "reasoning_effort": ("reasoning", "thinking", "think"),
    "reasoning": ("reasoning_effort", "thinking", "think"),
    "thinking": ("reasoning",),
    "effort": ("output_config", "reasoning_effort"),
    "stop": ("stop_sequences",),
}
"""Other names that endpoints use for a parameter when they refuse it."""

_OPTIONAL = (
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "repeat_penalty",
    "stop",
    "n",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "reasoning_effort",
    "reasoning",
    "thinking",
    "effort",
    "verbosity",
    "service_tier",
    "store",
    "truncation",
)
"""Parameters that a chat model may be built with. A call can do without them, so they go if refused."""

_FREE_FORM = ("model_kwargs", "extra_body")
"""Fields of chat models that hold further parameters by name."""

LONGEST_SEED = 2**31
"""Seeds lie below it: endpoints take 32 bits, some with a sign."""

LEAST_TOKENS = 16
"""Least token limit of a reply, as in the settings: a smaller number in an error means something else."""

INSTRUCTION = "\n\nReply with one JSON value and nothing else. It must follow this JSON schema:\n"


@dataclass(frozen=True)
class Plan:
    """How to send a request to a chat model.

    Args:
        mode: How to ask for JSON; `text` for a request without a schema.
        refused: Parameters that the endpoint does not take.
        longest: The most tokens of a reply, if the endpoint has named them.
        room: Tokens that the context leaves for the reply to this one request.
    """

    mode: Mode = "text"
    refused: frozenset[str] = frozenset()
    longest: int | None = None
    room: int | None = None

    def limit(self, wanted: int) -> int:
        """The token limit to send if this many tokens are wanted."""
        return min(wanted, self.longest or wanted, self.room or wanted)

    @property
    def lasting(self) -> "Plan":
        """The part of the plan that holds for other requests too."""
        return replace(self, room=None)


def is_openai(model: object) -> bool:
    """Whether the chat model speaks OpenAI's protocol; imports no SDK to find out."""
    return any(cls.__name__ == "BaseChatOpenAI" for cls in type(model).__mro__)


def modes(model: object, wanted: str) -> tuple[Mode, ...]:
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


# --- what an endpoint refuses ---------------------------------------------------------------

_JSON = re.compile(
    r"response_?format|json_?schema|json_object|json mode|structured.?output|grammar|guided_|text\.format"
    r"|response_mime_type|xgrammar|\bschema\b",
    re.IGNORECASE,
)
_ONE_OF_THEM = re.compile(r"\bboth\b|only one", re.IGNORECASE)


def fallback_plan(
    plan: Plan, failure: Failure, allowed: Sequence[Mode], model: object, limit: int
) -> Plan | None:
    """The plan without what the endpoint refused; None if the refusal concerned something else.

    Args:
        plan: The plan of the refused request.
        failure: Its failure.
        allowed: What `modes` returned.
        model: The chat model, whose own parameters may be refused.
        limit: The token limit that was sent.
    """
    rejected = failure.status in REJECTED
    room = room_in_context(failure.detail) if rejected else None
    if room is not None:
        return replace(plan, room=room) if LEAST_TOKENS <= room < limit else None
    if failure.final or not (rejected or failure.kind == "argument" or failure.broken):
        return None
    if not rejected and failure.broken and not _JSON.search(failure.detail) and not refuses(failure.detail):
        return None
    return _less(plan, failure, model, limit) or _other_mode(plan, failure, allowed)


def _less(plan: Plan, failure: Failure, model: object, limit: int) -> Plan | None:
    """The plan without the parameters that the failure names."""
    named = [name for name in sent(model, plan) if _is_named(name, failure)]
    held = next((name for name in named if name in LIMITS), None)
    if held and (longest := highest_allowed(failure.detail, limit, LEAST_TOKENS)):
        return replace(plan, longest=longest)
    if _ONE_OF_THEM.search(failure.detail):
        named = named[:1]
    return replace(plan, refused=plan.refused | {*named}) if named else None


def _is_named(name: str, failure: Failure) -> bool:
    names = (name, *_OTHER_NAMES.get(name, ()))
    if any(other in failure.named for other in names):
        return True
    return any(mentions(failure.detail, other) for other in names)


def _other_mode(plan: Plan, failure: Failure, allowed: Sequence[Mode]) -> Plan | None:
    """The plan with the next way to ask for JSON: any refusal may concern the present one."""
    if plan.mode not in allowed[:-1] or not (failure.status in REJECTED or _JSON.search(failure.detail)):
        return None
    return replace(plan, mode=allowed[allowed.index(plan.mode) + 1])


def sent(model: object, plan: Plan) -> Iterator[str]:
    """The parameters of a request that it can do without, those of the user's options first."""
    given = [name for name in _OPTIONAL if getattr(model, name, None) not in (None, False)]
    for field in _FREE_FORM:
        held = getattr(model, field, None)
        given += [str(name) for name in held] if isinstance(held, Mapping) else []
    yield from (name for name in dict.fromkeys(given) if name not in plan.refused and name not in FIELDS)
    if limit := _limit_name(model, plan):
        yield limit
    yield from (name for name in ("seed", "temperature") if name not in plan.refused)


def _limit_name(model: object, plan: Plan) -> str | None:
    """The name of the token limit in this plan; None if the endpoint takes it under no name."""
    names = LIMITS if is_openai(model) and not _is_responses(model) else LIMITS[:1]
    if is_openai(model) and _is_at_openai(model):
        names = names[::-1]
    return next((name for name in names if name not in plan.refused), None)


def _is_at_openai(model: object) -> bool:
    """Whether `ChatOpenAI` calls OpenAI itself, whose newer models know only the newer name."""
    url = str(getattr(model, "openai_api_base", None) or "")
    chat = any(cls.__name__ == "ChatOpenAI" for cls in type(model).__mro__)
    return chat and (not url or "openai.com" in url)


def _is_responses(model: object) -> bool:
    return bool(getattr(model, "use_responses_api", None))


def told(plan: Plan, best: Mode) -> Iterator[str]:
    """One sentence for each thing that the plan sends differently than asked.

    Args:
        plan: The plan that worked.
        best: The preferred way to ask for JSON.
    """
    if plan.mode not in ("text", best):
        way = "in the prompt alone" if plan.mode == "prompt" else f"as {plan.mode}"
        yield f"JSON is asked for {way}, as the endpoint refuses {best}"
    for name in sorted(plan.refused):
        if name == "max_tokens" and "max_completion_tokens" not in plan.refused:
            yield "max_tokens is sent as max_completion_tokens, as the endpoint refuses the older name"
        elif name not in LIMITS or plan.refused.issuperset(LIMITS):
            yield f"{name} is left out, as the endpoint refuses it"
    if plan.longest:
        yield f"replies are held to {plan.longest:,} tokens, the most that the endpoint takes"


# --- a call ---------------------------------------------------------------------------------


def prepare(
    model: BaseChatModel, request: Request, plan: Plan, *, max_tokens: int
) -> tuple[Runnable[Any, Any], list[BaseMessage]]:
    """The chat model with the request's parameters, and the messages to send."""
    values = {
        "temperature": request.temperature,
        "seed": request.seed % LONGEST_SEED,
        "max_tokens": plan.limit(max_tokens),
    }
    accepted = {knob: value for knob, value in values.items() if knob not in plan.refused}
    schema, messages = request.json_schema, list(request.messages)
    if schema is not None and plan.mode in ("json_object", "prompt"):
        messages = with_instruction(messages, schema)
    model = _without(model, plan)
    if is_openai(model):
        wanted = response_format(schema, plan.mode)
        return _openai_call(model, values, plan, wanted), messages
    changes = _declared(model, accepted)
    copy = model.model_copy(update=changes) if changes else model
    if schema is None or plan.mode != "json_schema":
        return copy, messages
    structured = _structured(copy, schema)
    return (structured, messages) if structured else (copy, with_instruction(messages, schema))


def _without(model: BaseChatModel, plan: Plan) -> BaseChatModel:
    """The chat model without those of its own parameters that the endpoint refuses."""
    known = type(model).model_fields
    gone = {other for name in plan.refused for other in (name, *FIELDS.get(name, ()))}
    changes: dict[str, Any] = {
        name: None for name in gone & known.keys() if getattr(model, name, None) is not None
    }
    for field in _FREE_FORM:
        held = getattr(model, field, None)
        if isinstance(held, Mapping) and not gone.isdisjoint(held):
            changes[field] = {name: value for name, value in held.items() if name not in gone}
    return model.model_copy(update=changes) if changes else model


def _declared(model: BaseChatModel, values: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the chat model declares as fields; empty where a copy would change nothing.

    Every provider honours a field; not every one takes arguments of the call.
    """
    known = type(model).model_fields
    named = {next((f for f in FIELDS[knob] if f in known), ""): value for knob, value in values.items()}
    named.pop("", None)
    streams = type(model)._stream is not BaseChatModel._stream or (
        type(model)._astream is not BaseChatModel._astream
    )
    if streams and model.disable_streaming is not True:
        # The reply is needed whole, and many endpoints send no token counts with a stream.
        named["disable_streaming"] = True
    return named


def _openai_call(
    model: BaseChatModel, values: Mapping[str, Any], plan: Plan, wanted: dict[str, Any] | None
) -> Runnable[Any, Any]:
    """An OpenAI-compatible model with its arguments.

    The token limit goes into the body under the name that the endpoint knows, since `ChatOpenAI` would
    rename it. `response_format` goes there too: if the SDK sees it, it raises on a truncated reply and
    loses the text.
    """
    arguments: dict[str, Any] = {"stream": False}
    if "temperature" not in plan.refused:
        arguments["temperature"] = values["temperature"]
    limit = _limit_name(model, plan)
    if _is_responses(model):
        # The Responses API has no seed.
        given = {"max_tokens": values["max_tokens"]} if limit else {}
        return model.bind(**arguments, **given, **({"response_format": wanted} if wanted else {}))
    if "seed" not in plan.refused:
        arguments["seed"] = values["seed"]
    body: dict[str, Any] = dict(getattr(model, "extra_body", None) or {})
    if getattr(model, "max_tokens", None) is not None:
        model = model.model_copy(update={"max_tokens": None})  # Or both names would be sent.
    if limit:
        body[limit] = values["max_tokens"]
    if wanted:
        body["response_format"] = wanted
    return model.bind(**arguments, **({"extra_body": body} if body else {}))


def _structured(model: BaseChatModel, schema: Mapping[str, Any]) -> Runnable[Any, Any] | None:
    """The model bound to the schema; None if it does not accept it after all."""
    titled = {"title": schema_name(schema), **schema}
    try:
        parser = model.with_structured_output(titled, method="json_schema", include_raw=True)
    except (NotImplementedError, ValueError, TypeError):
        return None
    return parser | RunnableLambda(_raw)


def _raw(result: Any) -> Any:
    return result["raw"]


def response_format(schema: Mapping[str, Any] | None, mode: Mode) -> dict[str, Any] | None:
    """The `response_format` of a request; None if it has none."""
    if schema is None or mode not in ("json_schema", "json_object"):
        return None
    if mode == "json_object":
        return {"type": "json_object"}
    described = {"name": schema_name(schema), "schema": dict(schema)}
    return {"type": "json_schema", "json_schema": described | ({"strict": True} if is_strict(schema) else {})}


def schema_name(schema: Mapping[str, Any]) -> str:
    """The schema's title in the form that OpenAI accepts: letters, digits, `_`, `-`, at most 64."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(schema.get("title") or "reply"))[:64]


def is_strict(schema: Any) -> bool:
    """Whether every object in the schema requires all its properties and forbids others.

    Only such a schema may be sent as strict.
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
    """The messages with the schema and the instruction to follow it at the end of the last one."""
    added = INSTRUCTION + json.dumps(schema, ensure_ascii=False)
    if not messages:
        return [HumanMessage(added.strip())]
    last = messages[-1]
    content = last.content + added if isinstance(last.content, str) else [*last.content, _block(added)]
    return [*messages[:-1], last.model_copy(update={"content": content})]


def _block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
