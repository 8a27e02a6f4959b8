"""Messages between two processes arrive whole, however the reads cut them; what is no message is refused."""

import json
import os
import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from bdc_agents.sandbox.inside.calls.channel import Channel, Gone


def framed(body: str) -> bytes:
    return struct.pack(">I", len(body.encode())) + body.encode()


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours.fileno(), theirs.fileno()


def test_one_read_brings_several_messages(ends: tuple[int, int]) -> None:
    os.write(ends[0], framed("[1]") + framed('["ä"]') + framed("[3]"))
    channel = Channel(ends[1])
    assert [channel.receive() for _ in range(3)] == [[1], ["ä"], [3]]


def test_a_message_comes_byte_by_byte(ends: tuple[int, int]) -> None:
    data = framed("[1, 2]") + framed("[3]")

    def write() -> None:
        for byte in data:
            os.write(ends[0], bytes([byte]))

    writer = threading.Thread(target=write)
    writer.start()
    channel = Channel(ends[1])
    assert [channel.receive(), channel.receive()] == [[1, 2], [3]]
    writer.join()


def test_long_messages_arrive_whole(ends: tuple[int, int]) -> None:
    message = [["text " * 5, number] for number in range(50_000)]
    writer = threading.Thread(target=Channel(ends[0]).send, args=(message,))
    writer.start()
    assert Channel(ends[1]).receive() == message
    writer.join()


@pytest.mark.parametrize("body", ["", "[1", "[1] [2]", "[1]x", "nonsense"])
def test_what_is_no_single_json_value_is_refused(ends: tuple[int, int], body: str) -> None:
    os.write(ends[0], framed(body))
    with pytest.raises(ValueError, match=r"Expecting|more than one"):
        Channel(ends[1]).receive()


@pytest.mark.parametrize("body", ["{}", "3", "[]", json.dumps("text")])
def test_what_is_no_message_ends_the_connection(ends: tuple[int, int], body: str) -> None:
    os.write(ends[0], framed(body))
    channel = Channel(ends[1])
    with pytest.raises(Gone):
        channel.receive()
    assert channel.gone


def test_a_message_that_announces_too_much_is_not_read(ends: tuple[int, int]) -> None:
    os.write(ends[0], struct.pack(">I", 2**31))
    with pytest.raises(MemoryError):
        Channel(ends[1]).receive()
