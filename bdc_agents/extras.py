"""What this package needs beside its core, and which of its extras brings it."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from bdc_agents.errors import NotInstalled

EXTRAS: dict[str, tuple[str, ...]] = {
    "local": ("xllamacpp",),
    "studio": ("langgraph_cli", "langgraph_api"),
    "distill": (
        *("torch", "transformers", "tokenizers", "peft", "safetensors", "gguf", "accelerate", "psutil"),
        *("numpy", "sklearn", "umap", "hdbscan", "threadpoolctl"),
    ),
    "dpo": ("trl",),
    "qlora": ("bitsandbytes",),
    "report": ("matplotlib",),
    "parquet": ("pyarrow",),
    "postgres": ("psycopg", "psycopg_pool", "langgraph.checkpoint.postgres"),
    "serve": ("starlette", "uvicorn", "h11"),
    "hub": ("datasets", "huggingface_hub"),
    "vllm": ("vllm",),
    "ray": ("ray",),
}
"""The modules that each extra brings, by its name in `pyproject.toml`."""
_EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}


def need(module: str, extra: str = "") -> Any:
    """The module, which an extra of this package brings; imported when it is first used.

    Args:
        module: Its full name, such as `sklearn.cluster`.
        extra: The extra to install where it is absent; empty for the one that `EXTRAS` has for it.

    Raises:
        NotInstalled: If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise _with_extra(error, extra) or error from None


def missing(error: ModuleNotFoundError) -> NotInstalled | None:
    """What to install where an import failed; None where no extra brings it, which is a fault of ours."""
    return _with_extra(error, "")


def _with_extra(error: ModuleNotFoundError, extra: str) -> NotInstalled | None:
    parts = (error.name or "").split(".")
    # `langgraph.checkpoint.postgres` is an extra's, `langgraph` is not: the longest name that is known.
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    known = next((name for name in names if name in _EXTRA_OF), None)
    if known is None:
        return None
    wanted = extra or _EXTRA_OF[known]
    return NotInstalled(f"{known} is not installed; run: pip install 'bdc-agents[{wanted}]'")


def lazily(
    package: str, homes: Mapping[str, str], moved: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """A package's `__getattr__`: each public name is imported from its module when it is first used.

    So that who uses one stage or backend does not load, or need, the libraries of another.

    Args:
        package: The package's `__name__`.
        homes: The module of each name, in full, so that tools which follow imports can read it.
        moved: Names that were here once, with where they are now, below `bdc_agents`: they still work,
            and say what to write.
    """

    def found(name: str) -> Any:
        if moved and name in moved:
            home = f"bdc_agents.{moved[name]}"
            warnings.warn(
                f"{package}.{name} has moved: from {home} import {name}", DeprecationWarning, stacklevel=2
            )
        elif name in homes:
            home = homes[name]
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(import_module(home), name)
        except ModuleNotFoundError as error:
            raise missing(error) or error from None

    return found
