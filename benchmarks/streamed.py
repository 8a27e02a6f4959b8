"""What a search sends to whoever watches it: bytes of its streams and history, runs and bytes of a tracer.

    python benchmarks/streamed.py --out benchmarks/results/streamed.json

Agents answer at once, with programs that recorded searches wrote, from `experts/traces`; the programs run in
this machine's sandbox, on 12 tests, and never pass. Streams and history are counted as the JSON that a server
sends. The tracer is LangChain's own for LangSmith, whose client sends to a server on loopback: what it
receives is counted, as JSON that is not compressed.
"""

import argparse
import asyncio
import gzip
import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
ROLLOUTS, CALLS = 60, 1450
"""So many calls make a tree of 1,000 nodes here."""
TESTS = 12
"""As many as a problem of HumanEval+ or APPS shows."""
LIMITS = {"cpu_seconds": 1, "wall_seconds": 2}
"""Some recorded programs never end by themselves."""
MODES = ("values", "updates", "custom")


def noise(*parts: object) -> int:
    return int(sha256("/".join(map(str, parts)).encode()).hexdigest()[:8], 16)


def recorded() -> list[str]:
    """Programs that recorded searches wrote, in the order of the files."""
    codes: list[str] = []
    for file in sorted((ROOT / "experts" / "traces").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            codes += [one["code"] for line in lines for one in json.loads(line)["programs"].values()]
    return codes


class Author:
    """Writes recorded programs, each with a function of the problem that is wrong, and thoughts."""

    def __init__(self) -> None:
        self.codes, self.count = recorded(), 0

    def reply(self, prompt: str, thoughts: bool, seed: object) -> str:
        drawn = noise(prompt, seed)
        if thoughts:
            ideas = [f"Idea {drawn % 9973}.{n}: {' '.join(prompt.split()[-40:])[:160]}" for n in range(3)]
            return json.dumps({"thoughts": [{"thought": one, "reasonableness": 0.5} for one in ideas]})
        code = self.codes[drawn % len(self.codes)]
        return f"```python\n{code}\n\n\ndef scale(items):\n    return [x + {drawn % 997} for x in items]\n```"


def problem() -> Any:
    from bdc_agents.types import CallTest, Limits, Problem

    tests = [
        CallTest(call=f"scale({[*range(n, n + 12)]})", expected=(str([2 * x for x in range(n, n + 12)]),))
        for n in range(TESTS)
    ]
    statement = "Write scale(items), which gives twice each number of a list. " * 6
    return Problem(
        id="scale",
        statement=statement,
        entry_point="scale",
        public_tests=tuple(tests),
        limits=Limits(**LIMITS),
    )


def team(author: Author) -> dict[str, Any]:
    """Two scripted chat models, so that a tracer sees the runs of models."""
    from bdc_agents.testing import ScriptedModel

    def respond(name: str, messages: Any) -> str:
        prompt = "\n".join(str(message.content) for message in messages)
        author.count += 1
        return author.reply(prompt, "reasonableness" in prompt, (name, author.count))

    names = ("ann", "bob")
    return {name: ScriptedModel(respond=lambda given, name=name: respond(name, given)) for name in names}


def sent(value: Any) -> int:
    """Bytes of a value as a server sends it."""
    return len(json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "replace"))


async def streamed(rollouts: int, preset: str) -> dict[str, Any]:
    """Bytes of each stream, of the history and of the last state of one search."""
    from langgraph.checkpoint.memory import InMemorySaver

    from bdc_agents import create_executor, create_search_graph

    executor = create_executor()
    graph = create_search_graph(
        team(Author()), executor=executor, search={"preset": preset, "rollouts": rollouts}
    )
    app: Any = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    sizes, last = dict.fromkeys(MODES, 0), {}
    given = {"problem": problem().model_dump(mode="json")}
    async for mode, chunk in app.astream(given, config, stream_mode=[*MODES]):
        sizes[mode] += sent(chunk)
        last = chunk if mode == "values" else last
    history = [snapshot async for snapshot in app.aget_state_history(config)]
    state = (await app.aget_state(config)).values
    await executor.aclose()
    parts = {key: sent(value) for key, value in sorted(state.items(), key=lambda item: -sent(item[1]))}
    return {
        "rollouts": state["rollouts"],
        "nodes": len(state["tree"]),
        "steps": len(history),
        "streamed_megabytes": {mode: round(size / 1e6, 3) for mode, size in sizes.items()},
        "history_megabytes": round(sum(sent(one.values) for one in history) / 1e6, 3),
        "last_value_kilobytes": round(sent(last) / 1e3, 1),
        "last_state_kilobytes": {key: round(size / 1e3, 1) for key, size in [*parts.items()][:6]},
    }


