"""Reads rows from the Hugging Face hub; needs the extra `hub`."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bdc_agents.data.catalog import Hub
from bdc_agents.data.files import RawRow
from bdc_agents.errors import ProblemError


def hub_available() -> bool:
    """Whether the hub's libraries are installed."""
    return find_spec("datasets") is not None and find_spec("huggingface_hub") is not None


def hub_files(hub: Hub) -> list[Path]:
    """The files of a data set on the hub that is read as files; downloads stay in the hub's cache.

    Args:
        hub: Where it is.

    Raises:
        ProblemError: If they cannot be loaded, such as without a network.
    """
    with _explained(hub):
        if not hub.files:
            return []
        download: Any = import_module("huggingface_hub").hf_hub_download
        return [
            Path(download(hub.repo, name, repo_type="dataset", revision=hub.revision)) for name in hub.files
        ]


def hub_rows(hub: Hub) -> Iterator[RawRow]:
    """The rows of any other data set on the hub.

    Args:
        hub: Where it is.

    Raises:
        ProblemError: If it cannot be loaded, such as without a network.
    """
    yield from _streamed(hub) if hub.streaming else _downloaded(hub)


@lru_cache(maxsize=2)
def _downloaded(hub: Hub) -> tuple[RawRow, ...]:
    """The rows of a data set that is not streamed: a small one, which is read again for each problem."""
    return tuple(_streamed(hub))


def _streamed(hub: Hub) -> Iterator[RawRow]:
    with _explained(hub):
        load: Any = import_module("datasets").load_dataset
        rows = load(hub.repo, hub.config, split=hub.split, streaming=hub.streaming)
        for number, row in enumerate(rows):
            yield f"{hub.repo}[{number}]", dict(row)


@contextmanager
def _explained(hub: Hub) -> Iterator[None]:
    """Whatever goes wrong in the network or in a foreign library is one thing to the caller."""
    try:
        yield
    except ProblemError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ProblemError(
            f"{hub.repo} cannot be loaded from the hub ({reason}); "
            "check the network, or name a folder that has the data with --data DIR"
        ) from error
