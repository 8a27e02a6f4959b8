"""What the search itself costs: agents and a sandbox of no latency, checkpoints in memory and on disk.

    python benchmarks/overhead.py --peer ENV/bin/python --out benchmarks/results/overhead.json

The peer is treequest 0.3.3 in an environment of its own: python -m venv ENV && ENV/bin/pip install
treequest==0.3.3. Without --peer it is left out. Times are CPU milliseconds of the process, the best of
some runs, so that other work on the machine counts little; wall times are given beside them. With
--instructions this package is not timed; its instructions are counted under valgrind, some ten minutes,
which other work on the machine does not change.

Searches are as long as so many calls of agents, each of which writes thoughts or a program; an answer of
treequest is one call, too. Nodes are told beside them: a further program for a node makes none, and where
no program ever passes, as here, the default policy asks for hundreds of direct answers.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from functools import partial
from hashlib import sha256
from itertools import product
from pathlib import Path
from typing import Any, cast

SIZES = (100, 1000)
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "default, one move at a time": {"leaves": 1},
    "paper": {"name": "paper"},
    "paper, 8 leaves at once": {"name": "paper", "leaves": 8},
}
RUNS = 3


def noise(*parts: object) -> int:
    return int(sha256("/".join(map(str, parts)).encode()).hexdigest()[:8], 16)


# --- this package ---------------------------------------------------------------------------------


def respond(name: str, request: Any) -> str:
    """Three thoughts of its own, or a program; all derived from the seed."""
    if request.json_schema is None:
        return f"```python\ndef f(x):\n    return x + {noise(name, request.seed) % 10**6}\n```"
    width = request.json_schema["properties"]["thoughts"]["maxItems"]
    thoughts = [
        {"thought": f"{name} {request.seed} {n}", "reasonableness": noise(n, request.seed) % 11 / 10}
        for n in range(width)
    ]
    return json.dumps({"thoughts": thoughts})


async def search(calls: int, settings: dict[str, Any], checkpointer: Any) -> tuple[int, int]:
    """Searches until about so many calls were made.

    Returns:
        The nodes of the tree, and the calls.
    """
    from bdc_agents.config import SearchConfig
    from bdc_agents.search import create_search_graph
    from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
    from bdc_agents.types import CallTest, Problem

    tests = tuple(CallTest(call=f"f({n})", expected=(str(n),)) for n in range(4))
    problem = Problem(id="f", statement="Write f(x).", entry_point="f", public_tests=tests)
    agents = [ScriptedAgent(name, lambda r, name=name: respond(name, r)) for name in ("ann", "bob")]
    executor = ScriptedExecutor(lambda job: noise(job.code) % 4 / 4)
    config: Any = {"configurable": {"thread_id": "1"}, "recursion_limit": 10**6}
    graph = create_search_graph(
        agents, executor=executor, search=SearchConfig.preset(max_depth=None, **settings)
    )
    app = graph.compile(checkpointer=checkpointer)
    context: Any = {"search": {"rollouts": 10**6}}
    values: Any = {}
    steps = app.astream(
        {"problem": problem.model_dump(mode="json")},
        config,
        context=context,
        stream_mode="values",
        output_keys=["tree", "calls"],
        durability="sync",
    )
    async with aclosing(cast("AsyncGenerator[Any]", steps)):
        async for values in steps:
            if len(values.get("calls", {})) >= calls:
                break
    return len(values["tree"]), len(values["calls"])


def grown(kind: str, calls: int) -> tuple[int, int]:
    """As `search`, with checkpoints in memory."""
    from langgraph.checkpoint.memory import InMemorySaver

    return asyncio.run(search(calls, KINDS[kind], InMemorySaver()))


def warm_up() -> None:
    """Imports and first validations."""
    grown("default", 20)


Grow = Callable[[int], tuple[int, int]]
"""Searches with about so many calls; tells the nodes, and the calls."""


def measure(kinds: dict[str, Grow]) -> dict[str, dict[str, float]]:
    """The best of some runs, for each kind and size.

    Runs of all sizes take turns and grow as many nodes, small trees one after the other: the machine's
    slow and fast spells then count alike for each.
    """
    best: dict[str, dict[str, float]] = {}
    for _ in range(RUNS):
        for (name, grow), size in product(kinds.items(), SIZES):
            key, run = f"{name}, {size} calls", timed(grow, size, trees=max(SIZES) // size)
            best[key] = min(run, best.get(key, run), key=lambda run: run["cpu_seconds"])
    return {key: rated(run) for key, run in best.items()}


def timed(grow: Grow, size: int, trees: int) -> dict[str, float]:
    """What one tree took, on average."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    nodes, calls = [grow(size) for _ in range(trees)][-1]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "nodes": nodes,
        "calls": calls,
        "cpu_seconds": cpu / trees,
        "wall_seconds": wall / trees,
    }


def rated(run: dict[str, float]) -> dict[str, float]:
    """With the times for a node and for a call."""
    nodes, calls = int(run["nodes"]), int(run["calls"])
    found = rates("ms", 1000 * run["cpu_seconds"], nodes, calls)
    found["wall_ms_per_call"] = 1000 * run["wall_seconds"] / calls
    return rounded(run | found)


