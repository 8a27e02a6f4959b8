"""Reads a chat model's message: its text, wherever a provider puts it, and how it ended."""

from collections.abc import Iterator, Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

_CUT = ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded")
_FILTERED = ("content_filter", "safety", "recitation", "prohibited_content", "blocklist", "refusal", "spii")
"""Reasons why a reply ended, in the words of OpenAI and Azure, Google, Anthropic."""

THOUGHTS = ("reasoning_content", "reasoning")
"""Where servers put a model's thoughts: DeepSeek and vLLM, then OpenRouter, Ollama and newer vLLM."""
_THOUGHT_BLOCKS = ("thinking", "reasoning")


def text_of(message: AIMessage) -> str:
    """The reply's text, all blocks joined; if there is none, its refusal or its thoughts.

    A server with a wrong reasoning parser takes all that a model writes for thoughts, so the answer is
    there.
    """
    text = str(message.text)
    if not text.strip() and not was_truncated(message):
        text = str(message.additional_kwargs.get("refusal") or "") or thought(message)
    return text.encode("utf-8", "replace").decode("utf-8")


def thought(message: AIMessage) -> str:
    """The LLM's thoughts before its answer, if the endpoint separates them."""
    beside = (message.additional_kwargs.get(key) for key in THOUGHTS)
    found = next((text for value in beside if (text := "".join(_texts(value)))), "")
    blocks = message.content if isinstance(message.content, list) else []
    inside = (
        block for block in blocks if isinstance(block, Mapping) and block.get("type") in _THOUGHT_BLOCKS
    )
    return found or "".join(text for block in inside for text in _texts(block))


def _texts(value: Any) -> Iterator[str]:
    """The texts in a value: itself, or those of its blocks, which Mistral and the Responses API nest."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item) if not isinstance(item, list) else ()
    elif isinstance(value, Mapping):
        for key in ("thinking", "reasoning", "text", "content", "summary"):
            if isinstance(value.get(key), str | list):
                yield from _texts(value[key])
                return


def was_truncated(message: AIMessage) -> bool:
    """Whether the reply ended at its token limit, in any provider's words."""
    return any(reason in _CUT for reason in _endings(message))


def was_filtered(message: AIMessage) -> bool:
    """Whether the endpoint's content filter ended the reply."""
    return any(reason in _FILTERED for reason in _endings(message))


def had_an_error(message: AIMessage) -> bool:
    """Whether an error ended the reply half way, as gateways report it of the server behind them."""
    return "error" in _endings(message)


def _endings(message: AIMessage) -> list[str]:
    told = message.response_metadata
    reasons = [told.get(key) for key in ("finish_reason", "stop_reason", "done_reason", "stopReason")]
    incomplete = told.get("incomplete_details")
    if isinstance(incomplete, Mapping):
        reasons.append(incomplete.get("reason"))
    return [str(reason).lower() for reason in reasons if reason]


def as_message(answer: Any) -> AIMessage | None:
    """The message in a Runnable's answer; None if there is none.

    Args:
        answer: A message, text, a LangGraph state with messages, or the last of a list of them.
    """
    if isinstance(answer, AIMessage):
        return answer
    if isinstance(answer, BaseMessage):
        return AIMessage(content=answer.content, response_metadata=answer.response_metadata)
    if isinstance(answer, str):
        return AIMessage(content=answer)
    if isinstance(answer, Mapping):
        return as_message(answer.get("messages"))
    if isinstance(answer, list) and answer and isinstance(answer[-1], BaseMessage):
        return as_message(answer[-1])
    return None
