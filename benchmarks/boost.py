"""Whether the search solves more with real models than its rivals: two small LLMs, 150 problems, eight arms.

    python benchmarks/boost.py run --data DATA --state FOLDER [--minutes 60] [--arms search "search, large"]
    python benchmarks/boost.py pack --state FOLDER      # adds what FOLDER holds to benchmarks/results/boost
    python benchmarks/boost.py unpack --state FOLDER    # and back, on another machine
    python benchmarks/boost.py report

boost.md is the plan. FOLDER holds replies and rows. A row is never computed again, and no reply is asked for
twice, whichever arm asks, so a run may be stopped (Ctrl+C, SIGTERM) and started at will; what was being
written then is all that is lost. Without --arms those run that do not depend on the search.

`choose` draws the problems as boost_problems.json has them.
"""

import argparse
import asyncio
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import reply_parts
from boost_arms import ARMS, BASELINES, Arm
from boost_report import show
from boost_rows import Row, row_of
from quality import append, rows

from bdc_agents import create_executor, load_agents, load_settings, load_tasks
from bdc_agents.agents import Agent
from bdc_agents.agents.cache import ReplyCache
from bdc_agents.config import SearchConfig
from bdc_agents.sandbox import Executor
from bdc_agents.types import Task

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "boost"
PROBLEMS = HERE / "boost_problems.json"
SETTINGS = HERE / "boost.toml"
SEED = 2026
"""Of the choice of problems, and of each solver."""
BLOCK = 10
"""Problems of each set that all arms solve before any arm goes on, so that part of a run compares them."""
SETS = {
    "mbpp": ("test", 60, None),
    "humaneval+": (None, 40, None),
    "apps": (None, 20, {"introductory"}),
    "leetcode": ("test", 30, {"Easy", "Medium"}),
}
"""The split of each set, how many problems, and of which difficulties."""

Ids = dict[str, list[str]]


def choose(data: Path) -> Ids:
    """Draws the problems: of each set those with public and hidden tests that quality.py has not used."""
    used = {row["problem"] for out in (HERE / "results" / "quality").glob("*.jsonl") for row in rows(out)}
    found: Ids = {}
    for name, (split, count, difficulties) in SETS.items():
        fitting = [
            task.problem.id
            for task in load_tasks(name, data=data, split=split)
            if task.problem.public_tests
            and len(task.hidden)
            and task.problem.id not in used
            and (difficulties is None or task.problem.difficulty in difficulties)
        ]
        found[name] = random.Random(SEED).sample(fitting, count)
    return found


def blocks(ids: Ids) -> Iterator[list[str]]:
    """The next problems of each set, block by block."""
    for start in range(0, max(map(len, ids.values())), BLOCK):
        yield [one for of_set in ids.values() for one in of_set[start : start + BLOCK]]


def order(ids: Ids, arms: Sequence[Arm], done: set[tuple[str, str]]) -> Iterator[tuple[Arm, str]]:
    """What is to do: all arms on a block of problems, then on the next."""
    for block in blocks(ids):
        yield from ((arm, one) for arm in arms for one in block if (arm.name, one) not in done)


class Run:
    """Makes rows, several problems side by side, until all are made or the time is up.

    Args:
        agents, executor, search: What solvers are made of.
        tasks: The problems by id.
        out: The file of rows.
        version: Of the code that makes them.
    """

    def __init__(
        self,
        agents: Sequence[Agent],
        executor: Executor,
        search: SearchConfig,
        tasks: dict[str, Task],
        out: Path,
        version: str,
    ) -> None:
        self._agents, self._executor, self._search = agents, executor, search
        self._tasks, self._out, self._version = tasks, out, version

    async def all(self, todo: Sequence[tuple[Arm, str]], at_once: int) -> None:
        """Makes the rows in order; a row that cannot be made is told, and does not end the run."""
        queue = iter(todo)
        left = len(todo)

        async def work() -> None:
            nonlocal left
            for arm, problem in queue:
                try:
                    row = await self._row(arm, self._tasks[problem])
                except Exception as error:
                    left -= 1
                    print(f"{arm.name} on {problem}: {type(error).__name__}: {error}", file=sys.stderr)
                    continue
                append(self._out, row)
                left -= 1
                end = "solved" if row["hidden"] else "not solved"
                said = f"{end} in {row['calls']} calls, {row['kept']} of them kept; {left} to do"
                print(f"{time.strftime('%H:%M:%S')} {arm.name}: {problem}: {said}", flush=True)

        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())

    async def _row(self, arm: Arm, task: Task) -> Row:
        solver = arm.solve(self._agents, self._executor, self._search)
        answer = await solver.solve(task.problem, SEED)
        row = await row_of(task, answer, self._executor)
        if row["failed"]:
            raise RuntimeError(
                f"{row['failed']} calls failed, so there is no row; the next run makes it anew"
            )
        name = task.problem.id.partition(":")[0]
        return {"arm": arm.name, "set": name, "version": self._version} | row


