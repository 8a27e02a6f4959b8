"""Our adapters at a vLLM server: each is loaded once, and the least recently used is unloaded first.

Not by vLLM's filesystem resolver (`VLLM_LORA_RESOLVER_CACHE_DIR`): it never unloads what it has resolved,
needs the same permission to load at run time, and passes over adapters whose base has another name there.
"""

import asyncio
import logging
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from bdc_agents.errors import BDCError
from bdc_agents.experts.concatenate import MixPlan
from bdc_agents.serve.backends.completions import CompletionServer, ServerRefused

log = logging.getLogger(__name__)

IDLE_SECONDS = 3600.0
"""Files that were used in this time are kept, because another client of the server may need them. Chosen, not
measured: longer than any reply."""
Save = Callable[[MixPlan], Path]
"""Writes an adapter where the server sees it, unless it is there; returns its folder."""


class AdapterRefused(BDCError):
    """The server refuses an adapter; says what to set. The caller of the reply is not at fault."""


@dataclass(eq=False)
class Loaded:
    """An adapter at the server.

    Args:
        loading: Its load, running or done; returns its folder. A new one replaces it if the server loses
            the adapter.
        users: How many requests need it.
    """

    plan: MixPlan
    loading: "asyncio.Task[Path]"
    users: int = 0


class VLLMAdapters:
    """Loads adapters into a running vLLM server and unloads them again; for one event loop.

    Args:
        save: See `Save`.
        limit: Most adapters at the server. It is more than requests at once, so that there is always an
            unused one to unload.
    """

    def __init__(self, server: CompletionServer, save: Save, limit: int) -> None:
        self._server = server
        self._save = save
        self._limit = limit
        self._loaded: OrderedDict[str, Loaded] = OrderedDict()

    @property
    def names(self) -> tuple[str, ...]:
        """The loaded adapters, least recently used first."""
        return tuple(self._loaded)

    @asynccontextmanager
    async def use(self, plan: MixPlan) -> AsyncIterator[Loaded]:
        """Loads the adapter if needed, and keeps it at the server within the context.

        Raises:
            AdapterRefused: If the server refuses it.
        """
        own = self._loaded.get(plan.name)
        if own is None:
            own = self._loaded[plan.name] = Loaded(plan, self._begin(plan))
        self._loaded.move_to_end(plan.name)
        own.users += 1
        try:
            await self._settled(own)
            await self._keep_files(own)
            yield own
        finally:
            own.users -= 1

    async def _keep_files(self, own: Loaded) -> None:
        """Marks an adapter's files as in use, and writes them again if another process has pruned them.

        The server may read them at any time, since it keeps only a few adapters in memory.
        """
        try:
            os.utime(own.loading.result())
        except FileNotFoundError:
            await asyncio.to_thread(self._save, own.plan)
        except OSError as error:
            log.warning("the files of %s cannot be kept: %s", own.plan.name, error)

    async def renew(self, own: Loaded, lost: "asyncio.Task[Path]") -> None:
        """Loads an adapter again that the server has lost; once, however many requests find it gone.

        Args:
            lost: The load that is no longer valid.
        """
        if own.loading is lost:
            own.loading = self._begin(own.plan)
        await self._settled(own)

    async def close(self) -> None:
        """Unloads all adapters."""
        for name in self.names:
            with suppress(BDCError):
                await self._unload(name)

    def _begin(self, plan: MixPlan) -> "asyncio.Task[Path]":
        return asyncio.create_task(self._load(plan))

    async def _settled(self, own: Loaded) -> None:
        """Waits for a load, which others may share; forgets the adapter if it fails."""
        try:
            await asyncio.shield(own.loading)
        except BaseException:
            failed = own.loading.done() and (own.loading.cancelled() or own.loading.exception())
            if failed and self._loaded.get(own.plan.name) is own:
                del self._loaded[own.plan.name]
            raise

    async def _load(self, plan: MixPlan) -> Path:
        await self._make_room()
        folder = await asyncio.to_thread(self._save, plan)
        body = {"lora_name": plan.name, "lora_path": str(folder)}
        try:
            await self._server.post("/v1/load_lora_adapter", body)
        except ServerRefused as error:
            # The name is a hash of the content, so it is the same adapter, whoever loaded it.
            if "already been loaded" not in error.said:
                raise _explained(error, plan, folder, self._server.name) from error
        return folder

    async def _make_room(self) -> None:
        idle = [name for name, own in self._loaded.items() if not own.users and own.loading.done()]
        for name in idle[: max(0, len(self._loaded) - self._limit)]:
            with suppress(ServerRefused):  # It may be gone already.
                await self._unload(name)

    async def _unload(self, name: str) -> None:
        self._loaded.pop(name, None)
        await self._server.post("/v1/unload_lora_adapter", {"lora_name": name})


def _explained(error: ServerRefused, plan: MixPlan, folder: Path, server: str) -> AdapterRefused:
    """Says what to do about an adapter that the server refused."""
    said = error.said
    if error.status in (404, 405) and "adapter" not in said.lower():
        return AdapterRefused(
            f"{server} loads no adapters at run time; start it with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in "
            "its environment, and with --enable-lora"
        )
    if "No adapter found" in said or "No such file" in said:
        return AdapterRefused(
            f"{server} does not see the folder {folder}; give one that it sees under the same path: "
            "`adapters` (--adapters FOLDER)"
        )
    if "max_lora_rank" in said:
        return AdapterRefused(
            f"{server} does not take the rank of this mixture ({said}); start it with "
            f"--max-lora-rank {plan.rank}, or mix fewer experts (`top_k` of the router)"
        )
    if "lora" in said.lower() and "enable" in said.lower():
        return AdapterRefused(f"{server} has LoRA switched off ({said}); start it with --enable-lora")
    return AdapterRefused(f"{server} does not load the adapter {folder}: {said}")


def save_within(build: Callable[[MixPlan, Path], Path], folder: Path, limit_bytes: int) -> Save:
    """A `Save` that writes adapters to a folder, and deletes the least recently used ones from it.

    Args:
        build: Writes one adapter.
        limit_bytes: Size of the folder from which on adapters are deleted, except those of the last hour.
    """

    def save(plan: MixPlan) -> Path:
        path = build(plan, folder)
        os.utime(path)  # An adapter that was there already counts as used now.
        _prune(folder, limit_bytes)
        return path

    return save


def _prune(folder: Path, limit_bytes: int) -> None:
    known: list[tuple[float, int, Path]] = []
    for path in folder.glob("mix-*"):
        with suppress(OSError):  # Another process may delete it in the meantime.
            known.append((path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir()), path))
    total = 0
    for used, size, path in sorted(known, reverse=True):
        total += size
        if total > limit_bytes and time.time() - used > IDLE_SECONDS:
            _remove(path)


def _remove(path: Path) -> None:
    """Removes an adapter in one step, so that nobody takes a half-deleted folder for a whole one."""
    gone = path.with_name(f".{path.name}.gone-{token_hex(8)}")
    with suppress(OSError):  # Another process was quicker.
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
