"""Searches that kill their own process, and go on in another: run by test_durable.py.

    python killed_search.py step|call VARIANT [URL]

Kills a search at super-steps, or in the middle of calls, resumes it, and prints one JSON object a kill:
whether the tree is the one of a search that nobody killed, and what was asked twice. It kills at the first
and the last moment of every kind, and at every fourth of all; BDC_TEST_EXHAUSTIVE=1 leaves none out.
"""

import asyncio
import gc
import json
import os
import signal
import sys
import tempfile
from collections import Counter
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from conftest import answer, digest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from bdc_agents.agents import ChatAgent, ReplyCache
from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig, SearchConfig
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Problem

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {"rollouts": 14},
    "leaves": {"rollouts": 6, "leaves": 3, "expand": "eager", "judge": True, "merge": True},
}
TESTS = tuple(CallTest(call=f"double({n})", expected=(str(2 * n),)) for n in range(4))
PROBLEM = Problem(id="double", statement="Double a number.", entry_point="double", public_tests=TESTS)


class Log:
    """Lines on disk that outlive the process; kills it where it is told to."""

    def __init__(self, file: Path, kill: tuple[str, int] | None = None) -> None:
        self.file = file
        self.kill = kill
        self.counts: Counter[str] = Counter()

    def write(self, kind: str, text: str = "") -> None:
        with self.file.open("a") as file:
            file.write(f"{kind} {text}\n")
        self.counts[kind] += 1
        if self.kill == (kind, self.counts[kind]):
            os.kill(os.getpid(), signal.SIGKILL)


class LoggedAgent(ScriptedAgent):
    """Writes down every call before it is made, and gives the others a turn while it is."""

    log: Log

    async def reply(self, request: Request) -> Reply:
        self.log.write("call", f"{self.name}/{request.seed}/{request.json_schema is None}")
        await asyncio.sleep(0)
        return await super().reply(request)


def make_agents(log: Log, folder: Path, url: str | None) -> list[Any]:
    names = ("ann", "bob")
    if url:
        config = AgentConfig.model_validate({"model": "m", "base_url": url, "api_key": "k", "concurrency": 1})
        cache = ReplyCache(folder)
        return [ChatAgent(name, chat_model(name, config), config, cache, identity=name) for name in names]
    agents = [LoggedAgent(name, lambda request, name=name: answer(name, request)) for name in names]
    for agent in agents:
        agent.log = log
    return agents


async def search(folder: Path, log: Log, variant: str, url: str | None) -> dict[str, Any]:
    async with AsyncSqliteSaver.from_conn_string(str(folder / "checkpoint.sqlite")) as saver:
        trace = await asolve(
            PROBLEM,
            make_agents(log, folder, url),
            executor=ScriptedExecutor(lambda job: digest(job.code) % 4 / 4),
            search=SearchConfig(**VARIANTS[variant]),
            on_event=lambda event: log.write(event["type"]) if event["type"] == "answered" else None,
            on_state=lambda state: log.write("step"),
            checkpointer=saver,
        )
    usage = {name: [used.calls, used.tokens] for name, used in trace.solution.usage.items()}
    tree = [node.model_dump(mode="json") for node in trace.nodes]
    programs = {key: program.code for key, program in trace.programs.items()}
    return {"tree": tree, "programs": programs, "usage": usage, "by": trace.solution.stopped_by}


def in_a_process_of_its_own(
    folder: Path, kill: tuple[str, int] | None, variant: str, url: str | None
) -> dict[str, Any] | None:
    """What a search came to; None where it was killed."""
    process = os.fork()
    if not process:
        result = asyncio.run(search(folder, Log(folder / "log", kill), variant, url))
        (folder / "result.json").write_text(json.dumps(result))
        os._exit(0)
    _, status = os.waitpid(process, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert status == 0
    return json.loads((folder / "result.json").read_text())


def asked_again(before: list[str], after: list[str]) -> tuple[list[str], list[str]]:
    """Calls of the killed process that were made again, and those of them that it had settled."""
    last = max((number for number, line in enumerate(before) if line.startswith("step")), default=0)
    calls = [line for line in before if line.startswith("call")]
    settled = {line for line in before[:last] if line.startswith("call")}
    again = [line for line in after if line in calls]
    return again, [line for line in again if line in settled]


def moments(kind: str, log: list[str]) -> list[int]:
    """The numbers of the lines of a kind at which to kill.

    Steps are of one kind if as many thoughts and programs were asked for since the last one, calls if what
    they ask for is the same.
    """
    numbers: dict[Any, list[int]] = {}
    since: Counter[str] = Counter()
    number = 0
    for line in log:
        asks = line.rpartition("/")[2]
        if line.startswith(kind):
            number += 1
            numbers.setdefault(asks if kind == "call" else frozenset(since.items()), []).append(number)
        if line.startswith("step"):
            since.clear()
        elif line.startswith("call"):
            since[asks] += 1
    ends = {end for found in numbers.values() for end in (found[0], found[-1])}
    every = 1 if os.environ.get("BDC_TEST_EXHAUSTIVE") else 4
    return sorted(ends | {*range(1, number + 1, every)})


def main(kind: str, variant: str, url: str | None = None) -> None:
    if url:  # Or each process would import them.
        for module in (
            "bdc_agents.agents.compatible",
            "genai_prices.data",
            "openai.resources.chat",
        ):
            import_module(module)
    gc.freeze()  # Or each process would look through all of it for garbage.
    with tempfile.TemporaryDirectory() as name:
        whole = in_a_process_of_its_own(Path(name), None, variant, url)
        log = (Path(name) / "log").read_text().splitlines()
    for number in moments(kind, log):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            assert in_a_process_of_its_own(folder, (kind, number), variant, url) is None
            before = (folder / "log").read_text().splitlines()
            resumed = in_a_process_of_its_own(folder, None, variant, url)
            after = (folder / "log").read_text().splitlines()[len(before) :]
        again, wasted = asked_again(before, after)
        same = resumed == whole
        print(json.dumps({"killed": [kind, number], "same": same, "again": again, "wasted": wasted}))
        sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
