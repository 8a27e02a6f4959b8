"""OpenAI's chat completions as data: what is read of a request, and what is sent back."""

import json
import secrets
import time
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bdc_agents.errors import UsageError
from bdc_agents.serve.backends.protocol import ChatReply, ChatRequest, ExpertWeights
from bdc_agents.serve.model import ROUTED
from bdc_agents.serve.tool_turns import call_text, joined, result_text

_ROLES = {"developer": "system", "tool": "user", "function": "user"}
_REFUSED: dict[str, str] = {
    "tools": "the model does not call tools; ask for text",
    "functions": "the model does not call functions; ask for text",
    "logprobs": "log-probabilities are not given",
    "logit_bias": "logits cannot be biased",
    "frequency_penalty": "there is no frequency penalty",
    "presence_penalty": "there is no presence penalty",
    "audio": "there is no audio",
    "best_of": "one reply is written for a request; send several requests with other seeds",
    **dict.fromkeys(
        ("top_k", "min_p", "top_a", "typical_p", "mirostat", "repetition_penalty", "min_tokens"),
        "draws are shaped by temperature and top_p alone; leave it out",
    ),
}
"""Why fields that clients are known to send are not taken."""
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
"""Values with which a field asks for what is done anyway; any other field does so where it is false or 0."""
_IGNORED = {
    *("user", "metadata", "store", "service_tier", "safety_identifier", "parallel_tool_calls", "request_id"),
    *("prompt_cache_key", "prompt_cache_retention", "priority", "response_format"),
}
"""Fields that change nothing of a reply; `response_format` is looked at by itself."""
READ = "temperature, top_p, seed, stop, max_tokens and stream"


def refusal(fields: Mapping[str, Any], known: Collection[str]) -> tuple[str, str] | None:
    """The first of some fields that would change the reply and cannot, and why; None where all is well.

    Better refused than left out in silence, as the reply would be another than the one asked for.

    Args:
        known: Names of those that are read.
    """
    for name, value in fields.items():
        if name in known or name in _IGNORED or value is None:
            continue
        if value in _NEUTRAL[name] if name in _NEUTRAL else not value:
            continue
        return name, _REFUSED.get(
            name, f"is not known here, and cannot be left out in silence; {READ} are read"
        )
    return None


class Refused(UsageError):
    """A request that cannot be answered as it is.

    Args:
        status: Of HTTP.
        code: OpenAI's name for it; empty for none.
        param: The field that is wrong; empty for none.
        kind: OpenAI's name for whose fault it is.
        reason: Under which it is counted where it never reached the handlers.
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
        """As OpenAI's clients read it."""
        return error_body(str(self), self.kind, self.code, self.param)


def _plain_text(text: str) -> str:
    """The text, if it is one: JSON can hold halves of characters, which no tokenizer takes.

    Raises:
        ValueError: If it has one.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"there is half a character (a lone surrogate) at {error.start}") from None
    return text


Text = Annotated[str, AfterValidator(_plain_text)]
Name = Annotated[str, Field(max_length=256)]
"""Of a model or a kind; it is repeated in the error where it is unknown."""


class Part(BaseModel):
    """A part of a message's content; text alone is read."""

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

    Clients that use tools send what was called and what came of it; the base reads it as text. Where
    the assistant called a tool, or said nothing, its content is null.
    """

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Text | Annotated[list[Part], Field(fail_fast=True)] | None = None
    # Without `fail_fast` a megabyte of wrong parts is told of in half a gigabyte of errors.
    refusal: Text | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=1000, fail_fast=True)] | None = None
    function_call: Called | None = None

    def plain(self) -> dict[str, str]:
        """As chat templates take it.

        Raises:
            Refused: If a part is no text, or somebody else than the assistant or a tool says nothing.
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
                    f"a message of the role {self.role!r} has no content; give it a text", param="messages"
                )
            return ""
        if isinstance(self.content, str):
            return self.content
        if other := next((part.type for part in self.content if part.type not in ("text", "refusal")), None):
            raise Refused(f"a message has a part of type {other!r}; only text is read", param="messages")
        return "".join(part.text or part.refusal for part in self.content)


class StreamOptions(BaseModel):
    """Whether the last piece of a stream tells the usage."""

    include_usage: bool = False


