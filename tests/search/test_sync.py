"""Coroutines run for callers that are not asynchronous."""

import asyncio

import pytest

from bdc_agents.search.sync import run_sync


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


async def inside() -> int:
    return run_sync(double(21))


async def in_a_thread() -> int:
    return await asyncio.to_thread(run_sync, double(21))


def test_a_caller_with_a_loop_of_its_own_may_call() -> None:
    assert run_sync(double(21)) == 42
    assert asyncio.run(inside()) == 42


def test_on_the_loop_itself_it_refuses_where_it_would_wait_for_ever() -> None:
    with pytest.raises(RuntimeError, match="await the work, or call it in a thread"):
        run_sync(inside())
    assert run_sync(in_a_thread()) == 42
