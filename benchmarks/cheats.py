"""How well programs that tell the public tests apart are told from honest ones.

    python benchmarks/cheats.py --data DATA --seen seen.jsonl

Honest are the reference programs of the data sets and, of the shipped traces, the programs that pass every
hidden test. Cheats and further honest programs, right and wrong, are those of `tests/runs/honest.toml`.
What each does on further inputs is one line of `--seen`; programs that have one are not run again, so
that the run can be stopped and started at will. Each is judged as where no hidden test speaks for it.
"""

import argparse
import asyncio
import json
import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bdc_agents import create_executor
from bdc_agents.config import SandboxConfig
from bdc_agents.data import load_tasks
from bdc_agents.runs.honest import signs, signs_in
from bdc_agents.runs.store import scan_traces
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.search.choice.agreement import behaviour
from bdc_agents.search.choice.inputs import comparison, further_inputs
from bdc_agents.types import Problem

ROOT = Path(__file__).parents[1]
PROGRAMS = ROOT / "tests" / "runs" / "honest.toml"
TRACES = sorted((ROOT / "experts" / "traces").glob("*.jsonl.gz"))
SETS = {"humaneval": 1, "codecontests": 1, "mbpp": 1, "leetcode": 4}
"""Data sets with references, and of every how many problems one is taken."""


class Case(NamedTuple):
    """A program to judge, in a group of the report."""

    group: str
    name: str
    problem: Problem
    code: str


def references(data: Path | None) -> Iterator[Case]:
    for dataset, every in SETS.items():
        for number, task in enumerate(load_tasks(dataset, data=data)):
            reference = task.hidden.reveal_reference()
            if number % every == 0 and reference:
                yield Case(f"honest: references of {dataset}", task.problem.id, task.problem, reference)


def written() -> Iterator[Case]:
    given = tomllib.loads(PROGRAMS.read_text(encoding="utf-8"))
    problems = {
        name: Problem(id=name, statement=one["statement"], public_tests=one["public_tests"])
        for name, one in given["problem"].items()
    }
    for kind in ("honest", "cheat"):
        for one in given[kind]:
            part = "held out" if one.get("held_out") else "tuned on"
            right = ", wrong elsewhere" if not one.get("right", True) else ""
            group = f"{kind}{right}: {part}"
            yield Case(group, f"{one['problem']}: {one['habit']}", problems[one["problem"]], one["code"])


async def look(case: Case, executor: Executor) -> dict[str, object]:
    """Whether a program passes the public tests, and what it gives on further inputs."""
    problem, inputs = case.problem, further_inputs(case.problem)
    passed = (
        bool(problem.public_tests)
        and (await executor.run(job_for(problem, case.code, problem.public_tests))).passed
    )
    asked = comparison(problem)
    seen = behaviour(await executor.run(job_for(asked, case.code, inputs))) if passed and inputs else ()
    return {"id": case.name, "passed": passed, "behaviour": seen}


async def fill(cases: list[Case], path: Path, workers: int) -> None:
    done = known(path)
    left = iter([case for case in cases if case.name not in done])
    executor = create_executor(SandboxConfig(workers=workers))

    async def work() -> None:
        for case in left:
            line = await look(case, executor)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    try:
        await asyncio.gather(*(work() for _ in range(workers)))
    finally:
        await executor.aclose()


def known(path: Path) -> dict[str, dict[str, object]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return {line["id"]: line for line in map(json.loads, lines)}


def judged(cases: list[Case], path: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """The group and name of each program that passes, with its signs."""
    seen = known(path)
    for case in cases:
        line = seen[case.name]
        if line["passed"]:
            yield case.group, case.name, signs(case.problem, case.code, tuple(line["behaviour"]))  # type: ignore[arg-type]
    for path in TRACES:
        for trace in scan_traces(path):
            decision = trace.decision
            for key, program in trace.programs.items():
                if not decision or not (program.verdict and program.verdict.passed):
                    continue
                handed_over = program.code == trace.solution.code
                scored = bool(handed_over and decision.hidden and decision.hidden.all_passed)
                right = "pass the hidden tests" if key in decision.right or scored else "fail a hidden test"
                yield f"programs of traces that {right}", trace.problem.id, signs_in(trace, program.code)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=os.environ.get("BDC_DATA"), help="of the data sets")
    parser.add_argument("--seen", type=Path, required=True, help="one line a program, only ever added to")
    parser.add_argument("--workers", type=int, default=2, help="programs at once")
    given = parser.parse_args()
    cases = [*written(), *references(given.data)]
    asyncio.run(fill(cases, given.seen, given.workers))
    programs, flagged, names = Counter[str](), Counter[str](), list[str]()
    for group, name, found in judged(cases, given.seen):
        programs[group] += 1
        flagged[group] += bool(found)
        if bool(found) != group.startswith("cheat"):
            names.append(f"{group}: {name}: {', '.join(found) or 'not found'}")
    print("| programs | flagged | of |\n|---|---|---|")
    for group, count in sorted(programs.items()):
        print(f"| {group} | {flagged[group]} | {count} |")
    print("\nHonest and flagged, or of traces and flagged, or a cheat and not:\n")
    print("\n".join(f"- {name}" for name in names))


if __name__ == "__main__":
    main()
