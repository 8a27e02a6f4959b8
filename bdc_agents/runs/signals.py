"""Ends a run gracefully at the first Ctrl-C or SIGTERM, and at once at the second."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import current_thread, main_thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Stop:
    """Whether a run shall end, and which signal asked for it.

    Args:
        event: Set when the run shall end.
        signal: The signal; None if none came.
    """

    event: asyncio.Event = field(default_factory=asyncio.Event)
    signal: int | None = None


@contextmanager
def graceful(on_stop: Callable[[int], None] | None = None) -> Iterator[Stop]:
    """Turns the first SIGINT or SIGTERM into a request to end; the second has its usual effect.

    Args:
        on_stop: Called with the first signal.
    """
    stop = Stop()
    if current_thread() is not main_thread():
        yield stop
        return
    loop = asyncio.get_running_loop()

    def ask(number: int) -> None:
        stop.signal = number
        stop.event.set()
        restore()
        if on_stop:
            on_stop(number)

    def restore() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
            # Not Python's own handler: asyncio's runner would wait for the very work that is to end.
            signal.signal(number, signal.SIG_DFL if stop.signal else before[number])

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        loop.add_signal_handler(number, ask, number)
    try:
        yield stop
    finally:
        restore()
        for number in SIGNALS:
            signal.signal(number, before[number])
