"""Runs every program of recorded traces again, and lists each verdict that is another one today.

    python benchmarks/judge_again.py --data DATA --out again.jsonl experts/traces/*.jsonl.gz
    python benchmarks/judge_again.py --out again.jsonl --report

Public tests of every program, as they are read from the data set today; of those that pass, and of the one
that was handed over, the hidden ones. A problem's verdicts are one line of the output; problems that have
one are left out, so that the run can be stopped and started at will. Of hidden tests only counts are told.

Which published tables this can check: `experts/traces` keeps its programs. The tables of `results/quality.md`
and `results/compare.md` keep what a program scored, and not the program.
"""

import argparse
import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bdc_agents import create_executor
from bdc_agents.config import SandboxConfig
from bdc_agents.data import load_task
from bdc_agents.errors import BDCError
from bdc_agents.runs.hidden import score_hidden
from bdc_agents.runs.store import scan_traces
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.types import Hidden, Program, Task, Trace, Verdict

Line = dict[str, Any]


def counts(verdict: Verdict | None) -> list[int]:
    """How many tests passed, of how many."""
    results = verdict.results if verdict else ()
    return [sum(result.outcome == "passed" for result in results), len(results)]


def of_hidden(hidden: Hidden | None) -> list[int] | None:
    return [hidden.passed, hidden.total] if hidden else None


async def judged(trace: Trace, task: Task, key: str, program: Program, executor: Executor) -> Line:
    """One program then and now."""
    now = await executor.run(job_for(task.problem, program.code, task.problem.public_tests))
    handed_over = program.code == trace.solution.code
    hidden = await score_hidden(task, program.code, executor) if now.passed or handed_over else None
    right = bool(now.passed and hidden and hidden.all_passed)
    decision = trace.decision
    return {
        "program": key,
        "handed_over": handed_over,
        "public": [counts(program.verdict), counts(now)],
        # Then it was kept of the handed-over one alone how many of the hidden tests it passed.
        "hidden": [of_hidden(decision.hidden) if decision and handed_over else None, of_hidden(hidden)],
        "right": [bool(decision and key in decision.right), right],
        "outcomes": dict(Counter(result.outcome for result in now.results)),
    }


async def again(trace: Trace, store: str, data: Path | None, executor: Executor) -> Line:
    """All programs of a problem then and now; or why it cannot be loaded."""
    line: Line = {"store": store, "problem": trace.problem.id}
    try:
        task = await asyncio.to_thread(load_task, trace.problem.id, data=data)
    except BDCError as error:
        return line | {"error": str(error)}
    programs = [judged(trace, task, key, program, executor) for key, program in trace.programs.items()]
    same = task.problem.public_tests == trace.problem.public_tests
    return line | {"same_public_tests": same, "programs": await asyncio.gather(*programs)}


async def run(given: argparse.Namespace) -> None:
    done = {(line["store"], line["problem"]) for line in lines(given.out)}
    todo = [
        (path.name, trace)
        for path in given.stores
        for trace in scan_traces(path, print)
        if (path.name, trace.problem.id) not in done
    ][: given.limit]
    executor = create_executor(SandboxConfig(workers=given.workers))
    left = iter(todo)

    async def work() -> None:
        for store, trace in left:
            line = await again(trace, store, given.data, executor)
            with given.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    try:
        await asyncio.gather(*(work() for _ in range(given.workers)))
    finally:
        await executor.aclose()


def lines(out: Path) -> Iterator[Line]:
    """What was judged so far."""
    if out.exists():
        yield from map(json.loads, out.read_text(encoding="utf-8").splitlines())


def passed(count: Sequence[int] | None) -> bool:
    return bool(count and count[1] and count[0] == count[1])


def report(out: Path) -> str:
    """Every verdict that flipped, and how many were looked at."""
    found = [*lines(out)]
    told, programs = list[str](), 0
    for line in found:
        where = f"{line['store']} {line['problem']}"
        if "error" in line:
            told.append(f"{where}: cannot be loaded: {line['error']}")
        for one in line.get("programs", ()):
            programs += 1
            told += [f"{where} {one['program']}: {flip}" for flip in flips(one)]
    return "\n".join([*told, f"{len(told)} flips in {programs} programs of {len(found)} problems"])


def flips(one: Line) -> Iterator[str]:
    """What of a program's verdicts is different now."""
    mark = " (handed over)" if one["handed_over"] else ""
    for kind in ("public", "hidden"):
        then, now = one[kind]
        if then and passed(then) != passed(now):
            yield f"{kind} tests {then[0]} of {then[1]}, now {now[0]} of {now[1]} {one['outcomes']}{mark}"
    if one["right"][0] != one["right"][1]:
        then, now = ("right" if right else "not right" for right in one["right"])
        yield f"{then}, now {now}{mark}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stores", nargs="*", type=Path, help="run folders, or files of traces")
    parser.add_argument("--data", type=Path, default=os.environ.get("BDC_DATA"), help="of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="one line a problem, only ever added to")
    parser.add_argument("--workers", type=int, default=2, help="programs at once")
    parser.add_argument("--limit", type=int, help="problems at most, of those that are left")
    parser.add_argument("--report", action="store_true", help="only list what flipped")
    given = parser.parse_args()
    if not given.report:
        asyncio.run(run(given))
    print(report(given.out))


if __name__ == "__main__":
    main()
