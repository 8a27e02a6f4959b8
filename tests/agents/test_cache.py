"""The cache of replies: what is a hit, what is never kept, and what happens when the disk fails."""

import asyncio
import json
import logging
import multiprocessing
import os
import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage

from bdc_agents.agents.cache import ReplyCache, as_cached, cache_folder, reply_key
from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import StoreConfig
from bdc_agents.errors import AgentError
from bdc_agents.types import Usage

USAGE = Usage(calls=1, failed=2, prompt_tokens=7, completion_tokens=5, cost=0.25, seconds=3.0)


@pytest.fixture
def cache(tmp_path):
    cache = ReplyCache(tmp_path / "cache")
    yield cache
    cache.close()


def reply(text="hello"):
    return Reply(text=text, usage=USAGE)


def maker(made, text="hello", delay=0.0):
    async def make():
        made.append(text)
        await asyncio.sleep(delay)
        return reply(text)

    return make


async def begun(made):
    async with asyncio.timeout(5):
        while not made:  # noqa: ASYNC110 - only a list tells
            await asyncio.sleep(0.005)


# --- keys -----------------------------------------------------------------------------------

requests = st.builds(
    Request,
    messages=st.lists(st.text().map(HumanMessage), min_size=1, max_size=3).map(tuple),
    temperature=st.sampled_from([0.0, 0.7]),
    seed=st.integers(0, 3),
    json_schema=st.sampled_from([None, {"type": "object"}, {"type": "array"}]),
)


@given(one=requests, other=requests, identities=st.tuples(st.sampled_from("ab"), st.sampled_from("ab")))
def test_keys_are_equal_exactly_for_equal_requests(one, other, identities):
    same = one == other and identities[0] == identities[1]
    assert (reply_key(identities[0], one) == reply_key(identities[1], other)) == same


def test_every_setting_matters():
    request = Request(messages=(HumanMessage("hi"),))
    keys = {
        reply_key("a", request),
        reply_key("a", request, max_tokens=1),
        reply_key("a", request, max_tokens=2),
        reply_key("a", request, structured="prompt"),
        reply_key("a", request, options={"top_p": 0.9}),
        reply_key("a", Request(messages=(AIMessage("hi"),))),
    }
    assert len(keys) == 6


def test_how_a_message_came_about_does_not_matter():
    bare = AIMessage("hi")
    traced = AIMessage("hi", id="run-1", response_metadata={"model_name": "x"})
    assert reply_key("a", Request(messages=(bare,))) == reply_key("a", Request(messages=(traced,)))


# --- hits -----------------------------------------------------------------------------------


async def test_a_hit_keeps_tokens_and_cost_and_was_not_paid_again(cache):
    made = []
    first = await cache.fetch("k", maker(made))
    second = await cache.fetch("k", maker(made))
    assert made == ["hello"]
    assert first == reply()
    assert second.text == "hello"
    assert second.usage == USAGE.model_copy(update={"cached": 1, "saved": 0.25, "failed": 0, "seconds": 0.0})


@settings(max_examples=30)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"])),
    cost=st.none() | st.floats(0, 1e6),
    truncated=st.booleans(),
)
def test_what_is_kept_comes_back(tmp_path_factory, text, cost, truncated):
    async def round_trip():
        cache = ReplyCache(tmp_path_factory.mktemp("cache"))
        kept = Reply(text=text, usage=USAGE.model_copy(update={"cost": cost}), truncated=truncated)
        await cache.put("k", kept)
        found = await cache.get("k")
        cache.close()
        assert found == as_cached(kept)

    asyncio.run(round_trip())


async def test_the_first_reply_under_a_key_stays(cache):
    await cache.put("k", reply("first"))
    await cache.put("k", reply("second"))
    found = await cache.get("k")
    assert found is not None
    assert found.text == "first"


async def test_a_damaged_row_is_made_anew(cache):
    await cache.put("k", reply())
    with sqlite3.connect(cache.path) as connection:
        connection.execute("UPDATE replies SET reply = '{\"text\": 1'")
    connection.close()
    made = []
    assert (await cache.fetch("k", maker(made, "anew"))).text == "anew"
    assert (await cache.fetch("k", maker(made))).text == "anew"


# --- one flight for identical requests ------------------------------------------------------


async def test_identical_requests_make_one_call(cache):
    made = []
    replies = await asyncio.gather(*(cache.fetch("k", maker(made, delay=0.05)) for _ in range(8)))
    assert len(made) == 1
    assert sum(r.usage.cached for r in replies) == 7
    await asyncio.gather(*(cache.fetch(key, maker(made)) for key in "abc"))
    assert len(made) == 4


