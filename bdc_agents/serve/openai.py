"""OpenAI's chat completions as data: what is read of a request, and what is sent back."""

import json
import secrets
import time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from bdc_agents.errors import UsageError
from bdc_agents.serve.backend import ChatReply, ChatRequest, ExpertWeights
from bdc_agents.serve.routed import ROUTED

_ROLES = {"developer": "system"}
_REFUSED: dict[str, str] = {
    "tools": "the model does not call tools; ask for text",
    "functions": "the model does not call functions; ask for text",
    "logprobs": "log-probabilities are not given",
    "logit_bias": "logits cannot be biased",
    "frequency_penalty": "there is no frequency penalty",
    "presence_penalty": "there is no presence penalty",
    "audio": "there is no audio",
}
"""Fields that would change the reply and are not known here: better refused than left out in silence."""


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


class ChatMessage(BaseModel):
    """A message of the conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | Annotated[list[Part], Field(fail_fast=True)]
    # Without `fail_fast` a megabyte of wrong parts is told of in half a gigabyte of errors.

    def plain(self) -> dict[str, str]:
        """As chat templates take it.

        Raises:
            Refused: If a part is no text.
        """
        if isinstance(self.content, str):
            content = self.content
        else:
            if other := next((part.type for part in self.content if part.type != "text"), None):
                raise Refused(f"a message has a part of type {other!r}; only text is read", param="messages")
            content = "".join(part.text for part in self.content)
        return {"role": _ROLES.get(self.role, self.role), "content": content}


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
    for name, why in _REFUSED.items():
        if fields.get(name):
            raise Refused(f"{name}: {why}", param=name)
    wanted = fields.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type", "text") != "text":
        raise Refused(
            f"response_format {shortened(str(wanted['type']))!r} cannot be enforced; "
            "describe the JSON in the prompt",
            param="response_format",
        )
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
