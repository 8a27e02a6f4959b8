"""What this package needs beside its core, and which of its extras brings it."""

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
