"""Loads the library's tokenizer, and checks that a server has the same one."""

from collections.abc import Awaitable, Callable
from typing import Any

from bdc_agents.errors import ModelError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.extras import need

PROBE = "def f(x):\n    return [x ** 2, 'é→']  # 1 + 1 == 2\n\nThe quick brown fox, isn't it?"
"""Different tokenizers split this differently: it has code, indents, accents, a symbol and an apostrophe."""


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
