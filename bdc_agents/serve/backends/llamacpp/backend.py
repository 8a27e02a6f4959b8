"""The backend `llama.cpp`: a quantised base in a process beside this one, with a scale for each expert."""

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
from bdc_agents.serve.backends.llamacpp.server import LlamaServer
from bdc_agents.serve.backends.prompts import check_tokens, library_tokenizer
from bdc_agents.serve.backends.protocol import ChatPiece, ChatRequest, ExpertWeights, Options, Weigher
from bdc_agents.serve.backends.relay import LoopThread
from bdc_agents.serve.backends.remote import Admission, RemoteBackend
from bdc_agents.serve.weighing import library_weigher
from bdc_agents.sync import run_sync
from bdc_agents.types import content_hash
from bdc_agents.weights.files import check_file, digest

CONTEXT = 8192
"""Default context. llama.cpp allocates memory for all of it at the start, and bases of today were made for
32,000 tokens and more; a problem, a program and the solver's own words fit. Chosen, not measured."""
_SLOT_TOKENS = 1024
"""Tokens to allocate at least for each slot: the prompt and program of a short problem. Chosen, not
measured."""
# A request sets every sampler, for llama.cpp's defaults would change the draws: temperature and top_p alone
# shape them.
_PLAIN = {"top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0, "logprobs": 1}
_SAMPLERS = ("temperature", "top_p")
_SILENCE_SECONDS = 600.0
"""A CPU may read a long prompt for minutes before its first token. Chosen, not measured."""
_DYING_SECONDS = 0.5
"""A killed process closes its connections shortly before it can be waited for. Chosen, not measured."""


class LlamaCppBackend(RemoteBackend):
    """A llama.cpp server; each request names a scale for each expert. Mixtures act by expert, not by rank.

    If the server dies, its unfinished replies fail, and the next request starts it again.

    Args:
        start: Starts a server with the experts' files, in the order of `experts`; called at once.
        tokenizer, experts, identity, context, admission, loop_thread: See `RemoteBackend`.
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
        admission: Admission,
        loop_thread: LoopThread,
    ) -> None:
        super().__init__(
            tokenizer,
            experts,
            identity=identity,
            context=context,
            admission=admission,
            loop_thread=loop_thread,
        )
        self._start, self._starting = start, asyncio.Lock()
        self._server = start()
        self._talk = _talk_to(self._server)

    async def _answer(self, request: ChatRequest, prompt: list[int], limit: int) -> AsyncGenerator[ChatPiece]:
        scales = expert_scales(request.experts, self.experts)
        # Names every expert, also those with 0: without scales the server would keep those that the slot
        # had before, and reuse keys and values that were computed under them.
        lora = [{"id": number, "scale": scale} for number, scale in enumerate(scales)]
        extra = {**_PLAIN, "samplers": list(_SAMPLERS), "lora": lora}
        extra |= {} if request.schema is None else {"json_schema": {**request.schema}}
        server, talk = await self._running()
        try:
            async with aclosing(talk.reply(request, prompt, limit, "base", **extra)) as pieces:
                async for piece in pieces:
                    yield piece
        except BDCError:
            if not await asyncio.to_thread(server.ends_within, _DYING_SECONDS):
                raise
            raise BDCError(
                "the llama.cpp server has ended in the middle of this reply, perhaps because memory ran out; "
                "the next request starts it again. If it ends again, choose a smaller `context` or fewer "
                "`slots`"
            ) from None

    async def tokenize(self, text: str) -> list[int]:
        """The server's own tokens of a text."""
        told = await self._talk.post(
            "/tokenize", {"content": text, "add_special": False, "parse_special": True}
        )
        return list(told["tokens"])

    async def _running(self) -> tuple[LlamaServer, CompletionServer]:
        """The server; starts it again if it has ended."""
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


def open_llamacpp(folder: Path, options: Options) -> tuple[LlamaCppBackend, Weigher, tuple[str, ...]]:
    """Opens a library on llama.cpp; see `RoutedModel.from_library`."""
    library = ExpertLibrary(folder)
    base = _base(library, options.base)
    if options.context is not None and options.context > base.context:
        raise ModelError(
            f"a context of {options.context} tokens was asked for, and the base was made for {base.context}"
        )
    context = options.context or min(base.context, CONTEXT)
    tokenizer = library_tokenizer(library)
    weigher = library_weigher(library, options.encoder)
    tokens = max(context, _SLOT_TOKENS * options.slots)
    start = partial(
        LlamaServer,
        base.path,
        adapter_files(library, base, models_folder() / "adapters"),
        slots=options.slots,
        tokens=tokens,
        threads=usable_cores(),
        float32=options.dtype == "float32",
    )
    loop_thread = LoopThread()
    backend = LlamaCppBackend(
        start,
        tokenizer,
        library.names,
        identity=content_hash(
            f"llama.cpp/{digest(base.path, models_folder())}/{library.manifest.model_dump_json()}"
        ),
        context=context,
        admission=Admission(options.slots, tokens),
        loop_thread=loop_thread,
    )
    try:
        run_sync(loop_thread.run(check_tokens(tokenizer, backend.tokenize, str(base.path))))
    except BaseException:
        run_sync(backend.aclose())
        raise
    return backend, weigher, library.names


def _base(library: ExpertLibrary, given: Any) -> GGUFBase:
    """Finds the GGUF file of the library's base, and compares it with what the library says.

    Raises:
        ModelError: If it is not a GGUF file, or holds another model.
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
            f"llama.cpp needs the base of library {library.folder} as a GGUF file, and {name!r} is not one; "
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
