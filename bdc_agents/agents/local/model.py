"""A chat model that joins or starts its local server at the first request."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatResult
from langchain_openai import ChatOpenAI
from openai import APIConnectionError, APITimeoutError, AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import PrivateAttr

from bdc_agents.agents.local.server import Lease, ServerSettings, join

_ENDING_SECONDS = 3.0
"""How long to watch whether a server that broke a connection ends: the kernel releases the lock of a killed
process within moments, a busy machine may take a second or two."""


class Connection:
    """A share in a local server, taken at the first need, and the client that talks to it.

    Several event loops may use it one after another.

    Args:
        settings: Returns what to serve; may download it.
        timeout: Seconds that one request may take, including its wait for a slot.
    """

    def __init__(self, settings: Callable[[], Awaitable[ServerSettings]], timeout: float) -> None:
        self._settings = settings
        self._timeout = timeout
        self._lease: Lease | None = None
        self._here: _LoopPart | None = None

    async def open(self) -> tuple[Lease, AsyncOpenAI]:
        """Joins or starts the server, unless it is joined and still runs."""
        here = self._in_this_loop()
        async with here.opening:
            if self._lease is None or not self._lease.alive:
                settings = await self._settings()
                await self.close()
                self._lease = await join(settings)
            if here.client is None:
                here.client = self._new_client(self._lease)
            return self._lease, here.client

    async def close(self) -> None:
        """Gives up the share; a later request takes a new one."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()
        here = self._in_this_loop()
        client, here.client = here.client, None
        if client is not None:
            await client.close()

    def _in_this_loop(self) -> "_LoopPart":
        loop = asyncio.get_running_loop()
        if self._here is None or self._here.loop is not loop:
            self._here = _LoopPart(loop)
        return self._here

    def _new_client(self, lease: Lease) -> AsyncOpenAI:
        return AsyncOpenAI(
            base_url=f"{lease.address.url}/v1",
            api_key=lease.address.key,
            max_retries=0,
            timeout=self._timeout,
            # An idle connection would outlive its event loop; on loopback a new one costs nothing.
            default_headers={"Connection": "close"},
            # What stays on this machine must not go to a proxy of the environment, nor must the key.
            http_client=DefaultAsyncHttpxClient(trust_env=False),
        )


@dataclass
class _LoopPart:
    """The lock, the share and the client of one event loop."""

    loop: asyncio.AbstractEventLoop
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    client: AsyncOpenAI | None = None


class ServedModel(ChatOpenAI):
    """`ChatOpenAI` over the shared local server; `served_model` makes it.

    Copies share one connection. If the server dies during a request, the model starts a new server and
    asks once more.
    """

    _connection: Connection = PrivateAttr()

    @property
    def connection(self) -> Connection:
        """The share in the server, common to this model and its copies."""
        return self._connection

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        lease = await self._connect()
        try:
            return await super()._agenerate(messages, stop, run_manager, **kwargs)
        except APIConnectionError as error:
            if isinstance(error, APITimeoutError) or not await _ends(lease):
                raise
        await self._connect()
        return await super()._agenerate(messages, stop, run_manager, **kwargs)

    async def _connect(self) -> Lease:
        lease, client = await self._connection.open()
        self.root_async_client = client
        self.async_client = client.chat.completions
        return lease


async def _ends(lease: Lease) -> bool:
    """Whether the server ends; its lock is free a moment after its connections have closed."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while lease.alive:
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.05)
    return True


def served_model(name: str, connection: Connection, **options: Any) -> ServedModel:
    """A chat model over a local server.

    Args:
        name: The model's name.
        connection: To its server.
        options: Further arguments of `ChatOpenAI`.
    """
    fixed = {
        "model": name,
        "base_url": "http://127.0.0.1/v1",  # Required, but unused: the connection knows port and key.
        "api_key": "none",
        "max_retries": 0,
        "use_responses_api": False,
        "disable_streaming": True,
    }
    model = ServedModel(**fixed | options)
    model._connection = connection
    return model
