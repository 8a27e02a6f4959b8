"""OpenAI's chat completions as data: reads requests, and writes errors and events."""

import json
import secrets
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    with_config,
)
from typing_extensions import TypedDict

from bdc_agents.errors import UsageError, in_words
from bdc_agents.serve.backends.prompts import call_text, joined, result_text
from bdc_agents.serve.backends.schemas import ANY_OBJECT, read_schema

Kind = Literal["invalid_request_error", "rate_limit_error", "server_error"]
_ROLES = {"developer": "system", "tool": "user", "function": "user"}
_REFUSED: dict[str, str] = {
    "tools": "the model does not call tools; ask for text",
    "functions": "the model does not call functions; ask for text",
    "tool_choice": "the model does not call tools; leave the choice to it, or ask for text",
    "function_call": "the model does not call functions; leave the choice to it, or ask for text",
    "logprobs": "the server does not return log-probabilities",
    "logit_bias": "logits cannot be biased",
    "frequency_penalty": "there is no frequency penalty",
    "presence_penalty": "there is no presence penalty",
    "audio": "there is no audio",
    "best_of": "a request gets one reply; send several requests with different seeds",
    **dict.fromkeys(
        ("top_k", "min_p", "top_a", "typical_p", "mirostat", "repetition_penalty", "min_tokens"),
        "draws are shaped by temperature and top_p alone; leave it out",
    ),
}
"""Why the server refuses fields that clients are known to send."""
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "top_k": (-1, 0),
    **dict.fromkeys(("best_of", "repetition_penalty", "length_penalty", "typical_p"), (1,)),
    **dict.fromkeys(("add_generation_prompt", "skip_special_tokens"), (True,)),
    "spaces_between_special_tokens": (True,),
    "modalities": (["text"], []),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "reasoning_effort": ("none",),
    "verbosity": ("medium",),
    "truncate_prompt_tokens": (-1,),
}
"""Values that ask for what the server does anyway. For a field not listed here, false and 0 are such
values."""
_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "parallel_tool_calls", "request_id"),
    *("prompt_cache_key", "prompt_cache_retention", "prompt_cache_options", "prediction", "priority"),
}
"""Fields that do not change a reply."""
_OFF = (None, False, 0, "", [], {})
"""What asks for nothing, as the value of a field that is not known here."""
_REPEATED = 80
"""Most characters of a request that an error repeats: enough to find them, too few to flood a log."""
READ = "temperature, top_p, seed, stop, max_tokens, n, budget, response_format and stream"
_THOUGHT = ("thinking", "redacted_thinking", "reasoning", "reasoning_text")
"""Parts of an assistant's turn that hold its thoughts. No model reads its own thoughts of before."""


def refusal(fields: Mapping[str, Any], known: Collection[str]) -> tuple[str, str] | None:
    """The first field that the server cannot honour, and why; None if there is none.

    The server refuses such fields, because ignoring them would give another reply than the client wants.

    Args:
        known: Names of the fields that are read.
    """
    for name, value in fields.items():
        if name in known or name in _IGNORED or value is None:
            continue
        if any(_same(value, one) for one in _NEUTRAL.get(name, _OFF)):
            continue
        return name, _REFUSED.get(
            name, f"is not known here; the server reads {READ}, and drops no other field in silence"
        )
    return None


