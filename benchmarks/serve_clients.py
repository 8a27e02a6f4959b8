"""Many clients of `bdc serve` at once, of all manners: is anything lost, do limits hold, who is worked for?

    python benchmarks/serve_clients.py --out benchmarks/results/serve_clients.json

The server is a process of its own and serves the search. Its agents are an endpoint in this process, which
answers after `--latency` seconds and knows for whom each call is, as every client asks for a function of
another name. All clients come at once, and come again when they are told to (429):

    whole, stream    wait for their answer, which must hold their own function
    leave            leave after a while, in the midst of an answer
    wrong            send what is refused: no key, no JSON, too large a body, an unknown model or field

Meanwhile the server may answer no more than `--requests`, by its metrics and by those for whom the endpoint
is called, and calls for a client that left must end within 5 seconds. At last searches are begun anew, half
of them with calls of a minute, and the server gets SIGTERM: each of their clients must get an answer, or
the word that the server stops.

Exits with 1 if any of this fails.
"""
# ruff: noqa: ASYNC110

import argparse
import asyncio
import json
import os
import platform
import random
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

KEY = "a-key-that-is-long-enough"
LEFT_SECONDS = 5.0
"""In which calls for a client that left must have ended."""
MANNERS = ("whole", "stream", "leave", "wrong")
WRONG: dict[str, tuple[int, dict[str, Any]]] = {
    "no key": (401, {"headers": {"Authorization": "Bearer wrong"}}),
    "no JSON": (400, {"content": b"{"}),
    "too large": (413, {"content": b" " * (1024 * 1024 + 1)}),
    "unknown model": (404, {"json": {"model": "bdc-serach", "messages": [{"role": "user", "content": "x"}]}}),
    "unknown field": (400, {"json": {"messages": [{"role": "user", "content": "x"}], "tempreature": 1}}),
}


# --- the endpoint of the agents -------------------------------------------------------------------------


@dataclass
class Endpoint:
    """Answers after a while, and knows for which clients it is called.

    Args:
        latency: Seconds.
        slow: Clients for whom a call takes a minute.
    """

    latency: float
    slow: set[int] = field(default_factory=set)
    flying: Counter[int] = field(default_factory=Counter)
    last: dict[int, float] = field(default_factory=dict)
    calls_for: Counter[int] = field(default_factory=Counter)
    dropped: int = 0
    most: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(re.search(rb"content-length: *(\d+)", head.lower())[1])  # type: ignore[index]
                body = json.loads(await reader.readexactly(length))
                found = re.search(r"client_(\d+)", json.dumps(body["messages"]))
                assert found, body["messages"]
                if not await self._called(int(found[1]), reader):
                    break
                text = reply(int(found[1]), body.get("seed") or 0)
                payload = json.dumps(completion(body["model"], text)).encode()
                size = str(len(payload)).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                writer.write(size + b"\r\n\r\n" + payload)
                await writer.drain()
        writer.close()

    async def _called(self, client: int, reader: asyncio.StreamReader) -> bool:
        """A call for a client; whether the caller waited for the answer."""
        self.calls_for[client] += 1
        self.flying[client] += 1
        self.most = max(self.most, sum(count > 0 for count in self.flying.values()))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            done, _ = await asyncio.wait({gone}, timeout=60 if client in self.slow else self.latency)
            self.dropped += bool(done)
            return not done
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            self.flying[client] -= 1
            self.last[client] = time.monotonic()


def reply(client: int, seed: int) -> str:
    """Wrong at first, and right from another seed on, so that a search takes some rounds."""
    body = f"n + {client}" if seed % 3 else f"n * {seed % 7 + 2}"
    return f"```python\ndef client_{client}(n):\n    return {body}\n```"


def completion(model: str, text: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    common = {"id": "x", "object": "chat.completion", "created": 0, "model": model}
    return {**common, "choices": [choice], "usage": usage}


# --- the server -----------------------------------------------------------------------------------------


@dataclass
class Server:
    """A running `bdc serve`."""

    process: asyncio.subprocess.Process
    url: str
    log: Any

    def megabytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) // 1024

    def sockets(self) -> int:
        found = 0
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                found += str(file.readlink()).startswith("socket:")
        return found


@asynccontextmanager
async def serving(agents: str, options: argparse.Namespace) -> AsyncIterator[Server]:
    words = ["-a", f"one@{agents}", "-a", f"two@{agents}", "--port", "0", "--requests", str(options.requests)]
    environment = os.environ | {"BDC_API_KEY": KEY}
    with tempfile.TemporaryFile("w+") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bdc_agents.cli", "serve", *words, "--calls", "12", "--seconds", "600"),
            stderr=log,
            env=environment,
        )
        try:
            while "listening at" not in (said := _read(log)):
                assert process.returncode is None, said
                await asyncio.sleep(0.1)
            yield Server(process, said.split("listening at ")[1].split()[0], log)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def _read(log: Any) -> str:
    log.seek(0)
    return log.read()


# --- the clients ----------------------------------------------------------------------------------------


