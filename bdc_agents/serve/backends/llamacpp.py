"""The backend on llama.cpp: a quantised base and its experts, weighed anew for every request."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

from bdc_agents.agents.local import fetch, find, models_folder
from bdc_agents.agents.local.agent import PREFIX
from bdc_agents.agents.local.server import usable_cores
from bdc_agents.errors import BDCError, ConfigError, ModelError
from bdc_agents.experts.gguf import GGUFBase, adapter_files, read_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.serve.backends.completions import CompletionServer
from bdc_agents.serve.backends.llamacpp_server import LlamaServer
from bdc_agents.serve.backends.protocol import ChatPiece, ChatRequest, ExpertWeights, Place
from bdc_agents.serve.backends.relay import Home
from bdc_agents.serve.backends.remote import RemoteBackend, Room
from bdc_agents.serve.backends.tokens import check_tokens, library_tokenizer
from bdc_agents.serve.opening import Options
from bdc_agents.serve.placing import library_place
from bdc_agents.sync import run_sync
from bdc_agents.types import content_hash
from bdc_agents.weights.files import check_file, digest

CONTEXT = 8192
"""Tokens of a conversation where the caller names no number; memory for them is set aside at the start."""
_SLOT_TOKENS = 1024
_PLAIN = {"top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "logprobs": 1}
_SAMPLERS = ("temperature", "top_p")
_SILENCE_SECONDS = 600.0
_DYING_SECONDS = 0.5


class LlamaCppBackend(RemoteBackend):
    """A llama.cpp server with a scale for each expert in each request; mixtures act by expert alone.

    A server that ends on its own costs the replies it was writing, and is started again for the next.

    Args:
        start: Starts a server with the experts' files, in the order of `experts`; it is called at once.
        tokenizer, experts, identity, context, room, home: See `RemoteBackend`.
    """

    mixes = "expert"

    def __init__(
        self,
        start: Callable[[], LlamaServer],
        tokenizer: Any,
        experts: Sequence[str],
        *,
        identity: str,
        context: int,
        room: Room,
        home: Home,
    ) -> None:
        super().__init__(tokenizer, experts, identity=identity, context=context, room=room, home=home)
        self._start, self._starting = start, asyncio.Lock()
        self._server = start()
        self._talk = _talk_to(self._server)

    async def _answer(self, request: ChatRequest, prompt: list[int], limit: int) -> AsyncGenerator[ChatPiece]:
        scales = expert_scales(request.experts, self.experts)
        # Every expert is named, also with 0: without scales the server would go on with those that the
        # slot had before, and take what it remembers of their prompt for its own.
        lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
        extra = {**_PLAIN, "samplers": list(_SAMPLERS), "lora": lora}
        server, talk = await self._running()
        try:
            async with aclosing(talk.reply(request, prompt, limit, "base", **extra)) as pieces:
                async for piece in pieces:
                    yield piece
        except BDCError:
            if not await asyncio.to_thread(server.ends_within, _DYING_SECONDS):
                raise
            raise BDCError(
                "the llama.cpp server has ended in the middle of this reply, perhaps for want of memory; it "
                "is started again for the next one: if that ends too, take a smaller `context` or fewer "
                "`slots`"
            ) from None

    async def tokenize(self, text: str) -> list[int]:
        """The server's own tokens of a text."""
        told = await self._talk.post(
            "/tokenize", {"content": text, "add_special": False, "parse_special": True}
        )
        return list(told["tokens"])

    async def _running(self) -> tuple[LlamaServer, CompletionServer]:
        """The server, started again if it has ended."""
        async with self._starting:
            if not self._server.alive:
                await self._leave()
                self._server = await asyncio.to_thread(self._start)
                self._talk = _talk_to(self._server)
            return self._server, self._talk

    async def _leave(self) -> None:
        await self._talk.close()
        await asyncio.to_thread(self._server.close)


def _talk_to(server: LlamaServer) -> CompletionServer:
    return CompletionServer("the llama.cpp server", server.url, server.key, _SILENCE_SECONDS)


def expert_scales(experts: ExpertWeights | str | None, names: Sequence[str]) -> list[float]:
    """Each expert's weight in a request, in the order of the names."""
    if experts is None:
        return [0.0] * len(names)
    if isinstance(experts, str):
        return [float(name == experts) for name in names]
    return [float(experts.experts.get(name, 0.0)) for name in names]


def open_llamacpp(folder: Path, options: Options) -> tuple[LlamaCppBackend, Place, tuple[str, ...]]:
    """Opens a library on llama.cpp; see `RoutedModel.from_library`."""
    library = ExpertLibrary(folder)
    base = _base(library, options.base)
    if options.context is not None and options.context > base.context:
        raise ModelError(
            f"a context of {options.context} tokens was asked for, and the base was made for {base.context}"
        )
    context = options.context or min(base.context, CONTEXT)
    tokenizer = library_tokenizer(library)
    place = library_place(library, options.encoder)
    room = max(context, _SLOT_TOKENS * options.slots)
    start = partial(
        LlamaServer,
        base.path,
        adapter_files(library, base, models_folder() / "adapters"),
        slots=options.slots,
        tokens=room,
        threads=usable_cores(),
        float32=options.dtype == "float32",
    )
    home = Home()
    backend = LlamaCppBackend(
        start,
        tokenizer,
        library.names,
        identity=content_hash(
            f"llama.cpp/{digest(base.path, models_folder())}/{library.manifest.model_dump_json()}"
        ),
        context=context,
        room=Room(options.slots, room),
        home=home,
    )
    try:
        run_sync(home.run(check_tokens(tokenizer, backend.tokenize, str(base.path))))
    except BaseException:
        run_sync(backend.aclose())
        raise
    return backend, place, library.names


def _base(library: ExpertLibrary, given: Any) -> GGUFBase:
    """The GGUF file that is the library's base, as far as can be known.

    Raises:
        ModelError: If it is none, or another one.
    """
    told = library.manifest.base
    name = str(given or told.get("name", ""))
    if given is not None and not isinstance(given, str | Path):
        raise ConfigError("the backend 'llama.cpp' takes `base` as local:NAME or a GGUF file")
    if name.startswith(PREFIX):
        path = run_sync(fetch(find(name.removeprefix(PREFIX)), models_folder()))
    elif name.lower().endswith(".gguf"):
        path = check_file(Path(name))
    else:
        raise ModelError(
            f"llama.cpp needs the base of library {library.folder} as a GGUF file, and {name!r} is none; "
            "give it as `base` (--base FILE.gguf); llama.cpp's convert_hf_to_gguf.py makes one"
        )
    theirs = str(told.get("name", ""))
    packaged = theirs.startswith(PREFIX) or theirs.lower().endswith(".gguf")
    found = digest(path, models_folder())
    if packaged and told.get("sha256") and told["sha256"] != found:
        raise _other(library, path, f"sha256 {told['sha256']:.16}", f"sha256 {found:.16}")
    base = read_base(path)
    if told.get("parameters") and not told.get("quantize") and told["parameters"] != base.parameters:
        raise _other(library, path, f"{told['parameters']:,} parameters", f"{base.parameters:,} parameters")
    return base


def _other(library: ExpertLibrary, path: Path, theirs: str, ours: str) -> ModelError:
    return ModelError(
        f"library {library.folder} adapts {library.manifest.base.get('name')!r} ({theirs}), and {path} has "
        f"{ours}; give the base that the library names"
    )
