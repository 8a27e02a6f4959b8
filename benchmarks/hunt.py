"""Whether a program can find the script that tests it: one generic program, on all of HumanEval.

The program (hunter.py, and a few lines below) looks for its test in all it can reach, runs what it
finds against a spy that notes each expected value, and answers with those. Where script and program
share a process it passes nearly all; in the sandbox it should pass none. The references are run as
well: they should pass all. Writes results/hunt.json.

    python benchmarks/hunt.py --data FOLDER --tiers namespaces bubblewrap landlock

Where a tier starts programs as nobody, they need an interpreter that everybody can read: name it by
`--python` (of the version that runs this).
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bdc_agents.data import load_tasks
from bdc_agents.errors import SandboxError, SandboxRefused
from bdc_agents.sandbox import job_for
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.probes import attack
from bdc_agents.sandbox.tiers import make_tier
from bdc_agents.types import Limits, ScriptTest, Task

HERE = Path(__file__).parent
RESULT = HERE / "results" / "hunt.json"
AT_ONCE = 4
PATTERN = r"[d]ef check\(|[o]racle = \{\}"
"""What the scripts of HumanEval and HumanEval+ have in common; it does not match itself."""
TRIES = 3
"""Calls for which the program hunts: a script may be read late."""

ANSWER = f"""

class Spy:
    def __init__(self, given): self.given = given
    def __eq__(self, other):
        if not isinstance(other, Spy): ANSWERS[self.given] = other
        return True
    def _zero(self, other):
        self.__eq__(other)
        return 0.0
    __sub__ = __rsub__ = __add__ = __radd__ = _zero
    def __bool__(self): return True
    def __len__(self): return 0
    def __iter__(self): return iter(())
    __hash__ = None

ANSWERS, TRIES = {{}}, []

def learn(text):
    try:
        exec(text, {{"ENTRY": lambda *given: Spy(repr(given)), "__name__": "spied"}})
    except BaseException:
        pass

def ENTRY(*given):
    key = repr(given)
    if key not in ANSWERS and len(TRIES) < {TRIES}:
        TRIES.append(key)
        for texts in hunt({PATTERN!r}).values():
            for text in texts:
                learn(text)
    return ANSWERS.get(key)
"""


def hunter(task: Task) -> str:
    """The program, under the name of the function that a task asks for."""
    source = (HERE / "hunter.py").read_text(encoding="utf-8")
    return source + ANSWER.replace("ENTRY", str(task.problem.entry_point))


def in_one_process(task: Task) -> bool:
    """Whether the program passes where nothing keeps it from its script: that it hunts well."""
    scripts = [test.code for test in task.hidden.reveal() if isinstance(test, ScriptTest)]
    code = "import json, sys\nprogram, scripts = json.load(sys.stdin)\nspace = {'__name__': 'tested'}\n"
    code += "exec(program, space)\nfor script in scripts:\n    exec(script, space)\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            input=json.dumps([f"{task.problem.preamble}\n{hunter(task)}", scripts]),
            text=True, capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


async def passing(executor: ProcessExecutor, programs: Iterable[tuple[Task, str]]) -> list[str]:
    """The ids of the tasks whose hidden tests pass."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(task: Task, code: str) -> str | None:
        async with room:
            # Time to hunt in: a program that is found out by its slowness would prove nothing.
            problem = task.problem.model_copy(update={"limits": Limits(cpu_seconds=30)})
            job = job_for(problem, code, task.hidden.reveal())
            verdict = await executor.run(job.model_copy(update={"stop_at_failure": True}))
        return task.problem.id if verdict.passed else None

    found = await asyncio.gather(*(one(task, code) for task, code in programs))
    return [name for name in found if name]


async def measure(name: str, python: str | None, tasks: list[Task]) -> dict[str, Any]:
    """What passes on one tier, or why there is none."""
    try:
        tier = make_tier(name, python)
        if name != "unsafe" and (hole := attack(tier)):
            return {"not run": hole}
    except (SandboxError, SandboxRefused) as error:
        return {"not run": str(error).splitlines()[0]}
    executor = ProcessExecutor(tier)
    try:
        hunting = await passing(executor, [(task, hunter(task)) for task in tasks])
        right = await passing(executor, [(task, task.hidden.reveal_reference() or "") for task in tasks])
    finally:
        await executor.aclose()
    return {"hunter passes": len(hunting), "references pass": len(right), "of": len(tasks), "tasks": hunting}


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=["humaneval", "humaneval+"])
    parser.add_argument("--tiers", nargs="+", default=["namespaces", "bubblewrap", "landlock", "unsafe"])
    parser.add_argument("--python", help="an interpreter that everybody can read")
    parser.add_argument("--control", action="store_true", help="run the hunter without a sandbox, too")
    arguments = parser.parse_args()
    results: dict[str, Any] = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    for name in arguments.sets:
        tasks = list(load_tasks(name, data=arguments.data))
        rows: dict[str, Any] = results.setdefault(name, {})
        if arguments.control:
            passed = [await asyncio.to_thread(in_one_process, task) for task in tasks]
            rows["in one process"] = {"hunter passes": sum(passed), "of": len(tasks)}
        for tier in arguments.tiers:
            started = time.monotonic()
            rows[tier] = await asyncio.to_thread(
                asyncio.run, measure(tier, arguments.python, tasks)
            )  # probing a tier needs a thread without an event loop
            print(name, tier, rows[tier], f"{time.monotonic() - started:.0f} s", flush=True)
            RESULT.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"{os.cpu_count()} cores; written to {RESULT}")


if __name__ == "__main__":
    asyncio.run(main())
