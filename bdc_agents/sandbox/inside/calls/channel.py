"""Messages between two processes: JSON, each after its length."""

import json
import os
import struct
from typing import Any, NoReturn

_LONGEST = 64 * 2**20
"""Most bytes of a message: beyond any value of a test, and below the memory that a process may have."""
_FIRST = 8192
"""Bytes of the first read: most messages are shorter, so that one read is enough."""

_LENGTH = struct.Struct(">I")
_write = json.JSONEncoder(check_circular=False, separators=(",", ":")).encode
_read = json.JSONDecoder().raw_decode


class Gone(BaseException):
    """The other side has closed the connection; a script's `except Exception` cannot hide it."""


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
        data = self._rest or self._chunk(_FIRST)
        while len(data) < _LENGTH.size:
            data += self._chunk(_FIRST)
        end = _LENGTH.size + _LENGTH.unpack_from(data)[0]
        if end > _LONGEST:
            raise MemoryError
        if len(data) < end:
            data = self._rest_of(data, end)
        body, self._rest = data[_LENGTH.size : end].decode(), data[end:]
        message, read = _read(body)
        if read != len(body):
            raise ValueError("a message of more than one JSON value")
        if not isinstance(message, list) or not message:
            self._lose()
        return message

    def _rest_of(self, data: bytes, length: int) -> bytes:
        parts = bytearray(data)
        while len(parts) < length:
            parts += self._chunk(length - len(parts))
        return bytes(parts)

    def _chunk(self, most: int) -> bytes:
        try:
            chunk = os.read(self._descriptor, most)
        except OSError:
            chunk = b""
        return chunk or self._lose()

    def _lose(self) -> NoReturn:
        self.gone = True
        raise Gone
