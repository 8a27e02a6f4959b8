"""OpenAI's chat completions as data: writes answers, whole or in pieces."""

import secrets
import time
from collections.abc import Sequence
from typing import Literal, NotRequired

from pydantic import with_config
from typing_extensions import TypedDict

from bdc_agents.serve.http.served import WHOLE, Answer, Piece, Told

Finish = Literal["stop", "length"]


@with_config(WHOLE)
class Usage(TypedDict):
    """Tokens of all calls that an answer took."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@with_config(WHOLE)
class Message(TypedDict):
    """The answer. `reasoning_content` is what went on before it, for clients that show this apart."""

    role: Literal["assistant"]
    content: str
    refusal: None
    reasoning_content: NotRequired[str]


@with_config(WHOLE)
class Choice(TypedDict):
    """One of the answers to a request."""

    index: int
    message: Message
    logprobs: None
    finish_reason: Finish


@with_config(WHOLE)
class ChatCompletion(TypedDict):
    """The answer in one piece."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[Choice]
    usage: Usage
    bdc: Told


@with_config(WHOLE)
class Delta(TypedDict, total=False):
    """What a piece adds."""

    role: Literal["assistant"]
    content: str
    reasoning_content: str


@with_config(WHOLE)
class ChunkChoice(TypedDict):
    """To which answer a piece adds something."""

    index: int
    delta: Delta
    logprobs: None
    finish_reason: Finish | None


@with_config(WHOLE)
class ChatCompletionChunk(TypedDict):
    """A piece of a stream. The one with the finish reason has `bdc`; the last has the usage, if asked for."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    system_fingerprint: None
    choices: list[ChunkChoice]
    usage: NotRequired[Usage]
    bdc: NotRequired[Told]


class Completion:
    """Writes the answer to one request, whole or in pieces.

    Args:
        model: The model's name, as in the request.
    """

    def __init__(self, model: str) -> None:
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._model = model

    def whole(self, answers: Sequence[Answer]) -> ChatCompletion:
        """The answer in one piece."""
        return ChatCompletion(
            id=self._id,
            object="chat.completion",
            created=self._created,
            model=self._model,
            system_fingerprint=None,
            choices=[_choice(number, answer) for number, answer in enumerate(answers)],
            usage=usage_of(answers),
            bdc=answers[0].told,
        )

    def first(self, choice: int = 0) -> ChatCompletionChunk:
        """The piece that opens a stream."""
        return self._piece(choice, {"role": "assistant", "content": ""})

    def piece(self, piece: Piece) -> ChatCompletionChunk:
        """What a piece adds."""
        delta = Delta(content=piece.text) if piece.text else Delta()
        if piece.reasoning:
            delta["reasoning_content"] = piece.reasoning
        return self._piece(piece.choice, delta)

    def last(self, choice: int, answer: Answer) -> ChatCompletionChunk:
        """The piece that gives the finish reason."""
        chunk = self._piece(choice, {}, answer.finish)
        chunk["bdc"] = answer.told
        return chunk

    def usage(self, answers: Sequence[Answer]) -> ChatCompletionChunk:
        """The piece after the last, for clients that ask for the usage."""
        chunk = self._chunk([])
        chunk["usage"] = usage_of(answers)
        return chunk

    def _piece(self, choice: int, delta: Delta, finish: Finish | None = None) -> ChatCompletionChunk:
        return self._chunk([ChunkChoice(index=choice, delta=delta, logprobs=None, finish_reason=finish)])

    def _chunk(self, choices: list[ChunkChoice]) -> ChatCompletionChunk:
        return ChatCompletionChunk(
            id=self._id,
            object="chat.completion.chunk",
            created=self._created,
            model=self._model,
            system_fingerprint=None,
            choices=choices,
        )


def _choice(number: int, answer: Answer) -> Choice:
    message = Message(role="assistant", content=answer.text, refusal=None)
    if answer.reasoning:
        # The name that DeepSeek gave it, and that vLLM, llama.cpp and chat clients read.
        message["reasoning_content"] = answer.reasoning
    return Choice(index=number, message=message, logprobs=None, finish_reason=answer.finish)


def usage_of(answers: Sequence[Answer]) -> Usage:
    """The tokens of all answers to a request, whose prompt counts once."""
    prompt = answers[0].prompt_tokens if answers else 0
    written = sum(answer.completion_tokens for answer in answers)
    return Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)
