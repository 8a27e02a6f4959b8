"""The reply cache: keeps replies on disk, so that a search can run again without any call."""

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import StoreConfig
from bdc_agents.disk import open_database, user_cache

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the keys and of the file; a new one leaves old files unused."""
_BUSY_SECONDS = 2.0
"""How long a call may wait for another process's write, which takes milliseconds. After it the cache is
left alone, since a call to the LLM is better than a hanging search."""
_TRANSIENT = {"id", "response_metadata", "usage_metadata"}
"""Fields of a message that say how it came about, so that they are no part of a key."""


def cache_folder(store: StoreConfig | None = None) -> Path:
    """The folder of the user's cache: the one in the settings, or the platform's.

    Raises:
        RuntimeError: If there is no home folder.
    """
    if store is not None and store.path is not None:
        return store.path.expanduser()
    return user_cache()


def reply_key(identity: str, request: Request, **settings: Any) -> str:
    """The key of a reply: a hash of all that the reply depends on.

    Args:
        identity: Which LLM answers: its address and name, or the hash of its weights.
        request: The request.
        settings: Other settings that shape the reply, such as the token limit.
    """
    longest = {} if request.max_tokens is None else {"max_tokens": request.max_tokens}
    asked = {
        "format": FORMAT,
        "identity": identity,
        "messages": [message.model_dump(exclude=_TRANSIENT) for message in request.messages],
        "temperature": request.temperature,
        "seed": request.seed,
        "schema": request.json_schema,
        "settings": settings | longest,
    }
    return sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


class ReplyCache:
    """Replies by key in an SQLite file, shared by threads and processes.

    If the file cannot be used (damaged, locked, read-only, disk full), the cache warns once and then
    does nothing, so that calls are made.

    Args:
        folder: Folder of the file; made at the first use.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"replies-{FORMAT}.sqlite"
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._owner = 0
        self._broken = False
        self._flights: dict[str, asyncio.Future[Reply]] = {}

    @classmethod
    def open(cls, store: StoreConfig) -> "ReplyCache | None":
        """The cache that the settings ask for; None if they turn it off or there is no home folder."""
        if not store.cache:
            return None
        try:
            return cls(cache_folder(store))
        except RuntimeError as error:
            log.warning("replies are not cached: %s", error)
            return None

    async def fetch(self, key: str, make: Callable[[], Awaitable[Reply]]) -> Reply:
        """The reply under this key; if there is none, makes and keeps it.

        Identical requests at the same time make one call; all get its reply or its error.
        """
        loop = asyncio.get_running_loop()
        while (flight := self._flights.get(key)) is not None and flight.get_loop() is loop:
            await asyncio.wait([flight])
            if not flight.cancelled():
                return as_cached(flight.result())
        flight = self._flights[key] = loop.create_future()
        try:
            reply = await self._get_or_make(key, make)
        except Exception as error:
            flight.set_exception(error)
            flight.exception()  # Marks it as read: there may be nobody else who waits for it.
            raise
        except BaseException:
            flight.cancel()
            raise
        else:
            flight.set_result(reply)
            return reply
        finally:
            if self._flights.get(key) is flight:
                del self._flights[key]

    async def _get_or_make(self, key: str, make: Callable[[], Awaitable[Reply]]) -> Reply:
        if (kept := await self.get(key)) is not None:
            return kept
        reply = await make()
        await self.put(key, reply)
        return reply

    async def get(self, key: str) -> Reply | None:
        """The reply kept under this key; its usage says that it came from the cache."""
        row = await self._run("SELECT reply FROM replies WHERE key = ?", key)
        if row is None:
            return None
        try:
            return as_cached(Reply.model_validate_json(row))
        except ValueError:
            await self._run("DELETE FROM replies WHERE key = ?", key)
            return None

    async def put(self, key: str, reply: Reply) -> None:
        """Keeps a reply, unless there is one under this key."""
        await self._run("INSERT OR IGNORE INTO replies VALUES (?, ?)", key, reply.model_dump_json())

    async def _run(self, statement: str, *values: str) -> str | None:
        return None if self._broken else await asyncio.to_thread(self._execute, statement, values)

    def _execute(self, statement: str, values: tuple[str, ...]) -> str | None:
        with self._lock:
            try:
                row = self._opened().execute(statement, values).fetchone()
            except (sqlite3.Error, OSError) as error:
                self._give_up(error)
                return None
        return row[0] if row and isinstance(row[0], str) else None

    def _give_up(self, error: Exception) -> None:
        if not self._broken:
            log.warning("replies are not cached any more: %s: %s", self.path, error)
        self._broken = True
        self._close()

    def _opened(self) -> sqlite3.Connection:
        """The connection of this process; SQLite forbids using one across a fork."""
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _connect(self.path), os.getpid()
        return self._connection

    def _close(self) -> None:
        if self._connection is not None and self._owner == os.getpid():
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def close(self) -> None:
        """Closes the file; the next use opens it again."""
        with self._lock:
            self._close()


def _connect(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Made here with a mode that lets nobody else read it; SQLite gives its side files the same.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = open_database(path, _BUSY_SECONDS)
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, reply TEXT) WITHOUT ROWID"
        )
    except BaseException:
        connection.close()
        raise
    return connection


def as_cached(reply: Reply) -> Reply:
    """The reply with its original tokens and cost marked as cached, not spent again."""
    usage = reply.usage
    changes = {"cached": usage.calls, "failed": 0, "seconds": 0.0, "saved": usage.cost or 0.0}
    return reply.model_copy(update={"usage": usage.model_copy(update=changes)})
