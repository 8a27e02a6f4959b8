"""A server that keeps to the contract of live pages, with a search that a test moves on by hand.

python tests/view/stub.py    # a search that grows call by call, to look at in a browser
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bdc_agents.types import Trace
from bdc_agents.view import render_html

URLS = {
    name: f"/tree/t1/{name}"
    for name in ("trace", "events", "checkpoints", "threads", "fork", "edit", "add", "veto", "continue")
}


def upto(trace: Trace, calls: int) -> dict[str, Any]:
    """A trace as it was after some of its calls: later nodes and programs are not there yet."""
    kept = {"0"} | {call.node for call in trace.calls[:calls]}
    if calls >= len(trace.calls):
        kept = {node.id for node in trace.nodes}
    data = trace.model_dump(mode="json")
    data["calls"] = data["calls"][:calls]
    data["nodes"] = [node for node in data["nodes"] if node["id"] in kept]
    for node in data["nodes"]:
        node["children"] = [child for child in node["children"] if child in kept]
    return data


class Stub:
    """A live search on loopback.

    Attributes:
        asked: What was posted: path and body.
        refuse: Why the next post is refused; None for not at all.
    """

    def __init__(self, trace: Trace) -> None:
        self.whole, self.calls, self.status = trace, 2, "busy"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.refuse: str | None = None
        self.changed = threading.Condition()
        self.closed = False
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words: Any) -> None:
                """Says nothing."""

            def do_GET(self) -> None:
                stub._get(self)

            def do_POST(self) -> None:
                stub._post(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> "Stub":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.move(closed=True)
        self.server.shutdown()
        self.server.server_close()

    def move(self, **changes: Any) -> None:
        """Moves the search on, and tells whoever listens."""
        with self.changed:
            self.__dict__.update(changes)
            self.changed.notify_all()

    def _get(self, request: BaseHTTPRequestHandler) -> None:
        path, _, query = request.path.partition("?")
        if path == "/tree/t1":
            live = {
                "thread": "t1",
                "checkpoint": None,
                "status": self.status,
                "agents": ["ann", "bob"],
                "urls": URLS,
            }
            return self._send(
                request, 200, render_html([], "A live search", live=live).encode(), "text/html; charset=utf-8"
            )
        if path == URLS["trace"]:
            past = int(query.partition("=")[2]) if query else None
            calls = self.calls if past is None else past
            tag = f'"{calls}-{self.status}"'
            if request.headers.get("If-None-Match") == tag:
                return self._send(request, 304, b"")
            trace = upto(self.whole, calls) if calls else None
            return self._json(
                request, 200, {"trace": trace, "status": self.status, "checkpoint": query or None}, tag
            )
        if path == URLS["checkpoints"]:
            rows = [
                {"id": str(n), "at": f"2026-12-01T10:00:{n:02}Z", "node": "execute", "calls": n, "best": 0.5}
                for n in range(1, self.calls)
            ]
            return self._json(request, 200, rows)
        if path == URLS["threads"]:
            row = {
                "id": "t0",
                "problem": "demo:another",
                "outcome": "solved after 3 calls",
                "updated": "2026-12-01T09:00:00Z",
                "url": "/tree/t0",
            }
            return self._json(request, 200, [row])
        if path == URLS["events"]:
            return self._stream(request)
        return self._json(request, 404, {"error": f"There is no {path}."})

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        if self.refuse:
            return self._json(request, 409, {"error": self.refuse})
        self.asked.append((request.path.rpartition("/")[2], body))
        done = (
            {"thread": "t2", "url": "/tree/t1#forked"} if request.path == URLS["fork"] else {"status": "busy"}
        )
        return self._json(request, 200, done)

    def _stream(self, request: BaseHTTPRequestHandler) -> None:
        request.close_connection = True
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        request.end_headers()
        told: tuple[int, str] | None = None
        while not self.closed:
            with self.changed:
                if (self.calls, self.status) == told and not self.closed:
                    self.changed.wait(timeout=1)
            now = (self.calls, self.status)
            try:
                if told is None or now[1] != told[1]:
                    request.wfile.write(f"event: status\ndata: {json.dumps({'status': now[1]})}\n\n".encode())
                if now != told:
                    request.wfile.write(
                        f"event: changed\ndata: {json.dumps({'nodes': 1, 'calls': now[0]})}\n\n".encode()
                    )
                request.wfile.flush()
            except OSError:
                return
            told = now

    def _json(self, request: BaseHTTPRequestHandler, status: int, value: object, tag: str = "") -> None:
        self._send(request, status, json.dumps(value).encode(), "application/json", tag)

    def _send(
        self, request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "", tag: str = ""
    ) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in (("Content-Type", kind), ("ETag", tag)):
            if value:
                request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)


if __name__ == "__main__":
    import asyncio

    from searches import story  # type: ignore[import-not-found]

    with Stub(asyncio.run(story())) as live:
        print(f"{live.url}/tree/t1")
        while True:
            for number in range(1, len(live.whole.calls) + 1):
                live.move(calls=number, status="busy" if number < len(live.whole.calls) else "idle")
                time.sleep(1)
            time.sleep(10)
