"""Scripts run what plain Python runs: every object of a program, of each side, and of the library."""

import asyncio
import json
import subprocess
import sys

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.tiers import Tier
from bdc_agents.types import Limits, ScriptTest, TestResult

from .conftest import available
from .script_corpus import CORPUS

PAIRS = {
    f"{group.name} {number}": (group.program, script)
    for group in CORPUS
    for number, script in enumerate(group.scripts, 1)
}

ORACLE = """
import json, os, sys, types
for program, script in json.load(sys.stdin):
    sys.stdout.flush()
    if (child := os.fork()) == 0:
        for descriptor in (0, 1, 2):
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
        status = 1
        try:
            main = sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(program, "program.py", "exec"), main.__dict__)
            exec(compile(script, "test.py", "exec"), main.__dict__)
            status = 0
        finally:
            os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
"""


@pytest.fixture(scope="session")
def plain() -> dict[str, bool]:
    """What plain Python says of each pair, run in one process."""
    done = subprocess.run(
        [sys.executable, "-c", ORACLE],
        input=json.dumps(list(PAIRS.values())),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return dict(zip(PAIRS, (line == "True" for line in done.stdout.split()), strict=True))


@pytest.fixture(scope="session")
def verdicts() -> dict[str, TestResult]:
    """What the sandbox says of each pair."""
    found = [tier for tier in map(available, ("namespaces", "bubblewrap")) if isinstance(tier, Tier)]
    if not found:
        pytest.skip("no tier isolates here")
    limits = Limits(wall_seconds=20, cpu_seconds=5)

    async def run() -> dict[str, TestResult]:
        executor = ProcessExecutor(found[0], workers=2)

        async def result(code: str, script: str) -> TestResult:
            job = Job(code=code, tests=(ScriptTest(code=script),), limits=limits)
            return (await executor.run(job)).results[0]

        results = await asyncio.gather(*(result(*pair) for pair in PAIRS.values()))
        await executor.aclose()
        return dict(zip(PAIRS, results, strict=True))

    return asyncio.run(run())


def test_there_are_enough_pairs_of_either_verdict(plain):
    assert len(PAIRS) >= 200
    assert list(plain.values()).count(False) >= 20


@pytest.mark.parametrize("name", PAIRS)
def test_a_script_says_what_plain_python_says(plain, verdicts, name):
    result = verdicts[name]
    assert (result.outcome == "passed") == plain[name], (PAIRS[name][1], result.outcome, result.error)
