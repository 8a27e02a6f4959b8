"""The decoding thread of the in-process backend: takes requests from any event loop, replies in pieces.

Everything that touches the model or its tokenizer runs on this one thread. A request that arrives
while others are being answered joins them at the next token.
"""

import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bdc_agents.errors import BDCError
from bdc_agents.serve.backends.prompts import prompt_tokens
from bdc_agents.serve.backends.protocol import ChatPiece, ChatRequest
from bdc_agents.serve.backends.relay import CLOSED, Emit
from bdc_agents.serve.backends.transformers.decoding import Batch, Mix, Row
from bdc_agents.serve.backends.transformers.detokenize import Detokenizer
from bdc_agents.serve.backends.transformers.guide import Guide, Guides


@dataclass(eq=False)
class Ticket:
    """A request in the engine.

    Args:
        emit: Takes each piece of the reply, or the error; called on the engine's thread.
        guide: What holds the reply to its schema.
        dropped: Set by the caller when nobody waits for the reply any more.
    """

    request: ChatRequest
    emit: Emit
    guide: Guide | None = None
    dropped: bool = False
    row: Row | None = None


class Engine:
    """Answers tickets, up to `slots` at once.

    Args:
        model: A causal language model of transformers.
        tokenizer: With a chat template.
        mix: Brings the experts of a batch's rows into the model.
        context: Tokens of prompt and reply together.
        slots: Replies at once.
        prompt_tokens: Most tokens of new prompts that are read at once, padding included. The others
            wait for the next token, so that a burst of long prompts does not exhaust memory. The default is
            one full prompt of a base with a context of 8192; chosen, not measured.
    """

    def __init__(
        self, model: Any, tokenizer: Any, mix: Mix, *, context: int, slots: int = 8, prompt_tokens: int = 8192
    ) -> None:
        self._tokenizer = tokenizer
        self._context = context
        self._slots = slots
        self._prompt_tokens = prompt_tokens
        ends = _ends(model, tokenizer)
        self.guides = Guides(tokenizer, ends, len(tokenizer))
        self._batch = Batch(model, mix, ends, len(tokenizer))
        self._inbox: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._waiting: list[Ticket] = []
        self._running: dict[Row, Ticket] = {}
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def submit(self, ticket: Ticket) -> None:
        """Queues a request.

        Raises:
            BDCError: If the engine is closed.
        """
        with self._lock:
            if self._closed:
                raise BDCError(CLOSED)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="bdc-decoding", daemon=True)
                self._thread.start()
            self._inbox.put(ticket)

    def close(self) -> None:
        """Ends the thread and fails its unfinished requests. Blocks until it has ended."""
        with self._lock:
            self._closed = True
            thread = self._thread
            self._inbox.put(None)
        if thread is not None:
            thread.join()

    # --- on the thread ----------------------------------------------------------------------

    def _work(self) -> None:
        while self._collect():
            try:
                self._advance()
            except Exception as error:  # A failed batch must not end the service.
                self._fail(BDCError(f"the model failed: {type(error).__name__}: {error}"))
        self._fail(BDCError(CLOSED))

    def _collect(self) -> bool:
        """Takes in the requests that have arrived; waits for one if idle. Returns False to end."""
        block = not self._running and not self._waiting
        while True:
            try:
                ticket = self._inbox.get(block=block)
            except queue.Empty:
                return True
            if ticket is None:
                return False
            self._accept(ticket)
            block = False

    def _accept(self, ticket: Ticket) -> None:
        try:
            ticket.row = self._row(ticket)
        except Exception as error:
            known = isinstance(error, BDCError)
            ticket.emit(error if known else BDCError(f"the prompt cannot be rendered: {error}"))
        else:
            self._waiting.append(ticket)

    def _row(self, ticket: Ticket) -> Row:
        request = ticket.request
        prompt, limit = prompt_tokens(self._tokenizer, request, self._context)
        return Row(request, prompt, limit, Detokenizer(self._tokenizer, request.stop), ticket.guide)

    def _advance(self) -> None:
        """Removes dropped requests, adds a token to each row, and lets new requests in."""
        self._forget_dropped()
        told: list[tuple[Row, str]] = []
        if self._running:
            told += self._batch.step()
            self._pass_on(told)
        if newcomers := self._newcomers():
            rows = [ticket.row for ticket in newcomers if ticket.row]
            self._running |= dict(zip(rows, newcomers, strict=True))
            self._pass_on(self._batch.join(rows))

    def _newcomers(self) -> list[Ticket]:
        free = self._slots - len(self._batch.rows)
        if not self._batch.joinable:
            return []
        chosen: list[Ticket] = []
        longest = 0
        for ticket in self._waiting[:free]:
            longest = max(longest, len(ticket.row.prompt) if ticket.row else 0)
            if chosen and longest * (len(chosen) + 1) > self._prompt_tokens:
                break
            chosen.append(ticket)
        self._waiting = self._waiting[len(chosen) :]
        return chosen

    def _pass_on(self, told: Sequence[tuple[Row, str]]) -> None:
        """Hands out new text, and removes finished rows from the batch."""
        for row, text in told:
            if row.failed is not None:
                self._running.pop(row).emit(row.failed)
            elif row.done:
                self._running.pop(row).emit(ChatPiece(text=text, reply=row.reply()))
            elif text:
                self._running[row].emit(ChatPiece(text=text))
        self._batch.leave(lambda row: row.done)

    def _forget_dropped(self) -> None:
        self._waiting = [ticket for ticket in self._waiting if not ticket.dropped]
        gone = {row for row, ticket in self._running.items() if ticket.dropped}
        for row in gone:
            del self._running[row]
        self._batch.leave(gone.__contains__)

    def _fail(self, error: BDCError) -> None:
        """Fails the running requests; also the waiting ones if the engine is closed."""
        ended = [*self._running.values(), *(self._waiting if self._closed else [])]
        if self._closed:
            ended += _drained(self._inbox)
            self._waiting.clear()
        self._running.clear()
        self._batch.clear()
        for ticket in ended:
            ticket.emit(error)


def _drained(inbox: "queue.SimpleQueue[Ticket | None]") -> list[Ticket]:
    found: list[Ticket] = []
    while not inbox.empty():
        if (ticket := inbox.get()) is not None:
            found.append(ticket)
    return found


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a turn, by the model's generation settings and its tokenizer."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    named = named if isinstance(named, list) else [named]
    return frozenset(int(token) for token in (*named, tokenizer.eos_token_id) if token is not None)
