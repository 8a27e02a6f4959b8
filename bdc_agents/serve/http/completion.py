"""OpenAI's chat completions as data: writes answers, whole or in pieces."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from bdc_agents.serve.http.served import Answer, Piece


class Completion:
    """Writes the answer to one request, whole or in pieces.

    Args:
        model: The model's name, as in the request.
    """

    def __init__(self, model: str) -> None:
        self._common = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": None,
        }

    def whole(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The answer in one piece."""
        return {
            **self._common,
            "object": "chat.completion",
            "choices": [_choice(number, answer) for number, answer in enumerate(answers)],
            "usage": usage_of(answers),
            "bdc": dict(answers[0].told),
        }

    def first(self, choice: int = 0) -> dict[str, Any]:
        """The piece that opens a stream."""
        return self._piece(choice, {"role": "assistant", "content": ""})

    def piece(self, piece: Piece) -> dict[str, Any]:
        """What a piece adds."""
        delta = {"content": piece.text} if piece.text else {}
        return self._piece(
            piece.choice, delta | ({"reasoning_content": piece.reasoning} if piece.reasoning else {})
        )

    def last(self, choice: int, answer: Answer) -> dict[str, Any]:
        """The piece that gives the finish reason."""
        return self._piece(choice, {}, answer.finish) | {"bdc": dict(answer.told)}

    def usage(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The piece after the last, for clients that ask for the usage."""
        return {
            **self._common,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_of(answers),
        }

    def _piece(self, choice: int, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        told = {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
        return {**self._common, "object": "chat.completion.chunk", "choices": [told]}


def _choice(number: int, answer: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.reasoning:
        # The name that DeepSeek gave it, and that vLLM, llama.cpp and chat clients read.
        message["reasoning_content"] = answer.reasoning
    return {"index": number, "message": message, "logprobs": None, "finish_reason": answer.finish}


def usage_of(answers: Sequence[Answer]) -> dict[str, int]:
    """The tokens of all answers to a request, whose prompt counts once."""
    prompt = answers[0].prompt_tokens if answers else 0
    written = sum(answer.completion_tokens for answer in answers)
    return {"prompt_tokens": prompt, "completion_tokens": written, "total_tokens": prompt + written}