# --- a tracer ---------------------------------------------------------------------------------------


class Receiver:
    """LangSmith's routes for runs, on loopback: counts what comes in."""

    def __init__(self) -> None:
        self.bytes, self.largest, self.requests = 0, 0, 0
        self.runs: set[str] = set()
        self.events = 0
        self.bytes_of: dict[str, int] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({"version": "0.0.0", "batch_ingest_config": INGEST})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(body, dict(self.headers))
                self._answer({})

            do_PATCH = do_POST

            def _answer(self, value: Any) -> None:
                payload = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        self.requests += 1
        self.bytes += len(body)
        for event, run, part, size in parts_of(body, headers):
            self.runs.add(run)
            self.events += not part
            name = f"{event}.{part}" if part else event
            self.bytes_of[name] = self.bytes_of.get(name, 0) + size
            self.largest = max(self.largest, size)


INGEST = {
    "use_multipart_endpoint": True,
    "size_limit": 100,
    "size_limit_bytes": 20_971_520,
    "scale_up_qsize_trigger": 1000,
    "scale_up_nthreads_limit": 1,
    "scale_down_nempty_trigger": 4,
}
"""What LangSmith's server tells its client of itself; without zstd, so that sizes are those of the JSON."""


def parts_of(body: bytes, headers: dict[str, str]) -> Iterator[tuple[str, str, str, int]]:
    """From a multipart request, each part: `post` or `patch`, the run, which part of it, and bytes."""
    boundary = headers["Content-Type"].split("boundary=")[1].encode()
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = head.split(b'name="')[1].split(b'"')[0].decode()
        event, run, *more = name.split(".")
        yield event, run, more[0] if more else "", len(content)


async def traced(calls: int) -> dict[str, Any]:
    """What LangChain's tracer sends of a search of so many calls."""
    from langchain_core.tracers import LangChainTracer
    from langsmith import Client

    from bdc_agents import create_executor, create_search_graph

    receiver = Receiver()
    client = Client(api_url=receiver.url, api_key="none", info=None)
    executor = create_executor()
    tracer = LangChainTracer(client=client, project_name="search")
    settings: Any = {"max_depth": None}
    graph = create_search_graph(team(Author()), executor=executor, search=settings, budget={"calls": calls})
    app: Any = graph.compile()
    given = {"problem": problem().model_dump(mode="json")}
    found = await app.ainvoke(given, {"callbacks": [tracer]})
    await executor.aclose()
    await asyncio.to_thread(client.flush)
    receiver.server.shutdown()
    return {
        "nodes": len(found["tree"]),
        "calls": len(found["calls"]),
        "runs": len(receiver.runs),
        "events": receiver.events,
        "megabytes": round(receiver.bytes / 1e6, 2),
        "largest_part_kilobytes": round(receiver.largest / 1e3, 1),
        "megabytes_of": {key: round(size / 1e6, 2) for key, size in sorted(receiver.bytes_of.items())},
        "requests": receiver.requests,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=ROLLOUTS)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.pop("LANGSMITH_TRACING", None)
    result: dict[str, Any] = {"command": " ".join(["python", "benchmarks/streamed.py", *sys.argv[1:]])}
    result |= {"python": platform.python_version()}
    result["streamed"] = {
        preset: asyncio.run(streamed(options.rollouts, preset)) for preset in ("default", "paper")
    }
    result["traced"] = asyncio.run(traced(options.calls)) if options.calls else None
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
