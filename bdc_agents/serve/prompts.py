"""Conversations as the tokens that a base reads, the same ones for every backend."""

from typing import Any

from bdc_agents.serve.backend import ChatRequest, PromptTooLong


def prompt_tokens(tokenizer: Any, request: ChatRequest, context: int) -> tuple[list[int], int]:
    """The prompt as it was in training, rendered by the base's chat template.

    Args:
        tokenizer: With a chat template.
        context: Tokens of prompt and reply together.

    Returns:
        The prompt's tokens, and how many the reply may have.

    Raises:
        PromptTooLong: If no room is left for a reply.
    """
    text = tokenizer.apply_chat_template(
        [dict(message) for message in request.messages], add_generation_prompt=True, tokenize=False
    )
    prompt = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    room = context - len(prompt)
    if room < 1:
        raise PromptTooLong(len(prompt), context)
    return prompt, max(1, min(request.max_tokens, room))
