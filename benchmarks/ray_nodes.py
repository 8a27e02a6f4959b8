"""`bdc collect --engine ray` on one and two Ray nodes, and on two of which one dies.

    python benchmarks/ray_nodes.py --out benchmarks/results/ray.json

The nodes are real Ray nodes on loopback, each with an address of its own, which ask for a token. A
scripted OpenAI-compatible endpoint answers over HTTP after a fixed latency, without any limit of its
own: the slots are those of the nodes, so many for each agent on each node. The problems are copies
of the shipped ones, and no program passes, so that every search takes the same number of calls.
Programs run in the real sandbox.

Throughput: requests a second from the first request to the last answer.
Loss: all processes of the second node are killed with SIGKILL when a third of the requests are made.
A request that was made twice must have been in flight, or just answered, at that moment.
"""

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from secrets import token_hex
from typing import Any, NamedTuple

from bdc_agents.runs import read_traces

HEAD, OTHER = "127.0.0.2", "127.0.0.3"
SETTLING = 1.0
"""Seconds in which an answer may be on its way to the driver when the node dies."""


class Served(NamedTuple):
    """One request: when it came and was answered; and what it asked."""

    came: float
    ended: float
    key: str


class Endpoint:
    """An OpenAI-compatible endpoint on a loop in a thread of its own."""

    def __init__(self, latency: float) -> None:
        self.latency = latency
        self.log: list[Served] = []
        self.open = 0
        self.most = 0
        loop = asyncio.new_event_loop()
        threading.Thread(target=loop.run_forever, daemon=True).start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.serve, "127.0.0.1", 0, limit=2**24), loop
        ).result()
        self.port = server.sockets[0].getsockname()[1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = next(int(h.split(b":")[1]) for h in head.split(b"\r\n") if b"content-length" in h)
                payload = await self.answer(json.loads(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ")
                writer.write(str(len(payload)).encode() + b"\r\n\r\n" + payload)
                await writer.drain()
        writer.close()

    async def answer(self, body: dict[str, Any]) -> bytes:
        came = time.time()
        key = sha256(json.dumps([body["model"], body["messages"], body["seed"]]).encode()).hexdigest()[:16]
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(self.latency)
        self.open -= 1
        self.log.append(Served(came, time.time(), key))
        if "response_format" in body:
            ideas = [{"thought": f"idea {key} {n}", "reasonableness": 0.5} for n in range(2)]
            text = json.dumps({"thoughts": ideas})
        else:
            text = f"```python\nx = '{key}'\n```"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
        common = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        return json.dumps(common | {"choices": [choice], "usage": usage}).encode()


class Cluster:
    """Ray nodes on loopback.

    Args:
        folder: Of Ray's own files; a short path.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind((HEAD, 0))
            self.port = free.getsockname()[1]
        self.address = f"{HEAD}:{self.port}"
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_hex(32)}
        self.environment = os.environ | secret | {"RAY_USAGE_STATS_ENABLED": "0"}

    def start(self, host: str) -> None:
        first = ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}"]
        where = first if host == HEAD else [f"--address={self.address}"]
        limits = ["--num-cpus=1", f"--object-store-memory={100 * 2**20}"]
        subprocess.run(
            [Path(sys.executable).with_name("ray"), "start", *where, f"--node-ip-address={host}", *limits],
            env=self.environment | {"BDC_BENCHMARK_NODE": f"{self.folder.name}/{host}"},
            check=True,
            capture_output=True,
        )

    def kill(self, host: str) -> int:
        """Kills all processes of a node with SIGKILL."""
        marked, killed = f"BDC_BENCHMARK_NODE={self.folder.name}/{host}".encode(), 0
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marked in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
                    killed += 1
        return killed


def prepare(folder: Path, endpoint: Endpoint, options: argparse.Namespace) -> None:
    """Writes the settings and the problems."""
    tables = [
        f'[agents.{name}]\nmodel = "{name}"\nbase_url = "http://127.0.0.1:{endpoint.port}/v1"\n'
        f'concurrency = {options.slots}\nstructured = "json_schema"\n'
        for name in ("ann", "bob")
    ]
    limits = f"[search]\nrollouts = 16\n[budget]\ncalls = {options.calls}\n"
    (folder / "bdc.toml").write_text("".join(tables) + limits)
    rows = [
        json.loads(row) for row in files("bdc_agents.data").joinpath("demo.jsonl").read_text().splitlines()
    ]
    with (folder / "many.jsonl").open("w") as file:
        for number in range(options.problems):
            row = rows[number % len(rows)]
            identity = f"{row['id']}-{number}"
            changed = {"id": identity, "statement": f"{row['statement']}\n\nNo. {number}"}
            file.write(json.dumps(row | changed) + "\n")


def measure(
    cluster: Cluster, options: argparse.Namespace, nodes: int, *, loses: bool = False
) -> dict[str, Any]:
    """One run: its figures."""
    endpoint = Endpoint(options.latency)
    words = ["collect", "many.jsonl", "--out", "run", "--json", "--quiet", "--engine", "ray"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, endpoint, options)
        process = subprocess.Popen(
            [sys.executable, "-m", "bdc_agents.cli", *words, "--ray-address", cluster.address],
            cwd=folder,
            env=cluster.environment | {"XDG_CACHE_HOME": str(folder / "home")},
            stdout=subprocess.PIPE,
            text=True,
        )
        lost: dict[str, Any] = {}
        if loses:
            while len(endpoint.log) < options.problems * options.calls / 3 and process.poll() is None:
                time.sleep(0.01)
            lost = {"in_flight_at_loss": endpoint.open, "at": time.time()}
            lost["processes_killed"] = cluster.kill(OTHER)
        out, _ = process.communicate(timeout=600)
        report = json.loads(out)
        traces = [trace.problem.id for trace in read_traces(folder / "run")]
    return figures(endpoint, report, traces, nodes, options) | (
        losses(endpoint, report, lost) if loses else {}
    )


def figures(
    endpoint: Endpoint, report: dict[str, Any], traces: list[str], nodes: int, options: argparse.Namespace
) -> dict[str, Any]:
    log = endpoint.log
    seconds = max(one.ended for one in log) - min(one.came for one in log)
    slots = 2 * options.slots * nodes
    return {
        "nodes": nodes,
        "slots": slots,
        "ended": report["ended"],
        "problems": report["done"],
        "traces": len(traces),
        "problems_with_two_traces": len(traces) - len(set(traces)),
        "requests": len(log),
        "most_at_once": endpoint.most,
        "seconds": round(seconds, 1),
        "requests_a_second": round(len(log) / seconds, 2),
        "slot_seconds_in_use": round(len(log) * options.latency / (seconds * slots), 3),
    }


def losses(endpoint: Endpoint, report: dict[str, Any], lost: dict[str, Any]) -> dict[str, Any]:
    at = lost.pop("at")
    asked: dict[str, list[Served]] = {}
    for one in sorted(endpoint.log):
        asked.setdefault(one.key, []).append(one)
    again = [times for times in asked.values() if len(times) > 1]
    cut = [times for times in again if all(t.came <= at <= t.ended + SETTLING for t in times[:-1])]
    return lost | {
        "repeated": Counter(len(times) - 1 for times in again).total(),
        "repeated_though_not_in_flight": len(again) - len(cut),
        "notes": [note.partition(" (")[0] for note in report["notes"]],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--calls", type=int, default=6)
    parser.add_argument("--slots", type=int, default=2, help="of each of two agents on each node")
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder))
        try:
            cluster.start(HEAD)
            rows.append(measure(cluster, options, 1))
            print(json.dumps(rows[-1]), flush=True)
            cluster.start(OTHER)
            for loses in (False, True):
                rows.append(measure(cluster, options, 2, loses=loses))
                print(json.dumps(rows[-1]), flush=True)
        finally:
            for host in (OTHER, HEAD):
                cluster.kill(host)
    head = {
        "command": " ".join(["python", "benchmarks/ray_nodes.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": [round(value, 1) for value in os.getloadavg()],
    }
    described = {key: value for key, value in vars(options).items() if key != "out"}
    growth = round(rows[1]["requests_a_second"] / rows[0]["requests_a_second"], 2)
    text = json.dumps(head | described | {"throughput_two_nodes_over_one": growth, "rows": rows}, indent=2)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
