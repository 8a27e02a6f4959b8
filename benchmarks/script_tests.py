"""What script tests cost in CPU time: this version against the one in another folder, in turns.

Each case runs in a process of its own for each round, with an executor that is warm; what counts is the
CPU time of its sandbox and of all that runs there. A round runs every case with both versions, and the
median of all rounds is taken: the walk over processes now and then misses one.
Writes results/script_tests.json.

    python benchmarks/script_tests.py --against FOLDER [--rounds 10]
"""

import argparse
import asyncio
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PROGRAM = """
def same(value): return value
def ordered(values): return sorted(values)
def refused(value): raise ValueError(value)
class Counter:
    def __init__(self): self.count = 0
    def add(self, number):
        self.count += number
        return self.count
"""
SHORT_RUNS, CALLS = 60, 3000
CALLED = {
    "integers": "assert same(i) == i",
    "floats": "assert same(i / 3) == i / 3",
    "strings": "assert same('value of a call') == 'value of a call'",
    "lists": "assert ordered([i, 3, 2, 1]) == [1, 2, 3, i]",
    "dictionaries": "assert same({'a': i, 'b': 2}) == {'a': i, 'b': 2}",
    "nested values": "assert same([(1, i), [None], {'k': ['x']}]) == [(1, i), [None], {'k': ['x']}]",
    "lists of 500": "assert same(LONG) == LONG",
    "methods": "assert counter.add(1) == i - 3",
    "exceptions": "try: refused(i)\n    except ValueError: assert i",
}  # fmt: skip
SHORT = f"{SHORT_RUNS} short scripts"


def cases() -> Iterator[tuple[str, str, int]]:
    """Name, script and how often it runs."""
    yield SHORT, "assert ordered([3, 2, 1]) == [1, 2, 3]\nassert same(1.5) == 1.5\n", SHORT_RUNS
    for name, line in CALLED.items():
        first = "LONG, counter = list(range(500)), Counter()"
        yield name, f"{first}\nfor i in range(4, {CALLS + 4}):\n    {line}\n", 1


def used() -> float:
    """CPU seconds so far of all that this process has started, as far as it lives or was waited for."""
    while True:
        with contextlib.suppress(FileNotFoundError):  # a thread ended during the walk
            return walk()


def walk() -> float:
    ticks, pending = 0, [os.getpid()]
    while pending:
        for tasks in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            for child in tasks.read_text().split():
                with contextlib.suppress(OSError):  # its parent is just waiting for it
                    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                    ticks += sum(map(int, fields[11:15]))  # its own, and that of children it waited for
                    pending.append(int(child))
    return ticks / os.sysconf("SC_CLK_TCK")


async def run_case(script: str, times: int) -> float:
    from bdc_agents.sandbox import Job
    from bdc_agents.sandbox.executor import ProcessExecutor
    from bdc_agents.sandbox.tiers import make_tier
    from bdc_agents.types import Limits, ScriptTest

    executor = ProcessExecutor(make_tier("namespaces"))
    limits = Limits(cpu_seconds=60, wall_seconds=120)
    warm = Job(code=PROGRAM, tests=(ScriptTest(code="assert same(1) == 1"),), limits=limits)
    assert (await executor.run(warm)).passed
    before = used()
    for _ in range(times):
        verdict = await executor.run(Job(code=PROGRAM, tests=(ScriptTest(code=script),), limits=limits))
        assert verdict.passed, verdict.results
    seconds = used() - before
    await executor.aclose()
    return seconds


def worker(name: str) -> None:
    """Runs one case from this process, and prints its CPU seconds."""
    script, times = next((script, times) for one, script, times in cases() if one == name)
    print(json.dumps(asyncio.run(run_case(script, times))))


def measured(tree: Path, name: str) -> float:
    """CPU seconds of a case with the version in a folder."""
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", name]
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(tree)}
        done = subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE)
    return float(json.loads(done.stdout))


def table(rounds: int, versions: dict[str, Path]) -> dict[str, dict[str, float]]:
    """For each case microseconds of CPU time for each script or call, and how many times the other's."""
    all_found: dict[tuple[str, str], list[float]] = {}
    for _ in range(rounds):
        for name, _, _ in cases():
            for version, tree in versions.items():
                all_found.setdefault((version, name), []).append(measured(tree, name))
    median = {key: statistics.median(found) for key, found in all_found.items()}
    rows: dict[str, dict[str, float]] = {}
    for name in (SHORT, *CALLED):
        divisor = SHORT_RUNS if name == SHORT else CALLS
        rows[name] = {version: round(1e6 * median[version, name] / divisor, 1) for version in versions}
        if "other" in versions:
            rows[name]["times the other"] = round(rows[name]["this"] / rows[name]["other"], 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--against", type=Path, help="the folder of another version")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None:
        worker(arguments.worker)
        return
    versions = {"this": ROOT}
    if arguments.against:
        versions["other"] = arguments.against.resolve()
    result: dict[str, Any] = {
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "rounds": arguments.rounds,
        "calls of a script": CALLS,
        "microseconds of CPU time for each script or call": table(arguments.rounds, versions),
    }
    text = json.dumps(result, indent=1)
    (Path(__file__).parent / "results" / "script_tests.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
