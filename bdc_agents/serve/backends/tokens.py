"""The library's own tokenizer, and whether a server has the same one."""

from collections.abc import Awaitable, Callable
from typing import Any

from bdc_agents.errors import ModelError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.extras import need

PROBE = "def f(x):\n    return [x ** 2, 'é→']  # 1 + 1 == 2\n\nThe quick brown fox, isn't it?"
"""A text in which different tokenizers differ."""


def library_tokenizer(library: ExpertLibrary) -> Any:
    """The tokenizer of the base, which the library carries.

    Raises:
        ModelError: If it is missing or damaged, or has no chat template.
    """
    files = [path for path in library.manifest.files if path.startswith("tokenizer/")]
    if not files:
        raise ModelError(f"library {library.folder} has no tokenizer; make the library again")
    folder = library.require_folder("tokenizer")
    try:
        tokenizer = need("transformers").AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # Whatever the parsers of other libraries make of what is in there.
        raise ModelError(
            f"the tokenizer of library {library.folder} cannot be loaded: {error!s:.200}; restore it"
        ) from None
    if not tokenizer.chat_template:
        raise ModelError(f"the tokenizer of library {library.folder} has no chat template")
    return tokenizer


async def check_tokens(tokenizer: Any, ask: Callable[[str], Awaitable[list[int]]], server: str) -> None:
    """Makes sure that prompts, which go out as tokens, mean the same to a server.

    Args:
        ask: For the server's tokens of a text, without any at its begin.

    Raises:
        ModelError: If they differ.
    """
    ours = list(tokenizer(PROBE, add_special_tokens=False)["input_ids"])
    theirs = await ask(PROBE)
    if ours != theirs:
        first = next((n for n, pair in enumerate(zip(ours, theirs, strict=False)) if len({*pair}) > 1), 0)
        raise ModelError(
            f"{server} has another tokenizer than the library's base: its token {first} of a probe text is "
            f"{theirs[first : first + 1]}, and ours {ours[first : first + 1]}; serve the base that the "
            "library names"
        )
