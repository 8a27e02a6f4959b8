"""Runs coroutines for callers of other manners: not asynchronous, or cancelling again and again."""

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


async def ended(task: "asyncio.Future[Any]") -> None:
    """Cancels a task, once, and waits until it has ended, however often the caller is cancelled meanwhile."""
    task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()  # Else asyncio complains that nobody has asked for it.
    if cancelled is not None:
        raise cancelled


async def cancelled_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of some work. When this is cancelled, the work is too, once, and has ended before this does.

    anyio, and so Starlette and MCP, cancels a task again in each turn of the loop. LangGraph (1.2) then never
    comes to ending what it has begun: an agent would be asked on for somebody who has left.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    finally:
        await ended(task)
