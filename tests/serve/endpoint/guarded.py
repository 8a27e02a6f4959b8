"""A server with limits of its own and a slow model; run by the tests that attack it."""

import asyncio
import json
import socket
import sys

from served import Slow, place

from bdc_agents.serve import RoutedModel, ServerLimits, create_app
from bdc_agents.serve.http.server import listen, serve_forever


class Thinking(Slow):
    """Says nothing for a while."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def generate(self, requests):
        await asyncio.sleep(self.seconds)
        return await super().generate(requests)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    limits = ServerLimits(**options.get("limits", {}))
    app = create_app(
        RoutedModel(Thinking(options.get("thinks", 0)), place, ("a",)),
        key=options.get("key"),
        limits=limits,
        hosts=options.get("hosts"),
    )
    with listen(options.get("host", "127.0.0.1"), 0) as door:
        if held := options.get("held"):  # Bytes of an answer that the system takes off its hands.
            door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, held)
        port = door.getsockname()[1]
        serve_forever(app, door, limits, lambda: print(port, flush=True))
