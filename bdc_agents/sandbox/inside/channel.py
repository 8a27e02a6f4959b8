"""Messages between two processes: JSON, each after its length."""

import json
import os
import struct
from typing import Any, NoReturn

_LONGEST = 64 * 2**20
_FIRST = 8192
"""Bytes that are read at once: most messages are shorter, and then one read is enough."""

_LENGTH = struct.Struct(">I")
_write = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_read = json.JSONDecoder().raw_decode


class Gone(BaseException):
    """The other side has closed the connection; no `except Exception` of a script hides it."""


class Channel:
    """One end of a connection.

    Args:
        descriptor: A connected socket.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._rest = descriptor, b""
        self.gone = False

    def send(self, message: list[Any]) -> None:
        """Sends a message; it must not hold itself.

        Raises:
            Gone: If the other side is.
        """
        body = _write(message).encode()
        data = _LENGTH.pack(len(body)) + body
        try:
            sent = os.write(self._descriptor, data)
            while sent < len(data):
                sent += os.write(self._descriptor, memoryview(data)[sent:])
        except OSError:
            self._lose()

    def receive(self) -> list[Any]:
        """The next message.

        Raises:
            Gone: If the other side is.
            MemoryError: If the message is too long.
            ValueError: If it is no JSON.
        """
        data = self._at_least(_LENGTH.size, self._rest, _FIRST)
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        if end > _LONGEST:
            raise MemoryError
        data = self._at_least(end, data, end - len(data))
        body, self._rest = data[_LENGTH.size : end].decode(), data[end:]
        message, read = _read(body)
        if read != len(body):
            raise ValueError("a message of more than one JSON value")
        if not isinstance(message, list) or not message:
            self._lose()
        return message

    def _at_least(self, length: int, data: bytes, most: int) -> bytes:
        """What was read, and more until it is long enough; `most` bytes at first."""
        if len(data) >= length:
            return data
        parts = bytearray(data)
        while len(parts) < length:
            try:
                chunk = os.read(self._descriptor, max(most, length - len(parts)))
            except OSError:
                chunk = b""
            if not chunk:
                self._lose()
            parts += chunk
            most = 0
        return bytes(parts)

    def _lose(self) -> NoReturn:
        self.gone = True
        raise Gone
