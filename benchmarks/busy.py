"""How busy a search keeps an endpoint of fixed latency and a limited number of slots.

    python benchmarks/busy.py --out benchmarks/results/busy.json

The endpoint answers each request after `--latency` seconds and serves `--slots` at once; more wait.
Its busy share is slot seconds in use over slot seconds from the first request to the last answer: of
one search by the published walk with 8 leaves at once, of 8 such searches side by side over shared agents,
and of one with the default settings, and with one leaf at a time. `busy_after_answers` counts from the
moment that all agents' direct answers have failed.
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from bdc_agents.agents import ChatAgent
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedExecutor
from bdc_agents.types import CallTest, Problem


class Endpoint:
    """An OpenAI-compatible endpoint in this process, on a loop of its own thread."""

    def __init__(self, latency: float, slots: int, jitter: float) -> None:
        self.latency, self.jitter = latency, jitter
        self.slots = asyncio.Semaphore(slots)
        self.spans: list[tuple[float, float]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    int(h.split(b":")[1]) for h in head.lower().split(b"\r\n") if b"content-length" in h
                )
                body = json.loads(await reader.readexactly(length))
                async with self.slots:
                    begun = time.perf_counter()
                    await asyncio.sleep(
                        self.latency * (1 + self.jitter * (noise(str(body)) % 2001 / 1000 - 1))
                    )
                    self.spans.append((begun, time.perf_counter()))
                payload = json.dumps(completion(body)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                writer.write(str(len(payload)).encode() + b"\r\n\r\n" + payload)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def completion(body: dict[str, Any]) -> dict[str, Any]:
    number = body["seed"] % 10**6
    if "reasonableness" in str(body["messages"]):
        ideas = [{"thought": f"idea {number} {n}", "reasonableness": 0.5} for n in range(3)]
        text = json.dumps({"thoughts": ideas})
    else:
        text = f"```python\ndef f(x):\n    return x + {number}\n```"
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    }


def noise(text: str) -> int:
    return int(sha256(text.encode()).hexdigest()[:8], 16)


async def measure(searches: int, leaves: int | None, options: argparse.Namespace) -> dict[str, Any]:
    endpoint = Endpoint(options.latency, options.slots, options.jitter)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    config = AgentConfig(model="m", base_url=url, api_key="k", concurrency=64)  # type: ignore[arg-type]
    agents = [ChatAgent(name, chat_model(name, config), config) for name in ("ann", "bob")]
    tests = tuple(CallTest(call=f"f({n})", expected=(str(n),)) for n in range(4))
    executor = ScriptedExecutor(lambda job: noise(job.code) % 4 / 4)

    def problem(number: int) -> Problem:
        return Problem(
            id=f"f{number}", statement=f"Write f(x), number {number}.", entry_point="f", public_tests=tests
        )

    # The default plans moves; a number of leaves is a setting of the published walk here.
    walk: Any = {} if leaves is None else {"policy": "paper", "leaves": leaves, "expand": options.expand}
    search = SearchConfig(rollouts=options.rollouts, **walk)
    await asyncio.gather(
        *(asolve(problem(n), agents, executor=executor, search=search) for n in range(searches))
    )
    await asyncio.gather(*(agent.aclose() for agent in agents))
    server.close()
    used = sum(end - begin for begin, end in endpoint.spans)
    span = max(end for _, end in endpoint.spans) - min(begin for begin, _ in endpoint.spans)
    return {
        "searches": searches,
        "leaves": leaves or "default",
        "requests": len(endpoint.spans),
        "seconds": round(span, 2),
        "busy_share": round(used / (span * options.slots), 3),
        "ideal_share": round(ideal(endpoint.spans, options) / span, 3),
        "busy_after_answers": round(after_answers(endpoint.spans, len(agents), options.slots), 3),
    }


def after_answers(spans: list[tuple[float, float]], agents: int, slots: int) -> float:
    """The busy share from the moment that all agents' direct answers have failed."""
    began = sorted(end for _, end in spans)[agents - 1]
    used = sum(end - max(begin, began) for begin, end in spans if end > began)
    return used / ((max(end for _, end in spans) - began) * slots)


def ideal(spans: list[tuple[float, float]], options: argparse.Namespace) -> float:
    """Seconds that the requests would take if every slot were always in use."""
    return len(spans) / options.slots * options.latency


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.5)
    parser.add_argument("--jitter", type=float, default=0.0, help="share by which latencies differ")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--leaves", type=int, default=8)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--expand", default="lazy")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs = ((1, options.leaves), (8, options.leaves), (1, None), (1, 1))
    rows = [asyncio.run(measure(searches, leaves, options)) for searches, leaves in runs]
    settings = {key: value for key, value in vars(options).items() if key != "out"}
    command = " ".join(["python", "benchmarks/busy.py", *sys.argv[1:]])
    text = json.dumps(
        {"command": command, "python": platform.python_version()} | settings | {"rows": rows}, indent=2
    )
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
