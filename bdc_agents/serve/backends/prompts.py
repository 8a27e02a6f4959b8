"""Turns conversations into the base's tokens, the same for every backend.

The prompts go out as tokens, by the tokenizer that the library keeps. A base was never trained on tools, so
tool calls and their results become plain text.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from bdc_agents.errors import ModelError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.extras import need
from bdc_agents.serve.backends.protocol import ChatRequest, PromptTooLong

PROBE = "def f(x):\n    return [x ** 2, 'é→']  # 1 + 1 == 2\n\nThe quick brown fox, isn't it?"
"""Different tokenizers split this differently: it has code, indents, accents, a symbol and an apostrophe."""


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


# --- the tokenizer ------------------------------------------------------------------------


def library_tokenizer(library: ExpertLibrary) -> Any:
    """The base's tokenizer, from the library.

    Raises:
        ModelError: If it is missing or damaged, or has no chat template.
    """
    files = [path for path in library.manifest.files if path.startswith("tokenizer/")]
    if not files:
        raise ModelError(f"library {library.folder} has no tokenizer; make the library again")
    folder = library.require_folder("tokenizer")
    try:
        tokenizer = need("transformers").AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # The parsers of other libraries may raise anything for a damaged file.
        raise ModelError(
            f"the tokenizer of library {library.folder} cannot be loaded: {error!s:.200}; restore it"
        ) from None
    if not tokenizer.chat_template:
        raise ModelError(f"the tokenizer of library {library.folder} has no chat template")
    return tokenizer


async def check_tokens(tokenizer: Any, ask: Callable[[str], Awaitable[list[int]]], server: str) -> None:
    """Makes sure that a server has the library's tokens, because prompts go out as tokens.

    Args:
        ask: Returns the server's tokens of a text, without a token for its beginning.

    Raises:
        ModelError: If the tokens differ.
    """
    ours = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    theirs = await ask(PROBE)
    if ours != theirs:
        first = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if len({*pair}) > 1), 0)
        raise ModelError(
            f"{server} has another tokenizer than the library's base: token {first} of a probe text is "
            f"{theirs[first : first + 1]} there and {ours[first : first + 1]} here; serve the base that the "
            "library names"
        )


# --- turns with tools ---------------------------------------------------------------------


def call_text(name: str, arguments: str) -> str:
    """A tool call, as words of the assistant.

    Args:
        arguments: The arguments as JSON.
    """
    return f"Calling the tool `{name}` with {arguments}."


def result_text(text: str) -> str:
    """A tool's result, as the user's next message."""
    return f"The tool returned:\n{text}"


def joined(*parts: str) -> str:
    """The parts of a message that are not empty, one a line."""
    return "\n".join(part for part in parts if part)