def _same(value: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where true is not 1, as it is in Python."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def unread(ignored: Collection[str]) -> dict[str, Any]:
    """What a request may hold besides the fields that are read, as a part of a JSON schema.

    Args:
        ignored: See `body_of`.
    """
    neutral = {name: {"enum": [None, *values]} for name, values in _NEUTRAL.items()}
    return {
        "properties": neutral | {name: {} for name in sorted(_IGNORED | {*ignored})},
        "additionalProperties": {"enum": [*_OFF]},
    }


class Refused(UsageError):
    """The server refuses a request.

    Args:
        status: HTTP status.
        code: OpenAI's error code; empty for none.
        param: The field that is wrong; empty for none.
        kind: OpenAI's error type, which says who is at fault.
        reason: Label in the metrics, for a request that `Guard` refuses.
    """

    def __init__(
        self,
        message: str,
        status: int = 400,
        code: str = "",
        param: str = "",
        *,
        kind: Kind = "invalid_request_error",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.kind: Kind = kind
        self.reason = reason

    def body(self) -> "ErrorBody":
        """The error in OpenAI's form."""
        return error_body(str(self), self.kind, self.code, self.param)


def _plain_text(text: str) -> str:
    """Checks for lone surrogates, which JSON can hold and no tokenizer takes.

    Raises:
        ValueError: If the text has one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"there is half a character (a lone surrogate) at {error.start}") from None
    return text


def _whole(value: Any) -> Any:
    """A number without a fraction as an int: JSON has one kind of number, so that 4.0 is 4."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Text = Annotated[str, AfterValidator(_plain_text)]
WHOLE = BeforeValidator(_whole)
"""After the limits of a number: in the other order they would be missing from the description."""
Name = Annotated[str, Field(max_length=256)]
"""The name of a model or kind. Short, because the error for an unknown one repeats it."""


class _Read(BaseModel):
    """What is read of a request. "5" is no number and 1 is not true, as in OpenAI's own server."""

    model_config = ConfigDict(strict=True)


class Part(_Read):
    """A part of a message's content; only text is read."""

    type: Name = "text"
    text: Text | None = None
    refusal: Text | None = None


class Called(_Read):
    """A function that the assistant called in an earlier turn."""

    name: Name = ""
    arguments: Text = ""


class CustomCalled(_Read):
    """A tool that the assistant called with a text in an earlier turn."""

    name: Name = ""
    input: Text = ""


class ToolCall(_Read):
    """A call of a tool in an earlier turn."""

    function: Called = Called()
    custom: CustomCalled | None = None

    def told(self) -> str:
        """The call in words."""
        if self.custom is not None:
            return call_text(self.custom.name, self.custom.input)
        return call_text(self.function.name, self.function.arguments)


class ChatMessage(_Read):
    """A message of the conversation.

    Clients that use tools also send tool calls and their results; the base reads them as text. An
    assistant that called a tool, or said nothing, has null as its content.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[Part], Field(fail_fast=True)] | None = None
    # Without `fail_fast` a megabyte of wrong parts becomes half a gigabyte of errors.
    refusal: Text | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1000, fail_fast=True)] | None = None
    function_call: Called | None = None

    def plain(self) -> dict[str, str]:
        """The message in the form that chat templates take.

        Raises:
            Refused: If a part is not text, or a message of the system or the user is empty.
        """
        text = self._text()
        if self.role == "assistant":
            told = [call.told() for call in self.tool_calls or ()]
            told += [ToolCall(function=self.function_call).told()] if self.function_call else []
            text = joined(text, self.refusal or "", *told)
        elif self.role in ("tool", "function"):
            text = result_text(text)
        return {"role": _ROLES.get(self.role, self.role), "content": text}

    def _text(self) -> str:
        if self.content is None:
            if self.role in ("system", "developer", "user"):
                raise Refused(
                    f"a message of the role {self.role!r} has no content; give it text", param="messages"
                )
            return ""
        if isinstance(self.content, str):
            return self.content
        parts = [part for part in self.content if not (self.role == "assistant" and part.type in _THOUGHT)]
        if other := next((part.type for part in parts if part.type not in ("text", "refusal")), None):
            raise Refused(f"a message has a part of type {other!r}; only text is read", param="messages")
        return joined(*(part.text or part.refusal or "" for part in parts))


class NamedSchema(_Read):
    """A JSON schema, which the server enforces whatever `strict` says."""

    name: Name = ""
    given: Any = Field(default=True, alias="schema")
    strict: bool | None = None


class ResponseFormat(_Read):
    """What the answer has to be: `json_object` is any object, `json_schema` one of that schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None

    def wanted(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer is held to; None for text.

        Raises:
            UsageError: If it is missing, none, or more than backends enforce.
        """
        if self.type != "json_schema":
            return ANY_OBJECT if self.type == "json_object" else None
        if self.json_schema is None:
            raise UsageError("json_schema is missing")
        return read_schema(self.json_schema.given)


class StreamOptions(_Read):
    """Whether a stream ends with the usage."""

    include_usage: bool | None = False


class ChatBody(_Read):
    """The body of a request; see OpenAI's documentation.

    Without a model it is for the first that the server has. Without a temperature the model takes the
    likeliest token each time. Without a seed every request draws anew. `tools` and `functions` are never
    called, which is a choice that they leave to the model. `budget` is ours: caps on a search.

    The limits on numbers keep a body of 1 MiB from costing much more than its size: a conversation of
    agents has tens of messages, and OpenAI allows 4 stop texts.
    """

    model: Name = ""
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1), WHOLE] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=16, fail_fast=True)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63), WHOLE] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    n: Annotated[int, Field(ge=1, le=16), WHOLE] | None = None
    tools: list[dict[str, Any]] | None = Field(default=None, max_length=1000, fail_fast=True)
    functions: list[dict[str, Any]] | None = Field(default=None, max_length=1000, fail_fast=True)
    budget: dict[Name, Any] | None = Field(default=None, max_length=16)

    @property
    def form(self) -> Literal["text", "json_object", "json_schema"]:
        """What the answer has to be."""
        return "text" if self.response_format is None else self.response_format.type

    def wanted(self) -> Mapping[str, Any] | None:
        """The JSON schema that the answer is held to.

        Raises:
            Refused: If it is none, or more than backends enforce.
        """
        try:
            return None if self.response_format is None else self.response_format.wanted()
        except UsageError as error:
            raise Refused(f"response_format: {error}", param="response_format") from None

    def texts(self) -> list[str]:
        """The user's own messages, without results of tools."""
        return [one.plain()["content"] for one in self.messages if one.role == "user"]

    def said(self) -> str:
        """The same as one text; the router reads it."""
        return "\n\n".join(self.texts()).strip()

    def sampling(self, max_tokens: int) -> dict[str, Any]:
        """The fields of a `ChatRequest` besides its messages and experts.

        Args:
            max_tokens: The limit if the body sets none.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {
            "temperature": self.temperature or 0.0,
            "top_p": self.top_p or 1.0,
            "max_tokens": self.max_completion_tokens or self.max_tokens or max_tokens,
            "seed": secrets.randbits(31) if self.seed is None else self.seed,
            "stop": tuple(text for text in stop if text),
        }


def read_fields(data: bytes) -> dict[str, Any]:
    """The body of a request as plain data.

    Raises:
        Refused: If it is none.
    """
    try:
        fields = json.loads(data, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refused("the body is not a JSON object")
    return cast("dict[str, Any]", fields)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def read_body(data: bytes) -> ChatBody:
    """Reads the body of a request to a model that ignores no field; see `body_of`."""
    return body_of(read_fields(data))


def body_of(fields: Mapping[str, Any], ignored: Collection[str] = ()) -> ChatBody:
    """Reads the fields of a request.

    Args:
        fields: See `read_fields`.
        ignored: Fields that may have any value, since the model does without them.

    Raises:
        Refused: If it is not a request, or asks for something that the server does not have.
    """
    body = _validated(fields)
    if found := refusal(fields, {*ChatBody.model_fields, *ignored}):
        name = shortened(found[0]) if found[0].isprintable() else ascii(found[0])[:_REPEATED]
        raise Refused(f"{name}: {found[1]}", param=name)
    return body


_HOW = {"messages": 'a list such as [{"role": "user", "content": "Write add(a, b)."}]'}


def _validated(fields: Mapping[str, Any]) -> ChatBody:
    try:
        return ChatBody.model_validate(fields)
    except ValidationError as error:
        # For a field of several types there are several errors; the deepest belongs to the type that was
        # meant.
        told = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
        place = ".".join(str(step) for step in told["loc"] if isinstance(step, int) or step.isidentifier())
        how = f"; send {_HOW[place]}" if place in _HOW else ""
        raise Refused(f"{place}: {in_words(told)}{how}", param=place) from None


def shortened(text: str) -> str:
    """The beginning of a text from a request, for an error message."""
    return text if len(text) <= _REPEATED else f"{text[: _REPEATED - 3]}..."


@with_config(ConfigDict(extra="forbid"))
class Error(TypedDict):
    """What is wrong, and with which field. `type` says who is at fault."""

    message: str
    type: Kind
    param: str | None
    code: str | None


@with_config(ConfigDict(extra="forbid"))
class ErrorBody(TypedDict):
    """An error in OpenAI's form."""

    error: Error


def error_body(
    message: str, kind: Kind = "invalid_request_error", code: str = "", param: str = ""
) -> ErrorBody:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param or None, "code": code or None}}


def event(data: Mapping[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
