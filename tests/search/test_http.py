"""Searches over real HTTP: the same tree at any concurrency, and no fault that ends one."""

import asyncio
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bdc_agents.agents import ChatAgent
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedEndpoint, ScriptedExecutor
from bdc_agents.types import Problem

MakeExecutor = Callable[..., ScriptedExecutor]
THOUGHTS = '{{"thoughts": [{{"thought": "idea {0}", "reasonableness": 0.{0}}}]}}'


def respond(body: dict[str, Any]) -> str:
    noise = body["seed"] % 97
    if "reasonableness" in str(body["messages"]):
        return THOUGHTS.format(noise % 10)
    return f"```python\ndef double(x):\n    return x + {noise}\n```"


def agents_at(url: str, names: str = "ab", **settings: Any) -> list[ChatAgent]:
    config = AgentConfig.model_validate({"model": "m", "base_url": url, "api_key": "k"} | settings)
    return [ChatAgent(name, chat_model(name, config), config, backoff=0.01) for name in names]


@pytest.mark.parametrize("leaves", [1, 6])
async def test_the_tree_is_the_same_at_any_concurrency(
    leaves: int, make_executor: MakeExecutor, problem: Problem
) -> None:
    def late(body: dict[str, Any]) -> str:
        time.sleep(random.uniform(0, 0.02))
        return respond(body)

    trees = []
    with ScriptedEndpoint(late) as endpoint:
        for concurrency in (1, 16):
            agents = agents_at(endpoint.url, concurrency=concurrency)
            search = SearchConfig(rollouts=8, leaves=leaves, expand="eager")
            trace = await asolve(problem, agents, executor=make_executor(), search=search)
            trees.append([node.model_dump_json() for node in trace.nodes])
            await asyncio.gather(*(agent.aclose() for agent in agents))
    assert trees[0] == trees[1]
    assert len(trees[0]) > 6


def test_an_endpoint_lets_connections_wait_until_it_gets_to_them() -> None:
    """As on a busy machine, where many searches ask before it has accepted the first."""
    endpoint = ScriptedEndpoint(respond)
    address = ("127.0.0.1", int(endpoint.url.split(":")[2].split("/")[0]))
    with ExitStack() as waiting:
        for _ in range(64):
            waiting.enter_context(socket.create_connection(address, timeout=0.5))
        with endpoint:
            pass


# --- faults ---------------------------------------------------------------------------------------


class Faulty(BaseHTTPRequestHandler):
    """Answers with the fault of its class, every request or every second one."""

    fault = ""
    always = True
    number = 0

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).number += 1
        if self.always or self.number % 2:
            getattr(self, f"_{self.fault}")(body)
        else:
            self._say(respond(body))

    def _say(self, text: str) -> None:
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
        body = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        self._send(json.dumps(body | {"choices": [choice], "usage": usage}).encode())

    def _send(self, payload: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(payload)

    def _rate_limit(self, _: Any) -> None:
        self._send(b'{"error": {"message": "slow down"}}', 429, Retry_After="0.05")

    def _server_error(self, _: Any) -> None:
        self._send(b"<html>oops</html>", 500)

    def _silence(self, _: Any) -> None:
        time.sleep(0.6)

    def _cut(self, _: Any) -> None:
        self._send(b'{"id": "x", "choices": [{"mess', length=4000)
        self.close_connection = True

    def _not_json(self, _: Any) -> None:
        self._send(b"{{{ this is not JSON")

    def _other_json(self, _: Any) -> None:
        self._send(b'{"choices": []}')

    def _nothing(self, _: Any) -> None:
        self._send(b"")

    def _empty(self, _: Any) -> None:
        self._say("")

    def _endless(self, _: Any) -> None:
        self._send(b"{", length=10**9)
        for _ in range(12):
            time.sleep(0.05)
            try:
                self.wfile.write(b" " * 1000)
            except OSError:
                return

    def _broken_thoughts(self, _: Any) -> None:
        self._say('{"thoughts": [{"thought": "half a sen')

    def _wrong_language(self, _: Any) -> None:
        self._say("当然可以。\n```javascript\nfunction double(x) { return 2 * x; }\n```\n請享用。")

    def _hostile(self, _: Any) -> None:
        self._say("```python\n" + "(" * 5000 + "\n```" + "\x00\ud800".encode("utf-8", "replace").decode())

    def handle_error(self, *_: Any) -> None:
        """Says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


FAULTS = sorted(
    name[1:]
    for name in vars(Faulty)
    if name.startswith("_") and name[1:2].isalpha() and name not in ("_say", "_send")
)


@contextmanager
def faulty(fault: str, always: bool) -> Iterator[str]:
    handler = type("Handler", (Faulty,), {"fault": fault, "always": always})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.handle_error = True, lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("always", [True, False], ids=["always", "sometimes"])
@pytest.mark.parametrize("fault", FAULTS)
async def test_no_fault_of_an_endpoint_ends_a_search_with_an_exception(
    fault: str, always: bool, make_executor: MakeExecutor, problem: Problem
) -> None:
    search = SearchConfig(rollouts=2, leaves=2, max_depth=2, bandit=None, resample=0)
    with faulty(fault, always) as url:
        agents = agents_at(url, retries=1, timeout=0.3)
        trace = await asolve(problem, agents, executor=make_executor(), search=search)
        await asyncio.gather(*(agent.aclose() for agent in agents))
    assert trace.solution.stopped_by in {"agents", "rollouts", "exhausted"}
    used = trace.solution.usage.values()
    assert all(u.failed or u.malformed for u in used) or not always
    assert trace.solution.stopped_by != "agents" or trace.solution.set_aside


async def test_a_faulty_agent_does_not_keep_a_sound_one_from_solving(
    make_executor: MakeExecutor, problem: Problem
) -> None:
    with faulty("server_error", True) as bad, ScriptedEndpoint(respond) as good:
        agents = [*agents_at(bad, "x", retries=0), *agents_at(good.url, "y")]
        trace = await asolve(
            problem, agents, executor=make_executor(), search=SearchConfig(rollouts=3, leaves=2)
        )
        await asyncio.gather(*(agent.aclose() for agent in agents))
    assert set(trace.solution.set_aside) <= {"x"}
    assert trace.solution.usage["x"].failed == trace.solution.usage["x"].calls > 0
    assert trace.solution.stopped_by == "rollouts"
    assert trace.programs
