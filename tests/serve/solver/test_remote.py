"""What backends of other processes share: who is let in, and how pieces cross between threads."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.errors import BDCError
from bdc_agents.serve.backends.relay import LoopThread
from bdc_agents.serve.backends.remote import Admission


@settings(max_examples=30, deadline=None)
@given(
    slots=st.integers(1, 4),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=12),
    left=st.sets(st.integers(0, 11)),
)
def test_never_more_than_there_is_room_for_and_everyone_in_turn(
    slots: int, sizes: list[int], left: set[int]
) -> None:
    room, inside, began = Admission(slots, 60), list[int](), list[int]()

    async def one(number: int) -> None:
        async with room.take(sizes[number]):
            began.append(number)
            inside.append(sizes[number])
            assert len(inside) <= slots
            assert sum(inside) <= 60
            await asyncio.sleep(0)
            inside.remove(sizes[number])

    async def all_of_them() -> None:
        tasks = [asyncio.create_task(one(number)) for number in range(len(sizes))]
        await asyncio.sleep(0)
        for number in left & set(range(len(sizes))):
            tasks[number].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 120)
        async with asyncio.timeout(5), room.take(60):
            pass

    asyncio.run(all_of_them())
    assert began == sorted(began)
    assert set(began) >= set(range(len(sizes))) - left


async def test_work_runs_on_one_thread_of_its_own_and_ends_with_it() -> None:
    home, ended = LoopThread(), list[Any]()

    async def where() -> str:
        return threading.current_thread().name

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(threading.current_thread().name)

    async def last() -> None:
        ended.append("last")

    assert {await home.run(where()) for _ in range(3)} == {"bdc-backend"}
    running = home.start(forever())
    await asyncio.sleep(0.01)
    await home.close(last)
    assert ended == ["bdc-backend", "last"]
    assert running.cancelled()
    with pytest.raises(BDCError, match="closed"):
        await home.run(where())
    await home.close(last)
