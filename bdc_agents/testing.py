"""Scripted chat models, agents, endpoints and executors, for tests of code that embeds the search.

They answer from a function of what they are asked, so that a test of a concurrent search does not
depend on the order of its calls.
"""

import asyncio
import json
import selectors
import threading
from collections.abc import Callable, Coroutine, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeVar

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.sandbox.protocol import Job
from bdc_agents.types import TestResult, Usage, Verdict

T = TypeVar("T")

LONGEST_REPLY = 1000
"""Completion tokens that a scripted agent reserves for a reply, and counts at most: any round number."""


class ScriptedModel(BaseChatModel):
    """A chat model whose replies a function makes from the messages.

    Args:
        respond: From the messages to the reply's text.
    """

    respond: Callable[[Sequence[BaseMessage]], str]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        text = self.respond(messages)
        prompt = sum(len(str(message.content)) for message in messages) // 4
        usage = UsageMetadata(
            input_tokens=prompt, output_tokens=len(text) // 4, total_tokens=prompt + len(text) // 4
        )
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=usage))])


class ScriptedAgent:
    """An agent whose replies a function makes from the request, at once and without cost.

    Args:
        name: The agent's name.
        respond: From the request to the reply's text; may raise `AgentError`.
        price: US dollars for a call; None for an unknown price.
    """

    def __init__(self, name: str, respond: Callable[[Request], str], price: float | None = 0.0) -> None:
        self.name = name
        self.respond = respond
        self.price = price
        self.requests: list[Request] = []

    def bound(self, request: Request) -> Usage:
        """The characters of the messages and `LONGEST_REPLY`."""
        return Usage(calls=1, prompt_tokens=_size(request), completion_tokens=LONGEST_REPLY, cost=self.price)

    async def reply(self, request: Request) -> Reply:
        """The scripted reply; every request is kept in `requests`."""
        self.requests.append(request)
        text = self.respond(request)
        tokens = min(len(text), LONGEST_REPLY)
        usage = Usage(calls=1, prompt_tokens=_size(request), completion_tokens=tokens, cost=self.price)
        return Reply(text=text, usage=usage)

    async def aclose(self) -> None:
        """Nothing to free."""


def _size(request: Request) -> int:
    return sum(len(str(message.content)) for message in request.messages)


class ScriptedExecutor:
    """An executor that runs nothing and takes each reward from a function.

    Args:
        reward: From the job to the share of its tests that pass, in [0, 1].
    """

    tier = "scripted"

    def __init__(self, reward: Callable[[Job], float]) -> None:
        self.reward = reward
        self.jobs: list[Job] = []

    async def run(self, job: Job) -> Verdict:
        """A verdict with that share of the job's tests passed, the first ones."""
        self.jobs.append(job)
        passed = round(self.reward(job) * len(job.tests))
        results = (
            TestResult(
                outcome="passed" if number < passed else "wrong", shown=f"test {number}", actual=f"{number}"
            )
            for number in range(len(job.tests))
        )
        return Verdict(results=tuple(results), tier=self.tier)

    async def aclose(self) -> None:
        """Nothing to end."""


class ScriptedEndpoint:
    """An OpenAI-compatible chat endpoint on loopback, for tests that go through real HTTP.

        with ScriptedEndpoint(lambda body: "```python\\nprint(4)\\n```") as endpoint:
            model = ChatOpenAI(model="any", base_url=endpoint.url, api_key="any")

    Args:
        respond: From the request's JSON body to the reply's text, or to its message, such as one with
            `tool_calls`.
    """

    def __init__(self, respond: Callable[[dict[str, Any]], str | dict[str, Any]]) -> None:
        self.respond = respond
        self.requests: list[dict[str, Any]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = -1  # One packet for head and body: the second would wait for an acknowledgement.

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                endpoint.requests.append(body)
                payload = json.dumps(_completion(body, endpoint.respond(body))).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        # It looks that often, in seconds, whether it is to end.
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        """The `base_url` for clients."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    """Connections that wait to be accepted. With the 5 of `socketserver`, 32 searches that ask at once on a
    busy machine are reset now and then, and a call that failed makes another tree."""


def _completion(body: dict[str, Any], reply: str | dict[str, Any]) -> dict[str, Any]:
    message = {"role": "assistant", "content": reply} if isinstance(reply, str) else reply
    text = str(message.get("content") or "")
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    prompt = sum(len(str(message["content"])) for message in body["messages"]) // 4
    tokens = len(text) // 4
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": tokens, "total_tokens": prompt + tokens},
    }


def run_simulated(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on a simulated clock, which jumps to the next time-out instead of waiting for it.

    Hours of a search with slow agents and programs pass in moments. Works only for code that waits for
    other coroutines and threads, not for processes or sockets; what a thread would do is done at once.
    """
    with asyncio.Runner(loop_factory=_SimulatedLoop) as runner:
        return runner.run(work)


class _Jumping(selectors.DefaultSelector):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """Never waits; adds the time it would have waited to its clock."""

    reading = 0.0

    def select(self, timeout: float | None = None) -> Any:
        """What is ready now, or nothing at a later time."""
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout:
            self.reading += timeout
        return ready


class _SimulatedLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._simulated = _Jumping()
        super().__init__(self._simulated)

    def time(self) -> float:
        """Simulated seconds since the loop was made."""
        return self._simulated.reading

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Does it here and now: while a thread works, this loop would have nothing to do and jump on."""
        del executor
        done = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:
            done.set_exception(error)
        return done