async def test_an_error_reaches_all_who_wait_and_is_not_kept(cache):
    async def fail():
        await asyncio.sleep(0.02)
        raise AgentError("a", "no")

    results = await asyncio.gather(*(cache.fetch("k", fail) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [AgentError] * 3
    assert (await cache.fetch("k", maker([]))).text == "hello"


async def test_a_cancelled_call_is_taken_over(cache):
    made = []
    tasks = [asyncio.create_task(cache.fetch("k", maker(made, delay=0.1))) for _ in range(3)]
    await begun(made)
    tasks[0].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert [r.text for r in results[1:] if isinstance(r, Reply)] == ["hello", "hello"]
    assert len(made) == 2


async def test_one_who_waits_can_be_cancelled(cache):
    made = []
    tasks = [asyncio.create_task(cache.fetch("k", maker(made, delay=0.1))) for _ in range(2)]
    await begun(made)
    tasks[1].cancel()
    first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, Reply)
    assert isinstance(second, asyncio.CancelledError)


def test_several_loops_share_a_cache(cache):
    made = []
    for _ in range(2):
        assert asyncio.run(cache.fetch("k", maker(made))).text == "hello"
    assert len(made) == 1


def _write(folder, numbers):
    async def write():
        cache = ReplyCache(Path(folder))
        for n in numbers:
            await cache.put(str(n), reply(str(n)))
        cache.close()

    asyncio.run(write())


def _begin_and_write(begun, path, numbers):
    begun.set()
    _write(path, numbers)


@pytest.mark.slow
async def test_several_processes_share_a_cache(tmp_path):
    spawning = multiprocessing.get_context("spawn")
    begun = spawning.Event()
    worker = spawning.Process(target=_begin_and_write, args=(begun, str(tmp_path), range(40)))
    worker.start()
    await asyncio.to_thread(begun.wait, 300)
    cache = ReplyCache(tmp_path)
    while worker.is_alive():
        await asyncio.to_thread(_write, tmp_path, range(20, 60))
    worker.join()
    found = [await cache.get(str(n)) for n in range(60)]
    cache.close()
    assert [r.text for r in found if r] == [str(n) for n in range(60)]


async def test_the_loop_is_not_blocked_while_the_file_is_locked(cache):
    await cache.put("k", reply())
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    write = asyncio.create_task(cache.put("l", reply()))
    await asyncio.sleep(0.05)
    assert not write.done()  # A loop that is blocked gets here when the write has been given up.
    other.execute("COMMIT")
    other.close()
    await write
    assert await cache.get("l")


# --- a disk that fails ----------------------------------------------------------------------


async def used_twice(cache, caplog):
    """Calls made, and warnings given, when the cache is asked for the same reply twice."""
    made = []
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert (await cache.fetch("k", maker(made))).text == "hello"
    return len(made), len(caplog.records)


async def test_a_damaged_file(cache, caplog):
    cache.path.parent.mkdir()
    cache.path.write_bytes(b"this is no database at all" * 100)
    assert await used_twice(cache, caplog) == (2, 1)
    assert str(cache.path) in caplog.text


async def test_a_file_where_the_folder_should_be(tmp_path, caplog):
    (tmp_path / "cache").write_text("")
    assert await used_twice(ReplyCache(tmp_path / "cache"), caplog) == (2, 1)


async def test_a_folder_where_the_file_should_be(cache, caplog):
    cache.path.mkdir(parents=True)
    assert await used_twice(cache, caplog) == (2, 1)


async def test_a_full_disk(cache, caplog):
    await cache.put("other", reply())
    cache._opened().execute("PRAGMA max_page_count = 1")
    await cache.put("big", reply("x" * 100_000))
    assert await used_twice(cache, caplog) == (2, 1)
    assert "full" in caplog.text


async def test_a_locked_file(cache, caplog, monkeypatch):
    monkeypatch.setattr("bdc_agents.agents.cache._BUSY_SECONDS", 0.05)
    await cache.put("other", reply())
    other = sqlite3.connect(cache.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert await used_twice(cache, caplog) == (2, 1)
    other.close()


async def test_a_read_only_file(cache, caplog):
    await cache.put("other", reply())
    cache._opened().execute("PRAGMA query_only = ON")
    assert await used_twice(cache, caplog) == (2, 1)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_cache_survives_a_fork(cache):
    asyncio.run(cache.put("k", reply()))
    pid = os.fork()
    if pid == 0:  # pragma: no cover - in the child
        found = cache._execute("SELECT reply FROM replies WHERE key = ?", ("k",))
        os._exit(0 if found and cache._owner == os.getpid() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert asyncio.run(cache.get("k"))


# --- places and secrets ---------------------------------------------------------------------


async def test_only_the_user_may_read_it(cache):
    await cache.put("k", reply())
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.path.parent.stat().st_mode) == 0o700


def test_where_it_is_kept(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "bdc-agents"
    assert cache_folder(StoreConfig(path=Path("~/elsewhere"))) == Path.home() / "elsewhere"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "bdc-agents"
    assert ReplyCache.open(StoreConfig(cache=False)) is None


async def test_no_key_enters_the_file(cache, endpoint, make_agent, ask, monkeypatch):
    key = "sk-very-secret-98765"
    monkeypatch.setenv("SMALL_KEY", key)
    agent = make_agent(cache=cache, api_key_env="SMALL_KEY", options={"default_headers": {"X-Key": key}})
    await agent.reply(ask("a question"))
    assert any(key in str(headers) for headers in endpoint.headers)
    cache.close()
    kept = b"".join(file.read_bytes() for file in cache.path.parent.iterdir())
    assert b"hello" in kept
    assert key.encode() not in kept


async def test_an_agent_answers_from_its_cache(cache, endpoint, make_agent, ask, step, completion):
    endpoint.default = lambda body: step(completion(f"reply {len(endpoint.asked)}"))
    agent = make_agent(cache=cache, price_input=1.0, price_output=1.0)
    first = await agent.reply(ask())
    again = await agent.reply(ask())
    other = await agent.reply(ask(seed=1))
    longer = await make_agent(cache=cache, max_tokens=50).reply(ask())
    elsewhere = await make_agent(cache=cache, model="other").reply(ask())
    texts = [r.text for r in (first, again, other, longer, elsewhere)]
    assert texts == ["reply 1", "reply 1", "reply 2", "reply 3", "reply 4"]
    assert (again.usage.cached, again.usage.saved) == (1, first.usage.cost)
    assert again.usage.tokens == first.usage.tokens
    assert json.loads(json.dumps(again.usage.model_dump())) == again.usage.model_dump()