async def run(options: argparse.Namespace) -> None:
    """Makes rows until all are made, the time is up or a signal ends it."""
    arms = [ARMS[name] for name in options.arms] if options.arms else [*BASELINES]
    version = version_of_package()
    if any(arm.searches for arm in arms) and version.endswith("+"):
        raise SystemExit(
            "bdc_agents has changes that are not committed; commit them, so that rows can name them"
        )
    ids: Ids = json.loads(PROBLEMS.read_text(encoding="utf-8"))
    out = options.state / "rows"
    done = {
        (row["arm"], row["problem"])
        for row in rows(out)
        if not ARMS[row["arm"]].searches or row["version"] == version
    }
    todo = [*order(ids, arms, done)]
    wanted = {problem for _, problem in todo}
    tasks = {
        task.problem.id: task
        for name, (split, _, _) in SETS.items()
        for task in load_tasks(
            name,
            data=options.data,
            split=split,
            ids=[one.removeprefix(f"{name}:") for one in ids[name] if one in wanted],
        )
    }
    settings = load_settings(options.config)
    cache = ReplyCache(options.state)
    agents = load_agents(settings, replies=cache)
    executor = create_executor()
    options.state.mkdir(parents=True, exist_ok=True)
    runs = Run(agents, executor, settings.search, tasks, out, version)
    try:
        await until(runs.all(todo, options.at_once), options.minutes)
    finally:
        await executor.aclose()
        for agent in agents:
            await agent.aclose()
        cache.close()


async def until(work: Coroutine[Any, Any, None], minutes: float | None) -> None:
    """Does the work until it is done, the time is up or a signal asks for the end."""
    doing = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, doing.cancel)
    await asyncio.wait([doing], timeout=minutes and minutes * 60)
    if doing.cancel() or doing.cancelled():
        print("stopped: what was being written is left out, all else is kept", flush=True)
    with suppress(asyncio.CancelledError):
        await doing


def version_of_package() -> str:
    """The commit that changed the package last, with a plus where files of it are changed since."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, check=True, capture_output=True, text=True).stdout

    package = str(HERE.parent / "bdc_agents")
    changed = git("status", "--porcelain", "--", package).strip()
    return git("log", "-1", "--format=%h", "--", package).strip() + ("+" if changed else "")


def pack(state: Path, results: Path = RESULTS) -> None:
    """Adds the replies and rows of a run to the results."""
    part = reply_parts.pack(ReplyCache(state), results / "replies")
    print(f"{part} has the new replies" if part else "no new replies")
    print(f"{add_rows(state / 'rows', results / 'rows')} new rows")


async def unpack(state: Path, results: Path = RESULTS) -> None:
    """Puts the replies and rows of the results where a run finds them."""
    cache = ReplyCache(state)
    print(f"{await reply_parts.unpack(results / 'replies', cache)} replies")
    cache.close()
    print(f"{add_rows(results / 'rows', state / 'rows')} new rows")


def add_rows(source: Path, target: Path) -> int:
    """Appends the rows that the target has not, and returns how many."""

    def key(row: Row) -> tuple[str, str, str]:
        return row["arm"], row["problem"], row["version"]

    known = {key(row) for row in rows(target)}
    new = [row for row in rows(source) if key(row) not in known]
    target.parent.mkdir(parents=True, exist_ok=True)
    for row in new:
        append(target, row)
    return len(new)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["choose", "run", "pack", "unpack", "report"])
    parser.add_argument("--data", type=Path, help="folder of the problem sets; for choose and run")
    parser.add_argument("--state", type=Path, help="folder of replies and rows; for run, pack and unpack")
    parser.add_argument("--config", default=str(SETTINGS), help="settings that name the agents")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS], metavar="ARM", help=f"of {', '.join(ARMS)}")
    parser.add_argument("--minutes", type=float, help="when to stop; when all is done if it is left out")
    parser.add_argument("--at-once", type=int, default=6, help="problems side by side")
    parser.add_argument("--rows", type=Path, default=RESULTS / "rows", help="what to report, packed or not")
    options = parser.parse_args()
    needs = {"choose": ["data"], "run": ["data", "state"], "pack": ["state"], "unpack": ["state"]}
    for name in needs.get(options.command, []):
        if getattr(options, name) is None:
            parser.error(f"{options.command} needs --{name}")
    if options.command == "choose":
        PROBLEMS.write_text(json.dumps(choose(options.data), indent=1) + "\n", encoding="utf-8")
    elif options.command == "run":
        asyncio.run(run(options))
    elif options.command == "pack":
        pack(options.state)
    elif options.command == "unpack":
        asyncio.run(unpack(options.state))
    else:
        ids: Ids = json.loads(PROBLEMS.read_text(encoding="utf-8"))
        show([*rows(options.rows)], {one: name for name, of_set in ids.items() for one in of_set})


if __name__ == "__main__":
    main()
