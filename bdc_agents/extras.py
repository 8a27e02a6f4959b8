"""Optional modules, and the extras that bring them: imports one, or says what to install."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from bdc_agents.errors import NotInstalled

EXTRAS: dict[str, tuple[str, ...]] = {
    "local": ("xllamacpp",),
    "deepagents": ("deepagents",),
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
    "serve": ("starlette", "uvicorn", "h11", "llguidance"),
    "mcp": ("mcp",),
    "hub": ("datasets", "huggingface_hub"),
    "vllm": ("vllm",),
    "ray": ("ray",),
}
"""The modules that each extra brings, by its name in `pyproject.toml`."""
_EXTRA_OF = {module: extra for extra, modules in EXTRAS.items() for module in modules}


def need(module: str, extra: str = "") -> Any:
    """Imports a module that an extra of this package brings.

    Args:
        module: Its full name, such as `sklearn.cluster`.
        extra: The extra to install if it is missing; empty for the one that `EXTRAS` names.

    Raises:
        NotInstalled: If it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise _with_extra(error, extra) or error from None


def missing(error: ModuleNotFoundError) -> NotInstalled | None:
    """What to install after a failed import; None if no extra brings the module: then the fault is ours."""
    return _with_extra(error, "")


def _with_extra(error: ModuleNotFoundError, extra: str) -> NotInstalled | None:
    parts = (error.name or "").split(".")
    # The longest known name: `langgraph.checkpoint.postgres` belongs to an extra, `langgraph` does not.
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    known = next((name for name in names if name in _EXTRA_OF), None)
    if known is None:
        return None
    wanted = extra or _EXTRA_OF[known]
    return NotInstalled(f"{known} is not installed; run: pip install 'bdc-agents[{wanted}]'")


def lazily(
    package: str, homes: Mapping[str, str], moved: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """Makes a package's `__getattr__`, which imports each public name from its module on first use.

    So the user of one stage or backend neither loads nor needs the libraries of another.

    Args:
        package: The package's `__name__`.
        homes: The full name of each name's module, so that tools that follow imports can read it.
        moved: Where names of the past are now, below `bdc_agents`. They still work, and warn with what to
            write.
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
