"""The backend on a running vLLM server: every mixture goes there as one plain adapter.

The base, too, is asked for as an adapter, of zeros: vLLM has been seen to answer a request without
adapter by the adapter of another one where its adapter slots are all in use.
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
from bdc_agents.serve.backends.layer_weights import layer_weights
from bdc_agents.serve.backends.protocol import ChatPiece, ChatRequest, Place
from bdc_agents.serve.backends.relay import Home
from bdc_agents.serve.backends.remote import RemoteBackend, Room
from bdc_agents.serve.backends.tokens import check_tokens, library_tokenizer
from bdc_agents.serve.backends.vllm_adapters import Save, VLLMAdapters, save_within
from bdc_agents.serve.opening import Options
from bdc_agents.serve.placing import library_place
from bdc_agents.sync import run_sync
from bdc_agents.types import content_hash

KEY = "VLLM_API_KEY"
SPARE_ADAPTERS = 8
"""Adapters that stay at the server besides those in use."""
FOLDER_BYTES = 8_000_000_000
_SILENCE_SECONDS = 300.0
# Named one by one: left out, the server takes the defaults of the model's `generation_config.json`.
_PLAIN = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "logprobs": 0}


class VLLMBackend(RemoteBackend):
    """A vLLM server; mixtures act by expert and rank in each layer, rounded to a grid.

    Args:
        talk: To the server.
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
        async with self.adapters.use(self._plan(request)) as own:
            for again in (False, True):
                loaded = own.loading
                reply = self._talk.reply(request, prompt, limit, own.plan.name, **_PLAIN)
                try:
                    async with aclosing(reply) as pieces:
                        async for piece in pieces:
                            yield piece
                    return
                except ServerRefused as error:
                    if again or error.status != 404:  # Nothing was said yet: it knows no such adapter.
                        raise
                await self.adapters.renew(own, loaded)

    def _plan(self, request: ChatRequest) -> MixPlan:
        mixer = self._mixer
        return mixer.choose(layer_weights(request.experts, mixer.experts, mixer.layers, mixer.rank))

    async def check(self) -> None:
        """Loads the base's adapter of zeros, which shows whether the server takes adapters from us.

        Raises:
            AdapterRefused: If it does not; says what to set.
        """
        async with self.adapters.use(self._plan(ChatRequest(()))):
            pass

    async def _leave(self) -> None:
        await self.adapters.close()
        await self._talk.close()


def open_vllm(folder: Path, options: Options) -> tuple[VLLMBackend, Place, tuple[str, ...]]:
    """Opens a library on a vLLM server; see `RoutedModel.from_library`."""
    if not options.url:
        raise ConfigError(
            "the backend 'vllm' needs the address of a running server: url='http://127.0.0.1:8000' (--url)"
        )
    library = ExpertLibrary(folder)
    mixer = Concatenator(library)
    tokenizer = library_tokenizer(library)
    place = library_place(library, options.encoder)
    key = options.key or os.environ.get(KEY)
    hint = f"; set {KEY} to the one that the server was started with"
    talk = CompletionServer("the vLLM server", options.url, key, _SILENCE_SECONDS, hint)
    home = Home()
    try:
        served = run_sync(home.run(_served(talk, tokenizer)))
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
            room=Room(options.slots),
            home=home,
        )
        run_sync(home.run(backend.check()))
    except BaseException:
        run_sync(home.close(talk.close))
        raise
    return backend, place, library.names


async def _served(talk: CompletionServer, tokenizer: Any) -> Mapping[str, Any]:
    """What the server says of its base."""
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
    """Makes sure that a server's base is the library's, as far as can be known from here.

    vLLM itself takes adapters of any other base without a word, and answers nonsense.

    Args:
        served: What the server says: `root` is the model's name or folder there.
        given: The root that the caller says is the library's base.

    Raises:
        ModelError: If it is another one.
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
