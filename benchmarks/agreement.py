"""Whether further inputs tell programs apart that pass the public tests.

How many problems of the LeetCode set get further inputs; and of programs that pass all public tests,
how often a wrong one (which fails a hidden test) does something else than a right one on them, and how
often two right ones do: so far that one does not confirm the other, and on any input at all. Programs are
those of the recorded traces, and LeetCode references with one operator or constant changed.

    python benchmarks/agreement.py --data FOLDER [--problems 60] [--out FILE]
"""

import argparse
import asyncio
import gzip
import json
import random
import time
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

from sandbox_truth import mutant

from bdc_agents.data import load_task
from bdc_agents.errors import BDCError
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.choice import agreement
from bdc_agents.search.choice.inputs import comparison, further_inputs
from bdc_agents.types import Limits, Problem, Program, TestCase, Trace
from bdc_agents.types.written.asserts import case_from_assert

MUTANTS = 24
EXAMPLES = 3
"""Of each LeetCode problem, the asserts that are public; the others are hidden."""
TRACES = Path(__file__).parents[1] / "experts" / "traces"


def leetcode(data: Path, name: str) -> list[tuple[Problem, list[TestCase], str]]:
    """Each problem with its hidden tests and its reference, as calls of `Solution().method`."""
    found = []
    with gzip.open(data / "leetcode" / name, "rt", encoding="utf-8") as rows:
        for row in map(json.loads, rows):
            lines = [
                line.strip() for line in row["test"].split("\n    ") if line.strip().startswith("assert")
            ]
            cases: list[TestCase] = []
            for line in lines:
                try:
                    cases.append(case_from_assert(line.replace("candidate(", f"{row['entry_point']}(")))
                except BDCError:
                    continue
            problem = Problem(
                id=row["task_id"],
                statement=row["query"][:2000],
                preamble=row["prompt"],
                entry_point=row["entry_point"].rpartition(".")[2],
                public_tests=tuple(cases[:EXAMPLES]),
                limits=Limits(cpu_seconds=6),
            )
            found.append((problem, cases[EXAMPLES:], row["completion"]))
    return found


def mutants(code: str, name: str) -> list[str]:
    """Different programs with one thing changed."""
    made = (mutant(code, f"{name}{turn}") for turn in range(MUTANTS))
    return list(dict.fromkeys(one for one in made if one and one != code))


async def behaviours(executor: Executor, problem: Problem, codes: list[str]) -> list[tuple[str, ...]]:
    """What each program does on the further inputs."""
    inputs = further_inputs(problem)
    verdicts = [await executor.run(job_for(comparison(problem), code, inputs)) for code in codes]
    return [agreement.behaviour(verdict) for verdict in verdicts]


async def judged(
    executor: Executor, problem: Problem, hidden: list[TestCase], codes: list[str]
) -> list[tuple[str, bool, tuple[str, ...]]]:
    """The programs that pass the public tests, whether each is right, and its outcomes on hidden tests."""
    kept = []
    for code in codes:
        if not (await executor.run(job_for(problem, code, problem.public_tests))).passed:
            continue
        verdict = await executor.run(job_for(problem, code, hidden))
        outcomes = tuple(
            result.actual if result.outcome == "wrong" else result.outcome for result in verdict.results
        )
        kept.append((code, verdict.passed, outcomes))
    return kept


def same(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether two programs agree so far that one more attempt confirms: as the search counts it."""
    programs = {
        "a": Program(code="a", agent="", behaviour=one),
        "b": Program(code="b", agent="", behaviour=other),
    }
    return agreement.confirmed(programs, {"a": 1, "b": 1}, 2)


async def measure(
    executor: Executor, pools: list[tuple[Problem, list[tuple[str, bool, Any]]]]
) -> dict[str, Any]:
    """Pairs that are told apart, by whether both, one or none of them is right."""
    pairs: Counter[str] = Counter()
    apart: Counter[str] = Counter()
    alike: Counter[str] = Counter()
    for problem, pool in pools:
        seen = await behaviours(executor, problem, [code for code, _, _ in pool])
        for (one, first), (other, second) in combinations(zip(pool, seen, strict=True), 2):
            if one[1] == other[1] and one[2] == other[2]:
                kind = "both right" if one[1] else "wrong alike"
            else:
                kind = "one right" if one[1] or other[1] else "wrong apart"
            pairs[kind] += 1
            apart[kind] += not same(first, second)
            alike[kind] += agreement.share(first, second) == 1
    return {
        kind: {
            "pairs": pairs[kind],
            "told apart": round(apart[kind] / pairs[kind], 3),
            "alike on all inputs": round(alike[kind] / pairs[kind], 3),
        }
        for kind in sorted(pairs)
    }


async def of_traces(executor: Executor, data: Path) -> list[tuple[Problem, list[tuple[str, bool, Any]]]]:
    """Programs of the recorded traces that pass the public tests, two at least for each problem."""
    pools = []
    for file in sorted(TRACES.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for trace in map(Trace.model_validate_json, lines):
                codes = [one.code for one in trace.programs.values() if one.verdict and one.verdict.passed]
                if len(codes) > 1:
                    task = load_task(trace.problem.id, data=data)
                    pool = await judged(executor, task.problem, list(task.hidden.reveal()), codes[:8])
                    pools.append((task.problem, pool))
    return pools


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--problems", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    started = time.monotonic()
    found: dict[str, Any] = {}
    for name in ("train_1890.jsonl.gz", "test_114.jsonl.gz"):
        problems = [problem for problem, _, _ in leetcode(arguments.data, name) if problem.public_tests]
        counts = [len(further_inputs(problem)) for problem in problems]
        found[name] = {
            "problems": len(counts),
            "with inputs": sum(map(bool, counts)),
            "inputs on average": round(sum(counts) / len(counts), 1),
        }
        print(name, found[name], flush=True)
    executor = create_executor()
    chosen = leetcode(arguments.data, "test_114.jsonl.gz")
    random.Random(0).shuffle(chosen)
    pools = []
    for problem, hidden, reference in chosen[: arguments.problems]:
        codes = [reference, *mutants(reference, problem.id)]
        pools.append((problem, await judged(executor, problem, hidden[:40], codes)))
    found["leetcode mutants"] = await measure(executor, pools)
    print(found["leetcode mutants"], flush=True)
    found["traces"] = await measure(executor, await of_traces(executor, arguments.data))
    found["seconds"] = round(time.monotonic() - started, 1)
    await executor.aclose()
    print(json.dumps(found, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