class ChatBody(BaseModel):
    """The body of a request; see OpenAI's documentation.

    Without a temperature the likeliest token is taken each time. Without a seed every request draws
    anew.
    """

    model: Name = ROUTED
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000, fail_fast=True)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: Text | Annotated[list[Text], Field(max_length=16, fail_fast=True)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: int | None = Field(default=None, ge=1, le=1)

    def said(self) -> str:
        """What the user says, which the router reads; results of tools are not of the user."""
        return "\n\n".join(one.plain()["content"] for one in self.messages if one.role == "user").strip()

    def sampling(self, max_tokens: int) -> dict[str, Any]:
        """The fields of a `ChatRequest` besides its messages and experts.

        Args:
            max_tokens: Where the body names none.
        """
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return {
            "temperature": self.temperature or 0.0,
            "top_p": self.top_p or 1.0,
            "max_tokens": self.max_completion_tokens or self.max_tokens or max_tokens,
            "seed": secrets.randbits(31) if self.seed is None else self.seed,
            "stop": tuple(text for text in stop if text),
        }


def read_body(data: bytes) -> ChatBody:
    """The request in a body.

    Raises:
        Refused: If it is none, or asks for something that there is not.
    """
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise Refused("the body is not a JSON object")
    wanted = fields.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type", "text") != "text":
        raise Refused(
            f"response_format {shortened(str(wanted['type']))!r} cannot be enforced; "
            "describe the JSON in the prompt",
            param="response_format",
        )
    body = _validated(fields)
    if found := refusal(fields, ChatBody.model_fields):
        name = shortened(found[0]) if found[0].isprintable() else ascii(found[0])[:80]
        raise Refused(f"{name}: {found[1]}", param=name)
    return body


def _validated(fields: Mapping[str, Any]) -> ChatBody:
    try:
        return ChatBody.model_validate(fields)
    except ValidationError as error:
        # Where a field may be of several types, the one that got furthest is the one that was meant.
        told = max(error.errors(include_url=False, include_input=False), key=lambda one: len(one["loc"]))
        place = ".".join(str(step) for step in told["loc"] if isinstance(step, int) or step.isidentifier())
        raise Refused(f"{place}: {told['msg']}", param=place) from None


def shortened(text: str) -> str:
    """As much of what was sent as an error repeats."""
    return text if len(text) <= 80 else f"{text[:77]}..."


class Completion:
    """One answer on its way out.

    Args:
        model: As it was asked for.
        request: What the backend was asked.
    """

    def __init__(self, model: str, request: ChatRequest) -> None:
        self._common = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }
        self._request = request

    def whole(self, reply: ChatReply) -> dict[str, Any]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": reply.text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}
        return {
            **self._common,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_of(reply),
            "bdc": self._experts(reply),
        }

    def first(self) -> dict[str, Any]:
        """The piece that opens a stream."""
        return self._piece({"role": "assistant", "content": ""})

    def piece(self, text: str) -> dict[str, Any]:
        """A piece of text."""
        return self._piece({"content": text})

    def last(self, reply: ChatReply) -> dict[str, Any]:
        """The piece that says why the text ends."""
        return self._piece({}, reply.finish) | {"bdc": self._experts(reply)}

    def usage(self, reply: ChatReply) -> dict[str, Any]:
        """The piece after the last, for those who ask for the usage."""
        return {
            **self._common,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_of(reply),
        }

    def _piece(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._common, "object": "chat.completion.chunk", "choices": [choice]}

    def _experts(self, reply: ChatReply) -> dict[str, Any]:
        """Beyond OpenAI's fields: who answered, and how sure it was."""
        experts = self._request.experts
        told: dict[str, Any] = {"confidence": reply.probability}
        if isinstance(experts, ExpertWeights):
            return told | {"experts": dict(experts.experts), "routed_by": experts.by}
        return told | {"experts": {} if experts is None else {experts: 1.0}}


def usage_of(reply: ChatReply) -> dict[str, int]:
    """The tokens of an answer."""
    total = reply.prompt_tokens + reply.completion_tokens
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": total,
    }


def error_body(
    message: str, kind: str = "invalid_request_error", code: str = "", param: str = ""
) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param or None, "code": code or None}}


def event(data: dict[str, Any]) -> bytes:
    """A server-sent event."""
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
