"""The server over a real connection, in a thread of the test."""

import signal
import threading
from collections.abc import Sequence
from typing import Any

import httpx

from bdc_agents.serve import RoutedModel, ServerLimits, create_app
from bdc_agents.serve.http.served import Served
from bdc_agents.serve.http.server import Server, listen

KEY = "a-key-that-is-long-enough"
HEADERS = {"Authorization": f"Bearer {KEY}"}


class Running:
    """A server in a thread."""

    def __init__(
        self, model: RoutedModel | Sequence[Served], limits: ServerLimits | None = None, **options: Any
    ) -> None:
        limits = limits or ServerLimits()
        self.model: Any = model
        self.app = create_app(model, key=KEY, limits=limits, **options)
        place = listen("127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{place.getsockname()[1]}"
        self.server = Server(self.app, limits)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [place]})
        self.thread.start()

    def stop(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(20)
        assert not self.thread.is_alive()

    def post(self, body: Any, **options: Any) -> httpx.Response:
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        headers = HEADERS | {"Content-Type": "application/json"}
        return httpx.post(
            f"{self.url}/v1/chat/completions", **{"headers": headers, "timeout": 20} | content | options
        )

    def metrics(self) -> str:
        return httpx.get(f"{self.url}/metrics", headers=HEADERS).text
