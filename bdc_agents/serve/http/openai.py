"""OpenAI's chat completions as data: reads requests, and writes errors and events."""

import json
import secrets
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bdc_agents.errors import UsageError, in_words
from bdc_agents.serve.backends.prompts import call_text, joined, result_text

_ROLES = {"developer": "system", "tool": "user", "function": "user"}
_REFUSED: dict[str, str] = {
    "tools": "the model does not call tools; ask for text",
    "functions": "the model does not call functions; ask for text",
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
    *("prompt_cache_key", "prompt_cache_retention", "priority", "response_format"),
}
"""Fields that do not change a reply; `read_body` checks `response_format` itself."""
_REPEATED = 80
"""Most characters of a request that an error repeats: enough to find them, too few to flood a log."""
READ = "temperature, top_p, seed, stop, max_tokens, n, budget and stream"


def refusal(fields: Mapping[str, Any], known: Collection[str]) -> tuple[str, str] | None:
    """The first field that the server cannot honour, and why; None if there is none.

    The server refuses such fields, because ignoring them would give another reply than the client wants.

    Args:
        known: Names of the fields that are read.
    """
    for name, value in fields.items():
        if name in known or name in _IGNORED or value is None:
            continue
        if value in _NEUTRAL[name] if name in _NEUTRAL else not value:
            continue
        return name, _REFUSED.get(
            name, f"is not known here; the server reads {READ}, and drops no other field in silence"
        )
    return None


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
        kind: str = "invalid_request_error",
        reason: str = "",
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.kind = kind
        self.reason = reason

    def body(self) -> dict[str, Any]:
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


Text = Annotated[str, AfterValidator(_plain_text)]
Name = Annotated[str, Field(max_length=256)]
"""The name of a model or kind. Short, because the error for an unknown one repeats it."""


class Part(BaseModel):
    """A part of a message's content; only text is read."""

    type: Name = "text"
    text: Text = ""
    refusal: Text = ""


class Called(BaseModel):
    """A function that the assistant called in an earlier turn."""

    name: Name = ""
    arguments: Text = ""


class ToolCall(BaseModel):
    """A call of a tool in an earlier turn."""

    function: Called = Called()


class ChatMessage(BaseModel):
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
            calls = [call.function for call in self.tool_calls or ()]
            calls += [self.function_call] if self.function_call else []
            told = (call_text(call.name, call.arguments) for call in calls)
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
        if other := next((part.type for part in self.content if part.type not in ("text", "refusal")), None):
            raise Refused(f"a message has a part of type {other!r}; only text is read", param="messages")
        return "".join(part.text or part.refusal for part in self.content)


class StreamOptions(BaseModel):
    """Whether a stream ends with the usage."""

    include_usage: bool = False


class ChatBody(BaseModel):
    """The body of a request; see OpenAI's documentation.

    Without a model it is for the first that the server has. Without a temperature the model takes the
    likeliest token each time. Without a seed every request draws anew. `budget` is ours: caps on a search.

    The limits on numbers keep a body of 1 MiB from costing much more than its size: a conversation of
    agents has tens of messages, and OpenAI allows 4 stop texts.
    """

    model: Name = ""
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Text | Annotated[list[Text], Field(max_length=16, fail_fast=True)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=16)
    budget: dict[Name, Any] | None = Field(default=None, max_length=16)

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
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refused("the body is not a JSON object")
    return cast("dict[str, Any]", fields)


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
    wanted = fields.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type", "text") != "text":
        raise Refused(
            f"response_format {shortened(str(wanted['type']))!r} cannot be enforced; "
            "describe the JSON in the prompt",
            param="response_format",
        )
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


def error_body(
    message: str, kind: str = "invalid_request_error", code: str = "", param: str = ""
) -> dict[str, Any]:
    """An error in OpenAI's form."""
    return {"error": {"message": message, "type": kind, "param": param or None, "code": code or None}}


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