@dataclass
class Told:
    """What the clients were told."""

    done: Counter[str] = field(default_factory=Counter)
    busy: int = 0
    wrong: list[str] = field(default_factory=list)
    left: dict[int, float] = field(default_factory=dict)
    waited: list[float] = field(default_factory=list)

    def fault(self, client: int, what: str) -> None:
        self.wrong.append(f"client {client}: {what:.300}")


class Clients:
    """Everybody who asks.

    Args:
        http: Connected to the server.
        seed: Of who does what, and when those who leave do.
    """

    def __init__(self, http: httpx.AsyncClient, seed: int) -> None:
        self._http = http
        self._draws = random.Random(seed)
        self.told = Told()

    async def all(self, number: int) -> None:
        """So many at once, a quarter of each manner, in any order."""
        order = [MANNERS[client % len(MANNERS)] for client in range(number)]
        self._draws.shuffle(order)
        await asyncio.gather(*(getattr(self, manner)(client) for client, manner in enumerate(order)))

    async def whole(self, client: int) -> None:
        """Waits for its answer in one piece."""
        began = time.monotonic()
        while True:
            answer = await self._http.post("/chat/completions", json=asked(client))
            if answer.status_code != 429:
                break
            await self._again(answer)
        if answer.status_code != 200:
            self.told.fault(client, f"{answer.status_code}: {answer.text}")
            return
        self._check(client, answer.json()["choices"][0]["message"]["content"], answer.json()["bdc"])
        self.told.waited.append(time.monotonic() - began)

    async def stream(self, client: int) -> None:
        """Waits for its answer in pieces."""
        while True:
            body = asked(client) | {"stream": True, "stream_options": {"include_usage": True}}
            async with self._http.stream("POST", "/chat/completions", json=body) as answer:
                if answer.status_code == 429:
                    await answer.aread()
                    await self._again(answer)
                    continue
                events = [line[6:] async for line in answer.aiter_lines() if line]
            break
        if not events or events[-1] != "[DONE]":
            self.told.fault(client, f"{answer.status_code}: the stream ended with {events[-1:]}")
            return
        chunks = [json.loads(event) for event in events[:-1]]
        text = "".join(one["delta"].get("content", "") for chunk in chunks for one in chunk["choices"])
        self._check(client, text, next(chunk["bdc"] for chunk in chunks if "bdc" in chunk))
        if not chunks[-1].get("usage", {}).get("total_tokens"):
            self.told.fault(client, "no usage")

    async def leave(self, client: int) -> None:
        """Leaves while it is worked for, now and then before."""
        seconds, stream = self._draws.uniform(0.2, 3.0), self._draws.random() < 0.5
        while True:
            with suppress(httpx.ReadTimeout, TimeoutError):
                async with asyncio.timeout(seconds):
                    body = asked(client) | {"stream": stream}
                    async with self._http.stream("POST", "/chat/completions", json=body) as answer:
                        if answer.status_code == 429:
                            await answer.aread()
                        else:
                            async for _ in answer.aiter_lines():
                                pass
                            self.told.done["done before it left"] += 1
                            return
                if answer.status_code == 429:
                    await self._again(answer)
                    continue
            break
        self.told.left[client] = time.monotonic()
        self.told.done["leave"] += 1

    async def wrong(self, client: int) -> None:
        """Sends what is refused. It may be told that the server is busy, first."""
        for name, (status, given) in WRONG.items():
            headers = {"Content-Type": "application/json"} | given.get("headers", {})
            content = {key: value for key, value in given.items() if key != "headers"} or {
                "json": asked(client)
            }
            while True:
                answer = await self._http.post("/chat/completions", **content, headers=headers)
                if answer.status_code != 429:
                    break
                await self._again(answer)
            if answer.status_code != status or not answer.json()["error"]["message"]:
                self.told.fault(client, f"{name}: {answer.status_code}: {answer.text}")
        self.told.done["wrong"] += 1

    async def _again(self, answer: httpx.Response) -> None:
        self.told.busy += 1
        if "retry-after" not in answer.headers:
            self.told.wrong.append("a 429 that does not say when to come again")
        await asyncio.sleep(float(answer.headers.get("retry-after", 1)) * self._draws.uniform(0.5, 1.5))

    def _check(self, client: int, text: str, told: dict[str, Any]) -> None:
        if f"def client_{client}(n)" not in text:
            self.told.fault(client, f"another's answer: {text}")
        elif told["calls"] > 12:
            self.told.fault(client, f"a budget that was passed: {told}")
        self.told.done["solved" if told["solved"] else f"ended by {told['stopped_by']}"] += 1


def asked(client: int) -> dict[str, Any]:
    name = f"client_{client}"
    text = f"Write {name}(n). {name}(1) should be {client + 1}, {name}(5) should be {client + 5}."
    return {"model": "bdc-search", "messages": [{"role": "user", "content": text}], "seed": client}


# --- what must hold ----------------------------------------------------------------------------------------


async def watch(http: httpx.AsyncClient, seen: list[int]) -> None:
    """Looks how many requests are answered, until it is cancelled."""
    while True:
        seen.append(await in_flight(http))
        await asyncio.sleep(0.1)


