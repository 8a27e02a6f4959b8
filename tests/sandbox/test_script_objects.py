"""Scripts run what plain Python runs: every object of a program, of each side, and of the library."""

import json
import subprocess
import sys

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import Limits, ScriptTest

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


def test_there_are_enough_pairs_of_either_verdict(plain):
    assert len(PAIRS) >= 200
    assert list(plain.values()).count(False) >= 20


@pytest.mark.parametrize("name", PAIRS)
async def test_a_script_says_what_plain_python_says(strongest: ProcessExecutor, plain, name):
    code, script = PAIRS[name]
    limits = Limits(wall_seconds=10, cpu_seconds=5)
    verdict = await strongest.run(Job(code=code, tests=(ScriptTest(code=script),), limits=limits))
    (result,) = verdict.results
    assert (result.outcome == "passed") == plain[name], (plain[name], script, result.outcome, result.error)
