"""Whether the sandbox agrees with LeetCodeDataset's own check, on known solutions and on mutants of them.

Each known solution runs on the public and hidden tests of its problem. Then one operator, constant or
condition of it is changed at a time, and what the sandbox says is held against what the set's own `prompt`,
program and `check` say in one plain process. A mutant that runs for long there is left out.

    python benchmarks/leetcode.py --data FOLDER [--sample 300] [--mutants 5]

A sample of the training problems is drawn by a seed; of the test problems all are taken. What was done
is kept in FOLDER of `--state`, so that the same command goes on.
"""

import argparse
import asyncio
import gzip
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mutations import mutants

from bdc_agents.config import SandboxConfig
from bdc_agents.data import load_tasks
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.sandbox.frames import keeps_state
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.types import Task

RESULTS = Path(__file__).parent / "results" / "leetcode.json"
OFFICIAL_SECONDS, MUTANT_SECONDS = 60, 6
"""CPU time of the plain process. A mutant that needs more is in a loop without an end, mostly, which every
grader fails."""
_LIMITED = "import resource, sys; resource.setrlimit(resource.RLIMIT_CPU, ({0}, {0} + 1))"
MODULES = ("sortedcontainers", "numpy")


def official_rows(data: Path) -> dict[str, dict[str, Any]]:
    """The raw rows of both files by id."""
    rows: dict[str, dict[str, Any]] = {}
    for file in sorted((data / "leetcode").glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            rows |= {row["task_id"]: row for row in map(json.loads, lines)}
    return rows


def official(row: dict[str, Any], code: str, seconds: int) -> str:
    """What the set's own check says in one plain process: passed, failed or slow."""
    program = "\n".join([row["prompt"], code, row["test"], f"check({row['entry_point']})"])
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", f"{_LIMITED.format(seconds)}; exec(sys.stdin.read())"],
            input=program, text=True, capture_output=True, timeout=20 * seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "slow"
    if done.returncode == -signal.SIGXCPU:
        return "slow"
    return "passed" if done.returncode == 0 else "failed"


def changed(code: str, count: int, seed: str) -> list[str]:
    """Different programs with one thing changed, drawn by a seed."""
    source = code.encode()
    made = [one.applied(source).decode() for one in mutants(code)]
    return random.Random(seed).sample(made, min(count, len(made)))


async def sandboxed(executor: Executor, task: Task, code: str, seconds: float) -> tuple[str, str]:
    """What the sandbox says, and the first reason where it fails a program."""
    limits = task.problem.limits.model_copy(update={"cpu_seconds": seconds})
    task = task.model_copy(update={"problem": task.problem.model_copy(update={"limits": limits})})
    tests = (*task.problem.public_tests, *task.hidden.reveal())
    verdict = await executor.run(
        job_for(task.problem, code, tests).model_copy(update={"stop_at_failure": True})
    )
    for result in verdict.failures[:1]:
        return "failed", f"{result.outcome}: {result.error or result.actual}"[:200]
    return "passed", ""


async def problem(executor: Executor, task: Task, row: dict[str, Any], count: int) -> dict[str, Any]:
    """The known solution and some mutants of one problem, in the sandbox and the official way."""
    reference = task.hidden.reveal_reference() or ""
    began = time.monotonic()
    ours, reason = await sandboxed(executor, task, reference, task.problem.limits.cpu_seconds)
    found: dict[str, Any] = {
        **{"id": task.problem.id, "reference": ours, "reason": reason},
        "seconds": round(time.monotonic() - began, 2),
    }
    if ours == "failed":
        found["official"] = await asyncio.to_thread(official, row, reference, OFFICIAL_SECONDS)
        return found
    found["mutants"] = []
    for code in changed(reference, count, task.problem.id):
        said = await asyncio.to_thread(official, row, code, MUTANT_SECONDS)
        here, why = ("", "") if said == "slow" else await sandboxed(executor, task, code, MUTANT_SECONDS)
        one = {"official": said, "sandbox": here}
        found["mutants"].append(one | ({"code": code, "why": why} if here not in ("", said) else {}))
    return found


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of one split."""
    tried = [mutant for one in found for mutant in one.get("mutants", [])]
    pairs = Counter(
        f"official {one['official']}, sandbox {one['sandbox']}" for one in tried if one["sandbox"]
    )
    needs = Counter(module for one in found for module in MODULES if f"'{module}'" in one["reason"])
    return {
        "problems": len(found),
        "known solutions that pass": sum(one["reference"] == "passed" for one in found),
        "known solutions that need a package": dict(needs),
        "known solutions that fail": [
            one for one in found if one["reference"] == "failed" and "No module named" not in one["reason"]
        ],
        "mutants": sum(pairs.values()),
        "mutants left out, since the official check takes too long": sum(not one["sandbox"] for one in tried),
        "verdicts": dict(sorted(pairs.items())),
        "differences": [
            {"id": one["id"], **mutant}
            for one in found
            for mutant in one.get("mutants", [])
            if "code" in mutant
        ],
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sample", type=int, default=300)
    parser.add_argument("--mutants", type=int, default=5)
    parser.add_argument("--splits", nargs="*", default=["test", "train"])
    parser.add_argument("--packages", nargs="*", default=[])
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--state", type=Path, default=Path(tempfile.gettempdir()) / "leetcode-benchmark")
    arguments = parser.parse_args()
    arguments.state.mkdir(parents=True, exist_ok=True)
    rows, end = official_rows(arguments.data), time.monotonic() + 60 * arguments.minutes
    executor = create_executor(SandboxConfig(packages=tuple(arguments.packages)))
    results: dict[str, Any] = {"tier": executor.tier, "packages": arguments.packages, "sets": {}}
    for split in ("test", "train"):
        tasks = list(load_tasks("leetcode", data=arguments.data, split=split))
        if split == "train":
            tasks = random.Random("leetcode").sample(tasks, min(arguments.sample, len(tasks)))
        kept = arguments.state / f"{split}.jsonl"
        found = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
        done = {one["id"] for one in found}
        waiting = [task for task in tasks if task.problem.id not in done]
        # A program that seems to keep a state runs anew for each test, which takes some of them minutes.
        waiting.sort(key=lambda task: keeps_state(task.hidden.reveal_reference() or ""))
        for task in waiting:
            if time.monotonic() > end or split not in arguments.splits:
                break
            slug = task.problem.id.partition(":")[2]
            found.append(await problem(executor, task, rows[slug], arguments.mutants))
            with kept.open("a") as file:
                file.write(json.dumps(found[-1]) + "\n")
        results["sets"][split] = summary(found)
        print(split, json.dumps(results["sets"][split], indent=1)[:4000], flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    await executor.aclose()


if __name__ == "__main__":
    asyncio.run(main())
