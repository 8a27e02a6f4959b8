"""No program finds a script that tests it: not its own, no earlier one, and no report about one.

The program is benchmarks/hunter.py, which tries every way that it has into its own process and out
of it. Each test is a script that passes only if the program comes back with nothing.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor, frames_of
from bdc_agents.sandbox.tiers import Tier, make_tier
from bdc_agents.types import CallTest, Limits, ScriptTest, StdinTest

from .conftest import available

SOURCE = (Path(__file__).parents[2] / "benchmarks" / "hunter.py").read_text(encoding="utf-8")
SECRET = "kenn" + "wort"
"""Never whole in the program's source, nor in the pattern by which it hunts."""
HUNTER = f"""{SOURCE}
def f(*_):
    return sorted(hunt('k[e]nnwort'))
"""
FINDS_NOTHING = f"# {SECRET}\nassert f() == [] and '{SECRET}'\n"
LIMITS = Limits(cpu_seconds=60)


def hunted_in_one_process(program: str, script: str) -> str:
    """What the same program finds where its test shares its process."""
    code = f"space = {{'__name__': 'tested'}}\nexec({program!r}, space)\n"
    code += f"script = {script!r}\nprint(space['f']())"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


def test_control_the_hunter_finds_a_script_in_its_own_process():
    found = hunted_in_one_process(HUNTER, FINDS_NOTHING)
    for way in ("frames", "objects", "memory_file", "memory_by_address"):
        assert way in found


def test_control_the_hunter_does_not_find_itself():
    assert hunted_in_one_process(HUNTER, "nothing").strip() == "[]"


@pytest.fixture(params=["namespaces", "bubblewrap", "gvisor", "landlock", "unsafe"])
async def one_worker(request: pytest.FixtureRequest):
    """An executor of each tier, whose jobs all go to one worker."""
    tier = make_tier("unsafe") if request.param == "unsafe" else available(request.param)
    if not isinstance(tier, Tier):
        pytest.skip(f"{request.param}: {tier.reason}")
    executor = ProcessExecutor(tier, workers=1)
    yield executor
    await executor.aclose()


async def test_a_program_finds_no_script(one_worker: ProcessExecutor):
    """Neither in what it was forked from, nor after the checker has reported on earlier ones."""
    quotes = [
        f"f()\nassert '{SECRET}' == 'shown in the report as the left side'",
        f"f()\nraise ValueError('{SECRET}')",
        f"f()\n{SECRET}",
        f"def ({SECRET}",
    ]
    scripts = [FINDS_NOTHING, *quotes, FINDS_NOTHING]
    job = Job(code=HUNTER, tests=tuple(ScriptTest(code=code) for code in scripts), limits=LIMITS)
    for _ in range(2):  # a warm worker knows the scripts of its earlier jobs, too
        results = (await one_worker.run(job)).results
        assert [result.outcome for result in results] == [
            *("passed", "wrong", "error", "error", "error", "passed")
        ], results
        assert SECRET in results[1].actual
        assert SECRET in results[2].error


async def test_a_program_finds_no_script_while_it_loads(one_worker: ProcessExecutor):
    code = f"{HUNTER}\nearly = f()\ndef found():\n    return early\n"
    test = ScriptTest(code=f"assert found() == [] and '{SECRET}'")
    assert (await one_worker.run(Job(code=code, tests=(test,), limits=LIMITS))).passed


async def test_a_program_finds_no_script_on_input_or_in_a_call(one_worker: ProcessExecutor):
    code = f"{HUNTER}\nif __name__ == '__main__':\n    print(f())\n"
    script = ScriptTest(code=f"f()\nassert '{SECRET}' == ''")
    tests = (
        script,
        CallTest(call="f()", expected=("[]", repr(SECRET))),
        script,
        StdinTest(stdin="", expected=("[]", SECRET)),
        CallTest(call="f()", expected=("[]", repr(SECRET))),
        script,
    )
    results = (await one_worker.run(Job(code=code, tests=tests, limits=LIMITS))).results
    assert [result.outcome for result in results] == [
        *("wrong", "passed", "wrong", "passed", "passed", "wrong")
    ], results


async def test_a_program_finds_no_later_call(one_worker: ProcessExecutor):
    tests = (
        CallTest(call="f()", expected=("[]",)),
        CallTest(call=f"len(f('{SECRET}')) > 0", expected=("True",)),
    )
    assert (await one_worker.run(Job(code=HUNTER, tests=tests, limits=LIMITS))).passed


def test_only_the_size_of_a_script_is_told_before_it():
    """What an expected value is, is not told at all."""
    tests = (
        ScriptTest(code=FINDS_NOTHING),
        CallTest(call="f()", expected=(repr(SECRET),)),
        StdinTest(stdin="", expected=(SECRET,)),
    )
    job, script, *others = frames_of(Job(code="", tests=tests))
    head, body = script[: -len(FINDS_NOTHING)], script[-len(FINDS_NOTHING) :]
    assert body == FINDS_NOTHING.encode()
    assert SECRET.encode() not in b"".join([job, head, *others])
