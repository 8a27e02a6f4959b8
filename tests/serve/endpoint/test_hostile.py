"""Requests that mean no good, sent over plain sockets to a server in a process of its own.

Whatever is sent: one clear error in JSON, nothing in the log, and `/health` answers while others wait.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

KEY = "a-key-that-is-long-enough"
ASK = json.dumps({"messages": [{"role": "user", "content": "hi"}]})
MEGABYTE = 1024 * 1024
SECONDS = 60.0
"""In which it has to come to pass, on a machine that does much else."""


def head(
    target: str = "/v1/chat/completions", *lines: str, method: str = "POST", host: str | None = "localhost"
) -> bytes:
    """A request's line and headers, with the key."""
    named = [] if host is None else [f"Host: {host}"]
    text = [f"{method} {target} HTTP/1.1", *named, f"Authorization: Bearer {KEY}", *lines, "", ""]
    return "\r\n".join(text).encode("latin-1")


def posted(body: str | bytes, *lines: str, kind: str = "application/json") -> bytes:
    data = body if isinstance(body, bytes) else body.encode()
    sent = [f"Content-Length: {len(data)}", *([f"Content-Type: {kind}"] if kind else []), *lines]
    return head("/v1/chat/completions", *sent) + data


def chunked(body: bytes, *lines: str) -> bytes:
    sent = ("Transfer-Encoding: chunked", "Content-Type: application/json", *lines)
    return head("/v1/chat/completions", *sent) + body


def asking(**change: Any) -> str:
    return json.dumps(json.loads(ASK) | change)


def said(content: Any) -> str:
    return asking(messages=[{"role": "user", "content": content}])


class Server:
    """A server in a process of its own, and what it logs."""

    def __init__(self, log: Path, **options: Any) -> None:
        self.log = log
        self._file = log.open("w")
        script = Path(__file__).with_name("guarded.py")
        self.process = subprocess.Popen(
            [sys.executable, str(script), json.dumps(options)],
            stdout=subprocess.PIPE,
            stderr=self._file,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(SECONDS) == 0
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self._file.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=SECONDS)

    def send(self, data: bytes) -> "Answer":
        """What is answered to some bytes, up to the end of the answer."""
        with self.connect() as connection:
            with suppress(BrokenPipeError, ConnectionResetError):  # It may have been refused half-way.
                connection.sendall(data)
            return Answer(connection)

    def healthy(self) -> None:
        answer = self.send(head("/health", method="GET"))
        assert answer.status == 200

    def megabytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def connections(self) -> int:
        found = 0
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # One may be closed between the two looks.
                found += str(file.readlink()).startswith("socket:")
        return found

    def counted(self, line: str) -> float:
        """The value of a line of its metrics."""
        text = self.send(head("/metrics", method="GET")).body.decode()
        return next((float(one.split()[-1]) for one in text.splitlines() if one.startswith(line)), 0.0)


