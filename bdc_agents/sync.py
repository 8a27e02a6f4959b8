"""`run_sync`: runs a coroutine for callers that are not asynchronous."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@cache
def _background_loop(process: int) -> asyncio.AbstractEventLoop:
    """One loop for all synchronous callers, so that connections outlive a single call.

    Args:
        process: Id of the process. A fork takes no threads along, so each process has its own loop.
    """
    del process
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="bdc-agents", daemon=True).start()
    return loop


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on a background thread's loop and returns its result.

    Raises:
        RuntimeError: If that thread itself calls it, since it would wait for itself forever.
    """
    loop = _background_loop(os.getpid())
    if _running_loop() is loop:
        work.close()
        raise RuntimeError("a coroutine of run_sync calls run_sync: await the work, or call it in a thread")
    future = asyncio.run_coroutine_threadsafe(work, loop)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
