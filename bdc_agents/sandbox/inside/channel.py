"""Messages between two processes: JSON, each after its length."""

import json
import os
import struct
from typing import Any, NoReturn

_LONGEST = 64 * 2**20


class Gone(BaseException):
    """The other side has closed the connection; no `except Exception` of a script hides it."""


class Channel:
    """One end of a connection.

    Args:
        descriptor: A connected socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.gone = False

    def send(self, message: list[Any]) -> None:
        """Sends a message.

        Raises:
            Gone: If the other side is.
        """
        body = json.dumps(message).encode()
        view = memoryview(struct.pack(">I", len(body)) + body)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self._lose()

    def receive(self) -> list[Any]:
        """The next message.

        Raises:
            Gone: If the other side is.
            MemoryError: If the message is too long.
        """
        (length,) = struct.unpack(">I", self._read(4))
        if length > _LONGEST:
            raise MemoryError
        message = json.loads(self._read(length))
        if not isinstance(message, list) or not message:
            self._lose()
        return message

    def _read(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            try:
                chunk = os.read(self._descriptor, length - len(parts))
            except OSError:
                chunk = b""
            if not chunk:
                self._lose()
            parts += chunk
        return bytes(parts)

    def _lose(self) -> NoReturn:
        self.gone = True
        raise Gone
