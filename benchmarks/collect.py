"""`bdc collect` over 200 problems: how busy it keeps an endpoint, and what 20 kills cost.

    python benchmarks/collect.py --data DATA --out benchmarks/results/collect.json

The problems are HumanEval's with a public test and the first of MBPP's train split. A scripted
OpenAI-compatible endpoint that serves two models answers over HTTP, so many requests at once as it
has slots, each after a fixed latency, with the reference program or a wrong one as a hash decides.
Programs run in the real sandbox. The latency grows with the slots, so that the requests a second
are the same.

Busy: slot seconds in use over all slot seconds from the first request to the last answer, and the
same up to the moment when the last problem was begun, after which work runs out.
Kills: the command is killed with SIGKILL at random moments and started again until it ends by
itself. Its traces must be those of a run that nobody killed, but for times and what came from the
cache; a request that was made twice must have been in flight, or just answered, at a kill.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from bdc_agents.data import load_tasks
from bdc_agents.runs import read_traces

DATASETS = ["humaneval", "mbpp:601-639"]
RIGHT = 0.1
"""Share of programs that are the reference."""
SETTLING = 1.0
"""Seconds in which an answer may be on its way to the cache when a kill comes."""


class Served(NamedTuple):
    """One request: when it came, had a slot, and was answered; and what it asked."""

    came: float
    begun: float
    ended: float
    key: str


class Endpoint:
    """An OpenAI-compatible endpoint on a loop in a thread of its own."""

    def __init__(self, latency: float, slots: int, references: dict[str, str]) -> None:
        self.latency = latency
        self.slots = asyncio.Semaphore(slots)
        self.references = references
        self.log: list[Served] = []
        self.open: dict[int, float] = {}
        """Requests that have arrived and are not answered."""
        self.loop = asyncio.new_event_loop()
        self._count = 0
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**24), self.loop
        ).result()
        self.port = server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if b"content-length" in h)
                body = json.loads(await reader.readexactly(length))
                await self.answer(body, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def answer(
        self, body: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._count += 1
        number, came = self._count, time.time()
        key = sha256(json.dumps([body["model"], body["messages"], body["seed"]]).encode()).hexdigest()[:16]
        self.open[number] = came
        try:
            async with self.slots:
                if reader.at_eof():
                    return  # whoever asked is gone
                begun = time.time()
                await asyncio.sleep(self.latency)
                self.log.append(Served(came, begun, time.time(), key))
        finally:
            del self.open[number]
        payload = json.dumps(self.completion(body)).encode()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
        writer.write(str(len(payload)).encode() + b"\r\n\r\n" + payload)
        await writer.drain()

    def completion(self, body: dict[str, Any]) -> dict[str, Any]:
        said = str(body["messages"][-1]["content"])
        noise = int(sha256(f"{body['model']}{body['seed']}{said}".encode()).hexdigest()[:8], 16)
        if "response_format" in body:
            ideas = [{"thought": f"idea {(noise + n) % 997}", "reasonableness": 0.5} for n in range(3)]
            text = json.dumps({"thoughts": ideas})
        else:
            reference = next((code for start, code in self.references.items() if start in said), "")
            right = noise % 1000 < 1000 * RIGHT
            text = f"```python\n{reference if right else f'x = {noise % 97}'}\n```"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        common = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        return common | {"choices": [choice], "usage": usage}


def references(data: Path) -> dict[str, str]:
    """The reference program of each problem, by a piece of its statement."""
    found = {}
    for task in [*load_tasks("humaneval", data=data), *load_tasks("mbpp", data=data, split="train")]:
        found[task.problem.statement.strip()[:150]] = task.hidden.reveal_reference() or ""
    return found


def settings(folder: Path, endpoint: Endpoint, slots: int, options: argparse.Namespace) -> None:
    tables = [
        f'[agents.{name}]\nmodel = "{name}"\nbase_url = "http://127.0.0.1:{endpoint.port}/v1"\n'
        f'api_key = "k"\nconcurrency = {slots}\nstructured = "json_schema"\n'
        for name in ("ann", "bob")
    ]
    limits = f"[search]\nleaves = {options.leaves}\n[budget]\ncalls = {options.calls}\n"
    (folder / "bdc.toml").write_text("".join(tables) + limits + '[store]\npath = "cache"\n')


def command(data: Path) -> list[str]:
    words = ["collect", *DATASETS, "--data", str(data.resolve()), "--out", "run", "--json", "--quiet"]
    return [sys.executable, "-m", "bdc_agents.cli", *words]


def busy(data: Path, options: argparse.Namespace, slots: int) -> tuple[dict[str, Any], dict[str, str]]:
    """One undisturbed run: its figures and its traces."""
    latency = slots / options.rate
    endpoint = Endpoint(latency, slots, references(data))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings(folder, endpoint, slots, options)
        began = time.time()
        process = subprocess.Popen(command(data), cwd=folder, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        told = process.stdout.read()
        _, _, used = os.wait4(process.pid, 0)
        process.returncode = 0
        seconds, cpu = time.time() - began, used.ru_utime + used.ru_stime
        report = json.loads(told)
        traces = essence(folder / "run")
    log = endpoint.log
    first, last = min(one.begun for one in log), max(one.ended for one in log)
    tail = running_out(log, slots)
    row = {
        "slots": slots,
        "latency": latency,
        "problems": report["done"],
        "solved": report["solved"],
        "requests": len(log),
        "seconds": round(seconds, 1),
        "busy_share": share(log, first, last, slots),
        "busy_share_until_work_runs_out": share(log, first, tail, slots),
        "work_runs_out_after": round(tail - first, 1),
        "ideal_seconds": round(len(log) / options.rate, 1),
        "cpu_seconds": round(cpu, 1),
        "cpu_ms_per_request": round(1000 * cpu / len(log), 1),
    }
    return row, traces


def share(log: list[Served], first: float, last: float, slots: int) -> float:
    used = sum(max(0.0, min(one.ended, last) - one.begun) for one in log)
    return round(used / ((last - first) * slots), 4)


def running_out(log: list[Served], slots: int) -> float:
    """The last moment at which all slots were in use."""
    events = sorted([(one.begun, 1) for one in log] + [(one.ended, -1) for one in log])
    level, full = 0, log[0].begun
    for moment, change in events:
        if level >= slots and change < 0:
            full = moment
        level += change
    return full


def essence(run: Path) -> dict[str, str]:
    """The traces of a run by problem, without what a second look at the same replies may change."""
    found: dict[str, str] = {}
    for trace in read_traces(run):
        assert trace.problem.id not in found, f"two records of {trace.problem.id}"
        found[trace.problem.id] = json.dumps(without_times(trace.model_dump(mode="json")), sort_keys=True)
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        dropped = {"seconds", "created", "cached", "saved"}
        return {key: without_times(item) for key, item in value.items() if key not in dropped}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def kills(data: Path, options: argparse.Namespace, slots: int) -> tuple[dict[str, Any], dict[str, str]]:
    """A run that is killed again and again: its figures and its traces."""
    endpoint = Endpoint(slots / options.rate, slots, references(data))
    rng, at = random.Random(options.seed), list[float]()
    in_flight = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings(folder, endpoint, slots, options)
        while len(at) < options.kills:
            process = subprocess.Popen(
                command(data), cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True
            )
            time.sleep(2.0 + rng.random() * 2 * options.every)
            if process.poll() is not None:
                break
            in_flight += len(endpoint.open)
            at.append(time.time())
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        done = subprocess.run(command(data), cwd=folder, capture_output=True, text=True, check=False)
        report = json.loads(done.stdout)
        traces = essence(folder / "run")
    times = Counter(one.key for one in endpoint.log)
    repeated = [key for key, count in times.items() if count > 1]
    asked: dict[str, list[Served]] = {}
    for one in sorted(endpoint.log):
        asked.setdefault(one.key, []).append(one)
    unexplained = [key for key in repeated if not all(cut(one, at) for one in asked[key][:-1])]
    row = {
        "slots": slots,
        "kills": len(at),
        "ended": report["ended"],
        "problems": len(traces),
        "requests": len(endpoint.log),
        "repeated": sum(times[key] - 1 for key in repeated),
        "in_flight_at_kills": in_flight,
        "repeated_though_not_in_flight": len(unexplained),
    }
    return row, traces


def cut(one: Served, at: list[float]) -> bool:
    """Whether a kill came while a request was in flight, or its answer on the way to the cache."""
    return any(one.came - 0.1 <= kill <= one.ended + SETTLING for kill in at)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("BDC_DATA", "../shared/data")))
    parser.add_argument("--rate", type=float, default=8.0, help="requests a second of a busy endpoint")
    parser.add_argument("--slots", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--calls", type=int, default=16)
    parser.add_argument("--leaves", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=10.0, help="seconds between kills, on average")
    parser.add_argument("--together", action="store_true", help="all measures at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    measures = [partial(busy, options.data, options, slots) for slots in options.slots]
    if options.kills:
        measures.append(partial(kills, options.data, options, options.slots[-1]))
    with ThreadPoolExecutor(len(measures) if options.together else 1) as pool:
        found = list(pool.map(lambda measure: measure(), measures))
    rows = [row for row, _ in found]
    for row, (_, traces) in zip(rows, found, strict=True):
        row["same_traces"] = traces == found[0][1]
        row["differing"] = [key for key, trace in found[0][1].items() if traces.get(key) != trace][:5]
        print(json.dumps(row), flush=True)
    described = {key: value for key, value in vars(options).items() if key not in {"out", "data"}}
    head = {
        "command": " ".join(["python", "benchmarks/collect.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    text = json.dumps(head | described | {"rows": rows}, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
