"""What the search itself costs: agents and a sandbox of no latency, checkpoints in memory and on disk.

    python benchmarks/overhead.py --peer ENV/bin/python --out benchmarks/results/overhead.json

The peer is treequest 0.3.3 in an environment of its own: python -m venv ENV && ENV/bin/pip install
treequest==0.3.3. Without --peer it is left out. Times are CPU milliseconds of the process, the better of
two runs, so that other work on the machine counts little; wall times are given beside them. A node of
treequest is one answer, so its times compare with those for an evaluation; by default nodes of this
package's trees are evaluated again and again, and once each with resample = 0.
"""

import argparse
import asyncio
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

SIZES = (100, 1000)
KINDS: dict[str, dict[str, Any]] = {
    "default": {},
    "resample = 0": {"resample": 0},
    "leaves = 8": {"leaves": 8},
}
RUNS = 2


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


async def search(nodes: int, settings: dict[str, Any], checkpointer: Any) -> tuple[int, int]:
    """Grows a tree to about `nodes` nodes.

    Returns:
        Its nodes, and the rollouts that grew it.
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
    graph = create_search_graph(agents, executor=executor, search=SearchConfig(max_depth=None, **settings))
    app = graph.compile(checkpointer=checkpointer)
    context: Any = {"search": {"rollouts": 10**6}}
    values: Any = {}
    steps = app.astream(
        {"problem": problem.model_dump(mode="json")},
        config,
        context=context,
        stream_mode="values",
        output_keys=["tree", "rollouts"],
        durability="sync",
    )
    async with aclosing(cast("AsyncGenerator[Any]", steps)):
        async for values in steps:
            if len(values.get("tree", {})) >= nodes:
                break
    return len(values["tree"]), values["rollouts"]


def measure(work: Callable[[], tuple[int, int]]) -> dict[str, float]:
    """The best of some runs, for a node and for an evaluated node."""
    best: dict[str, float] = {}
    for _ in range(RUNS):
        cpu, wall = time.process_time(), time.perf_counter()
        nodes, evaluated = work()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        if not best or cpu < best["cpu_seconds"]:
            best = {"nodes": nodes, "evaluated": evaluated, "cpu_seconds": cpu, "wall_seconds": wall}
    ms = {
        "ms_per_node": 1000 * best["cpu_seconds"] / best["nodes"],
        "ms_per_evaluated": 1000 * best["cpu_seconds"] / best["evaluated"],
        "wall_ms_per_node": 1000 * best["wall_seconds"] / best["nodes"],
    }
    return {key: round(value, 3) for key, value in (best | ms).items()}


def own() -> dict[str, Any]:
    from langgraph.checkpoint.memory import InMemorySaver

    asyncio.run(search(20, {}, InMemorySaver()))  # Imports and first validations.
    rows = {
        f"{name}, {size} nodes": measure(
            lambda size=size, settings=settings: asyncio.run(search(size, settings, InMemorySaver()))
        )
        for name, settings in KINDS.items()
        for size in SIZES
    }
    stored = {name: asyncio.run(checkpoint_bytes(settings)) for name, settings in KINDS.items()}
    return {"time": rows, "checkpoint_bytes": stored}


async def checkpoint_bytes(settings: dict[str, Any]) -> dict[str, float]:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    sizes: dict[str, float] = {}
    for nodes in (500, 1000):
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "checkpoint.sqlite"
            async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
                _, evaluated = await search(nodes, settings, saver)
            size = file.stat().st_size
        sizes |= {f"{nodes} nodes": size, f"per evaluation at {nodes}": round(size / evaluated)}
    return sizes | {"ratio": round(sizes["1000 nodes"] / sizes["500 nodes"], 3)}


# --- the peer -------------------------------------------------------------------------------------


def peer() -> dict[str, Any]:
    import random

    import treequest  # pyright: ignore[reportMissingImports]

    def grow(make: Callable[[], Any], nodes: int) -> tuple[int, int]:
        random.seed(0)
        algorithm = make()
        tree = algorithm.init_tree()
        for _ in range(nodes):
            # In place: by default treequest copies its whole tree at each step.
            tree = algorithm.step(tree, {"ann": lambda _: ("", random.random() * 0.9)}, inplace=True)
        return nodes, nodes

    kinds: dict[str, Callable[[], Any]] = {
        "AB-MCTS-A": treequest.ABMCTSA,
        "StandardMCTS": lambda: treequest.StandardMCTS(samples_per_action=1),
    }
    return {
        f"{name}, {size} nodes": measure(lambda make=make, size=size: grow(make, size))
        for name, make in kinds.items()
        for size in SIZES
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--peer", help="Python of an environment with treequest")
    parser.add_argument("--only-peer", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.only_peer:
        print(json.dumps(peer()))
        return
    result: dict[str, Any] = {"command": " ".join(["python", "benchmarks/overhead.py", *sys.argv[1:]])}
    result |= {"python": platform.python_version(), "machine": platform.machine(), "own": own()}
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
