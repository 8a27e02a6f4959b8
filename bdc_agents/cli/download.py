"""Weights of local models: what is missing is announced, then fetched with a progress bar."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from bdc_agents.cli.exits import note
from bdc_agents.config import Settings

if TYPE_CHECKING:
    from bdc_agents.agents.local import LocalModel


async def fetch_weights(settings: Settings, names: Iterable[str]) -> None:
    """Downloads the weights that these agents need and this machine does not have.

    Args:
        settings: Of the configured agents.
        names: Agents, as `load_agents` takes them.

    Raises:
        ModelError: If a model is unknown or cannot be had.
    """
    models = dict.fromkeys(filter(None, (_catalogue_name(settings, name) for name in names)))
    if not models:
        return
    from bdc_agents.agents.local import describe, find, locate

    for model in (find(name) for name in models):
        if locate(model) is None:
            note(f"fetching {describe(model)}")
            await _fetch(model)


async def _fetch(model: "LocalModel") -> None:
    from bdc_agents.agents.local import fetch

    with _bar() as bar:
        task = bar.add_task(model.name, total=model.size)

        def show(done: int, total: int, step: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{model.name}: {step}")

        await fetch(model, progress=show, announce=lambda _: None)


def _catalogue_name(settings: Settings, name: str) -> str | None:
    """The model of the catalogue that an agent runs; None for an endpoint or a file of the user's own."""
    config = settings.agents.get(name)
    model = config.model if config else name
    if not model.startswith("local:") or (config and (config.path or config.base_url)):
        return None
    return model.removeprefix("local:")


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