async def in_flight(http: httpx.AsyncClient) -> int:
    """By the metrics, but for the request that asks."""
    text = (await http.get("/../metrics")).text
    return int(re.search(r"^bdc_requests_in_flight (\d+)", text, re.MULTILINE)[1]) - 1  # type: ignore[index]


async def overtime(endpoint: Endpoint, told: Told) -> float:
    """How long after its client left the last call for it ended, at most."""
    ends = time.monotonic() + LEFT_SECONDS
    while any(endpoint.flying[client] for client in told.left) and time.monotonic() < ends:
        await asyncio.sleep(0.05)
    late = [endpoint.last[client] - left for client, left in told.left.items() if client in endpoint.last]
    still = [client for client in told.left if endpoint.flying[client]]
    return LEFT_SECONDS * 2 if still else max([0.0, *late])


async def stopped(server: Server, http: httpx.AsyncClient, endpoint: Endpoint, number: int) -> dict[str, Any]:
    """Stops the server while it searches for some clients; half of them stream, half have slow agents."""
    waiting = range(10_000, 10_000 + number)
    endpoint.slow |= {client for client in waiting if client % 4 < 2}

    async def ask(client: int) -> str:
        answer = await http.post("/chat/completions", json=asked(client) | {"stream": bool(client % 2)})
        if answer.status_code == 503:
            return answer.json()["error"]["code"]
        if f"def client_{client}(n)" in answer.text:
            return "answered"
        return "told in its stream" if '"code":"stopping"' in answer.text else f"{answer.status_code}"

    clients = [asyncio.ensure_future(ask(client)) for client in waiting]
    while not all(endpoint.calls_for[client] for client in waiting):
        await asyncio.sleep(0.05)
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    code = await server.process.wait()
    seconds = round(time.monotonic() - began, 1)
    ends = Counter(await asyncio.gather(*clients, return_exceptions=True))
    found = {str(end) if isinstance(end, str) else type(end).__name__: count for end, count in ends.items()}
    return {"exit_code": code, "seconds": seconds, "clients": found}


async def measure(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    endpoint = Endpoint(options.latency)
    agents = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{agents.sockets[0].getsockname()[1]}/v1"
    limits = httpx.Limits(max_connections=None)
    async with serving(url, options) as server:
        headers = {"Authorization": f"Bearer {KEY}"}
        http = httpx.AsyncClient(base_url=server.url, headers=headers, timeout=600, limits=limits)
        async with http:
            clients, seen = Clients(http, options.seed), list[int]()
            before, began = server.megabytes(), time.monotonic()
            watcher = asyncio.ensure_future(watch(http, seen))
            await clients.all(options.clients)
            seconds = time.monotonic() - began
            late = await overtime(endpoint, clients.told)
            watcher.cancel()
            told = {
                "clients": options.clients,
                "ends": dict(sorted(clients.told.done.items())),
                "told_to_come_again": clients.told.busy,
                "seconds": round(seconds, 1),
                "median_wait": round(sorted(clients.told.waited)[len(clients.told.waited) // 2], 1),
                "calls": endpoint.calls_for.total(),
                "calls_dropped": endpoint.dropped,
                "most_requests_at_once": max(seen),
                "most_searches_at_once": endpoint.most,
                "left_open": await in_flight(http),
                "calls_after_leaving_seconds": round(late, 2),
                "megabytes": [before, server.megabytes()],
            }
            told["stop"] = await stopped(server, http, endpoint, options.stopped)
        log = [line for line in _read(server.log).splitlines() if not line.startswith(USUAL)]
    agents.close()
    faults = clients.told.wrong + [f"in the log: {line}" for line in log]
    checks = {
        "clients were lost": clients.told.done.total() + len(clients.told.wrong) < options.clients,
        "more requests at once than allowed": max(seen) > options.requests,
        "searches for more clients at once than requests": endpoint.most > options.requests,
        "requests that nobody waits for": told["left_open"] > 0,
        "calls went on for clients that left": late > LEFT_SECONDS,
        "the server did not end well": told["stop"]["exit_code"] != 0,
        "a client was not told of the end": not {*told["stop"]["clients"]} <= TOLD,
        "nothing was too much: give more clients or fewer requests": not clients.told.busy,
    }
    return told, faults + [what for what, failed in checks.items() if failed]


TOLD = {"answered", "stopping", "told in its stream"}
"""What a client may hear when the server stops."""
USUAL = ("listening", "models:", "API key", "stopped")
"""What the server says of itself."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--requests", type=int, default=32, help="that the server answers at once")
    parser.add_argument("--latency", type=float, default=0.3, help="seconds of a call of an agent")
    parser.add_argument(
        "--stopped", type=int, default=20, help="clients that wait when the server is stopped"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    told, faults = asyncio.run(measure(options))
    command = " ".join(["python", "benchmarks/serve_clients.py", *sys.argv[1:]])
    common = {"command": command, "python": platform.python_version()}
    settings = {key: value for key, value in vars(options).items() if key not in ("out", "clients")}
    text = json.dumps(common | settings | told | {"faults": faults}, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
