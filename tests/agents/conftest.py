"""A small OpenAI-compatible server on loopback that fails on request, and agents over it."""

import gc
import json
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import settings
from langchain.chat_models import base
from langchain_core.messages import HumanMessage

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.chat import ChatAgent
from bdc_agents.agents.protocol import Request
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig

# The same examples each time, and no time limit on a machine that others use too.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


def completion(text: Any = "hello", *, reason: str = "stop", usage: Any = (11, 3)) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": text}}],
    }
    if usage:
        prompt, made = usage
        body["usage"] = {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
    return body


@dataclass
class Step:
    """One response: a body that is sent as JSON, or text or bytes as they are; `cut` ends it early."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False


@dataclass
class Endpoint:
    """What the server was asked, and what it answers: the scripted steps, then `default`."""

    url: str = ""
    steps: list[Step] = field(default_factory=list)
    default: Callable[[dict[str, Any]], Step] = lambda body: Step(completion())
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def script(self, *steps: Step) -> None:
        self.steps.extend(steps)

    def clear(self) -> None:
        """As it was when it was started, for a server that several tests share."""
        fresh = Endpoint()
        for name in ("steps", "default", "asked", "headers", "times", "paths"):
            setattr(self, name, getattr(fresh, name))
        self.most_in_flight = 0

    def enter(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> Step:
        with self.lock:
            self.paths.append(path)
            self.asked.append(body)
            self.headers.append(headers)
            self.times.append(time.monotonic())
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            return self.steps.pop(0) if self.steps else self.default(body)

    def leave(self) -> None:
        with self.lock:
            self.in_flight -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # One packet for head and body, or each reply waits 40 ms for an acknowledgement.
    endpoint: Endpoint

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        step = self.endpoint.enter(self.path, body, dict(self.headers))
        time.sleep(step.delay)
        # Left before the answer is out: the client may send its next request at once.
        self.endpoint.leave()
        sent = step.body if isinstance(step.body, str | bytes) else json.dumps(step.body)
        content = sent if isinstance(sent, bytes) else sent.encode()
        try:
            self.send_response(step.status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content) + (100 if step.cut else 0)))
            for name, value in step.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            step.cut = True
        self.close_connection = step.cut

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[Endpoint]:
    state = Endpoint()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"endpoint": state}))
    state.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving() as state:
        yield state


@pytest.fixture(scope="module")
def shared() -> Iterator[Endpoint]:
    with serving() as state:
        yield state


MakeAgent = Callable[..., ChatAgent]


@pytest.fixture
async def make_agent(endpoint: Endpoint) -> AsyncIterator[MakeAgent]:
    """Makes agents over the endpoint; further arguments are those of `AgentConfig`."""
    made: list[ChatAgent] = []

    def make(name: str = "small", cache: ReplyCache | None = None, **settings: Any) -> ChatAgent:
        config = AgentConfig.model_validate(
            {"model": "fake", "base_url": endpoint.url, "timeout": 5.0, "retries": 2} | settings
        )
        made.append(ChatAgent(name, chat_model(name, config), config, cache, backoff=0.005))
        return made[-1]

    yield make
    for agent in made:
        await agent.aclose()


@pytest.fixture
def step() -> type[Step]:
    return Step


@pytest.fixture(name="completion")
def completion_fixture() -> Callable[..., dict[str, Any]]:
    return completion


@pytest.fixture
def ask() -> Callable[..., Request]:
    def make(text: str = "hi", **fields: Any) -> Request:
        return Request(messages=(HumanMessage(text),), **fields)

    return make


@pytest.fixture
def swept() -> Iterator[None]:
    """Sockets that a test leaves open are reported with it, and not with whichever test runs later.

    langchain-anthropic keeps its clients, with their connections, for as long as the process lasts.
    """
    yield
    if kept := sys.modules.get("langchain_anthropic._client_utils"):
        kept._get_default_httpx_client.cache_clear()
        kept._get_default_async_httpx_client.cache_clear()
    gc.collect()


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a module one that is not installed, whatever another test has imported of it."""

    def hidden(module: str) -> None:
        monkeypatch.setitem(sys.modules, module, None)
        base._get_chat_model_creator.cache_clear()  # LangChain keeps what it imported by provider.

    return hidden
