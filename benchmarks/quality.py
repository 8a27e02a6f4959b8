"""Solve rates at the same number of LLM calls: the search against best-of-N with the same agents.

    python benchmarks/quality.py --config benchmarks/quality.toml --data DATA --set mbpp --split test \
        --limit 60 --calls 8 16 --out benchmarks/results/quality/mbpp

    python benchmarks/quality.py --report benchmarks/results/quality/{mbpp,humaneval,apps}

Every method chooses by the public tests; hidden tests score the choice once. A finished row is
never computed again, replies come from the cache, so the run can be stopped and started at will.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from bdc_agents import (
    Budget,
    SearchConfig,
    Task,
    asolve,
    create_executor,
    load_agents,
    load_settings,
    load_tasks,
)
from bdc_agents.agents import Agent
from bdc_agents.evaluate.figures.metrics import paired
from bdc_agents.sandbox import Executor, job_for

MANY = 1000


def methods(agents: Sequence[Agent], skills: dict[str, float]) -> dict[str, tuple[list[Agent], Any]]:
    """Which agents take part, and the settings for a number of calls."""

    def best_of(confirm: int) -> Any:
        """All calls are direct answers: the root alone, evaluated once."""
        return lambda calls: SearchConfig(
            rollouts=1, programs_per_agent=-(-calls // len(agents)), confirm=confirm
        )

    def search(name: str, **changes: Any) -> Any:
        return lambda _: SearchConfig.preset(name, rollouts=MANY, skills=skills, **changes)

    return {
        "best-of-N": ([*agents], best_of(1)),
        "best-of-N, agreement": ([*agents], best_of(2)),
        "best-of-N, strongest": (
            [agents[-1]],
            lambda n: SearchConfig(rollouts=1, programs_per_agent=n, confirm=1),
        ),
        "default": ([*agents], search("default")),
        # The default without thoughts: direct answers, until enough of them agree.
        "direct": ([*agents], search("default", resample=1)),
        "paper": ([*agents], search("paper", stop_when_solved=True)),
        "single": ([agents[-1]], search("default")),
    }


async def one(
    task: Task, team: list[Agent], config: SearchConfig, calls: int, executor: Executor
) -> dict[str, Any]:
    """One row: what a method found for a problem, and how it did on the hidden tests."""
    trace = await asolve(task.problem, team, executor=executor, search=config, budget=Budget(calls=calls))
    solution = trace.solution
    job = job_for(task.problem, solution.code, task.hidden.reveal())
    verdict = await executor.run(job) if solution.code else None
    return {
        "problem": task.problem.id,
        "public": solution.solved,
        "hidden": bool(solution.solved and verdict and verdict.passed),
        "calls": sum(usage.calls for usage in solution.usage.values()),
        "tokens": sum(usage.tokens for usage in solution.usage.values()),
        "stopped_by": solution.stopped_by,
        "programs": solution.tree.programs,
    }


async def run(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    agents = load_agents(settings)
    executor = create_executor()
    compared = methods(agents, settings.search.skills)
    done = {(row["method"], row["budget"], row["problem"]) for row in rows(options.out)}
    todo = [
        (name, calls, task)
        for task in chosen(options)
        for calls in options.calls
        for name in options.methods or compared
        if (name, calls, task.problem.id) not in done
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    turn = asyncio.Semaphore(options.at_once)

    async def measure(name: str, calls: int, task: Task) -> None:
        async with turn:
            team, config = compared[name]
            row = await one(task, team, config(calls), calls, executor)
            append(options.out, row | {"method": name, "budget": calls})
            bar.advance(progress)

    try:
        with Progress(console=Console(stderr=True)) as bar:
            progress = bar.add_task("searches", total=len(todo))
            await asyncio.gather(*(measure(*item) for item in todo))
    finally:
        await executor.aclose()
        for agent in agents:
            await agent.aclose()


def chosen(options: argparse.Namespace) -> list[Task]:
    """A fixed random choice of the set's problems that have public and hidden tests."""
    tasks = [
        task
        for task in load_tasks(options.set, data=options.data, split=options.split)
        if task.problem.public_tests
        and len(task.hidden)
        and (options.difficulty in (None, task.problem.difficulty))
    ]
    random.Random(options.seed).shuffle(tasks)
    return tasks[: options.limit]


def rows(out: Path) -> Iterator[dict[str, Any]]:
    file = out.with_suffix(".jsonl")
    if file.exists():
        yield from (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())


def append(out: Path, row: dict[str, Any]) -> None:
    with out.with_suffix(".jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


Rows = dict[str, dict[str, Any]]


def report(outs: Sequence[Path], against: str, calls: int | None) -> Table:
    """Solve rates over all these results, each against another method on the same problems.

    Args:
        outs: Of the results.
        against: The other method.
        calls: Its budget; None for the same.
    """
    by: dict[tuple[int, str], Rows] = {}
    for row in (row for out in outs for row in rows(out)):
        by.setdefault((row["budget"], row["method"]), {})[row["problem"]] = row
    other = f"against {against}" + (f" with {calls}" if calls else "")
    table = Table(
        *("calls", "method", "problems", "public", "hidden", other, "calls used", "tokens"),
        title=", ".join(out.name for out in outs),
    )
    for (budget, method), found in sorted(by.items()):
        base = (calls or budget, against)
        table.add_row(
            str(budget),
            method,
            str(len(found)),
            f"{fmean(row['public'] for row in found.values()):.1%}",
            f"{fmean(row['hidden'] for row in found.values()):.1%}",
            "" if base == (budget, method) else compared(found, by.get(base, {})),
            f"{fmean(row['calls'] for row in found.values()):.1f}",
            f"{fmean(row['tokens'] for row in found.values()):.0f}",
        )
    return table


def compared(found: Rows, base: Rows) -> str:
    """The difference of the hidden solve rates on the problems that both have, with its paired interval."""
    both = [key for key in found if key in base]
    if not both:
        return ""
    pairs = [(found[key]["hidden"], base[key]["hidden"]) for key in both]
    better = paired(*([float(side) for side in sides] for sides in zip(*pairs, strict=True)))
    counts = f"{pairs.count((True, False))} better, {pairs.count((False, True))} worse"
    return f"{better.value:+.1%} [{better.low:+.1%}, {better.high:+.1%}], {counts}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--config", help="settings that name the agents, the strongest last")
    parser.add_argument("--set", default="mbpp")
    parser.add_argument("--split")
    parser.add_argument("--difficulty")
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the choice of problems")
    parser.add_argument("--calls", type=int, nargs="+", default=[8, 16])
    parser.add_argument("--methods", nargs="*")
    parser.add_argument("--at-once", type=int, default=2, help="searches side by side")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/quality"))
    parser.add_argument("--report", type=Path, nargs="+", help="only show these results, and all together")
    parser.add_argument("--against", default="best-of-N", help="the method that the others are compared with")
    parser.add_argument("--against-calls", type=int, help="with which budget; the same where it is left out")
    options = parser.parse_args()
    if options.report is None:
        asyncio.run(run(options))
    shown = options.report or [options.out]
    for outs in [*([out] for out in shown), *([shown] if len(shown) > 1 else [])]:
        Console().print(report(outs, options.against, options.against_calls))


if __name__ == "__main__":
    main()
