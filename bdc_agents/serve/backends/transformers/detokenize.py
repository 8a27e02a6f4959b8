"""Turns tokens into text as they come; holds back half characters and the possible start of a stop text."""

from collections.abc import Sequence
from typing import Any

_BROKEN = "\ufffd"
_PATIENCE = 8
"""Tokens to wait for the rest of a character; then the text is shown with its broken part. A character has at
most 4 bytes, so it takes at most 4 tokens of one byte; doubled to be safe."""


class Detokenizer:
    """The text of one reply as its tokens come.

    Args:
        tokenizer: The model's tokenizer.
        stop: Texts that end the reply.
    """

    def __init__(self, tokenizer: Any, stop: Sequence[str] = ()) -> None:
        self._tokenizer = tokenizer
        self._stop = [text for text in stop if text]
        self._ids: list[int] = []
        self._start = self._read = 0
        self._text = ""
        self._shown = 0
        self.stopped = False

    @property
    def text(self) -> str:
        """Everything so far, up to a stop text."""
        return self._text

    def add(self, token: int) -> str:
        """Adds a token; returns the text that can be shown now."""
        self._ids.append(token)
        self._settle(whole=len(self._ids) - self._read < _PATIENCE)
        return self._release(final=False)

    def finish(self) -> str:
        """The rest of the text, once the last token has come."""
        if not self.stopped:
            self._settle(whole=False)
        return self._release(final=True)

    def _settle(self, *, whole: bool) -> None:
        """Adds the text of new tokens. With `whole`, waits while it ends in half a character.

        The tokens before them are decoded again, because a token's text may depend on the one before it.
        """
        before = self._decode(self._ids[self._start : self._read])
        after = self._decode(self._ids[self._start :])
        if whole and after.endswith(_BROKEN):
            return
        self._text += after[len(before) :]
        self._start, self._read = self._read, len(self._ids)

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _release(self, *, final: bool) -> str:
        if not self.stopped:
            self._cut()
        end = len(self._text) - (0 if final or self.stopped else self._held())
        shown = self._text[self._shown : end]
        self._shown = max(self._shown, end)
        return shown

    def _cut(self) -> None:
        """Cuts the text before its first stop text."""
        places = [place for stop in self._stop if (place := self._text.find(stop, self._shown)) >= 0]
        if places:
            self._text, self.stopped = self._text[: min(places)], True

    def _held(self) -> int:
        """How many characters at the end may be the start of a stop text."""
        longest = max(map(len, self._stop), default=1) - 1
        tails = range(min(longest, len(self._text)), 0, -1)
        return next((n for n in tails if any(s.startswith(self._text[-n:]) for s in self._stop)), 0)
