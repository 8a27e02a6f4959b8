"""The backends by name: what opens a library, and which options each of them has."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from bdc_agents.errors import ConfigError, unknown
from bdc_agents.extras import need
from bdc_agents.serve.backends.protocol import Backend, Options, Weigher

BACKENDS = {
    "transformers": "bdc_agents.serve.backends.transformers.backend:open_in_process",
    "llama.cpp": "bdc_agents.serve.backends.llamacpp.backend:open_llamacpp",
    "vllm": "bdc_agents.serve.backends.vllm.backend:open_vllm",
}
"""The function that opens a library, by the backend's name."""
_FOR = {
    "dtype": ("transformers", "llama.cpp"),
    "device": ("transformers",),
    "url": ("vllm",),
    "key": ("vllm",),
    "adapters": ("vllm",),
}
"""Options that only some backends have, and those backends."""
Opener = Callable[[Path, Options], tuple[Backend, Weigher, Sequence[str]]]
"""Opens the library in a folder: what answers, what weighs its experts, and their names."""


def check_backend(name: str) -> None:
    """Refuses a backend that does not exist.

    Raises:
        ConfigError: If there is none of this name.
    """
    if name not in BACKENDS:
        raise ConfigError(unknown("backend", name, BACKENDS))


def refuse_others(backend: str, options: Mapping[str, Any]) -> None:
    """Refuses options of other backends.

    Raises:
        ConfigError: If one is given.
    """
    for name, backends in _FOR.items():
        if backend not in backends and options[name] not in (None, "auto"):
            raise ConfigError(
                f"`{name}` is an option of {' and '.join(backends)}, not of {backend}; leave it out"
            )


def opener(name: str) -> Opener:
    """What opens a library with a backend; imports it.

    Raises:
        NotInstalled: If a package is missing.
    """
    for package in ("torch", "transformers", "safetensors"):
        need(package)
    module, _, function = BACKENDS[name].partition(":")
    return getattr(import_module(module), function)
