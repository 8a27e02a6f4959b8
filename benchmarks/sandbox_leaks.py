"""Whether thousands of programs leave anything of the sandbox behind.

Runs a mix of small programs on the strongest tier of this machine, and counts the caller's open
files, the sandbox's processes and its entries in the temporary folder, before and after. Writes
results/sandbox_leaks.md; exits with 1 if something is left, or an outcome is not the one it should be.

    python benchmarks/sandbox_leaks.py --programs 10000
"""
# ruff: noqa: ASYNC110

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from bdc_agents.sandbox import Job, probe_tier
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.probes import choose
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.sandbox.tiers import make_tier
from bdc_agents.types import CallTest, Limits

RESULTS = Path(__file__).parent / "results"
WAITING = 16
SETTLE_SECONDS = 5.0
FORMS = ("bdc-program-*", "bdc-gvisor-*")  # of the folders that some tiers make
MARKER = f"leaks-{os.getpid()}"  # in the command line of every process of this run's sandboxes

PATIENT = Limits(wall_seconds=20, cpu_seconds=20, memory_mb=128)
HASTY = Limits(wall_seconds=0.3, memory_mb=128)


@dataclass(frozen=True)
class Program:
    name: str
    outcome: str
    body: str
    every: int = 1
    """One in this many turns."""
    limits: Limits = PATIENT


WRITE_FILES = """
try:
    for number in range(9):
        with open(f"/tmp/{number}", "w") as file:
            file.write("x" * 1000)
except OSError:  # a tier may offer no place to write
    pass
return 1
"""
LEAVE_FILES_OPEN = "global kept\nkept = [open('/dev/null') for _ in range(9)]\nreturn 1"
LEAVE_THREADS = """
import threading, time
for _ in range(3):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
return 1
"""
FORK = "import os, time\nos.fork() or os.setsid()\ntime.sleep(60)"

PROGRAMS = (
    Program("right", "passed", "return 1"),
    Program("wrong", "wrong", "return 2"),
    Program("raises an error", "error", "return {}[0]"),
    Program("writes files", "passed", WRITE_FILES),
    Program("leaves files open", "passed", LEAVE_FILES_OPEN),
    Program("leaves daemon threads", "passed", LEAVE_THREADS),
    Program("exits at once", "error", "import os\nos._exit(0)"),
    Program("takes all memory", "memory", "return [0] * 10**9", 5),
    Program("kills itself", "killed", "import os\nos.kill(os.getpid(), 9)", 5),
    Program("never ends", "timeout", "while True: pass", 25, HASTY),
    Program("forks and never ends", "timeout", FORK, 25, HASTY.model_copy(update={"processes": 4})),
)


@dataclass(frozen=True)
class Left:
    """What there is of the sandbox at one moment."""

    open_files: int
    processes: int
    folders: frozenset[str]

    def beyond(self, other: "Left") -> bool:
        return bool(
            self.open_files > other.open_files
            or self.processes > other.processes
            or self.folders - other.folders
        )


def measure() -> Left:
    gc.collect()
    return Left(
        open_files=len(list(Path("/proc/self/fd").iterdir())),
        processes=len(own_children() | marked_processes()),
        folders=frozenset(path.name for form in FORMS for path in Path(tempfile.gettempdir()).glob(form)),
    )


def own_children() -> set[str]:
    """Zombies too, which have no command line."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


def marked_processes() -> set[str]:
    """Processes of the sandbox, wherever they hang in the tree."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if MARKER.encode() in (folder / "cmdline").read_bytes():
                found.add(folder.name)
        except OSError:
            continue
    return found


async def settled(before: Left) -> Left:
    """What is left after a moment in which processes may end."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while (left := measure()).beyond(before) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    return left


def programs(count: int) -> Iterator[Program]:
    """So many programs, all kinds mixed, always in the same order."""
    turn = made = 0
    while made < count:
        for number, program in enumerate(PROGRAMS):
            if made < count and (turn + number) % program.every == 0:
                made += 1
                yield program
        turn += 1


async def run_all(executor: Executor, count: int) -> Counter[tuple[str, str, str]]:
    """How often each kind of program came to which outcome; name, wanted, found."""
    found: Counter[tuple[str, str, str]] = Counter()
    waiting = programs(count)

    async def work() -> None:
        for program in waiting:
            code = "def f():\n" + "".join(f"    {line}\n" for line in program.body.splitlines())
            job = Job(code=code, tests=(CallTest(call="f()", expected=("1",)),), limits=program.limits)
            verdict = await executor.run(job)
            found[program.name, program.outcome, verdict.results[0].outcome] += 1

    await asyncio.gather(*(work() for _ in range(WAITING)))
    return found


def report(tier: str, seconds: float, moments: dict[str, Left], found: Counter[tuple[str, str, str]]) -> str:
    count = sum(found.values())
    rows = [
        ("open files of the caller", [str(left.open_files) for left in moments.values()]),
        ("processes of the sandbox", [str(left.processes) for left in moments.values()]),
        (
            "`bdc-program-*`, `bdc-gvisor-*` in the temporary folder",
            [str(len(left.folders)) for left in moments.values()],
        ),
    ]
    lines = [
        "# What programs leave behind\n",
        f"`python benchmarks/sandbox_leaks.py --programs {count}`; tier `{tier}`, {os.cpu_count()} workers, "
        f"{WAITING} programs waiting at any time: {seconds:.0f} seconds.\n",
        f"| | {' | '.join(moments)} |",
        "|---" * (1 + len(moments)) + "|",
        *(f"| {name} | {' | '.join(counts)} |" for name, counts in rows),
        "\n| program | number | outcome |\n|---|---|---|",
    ]
    for (name, wanted, outcome), number in sorted(found.items()):
        note = "" if outcome == wanted else f", should be {wanted}"
        lines.append(f"| {name} | {number} | {outcome}{note} |")
    return "\n".join(lines) + "\n"


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--programs", type=int, default=10_000)
    arguments = parser.parse_args()
    tier = make_tier(choose("auto", False, probe_tier))
    before = measure()
    executor = ProcessExecutor(replace(tier, command=(*tier.command, MARKER)))
    started = time.monotonic()
    try:
        found = await run_all(executor, arguments.programs)
        seconds, warm = time.monotonic() - started, measure()
    finally:
        await executor.aclose()
    after = await settled(before)
    text = report(tier.name, seconds, {"before": before, "before closing": warm, "after": after}, found)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "sandbox_leaks.md").write_text(text, encoding="utf-8")
    unlike = [key for key in found if key[1] != key[2]]
    if after.beyond(before):
        print(f"LEAK: {before} before, {after} after", file=sys.stderr)
    if unlike:
        print(f"not the outcome it should be: {unlike}", file=sys.stderr)
    return int(after.beyond(before) or bool(unlike))


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
