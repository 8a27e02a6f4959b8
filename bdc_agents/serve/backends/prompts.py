"""Turns conversations into the base's tokens, the same for every backend."""

from typing import Any

from bdc_agents.serve.backends.protocol import ChatRequest, PromptTooLong


def whole(text: str) -> str:
    """Replaces lone surrogates by question marks, because no tokenizer takes them.

    An LLM's broken escapes, and problems made from its replies, can hold some.
    """
    return text.encode("utf-8", "replace").decode()


def prompt_tokens(tokenizer: Any, request: ChatRequest, context: int) -> tuple[list[int], int]:
    """Renders the prompt by the base's chat template, as in training.

    Args:
        tokenizer: With a chat template.
        context: Tokens of prompt and reply together.

    Returns:
        The prompt's tokens, and how many the reply may have.

    Raises:
        PromptTooLong: If no room is left for a reply.
    """
    messages = [{key: whole(text) for key, text in message.items()} for message in request.messages]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    room = context - len(prompt)
    if room < 1:
        raise PromptTooLong(len(prompt), context)
    return prompt, max(1, min(request.max_tokens, room))
