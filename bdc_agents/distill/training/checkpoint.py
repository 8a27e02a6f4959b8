"""What a training leaves on disk while it runs: its state, and the losses of every step."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bdc_agents.experts.atomic_write import replacing
from bdc_agents.untrusted import read_json

log = logging.getLogger(__name__)

CHECKPOINT_FILE = "checkpoint.pt"
LOSSES_FILE = "losses.jsonl"


def write_checkpoint(folder: Path, fingerprint: str, state: Mapping[str, Any]) -> None:
    """Replaces the folder's checkpoint; a kill leaves the old one or the new one.

    Args:
        fingerprint: Of everything that the training's result depends on.
        state: Tensors and plain data.
    """
    with replacing(folder / CHECKPOINT_FILE) as file:
        torch.save({"fingerprint": fingerprint, "state": dict(state)}, file)


def read_checkpoint(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The state of a training of the same inputs; None where there is none.

    Only tensors and plain data are read: a checkpoint cannot run code.
    """
    file = folder / CHECKPOINT_FILE
    if not file.exists():
        return None
    try:
        found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # Whatever a damaged file makes of unpickling.
        log.warning("%s cannot be read (%s); training starts anew", file, type(error).__name__)
        return None
    if found.get("fingerprint") != fingerprint:
        log.warning("%s is of other rows, settings or another base; training starts anew", file)
        return None
    return found["state"]


class LossLog:
    """The file with one line for each step and each epoch.

    Args:
        folder: Where it is.
        write: False for processes that leave it to another.
    """

    def __init__(self, folder: Path, *, write: bool = True) -> None:
        self.file = folder / LOSSES_FILE
        self._write = write

    def cut(self, step: int) -> None:
        """Takes out the lines after a step, which are going to be written again."""
        if not self._write:
            return
        lines = read_losses(self.file) if self.file.exists() else []
        with replacing(self.file) as temporary:
            kept = (json.dumps(line) for line in lines if line.get("step", 0) <= step)
            temporary.write_text("".join(f"{line}\n" for line in kept))

    def add(self, line: Mapping[str, Any]) -> None:
        """Appends a line."""
        if self._write:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(line)) + os.linesep)


def read_losses(file: Path) -> list[dict[str, Any]]:
    """The lines of a loss log; a half-written last one is left out."""
    lines = []
    for text in file.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(read_json(text, finite=False))
        except ValueError:
            log.warning("%s: a line is not JSON and is left out", file)
    return lines