class Answer:
    """One answer of HTTP, read from a connection."""

    def __init__(self, connection: socket.socket) -> None:
        received = b""
        self.status, self.body, self.closed = 0, b"", False
        with suppress(ConnectionResetError):
            while not self._whole(received):
                if not (data := connection.recv(65536)):
                    self.closed = True
                    break
                received += data

    def _whole(self, received: bytes) -> bool:
        top, mark, rest = received.partition(b"\r\n\r\n")
        if not mark:
            return False
        self.status = int(top.split()[1])
        self.headers = top.decode("latin-1").lower()
        self.body = rest
        if self.status == 100:
            return self._whole(rest)
        if "content-length: " in self.headers:
            return len(rest) >= int(self.headers.split("content-length: ")[1].split()[0])
        return rest.endswith(b"0\r\n\r\n")

    @property
    def message(self) -> str:
        return json.loads(self.body)["error"]["message"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all requests that are answered at once, on loopback, without a key."""
    limits = {"head_seconds": 2, "body_seconds": 2, "idle_seconds": 5}
    with Server(tmp_path_factory.mktemp("server") / "log", limits=limits) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(Server(tmp_path / "log", **options))
    assert (tmp_path / "log").read_text() == "freed\n"


# --- what is answered at once --------------------------------------------------------------------------

BAD_HOSTS = ["evil.example", "localhost.evil.example", "evil.example:80", "127.0.0.1.evil.example"]
BAD_HOSTS += ["0.0.0.0", "192.168.1.5", "[::]", "[2001:db8::1]", "xn--lcalhost-e4a", "127.1", "0x7f000001"]
NO_HOSTS = [
    "",
    " ",
    "a b",
    "localhost:x",
    "local/host",
    "[::1",
    "localhost, evil.example",
    "löcalhost",
    ":80",
]
BAD_ORIGINS = ["http://evil.example", "null", "https://localhost.evil.example", "file://", "", "localhost"]
DEEP = "[" * 100_000
HOSTILE: dict[str, tuple[bytes, int, str]] = {
    # Names: pages that make a browser call, by any of its names.
    **{
        f"host {host}": (head("/v1/models", method="GET", host=host), 403, "not a name of this server")
        for host in BAD_HOSTS
    },
    **{
        f"no host {host!r}": (
            head("/v1/models", method="GET", host=host),
            400,
            "Host" if host.strip() else "",
        )
        for host in NO_HOSTS
    },
    **{
        f"origin {origin!r}": (head("/v1/models", f"Origin: {origin}", method="GET"), 403, "may not use")
        for origin in BAD_ORIGINS
    },
    "no host": (head("/health", method="GET", host=None), 400, "Host"),
    "two hosts": (head("/health", "Host: localhost", method="GET"), 400, "Host"),
    "http/1.0 without a host": (b"GET /health HTTP/1.0\r\n\r\n", 400, "Host"),
    "health of a foreign host": (head("/health", method="GET", host="evil.example"), 403, "--allow-host"),
    "metrics of a foreign host": (head("/metrics", method="GET", host="evil.example"), 403, "evil.example"),
    "health for a foreign page": (head("/health", "Origin: http://a.b", method="GET"), 403, "http://a.b"),
    "two origins": (
        head("/health", "Origin: http://localhost", "Origin: http://b", method="GET"),
        403,
        "//b",
    ),
    "a long host": (head("/health", method="GET", host="e" * 5000), 403, "..."),
    "asked before a foreign page sends": (
        head(
            "/v1/chat/completions",
            "Origin: http://a.b",
            "Access-Control-Request-Method: POST",
            method="OPTIONS",
        ),
        403,
        "may not use",
    ),
    "asked before a page of this machine sends": (
        head("/v1/chat/completions", "Origin: http://localhost:3000", method="OPTIONS"),
        405,
        "POST",
    ),
    # What a page can send without asking first.
    "plain text": (posted(ASK, kind="text/plain"), 415, "application/json"),
    "a form": (posted(ASK, kind="application/x-www-form-urlencoded"), 415, "Content-Type"),
    "a file form": (posted(ASK, kind="multipart/form-data; boundary=x"), 415, "Content-Type"),
    "no type": (posted(ASK, kind=""), 415, "Content-Type"),
    "json in a parameter": (posted(ASK, kind="text/plain; application/json"), 415, "Content-Type"),
    "two types": (posted(ASK, "Content-Type: text/plain"), 415, "Content-Type"),
    "types in a list": (posted(ASK, kind="application/json, text/plain"), 415, "Content-Type"),
    # Where nothing is.
    "nowhere": (head("/nowhere", method="GET"), 404, "/nowhere"),
    "a long path": (head("/" + "a" * 30_000, method="GET"), 404, "..."),
    "a slash more, where a redirect would go to any host": (
        head("/metrics/", method="GET"),
        404,
        "/metrics/",
    ),
    "a name of a slash": (head("/v1/models//", method="GET"), 404, ""),
    "two slashes": (head("//health", method="GET"), 404, "health"),
    "up": (head("/v1/../health", method="GET"), 404, ""),
    "another server's address": (head("http://evil.example/v1/models", method="GET"), 404, ""),
    "no model": (head("/v1/models/%00%ff", method="GET"), 404, "unknown model"),
    "a method": (head("/v1/chat/completions", method="DELETE"), 405, "DELETE"),
    "a method of another's": (head("/health", method="BREW"), 405, "BREW"),
    "a long method": (head("/health", method="B" * 30_000), 405, "for GET, HEAD"),
    "connect": (head("evil.example:443", method="CONNECT"), 404, ""),
    "a web socket": (
        head(
            "/v1/models/x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", method="GET"
        ),
        404,
        "unknown model",
    ),
    # What is no HTTP.
    "no line": (b"\0" * 40 + b"\r\n\r\n", 400, "illegal"),
    "tls": (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 90 + b"\r\n\r\n", 400, "illegal"),
    "http/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/1.1"),
    "http/9": (b"GET /health HTTP/9.9\r\nHost: localhost\r\n\r\n", 505, "HTTP/1.1"),
    "no version": (b"GET /health\r\n\r\n", 400, "illegal"),
    "a space in a header's name": (head("/health", "X : y", method="GET"), 400, "illegal header"),
    "a folded first header": (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, ""),
    "a control character": (head("/health", "X: \0", method="GET"), 400, "illegal header"),
    "a length that is none": (head("/x", "Content-Length: -1"), 400, "Content-Length"),
    "two lengths": (head("/x", "Content-Length: 1", "Content-Length: 2"), 400, "Content-Length"),
    "another coding": (head("/x", "Transfer-Encoding: gzip, chunked"), 501, "Transfer-Encoding"),
    "headers without end": (head("/health", f"X: {'x' * 200_000}", method="GET"), 431, "too long"),
    "a line without end": (b"GET /" + b"a" * 200_000, 431, "too long"),
    "many headers": (head("/health", *("a: b" for _ in range(50_000)), method="GET"), 431, "too long"),
    # Bodies.
    "empty": (posted(""), 400, "not JSON"),
    "no json": (posted("{"), 400, "not JSON"),
    "no text": (posted(b"\xff\xfe\xfd"), 400, "not JSON"),
    "a list": (posted("[]"), 400, "not a JSON object"),
    "deep lists": (posted(DEEP), 400, "not JSON"),
    "deep and closed": (posted('{"messages":' + "[" * 900 + "]" * 900 + "}"), 400, "messages"),
    "deep objects": (posted('{"a":' * 100_000), 400, "not JSON"),
    "a number of a megabyte": (posted('{"seed":' + "1" * 1_000_000 + "}"), 400, "not JSON"),
    "a seed beyond 64 bits": (posted(asking(seed=2**70)), 400, "seed"),
    "an endless temperature": (posted(asking(temperature=0).replace("0}", "1e999}")), 400, "temperature"),
    "no temperature": (posted(asking(temperature=0).replace("0}", "NaN}")), 400, "not JSON"),
    "half a character": (posted(said("\ud800")), 400, "half a character"),
    "half a character in a part": (posted(said([{"type": "text", "text": "\udfff"}])), 400, "half"),
    "half a character to stop at": (posted(asking(stop=["a", "\udc00"])), 400, "half a character"),
    "half a character as a field": (posted(asking(**{"\ud800": 1})), 400, "not known"),
    "half a character as a kind": (posted(said([{"type": "\ud800"}])), 400, "unicode"),
    "half a character as a model": (posted(asking(model="\ud800")), 400, "unicode"),
    "half a character as a role": (posted(asking(messages=[{"role": "\ud800"}])), 400, "role"),
    "half a character in a call": (
        posted(asking(messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "\ud800"}}]}])),
        400,
        "unicode",
    ),
    "a field of a megabyte": (posted(asking(**{"k" * 900_000: 1})), 400, "..."),
    "many wrong calls": (
        posted(asking(messages=[{"role": "assistant", "tool_calls": [1] * 300_000}])),
        400,
        "messages",
    ),
    "many wrong messages": (posted(asking(messages=[1] * 300_000)), 400, "messages"),
    "many wrong parts": (posted(said([1] * 300_000)), 400, "messages"),
    "a long model": (posted(asking(model="m" * 900_000)), 400, "model"),
    "a long kind of part": (posted(said([{"type": "t" * 900_000}])), 400, "type"),
    "a long format": (posted(asking(response_format={"type": "t" * 900_000})), 400, "response_format"),
    "many keys": (posted(json.dumps({f"k{n}": n for n in range(50_000)})), 400, "messages"),
    "too large": (posted("x" * (MEGABYTE + 1)), 413, "1048576 bytes"),
    "said to be too large": (
        head("/v1/models", "Content-Length: 9" + "9" * 15, "Content-Type: application/json"),
        413,
        "larger",
    ),
    "said to be of no size at all": (
        head("/v1/models", "Content-Length: " + "9" * 5000, "Content-Type: application/json"),
        400,
        "Content-Length",
    ),
    "too large, in chunks": (chunked(b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" * 0), 408, "body"),
    "chunks without end": (chunked((b"10000\r\n" + b" " * 65536 + b"\r\n") * 40), 413, "larger"),
    "many small chunks": (chunked(b"1\r\n \r\n" * 60_000), 413, "pieces"),
    "a chunk that is none": (chunked(b"zz\r\nxx\r\n"), 400, "not understood"),
    "a chunk of an endless size": (chunked(b"f" * 40 + b"\r\n"), 400, "not understood"),
    "both a length and chunks": (chunked(b"zz\r\n", "Content-Length: 4"), 400, "not understood"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_each_gets_one_clear_error(server: Server, name: str) -> None:
    data, status, says = HOSTILE[name]
    answer = server.send(data)
    assert answer.status == status, answer.body[:300]
    assert says in answer.message
    assert len(answer.body) < 1000
    assert answer.body.count(b'"error"') == 1
    assert "content-type: application/json" in answer.headers
    assert "access-control" not in answer.headers
    server.healthy()


def test_there_are_enough_of_them() -> None:
    assert len(HOSTILE) >= 60


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "localhost:1", "127.0.0.1:8765", "127.0.0.9", "[::1]:80",
     "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_this_machines_own_names_are_let_in_at_any_port(server: Server, host: str) -> None:
    for origin in ([], [f"Origin: http://{host}"]):
        answer = server.send(head("/v1/models", *origin, method="GET", host=host))
        assert answer.status == 200
        assert answer.body.startswith(b'{"object":"list"')


def test_json_with_parameters_and_in_chunks_is_answered(server: Server) -> None:
    assert server.send(posted(ASK, kind="Application/JSON; charset=utf-8")).status == 200
    size = f"{len(ASK):x}\r\n".encode()
    assert server.send(chunked(size + ASK.encode() + b"\r\n0\r\n\r\n")).status == 200
    assert server.send(head("/v1/models", "Content-Length: 0", method="GET")).status == 200
    whole = posted(ASK, "Expect: 100-continue")
    assert server.send(whole).status == 200


def test_the_server_kept_its_memory_and_its_log_is_empty(server: Server) -> None:
    before = server.megabytes()
    for name in ("many wrong parts", "deep lists", "chunks without end", "many headers", "a long model"):
        for _ in range(5):
            server.send(HOSTILE[name][0])
    assert server.megabytes() < before + 100
    assert server.log.read_text() == ""


# --- those who keep it waiting ---------------------------------------------------------------------------

QUICK = {"head_seconds": 0.6, "body_seconds": 0.6, "idle_seconds": 0.6, "read_seconds": 0.6}


def closed(connection: socket.socket) -> bool:
    """Whether the other side has closed, without having said anything."""
    connection.settimeout(0)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def until(true: Callable[[], object], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.05)


def test_half_a_head_is_told_off_however_it_trickles(start: Callable[..., Server]) -> None:
    server = start(limits=QUICK)
    with server.connect() as silent, server.connect() as trickling:
        began = time.monotonic()
        trickling.settimeout(0.05)
        answer = b""
        for letter in head("/health", "X: " + "x" * 1000, method="GET"):
            with suppress(BrokenPipeError, ConnectionResetError):
                trickling.send(bytes([letter]))
            with suppress(TimeoutError):
                answer += trickling.recv(65536)
            if answer:
                break
        assert answer.startswith(b"HTTP/1.1 408")
        # The head of an answer may come without its body.
        trickling.settimeout(SECONDS)
        while part := trickling.recv(65536):
            answer += part
        assert b"no whole request after 0.6 seconds" in answer
        assert time.monotonic() - began > 0.5
        until(lambda: closed(silent))
    assert server.counted('bdc_refused_total{reason="slow"}') == 1


def test_a_connection_that_asks_no_more_is_closed(start: Callable[..., Server]) -> None:
    server = start(limits=QUICK)
    with server.connect() as connection:
        for _ in range(3):
            connection.sendall(head("/health", method="GET"))
            assert Answer(connection).status == 200
        began = time.monotonic()
        until(lambda: closed(connection))
        assert time.monotonic() - began > 0.3
    with server.connect() as connection:
        connection.sendall(head("/health", method="GET") + b"GET /hea")
        assert Answer(connection).status == 200
        assert Answer(connection).status == 408  # Of the second, which never came.


def test_more_half_heads_than_connections_leave_the_door_open(start: Callable[..., Server]) -> None:
    server = start(limits={"connections": 50})
    with ExitStack() as stack:
        for _ in range(400):
            connection = stack.enter_context(server.connect())
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: local")
        for _ in range(5):
            server.healthy()
        assert server.connections() < 70
        assert server.send(posted(ASK)).status == 200
    assert server.counted('bdc_refused_total{reason="connections"}') >= 350


def test_what_is_being_answered_is_not_cut_for_newcomers(start: Callable[..., Server]) -> None:
    server = start(limits={"connections": 4})
    with ExitStack() as stack:
        busy = [stack.enter_context(server.connect()) for _ in range(4)]
        for connection in busy:
            connection.sendall(posted(asking(stream=True)))
        until(lambda: all(select.select([connection], [], [], 0)[0] for connection in busy))
        refused = server.send(b"")
        assert refused.status == 503
        assert "4 connections are open" in refused.message
        for connection in busy:
            assert Answer(connection).body.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")


def test_slow_bodies_take_no_place_and_end(start: Callable[..., Server]) -> None:
    server = start(key=KEY, limits={"requests": 2, "body_seconds": 1.5})
    slow = head("/v1/chat/completions", "Content-Length: 1000", "Content-Type: application/json")
    with ExitStack() as stack:
        held = [stack.enter_context(server.connect()) for _ in range(20)]
        for connection in held:
            connection.sendall(slow + b"{")
        assert server.send(posted(ASK)).status == 200
        server.healthy()
        for connection in held:
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(b" ")
        answers = [Answer(connection) for connection in held]
        assert {answer.status for answer in answers} == {408}
        assert answers[0].message == "the body was not there after 1.5 seconds"


def test_a_body_that_goes_on_after_the_refusal_is_cut(start: Callable[..., Server]) -> None:
    server = start(key=KEY)
    endless = head("/v1/chat/completions", "Transfer-Encoding: chunked").replace(KEY.encode(), b"wrong")
    with server.connect() as connection:
        connection.sendall(endless)
        assert Answer(connection).status == 401
        began = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() < began + 2 * SECONDS:
                connection.sendall(b"10\r\n" + b"x" * 16 + b"\r\n")
                time.sleep(0.02)
        assert time.monotonic() - began < SECONDS
        server.healthy()


def test_who_leaves_during_an_upload_or_a_stream_leaves_nothing(start: Callable[..., Server]) -> None:
    server = start(limits={"requests": 1})
    for data in (posted(ASK)[:-3], chunked(b"5\r\n{"), head()[:-2], posted(asking(stream=True)) + b"GET /"):
        for hard in (False, True):
            connection = server.connect()
            connection.sendall(data)
            if b"stream" in data:
                assert connection.recv(10).startswith(b"HTTP/1.1 2")
            if hard:  # With a reset.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
            until(lambda: server.counted("bdc_requests_in_flight") == 1, 2)  # The one that asks.
    assert server.counted('bdc_refused_total{reason="gone"}') == 4


def test_who_asks_on_and_leaves_before_the_answer_is_noticed(start: Callable[..., Server]) -> None:
    server = start(thinks=60)
    with server.connect() as connection:
        connection.sendall(posted(ASK) + b"GET /")
        until(lambda: server.counted("bdc_requests_in_flight") == 2)
        connection.sendall(b"health")  # After which uvicorn alone would read no more.
        time.sleep(0.5)
    until(lambda: server.counted("bdc_requests_in_flight") == 1)


@pytest.mark.parametrize("requests", [12, 2000])
def test_who_never_reads_is_cut(start: Callable[..., Server], requests: int) -> None:
    """Whether the server waits to write more, or has written all and waits to close."""
    server = start(limits=QUICK, held=4096)
    server.healthy()
    time.sleep(0.5)  # For it to notice that whoever asked has gone.
    before = server.connections()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.port))
        connection.settimeout(1)
        with suppress(TimeoutError, BrokenPipeError, ConnectionResetError):
            connection.sendall(head("/metrics", method="GET") * requests)
        until(lambda: server.connections() == before + 1)
        server.healthy()
        until(lambda: server.connections() == before, 12)
    assert server.megabytes() < 300


def test_many_requests_at_once_are_answered_one_by_one(start: Callable[..., Server]) -> None:
    server = start()
    with server.connect() as connection:
        connection.sendall(head("/health", method="GET") * 200)
        received = b""
        while received.count(b'"status":"ok"') < 200:
            received += connection.recv(65536)
        assert received.count(b"HTTP/1.1 200 OK") == 200


def test_a_stop_waits_for_no_half_request(start: Callable[..., Server]) -> None:
    server = start(
        limits=dict.fromkeys(("head_seconds", "body_seconds", "idle_seconds", "grace"), 10 * SECONDS)
    )
    with server.connect() as half, server.connect() as body, server.connect() as idle:
        half.sendall(b"GET /health HT")
        body.sendall(head("/v1/chat/completions", "Content-Length: 9", "Content-Type: application/json"))
        idle.sendall(head("/health", method="GET"))
        assert Answer(idle).status == 200
        server.process.send_signal(signal.SIGTERM)
        assert Answer(body).status == 503
        assert server.process.wait(SECONDS) == 0


# --- names that are allowed --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, KEY])
def test_named_hosts_are_let_in_and_no_other(start: Callable[..., Server], key: str | None) -> None:
    server = start(key=key, hosts=["Models.example.org", "2001:db8::1"])
    for host in ("models.example.org:8765", "MODELS.example.org.", "[2001:db8::1]", "localhost"):
        assert (
            server.send(head("/v1/models", f"Origin: https://{host}", method="GET", host=host)).status == 200
        )
    for host in ("example.org", "a.models.example.org", "10.0.0.1"):
        assert server.send(head("/v1/models", method="GET", host=host)).status == 403


def test_where_others_connect_with_a_key_any_name_will_do(start: Callable[..., Server]) -> None:
    server = start(key=KEY, host="0.0.0.0")
    assert server.send(head("/v1/models", "Origin: http://a.b", method="GET", host="bdc.lan")).status == 200
    assert (
        server.send(head("/v1/models", method="GET", host="bdc.lan").replace(b"Bearer", b"B")).status == 401
    )


def test_the_command_without_a_key_keeps_foreign_pages_out(tmp_path: Path) -> None:
    script = str(Path(__file__).with_name("served.py"))
    words = [sys.executable, script, "--no-key", "--allow-host", "models.example.org"]
    with (
        (tmp_path / "log").open("w+") as log,
        subprocess.Popen(
            words, stderr=log, env={k: v for k, v in os.environ.items() if k != "BDC_API_KEY"}
        ) as process,
    ):
        try:
            until(lambda: "listening at" in (tmp_path / "log").read_text(), 60)
            port = int((tmp_path / "log").read_text().split("/v1")[0].rsplit(":")[-1])
            for host, status in {"evil.example": 403, "models.example.org": 200, "localhost": 200}.items():
                with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
                    connection.sendall(head("/v1/models", method="GET", host=host))
                    assert Answer(connection).status == status
        finally:
            process.terminate()
            assert process.wait(20) == 0
