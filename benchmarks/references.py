"""Whether the sandbox passes the references of the data sets, and where not, whether plain CPython does.

Each reference runs on its public and hidden tests. One that fails runs once more without a sandbox: a
process of plain CPython for each test, its output compared by the same checker. What passes there
and not here is a wrong verdict.

    python benchmarks/references.py --data FOLDER [--sets humaneval humaneval+ mbpp codecontests]
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bdc_agents.data import load_tasks
from bdc_agents.sandbox import create_executor, job_for
from bdc_agents.sandbox.compare import text_matches
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.types import CallTest, StdinTest, Task, TestCase

SLOWER = 4
"""Times the CPU limit that plain CPython gets as wall time, as other work runs beside it."""


def plain(task: Task, code: str, test: TestCase) -> bool:
    """Whether a test passes in a plain process."""
    source = f"{task.problem.preamble}\n{code}"
    if isinstance(test, CallTest):
        source += f"\n{test.setup}\nassert ({test.call}) in [{', '.join(test.expected)}]\n"
    elif not isinstance(test, StdinTest):
        source += f"\n{test.code}\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "program.py"
        file.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-X", "int_max_str_digits=0", str(file)],
                input=test.stdin.encode() if isinstance(test, StdinTest) else b"",
                capture_output=True, check=False, cwd=folder,
                timeout=SLOWER * task.problem.limits.cpu_seconds,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return False
    if done.returncode:
        return False
    printed = done.stdout.decode("utf-8", "replace")
    return not isinstance(test, StdinTest) or text_matches(printed, test.expected, task.problem.checker)


async def check(executor: Executor, tasks: list[Task]) -> dict[str, Any]:
    """How many references pass, and the tests on which a plain process says something else."""
    passed, wrong, fail_both = 0, list[dict[str, str]](), list[str]()
    for task in tasks:
        code = task.hidden.reveal_reference() or ""
        tests = (*task.problem.public_tests, *task.hidden.reveal())
        verdict = await executor.run(job_for(task.problem, code, tests))
        failed = [(test, r) for test, r in zip(tests, verdict.results, strict=True) if r.outcome != "passed"]
        differ = [r for test, r in failed if await asyncio.to_thread(plain, task, code, test)]
        passed += not failed
        wrong += [{"task": task.problem.id, "said": f"{r.outcome}: {r.error}"[:160]} for r in differ[:1]]
        fail_both += [task.problem.id] if failed and not differ else []
    return {
        "references": len(tasks),
        "passed": passed,
        "fail in plain CPython too": len(fail_both),
        "of these tagged unjudged": sum(
            task.problem.id in fail_both for task in tasks if task.problem.unjudged
        ),
        "wrong verdicts": wrong,
        "which fail": fail_both,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["humaneval", "humaneval+", "mbpp", "codecontests"])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    executor = create_executor()
    found: dict[str, Any] = {"tier": executor.tier}
    for name in arguments.sets:
        started = time.monotonic()
        tasks = [task for task in load_tasks(name, data=arguments.data) if task.hidden.reveal_reference()]
        found[name] = await check(executor, tasks)
        found[name]["seconds"] = round(time.monotonic() - started, 1)
        print(name, json.dumps(found[name], indent=1), flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    await executor.aclose()


if __name__ == "__main__":
    asyncio.run(main())