def rounded(row: dict[str, float]) -> dict[str, float]:
    return {key: round(value, 3) for key, value in row.items()}


def rates(unit: str, amount: float, nodes: int, calls: int) -> dict[str, float]:
    """What a search took, for each node and each call."""
    return {
        "calls_per_node": calls / nodes,
        f"{unit}_per_node": amount / nodes,
        f"{unit}_per_call": amount / calls,
    }


def own() -> dict[str, Any]:
    warm_up()
    kinds: dict[str, Grow] = {name: partial(grown, name) for name in KINDS}
    rows = measure(kinds)
    stored = {name: asyncio.run(checkpoint_bytes(settings)) for name, settings in KINDS.items()}
    return {"time": rows, "time_1000_to_100": ratios(rows, "ms"), "checkpoint_bytes": stored}


def ratios(rows: dict[str, dict[str, float]], unit: str) -> dict[str, dict[str, float]]:
    """Of the rates of the longer search to those of the shorter one."""
    small, large = SIZES
    pairs = {name: (rows[f"{name}, {small} calls"], rows[f"{name}, {large} calls"]) for name in KINDS}
    names = [*rates(unit, 0, 1, 1)]
    return {
        name: rounded({rate: of_large[rate] / of_small[rate] for rate in names})
        for name, (of_small, of_large) in pairs.items()
    }


async def checkpoint_bytes(settings: dict[str, Any]) -> dict[str, float]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    sizes: dict[str, float] = {}
    for calls in (500, 1000):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checkpoint.sqlite"
            async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
                await search(calls, settings, saver)
            size = file.stat().st_size
        sizes[f"{calls} calls"] = size
    return sizes | {"ratio": round(sizes["1000 calls"] / sizes["500 calls"], 3)}


def counted() -> dict[str, Any]:
    """Instructions of this package for a node and for a call, without those of the start."""
    runs = [("default", 0), *product(KINDS, SIZES)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        (start, _, _), *found = pool.map(lambda run: under_valgrind(*run), runs)
    rows: dict[str, dict[str, float]] = {}
    for (name, size), (total, nodes, calls) in zip(runs[1:], found, strict=True):
        rows[f"{name}, {size} calls"] = rounded(rates("millions", (total - start) / 1e6, nodes, calls))
    return {"instructions": rows, "instructions_1000_to_100": ratios(rows, "millions")}


def under_valgrind(kind: str, calls: int) -> tuple[int, int, int]:
    """The instructions of a process that searches once, its nodes, and its calls."""
    tool = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    done = subprocess.run(
        [*tool, sys.executable, __file__, "--once", kind, str(calls)],
        env=os.environ | {"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    assert found, done.stderr
    nodes, made = json.loads(done.stdout)
    return int(found[1].replace(",", "")), nodes, made


def once(kind: str, calls: int) -> tuple[int, int]:
    """Searches once; with no calls only what every run begins with."""
    warm_up()
    return grown(kind, calls) if calls else (0, 0)


# --- the peer -------------------------------------------------------------------------------------


def peer() -> dict[str, Any]:
    import random

    import treequest  # pyright: ignore[reportMissingImports]

    def grow(make: Callable[[], Any], inplace: bool, nodes: int) -> tuple[int, int]:
        random.seed(0)
        algorithm = make()
        tree = algorithm.init_tree()
        for _ in range(nodes):
            tree = algorithm.step(tree, {"ann": lambda _: ("", random.random() * 0.9)}, inplace=inplace)
        return nodes, nodes

    standard = partial(treequest.StandardMCTS, samples_per_action=1)
    # By default treequest copies its whole tree at each step; StandardMCTS' grows too deep to be copied.
    return measure(
        {
            "AB-MCTS-A": partial(grow, treequest.ABMCTSA, False),
            "AB-MCTS-A, in place": partial(grow, treequest.ABMCTSA, True),
            "StandardMCTS, in place": partial(grow, standard, True),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer", help="Python of an environment with treequest")
    parser.add_argument("--only-peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--instructions", action="store_true", help="count instructions, under valgrind")
    parser.add_argument("--once", nargs=2, metavar=("KIND", "CALLS"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.only_peer:
        print(json.dumps(peer()))
        return
    if options.once:
        print(json.dumps(once(options.once[0], int(options.once[1]))))
        return
    asked = ["--peer", "ENV/bin/python"] if options.peer else []
    asked += ["--instructions"] if options.instructions else []
    asked += ["--out", options.out.as_posix()] if options.out else []
    result: dict[str, Any] = {"command": " ".join(["python", "benchmarks/overhead.py", *asked])}
    result |= {"python": platform.python_version(), "machine": platform.machine()}
    result["own"] = counted() if options.instructions else own()
    if options.peer:
        command = [options.peer, __file__, "--only-peer"]
        done = subprocess.run(command, capture_output=True, text=True)
        told = json.loads(done.stdout) if done.returncode == 0 else done.stderr.splitlines()[-1:]
        result["treequest 0.3.3"] = told
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
