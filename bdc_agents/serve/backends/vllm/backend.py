"""The backend `vllm`: sends every mixture to a running vLLM server as one plain adapter.

Requests for the base name an adapter too, one of zeros: with all its adapter slots in use, vLLM 0.32
answers a request without an adapter by the adapter of another request.
"""

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any

from bdc_agents.agents.local import models_folder
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.experts.base import digest_folder
from bdc_agents.experts.concatenate import Concatenator, MixPlan
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.serve.backends.completions import CompletionServer, ServerRefused
from bdc_agents.serve.backends.prompts import check_tokens, library_tokenizer
from bdc_agents.serve.backends.protocol import ChatPiece, ChatRequest, Options, Weigher
from bdc_agents.serve.backends.relay import LoopThread
from bdc_agents.serve.backends.remote import Admission, RemoteBackend
from bdc_agents.serve.backends.vllm.adapters import Save, VLLMAdapters, save_within
from bdc_agents.serve.weighing import layer_weights, library_weigher
from bdc_agents.sync import run_sync
from bdc_agents.types import content_hash

KEY = "VLLM_API_KEY"
SPARE_ADAPTERS = 8
"""Adapters that stay at the server besides those in use, for problems that recur. Chosen, not measured."""
FOLDER_BYTES = 8_000_000_000
"""Size of the folder of mixtures. Chosen, not measured: an adapter of rank 32 for a 7B base has 80 million
numbers, 320 MB in float32, so 25 fit."""
_SILENCE_SECONDS = 300.0
"""A busy server may queue a request for minutes. Chosen, not measured."""
# Each setting is sent, because vLLM takes the missing ones from the model's `generation_config.json`.
_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "logprobs": 0}


class VLLMBackend(RemoteBackend):
    """A vLLM server; mixtures act by expert and rank in each layer, rounded to a grid.

    Args:
        talk: The client of the server.
        mixer: Makes the adapters.
        save, limit: See `VLLMAdapters`.
        options: Further arguments of `RemoteBackend`.
    """

    mixes = "rank"

    def __init__(
        self, talk: CompletionServer, mixer: Concatenator, save: Save, limit: int, **options: Any
    ) -> None:
        super().__init__(options.pop("tokenizer"), mixer.experts, **options)
        self.adapters = VLLMAdapters(talk, save, limit)
        self._talk = talk
        self._mixer = mixer

    async def _answer(self, request: ChatRequest, prompt: list[int], limit: int) -> AsyncGenerator[ChatPiece]:
        extra: dict[str, Any] = {**_PLAIN}
        if request.schema is not None:
            extra["structured_outputs"] = {"json": {**request.schema}}
        async with self.adapters.use(self._plan(request)) as own:
            for again in (False, True):
                loaded = own.loading
                reply = self._talk.reply(request, prompt, limit, own.plan.name, **extra)
                try:
                    async with aclosing(reply) as pieces:
                        async for piece in pieces:
                            yield piece
                    return
                except ServerRefused as error:
                    # 404 comes before any text: the server has lost the adapter.
                    if again or error.status != 404:
                        raise
                await self.adapters.renew(own, loaded)

    def _plan(self, request: ChatRequest) -> MixPlan:
        mixer = self._mixer
        return mixer.choose(layer_weights(request.experts, mixer.experts, mixer.layers, mixer.rank))

    async def check(self) -> None:
        """Loads the base's adapter of zeros, to see that the server accepts adapters.

        Raises:
            AdapterRefused: If it does not; the message says what to set.
        """
        async with self.adapters.use(self._plan(ChatRequest(()))):
            pass

    async def _leave(self) -> None:
        await self.adapters.close()
        await self._talk.close()


def open_vllm(folder: Path, options: Options) -> tuple[VLLMBackend, Weigher, tuple[str, ...]]:
    """Opens a library on a vLLM server; see `RoutedModel.from_library`."""
    if not options.url:
        raise ConfigError(
            "the backend 'vllm' needs the address of a running server: url='http://127.0.0.1:8000' (--url)"
        )
    library = ExpertLibrary(folder)
    mixer = Concatenator(library)
    tokenizer = library_tokenizer(library)
    weigher = library_weigher(library, options.encoder)
    key = options.key or os.environ.get(KEY)
    hint = f"; set {KEY} to the one that the server was started with"
    talk = CompletionServer("the vLLM server", options.url, key, _SILENCE_SECONDS, hint)
    loop_thread = LoopThread()
    try:
        served = run_sync(loop_thread.run(_served(talk, tokenizer)))
        check_served(library, served, options.base)
        backend = VLLMBackend(
            talk,
            mixer,
            save_within(
                lambda plan, where: mixer.build(plan).save(where),
                options.adapters or models_folder() / "mixtures",
                FOLDER_BYTES,
            ),
            options.slots + SPARE_ADAPTERS,
            tokenizer=tokenizer,
            identity=content_hash(f"vllm/{served['root']}/{library.manifest.model_dump_json()}"),
            context=_context(served, options.context),
            admission=Admission(options.slots),
            loop_thread=loop_thread,
        )
        run_sync(loop_thread.run(backend.check()))
    except BaseException:
        run_sync(loop_thread.close(talk.close))
        raise
    return backend, weigher, library.names


async def _served(talk: CompletionServer, tokenizer: Any) -> Mapping[str, Any]:
    """The server's facts about its base; checks its tokenizer on the way."""
    told = await talk.get("/v1/models")
    bases = [model for model in told["data"] if not model.get("parent")]
    if not bases or "max_model_len" not in bases[0]:
        raise ModelError(f"{talk.name} lists no base model with its context; is it vLLM?")

    async def tokens(text: str) -> list[int]:
        body = {"model": bases[0]["id"], "prompt": text, "add_special_tokens": False}
        return list((await talk.post("/tokenize", body))["tokens"])

    await check_tokens(tokenizer, tokens, talk.name)
    return {"server": talk.name, **bases[0]}


def _context(served: Mapping[str, Any], asked: int | None) -> int:
    limit = int(served["max_model_len"])
    if asked is not None and asked > limit:
        raise ModelError(
            f"a context of {asked} tokens was asked for, and {served['server']} serves {limit}; start it "
            f"with --max-model-len {asked}"
        )
    return asked or limit


def check_served(library: ExpertLibrary, served: Mapping[str, Any], given: Any) -> None:
    """Makes sure that a server's base is the library's, as far as names and hashes can show.

    vLLM accepts adapters of another base without a word, and answers nonsense.

    Args:
        served: The server's facts; `root` is the model's name or folder there.
        given: The root that the caller declares to be the library's base.

    Raises:
        ModelError: If it is another base.
    """
    root, told = str(served.get("root") or served["id"]), library.manifest.base
    name, sha256 = str(told.get("name", "")), str(told.get("sha256") or "")
    if given is not None and str(given) == root:
        return
    if Path(root).is_dir() and Path(name).is_dir():
        if not sha256 or digest_folder(Path(root), models_folder()) == sha256:
            return
    elif _last(root) == _last(name) or (sha256 and root.rstrip("/").endswith(f"-{sha256[:16]}")):
        return
    raise ModelError(
        f"library {library.folder} adapts {name!r} ({f'sha256 {sha256:.16}' if sha256 else 'no hash'}), and "
        f"{served['server']} serves {root!r}; start it with the base that the library names, or, if these "
        f"are the same weights, say so: base={root!r} (--base)"
    )


def _last(name: str) -> str:
    return PurePosixPath(name.rstrip("/")).name.lower()
