"""RoutedModel: an opened library, with its base, its experts and the router that mixes them."""

import asyncio
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from bdc_agents.errors import ModelError, UsageError, unknown
from bdc_agents.experts.hub import library_folder
from bdc_agents.experts.manifest import read_manifest
from bdc_agents.serve.backends.catalog import check_backend, opener, refuse_others
from bdc_agents.serve.backends.protocol import Backend, ChatRequest, ExpertWeights, Message, Options, Weigher
from bdc_agents.types import content_hash

ROUTED = "bdc"
"""The name of the model that mixes the experts for each problem."""
BASE = "base"
"""The name of the model without experts."""
NO_SCHEMAS = (
    "replies cannot be held to a schema here; the backends llama.cpp and vllm can, and transformers can with "
    "llguidance: pip install 'bdc-agents[serve]'. Or describe the JSON in the prompt"
)


class RoutedModel:
    """The models of one library: the routed mixture, each expert, and the base.

    Args:
        backend: Holds base and experts.
        place: Weighs the experts for a problem.
        experts: Their names.
        name: The library's name, for people.
    """

    def __init__(
        self, backend: Backend, place: Weigher, experts: Sequence[str], name: str = "library"
    ) -> None:
        self.backend = backend
        self.place = place
        self.experts = tuple(experts)
        self.name = name
        self.closed = False

    @classmethod
    def from_library(
        cls,
        folder: Path | str,
        backend: str = "transformers",
        *,
        base: Any = None,
        encoder: Any = None,
        dtype: str = "auto",
        device: str | None = None,
        slots: int = 8,  # Chosen, not measured: each slot costs memory for keys and values.
        context: int | None = None,
        url: str | None = None,
        key: str | None = None,
        adapters: Path | str | None = None,
        revision: str | None = None,
    ) -> Self:
        """Opens a library. Blocks while the base is loaded; in async code call it in a thread.

        Args:
            folder: A library of `bdc distill`, or `ORG/NAME` of one on the Hugging Face hub.
            backend: `transformers` runs in this process; `llama.cpp` runs a quantised base in a process
                beside this one, and mixes by expert only; `vllm` uses a running vLLM server.
            base: The base, if it is not where the library says: a name as `load_base` takes it, or a
                `Base`. For llama.cpp a GGUF file or `local:NAME`. For vLLM the model's name at the
                server, which declares that model to be the library's base.
            encoder: An `Encoder` or its configuration; None for the one that the library names.
            dtype: Number format of the base in transformers; `float32` for attention in llama.cpp.
            device: Device of the base in transformers.
            slots: Replies that are written at once; further requests wait.
            context: Tokens of prompt and reply together; None for the base's own limit, but at most 8192
                in llama.cpp, and for the server's limit in vLLM.
            url: Address of the vLLM server.
            key: API key of the vLLM server; None for the environment's VLLM_API_KEY, if it is set.
            adapters: Folder for mixtures, which the vLLM server sees under the same path; None for
                the user's cache folder.
            revision: Branch, tag or commit of a library on the hub; None for `main`.

        Raises:
            ModelError: If the library is missing or damaged, or its base cannot be loaded or is another
                model.
            ConfigError: If there is no such backend, or it does not have one of the options.
            BDCError: If the server cannot be reached, refuses the key or takes no adapters.
        """
        check_backend(backend)
        given: dict[str, Any] = {"base": base, "encoder": encoder, "dtype": dtype, "device": device}
        given |= {"slots": slots, "context": context, "url": url, "key": key}
        given["adapters"] = Path(adapters).resolve() if adapters is not None else None
        refuse_others(backend, given)
        home = library_folder(folder, revision)
        read_manifest(home)  # A missing library is told before a missing package.
        opened, place, names = opener(backend)(home, Options(**given))
        return cls(opened, place, names, home.resolve().name)

    @property
    def enforces(self) -> bool:
        """Whether replies can be held to a JSON schema."""
        return bool(getattr(self.backend, "enforces", False))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the models: the routed one, the base, and each expert."""
        return (ROUTED, BASE, *self.experts)

    def check(self, model: str) -> str:
        """Returns the model's name, if there is such a model.

        Raises:
            ModelError: If there is no model of this name.
        """
        if model not in self.names:
            raise ModelError(unknown("model", model, self.names))
        return model

    async def request(
        self, messages: Sequence[Message], *, model: str = ROUTED, text: str | None = None, **sampling: Any
    ) -> ChatRequest:
        """Makes a request to the backend, and weighs the experts for its problem.

        Args:
            messages: The conversation.
            model: One of `names`.
            text: The problem's text, for the router; None for the user's messages.
            sampling: Further fields of `ChatRequest`.

        Raises:
            ModelError: If there is no such model.
            UsageError: If the user's messages have no text, or the backend enforces no schema.
        """
        self.check(model)
        if sampling.get("schema") is not None and not self.enforces:
            raise UsageError(NO_SCHEMAS)
        experts: ExpertWeights | str | None = None if model == BASE else model
        if model == ROUTED:
            experts = await self.place(text or _said(messages))
        return ChatRequest(messages, experts, **sampling)

    def identity(self, model: str) -> str:
        """A hash of the library and the model, for instance as a key in a cache of replies."""
        return content_hash(f"{self.backend.identity}/{model}")

    async def aclose(self) -> None:
        """Frees the model, once: a server's solver and its library's models share it."""
        if self.closed:
            return
        self.closed = True
        await self.backend.aclose()


def _said(messages: Sequence[Message]) -> str:
    said = "\n\n".join(message["content"] for message in messages if message["role"] == "user")
    if not said.strip():
        raise UsageError("the conversation has no text from the user, so there is nothing to answer")
    return said


# --- one model for all callers of the same library --------------------------------------------------

_opened: dict[tuple[str, str], tuple[str, RoutedModel]] = {}
"""By folder and options: a hash of the open library, and its model."""
_lock = threading.Lock()


def shared_model(folder: Path | str, **options: Any) -> RoutedModel:
    """The model of a library; this process loads it once for all callers with the same options.

    If the library has changed, or another caller has closed its model, it is loaded again. The old base
    is freed when nobody holds its model any more.

    Raises:
        ModelError: As `RoutedModel.from_library`.
    """
    folder = library_folder(folder, options.pop("revision", None))
    key = str(folder.resolve()), content_hash(repr(sorted(options.items())))
    with _lock:
        mark = library_mark(folder)
        known, model = _opened.get(key, ("", None))
        if model is None or model.closed or known != mark:
            _opened.pop(key, None)
            del model  # Two bases are then in memory only while somebody still uses the old one.
            model = RoutedModel.from_library(folder, **options)
            # The backend has its own thread or process, which nobody else would end.
            weakref.finalize(model, _let_go, model.backend).atexit = False
            _opened[key] = mark, model
        return model


def _let_go(backend: Backend) -> None:
    """Frees a backend that nobody holds. A thread does it, because any code may drop the last reference."""
    threading.Thread(target=lambda: asyncio.run(backend.aclose()), name="bdc-close", daemon=True).start()


def library_mark(folder: Path | str) -> str:
    """A hash of the library in a folder.

    Raises:
        ModelError: If there is no library.
    """
    file = Path(folder) / "library.json"
    try:
        return content_hash(file.read_text(encoding="utf-8"))
    except OSError:
        raise ModelError(f"no library at {str(folder)!r}: there is no file library.json") from None
