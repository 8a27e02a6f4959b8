"""A file of JSON lines that a kill at any moment leaves readable, one line for each finished piece."""

import json
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from bdc_agents.disk import own
from bdc_agents.errors import BDCError
from bdc_agents.types import Frozen

Line = TypeVar("Line", bound=Frozen)


class Journal(Generic[Line]):
    """Lines that are there, by key, and a place to add to. One process at a time.

    Args:
        file: Made with its first line.
        model: What a line holds.
        fields: Those that tell a line from the others.
    """

    def __init__(self, file: Path, model: type[Line], *fields: str) -> None:
        self.file = file
        self._fields = fields
        self.lines: dict[Hashable, Line] = {}
        data = file.read_bytes() if file.is_file() else b""
        # Half a last line is what a kill leaves; it is written again.
        self._size = data.rfind(b"\n") + 1
        for text in data[: self._size].split(b"\n"):
            try:
                line = model.model_validate_json(text)
            except ValidationError:
                continue
            self.lines[self.key(line)] = line

    def key(self, line: Line) -> Hashable:
        """What tells a line from the others: one field's value, or a tuple of several."""
        values = [getattr(line, field) for field in self._fields]
        return values[0] if len(values) == 1 else tuple(values)

    def add(self, line: Line) -> None:
        """Appends a line; when it returns, the line is on disk.

        Raises:
            BDCError: If the disk is full or fails.
        """
        data = json.dumps(line.model_dump(mode="json"), separators=(",", ":")).encode("ascii") + b"\n"
        try:
            with os.fdopen(own(self.file), "r+b") as opened:
                opened.truncate(self._size)
                opened.seek(self._size)
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
        except OSError as error:
            raise BDCError(f"cannot write to {str(self.file)!r}: {error.strerror}") from error
        self._size += len(data)
        self.lines[self.key(line)] = line
