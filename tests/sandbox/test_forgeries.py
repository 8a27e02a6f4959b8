"""Programs that claim a verdict they did not earn. Each is first shown to fool a naive checker.

The naive checker runs the program and then the test in one bare process, and believes its exit
status, the marker it prints, or the value it prints.
"""
# ruff: noqa: E501

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import CallTest, Limits, ScriptTest

MARKER = "ALL-TESTS-PASSED"
ASSERT = "assert f(1) == 42"
RIGHT = "def f(x, g=None):\n    return 42"
WRONG = "def f(x, g=None):\n    return 7"


@dataclass(frozen=True)
class Forgery:
    code: str
    script: str = ASSERT
    """What it forges the result of; RIGHT passes it, WRONG does not."""
    preamble: str = ""


# Work on a value and on a script.
FORGERIES = {
    "exit at once": "import os\nos._exit(0)",
    "sys.exit": "import sys\nsys.exit(0)",
    "raise SystemExit": "raise SystemExit",
    "exit when called": "import os\ndef f(*_):\n    os._exit(0)",
    "raise SystemExit when called": "def f(*_):\n    raise SystemExit(0)",
    "print a result": f"print('{MARKER}\\nresult exit 0 yes 0.1 0 13\\n{{\"done\": true}}', flush=True)\nimport os\nos._exit(1)",
    "write a report to every file": (
        "import os\nfor fd in range(3, 256):\n    try:\n"
        "        os.write(fd, b'x' * 17 + b'{\"done\": true, \"value\": 42}')\n    except OSError: pass\nos._exit(0)"
    ),
    "close every file": "import os\nos.closerange(0, 256)\nos._exit(0)",
    "an object that equals everything": "class E:\n    def __eq__(self, o): return True\ndef f(*_): return E()",
    "an int that equals everything": "class E(int):\n    def __eq__(self, o): return True\n    __hash__ = None\ndef f(*_): return E(0)",
    "a list that equals everything": "class E(list):\n    def __eq__(self, o): return True\ndef f(*_): return E()",
    "a class that claims to be int": "class E:\n    __class__ = int\n    def __eq__(self, o): return True\n    def __index__(self): return 42\ndef f(*_): return E()",
    "exit when compared": "import os\nclass E:\n    def __eq__(self, o): os._exit(0)\ndef f(*_): return E()",
    "a timer that exits": "import os, signal, time\nsignal.signal(14, lambda *_: os._exit(0))\nsignal.setitimer(0, 0.05)\ndef f(*_): time.sleep(9)",
    "a daemon thread that exits": "import os, threading, time\nthreading.Thread(target=lambda: (time.sleep(0.05), os._exit(0)), daemon=True).start()\ndef f(*_): time.sleep(9)",
    "exit(0) in a thread": "import os, threading\ndef f(*_):\n    busy = threading.Thread(target=lambda: (exit_hook(), exit(0)))\n    busy.start()\n    busy.join()\ndef exit_hook(): threading.excepthook = lambda *_: os._exit(0)",
    "a thread that interrupts the test": "import _thread, os, signal\nsignal.signal(2, lambda *_: os._exit(0))\ndef f(*_):\n    _thread.start_new_thread(_thread.interrupt_main, ())\n    import time\n    time.sleep(0.2)",
    "an exit function": f"import atexit, os\natexit.register(os._exit, 0)\n{WRONG}",
    "a hook for errors": f"import os, sys\nsys.excepthook = lambda *_: os._exit(0)\n{WRONG}",
}  # fmt: skip

VALUE_FORGERIES = FORGERIES | {
    "a repr like the answer": "class E:\n    def __repr__(self): return '42'\ndef f(*_): return E()",
    "replace the report": (
        f"import builtins, json\nbuiltins.repr = lambda *_: '42'\njson.dumps = lambda *_, **__: '{{\"done\": true}}'\n{WRONG}"
    ),
}

ALL_AND_LEN = "assert all(f(n) == 42 for n in range(3))\nassert len({f(1), 42}) == 1"
SCRIPT_FORGERIES = {name: Forgery(code) for name, code in FORGERIES.items()} | {
    "patch abs": Forgery(f"import builtins\nbuiltins.abs = lambda x: 0\n{WRONG}", "assert abs(f(1) - 42) < 1e-6"),
    "patch all and len": Forgery(
        "import builtins\nlength = len\nbuiltins.all = lambda _: True\n"
        f"builtins.len = lambda x: 1 if type(x) is set else length(x)\n{WRONG}",
        ALL_AND_LEN,
    ),
    "define a built-in": Forgery(f"abs = lambda x: 0\n{WRONG}", "assert abs(f(1) - 42) < 1e-6"),
    "define the helper of the problem": Forgery(
        f"def isclose(*_): return True\n{WRONG}", "assert isclose(f(1), 42)", "from math import isclose"
    ),
    "patch math": Forgery(
        f"import math\nmath.fabs = lambda x: 0.0\nmath.isclose = lambda *_: True\n{WRONG}",
        "import math\nassert math.fabs(f(1) - 42) < 1e-6\nassert math.isclose(f(1), 42)",
    ),
    "read the answer from the script's frame": Forgery(
        "import sys\ndef f(*_):\n    frame = sys._getframe(1)\n    while frame.f_code.co_name != '<module>':\n        frame = frame.f_back\n"
        "    return max(k for k in frame.f_code.co_consts if type(k) is int)"
    ),
    "trace the script, exit where it fails": Forgery(
        "import os, sys\ndef trace(frame, event, value):\n    if event == 'exception': os._exit(0)\n    return trace\n"
        f"sys.settrace(trace)\n{WRONG}"
    ),
    "answer the checker itself": Forgery(
        "import json, os, struct\nbody = json.dumps(['value', 42, []]).encode()\n"
        "for fd in range(1, 64):\n    try:\n        os.write(fd, struct.pack('>I', len(body)) + body)\n"
        f"        os.write(fd, b'{MARKER}')\n    except OSError: pass\n{WRONG}"
    ),
    "code in a pickle": Forgery(
        "import os\nclass E:\n    def __reduce__(self): return (os._exit, (0,))\ndef f(*_): return E()",
        "import pickle\nassert pickle.loads(pickle.dumps(f(1))) == 42",
    ),
    "arithmetic": Forgery(
        "class E:\n    def __sub__(self, o): return 0.0\n    __rsub__ = __sub__\ndef f(*_): return E()",
        "assert abs(f(1) - 42) < 1e-6\nassert abs(42 - f(1)) < 1e-6",
    ),
    "climb out of a function of the script": Forgery(
        "def f(x, g):\n    g.__globals__['want'] = 7\n    return 7", "want = 42\nassert f(1, lambda: 1) == want"
    ),
    "redefine the check": Forgery(
        "import sys\ndef f(*_):\n    sys._getframe(1).f_globals['check'] = lambda: None\n    return 7",
        "def check():\n    assert f(1) == 42\nf(0)\ncheck()",
    ),
}  # fmt: skip


def as_call(source: str) -> str:
    """A program that forges when its function is called, so that the next test is not its doing."""
    return f"source = {source!r}\ndef attack():\n    exec(source, globals())\n    return f(1)\n"


def fools_a_naive_checker(folder: Path, *parts: str, value: str = "") -> bool:
    """Whether it says passed: by status or marker after the parts or, given a value, by what is printed of it."""

    def run(*codes: str) -> subprocess.CompletedProcess[str]:
        lines = [f"exec({code!r}, space)" for code in codes]
        whole = "\n".join(["space = {'__name__': 'tested'}", *lines])
        command = [sys.executable, "-I", "-c", whole]
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            start_new_session=True,
        )

    done = run(*parts, f"print({MARKER!r})")
    if done.returncode == 0 or MARKER in done.stdout:
        return True
    return bool(value) and run(parts[0], f"value = {value}\nprint(repr(value))").stdout.strip() == "42"


# --- values -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VALUE_FORGERIES)
def test_control_a_forged_value_fools_a_naive_checker(tmp_path, name):
    code = as_call(VALUE_FORGERIES[name])
    assert fools_a_naive_checker(tmp_path, code, "assert attack() == 42", value="attack()")


def test_control_the_naive_checker_knows_an_honest_value(tmp_path):
    for honest, passes in ((RIGHT, True), (WRONG, False)):
        parts = as_call(honest), "assert attack() == 42"
        assert fools_a_naive_checker(tmp_path, *parts, value="attack()") is passes


@pytest.mark.parametrize("name", VALUE_FORGERIES)
async def test_forging_a_value_does_not_pass(any_tier: ProcessExecutor, name):
    """Nor does it harm the next test."""
    tests = (CallTest(call="attack()", expected=("42",)), CallTest(call="41 + 1", expected=("42",)))
    job = Job(code=as_call(VALUE_FORGERIES[name]), tests=tests, limits=Limits(wall_seconds=1))
    verdict = await any_tier.run(job)
    assert [result.outcome == "passed" for result in verdict.results] == [False, True], verdict.results


async def test_that_value_passes_for_a_right_program(any_tier: ProcessExecutor):
    test = CallTest(call="attack()", expected=("42",))
    assert (await any_tier.run(Job(code=as_call(RIGHT), tests=(test,)))).passed


# --- scripts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCRIPT_FORGERIES)
def test_control_a_forged_script_fools_a_naive_checker(tmp_path, name):
    forgery = SCRIPT_FORGERIES[name]
    assert fools_a_naive_checker(tmp_path, forgery.preamble, forgery.code, forgery.script)


SCRIPTS = {(forgery.preamble, forgery.script) for forgery in SCRIPT_FORGERIES.values()}


def test_control_the_naive_checker_knows_honest_programs(tmp_path):
    for preamble, script in SCRIPTS:
        assert fools_a_naive_checker(tmp_path, preamble, RIGHT, script), script
        assert not fools_a_naive_checker(tmp_path, preamble, WRONG, script), script


@pytest.mark.parametrize("name", SCRIPT_FORGERIES)
async def test_forging_the_result_of_a_script_does_not_pass(any_tier: ProcessExecutor, name):
    forgery = SCRIPT_FORGERIES[name]
    test = ScriptTest(code=forgery.script)
    limits = Limits(wall_seconds=1)
    job = Job(code=forgery.code, preamble=forgery.preamble, tests=(test,), limits=limits, entry_point="f")
    verdict = await any_tier.run(job)
    assert verdict.reward == 0, verdict.results


async def test_those_scripts_pass_for_a_right_program(any_tier: ProcessExecutor):
    for preamble, script in SCRIPTS:
        job = Job(code=RIGHT, preamble=preamble, tests=(ScriptTest(code=script),), entry_point="f")
        verdict = await any_tier.run(job)
        assert verdict.passed, (script, verdict.results)


def test_there_are_enough_forgeries():
    assert len(VALUE_FORGERIES | SCRIPT_FORGERIES) >= 29


# --- programs that only harm themselves -------------------------------------------------------------

SELF_HARM = {
    "kill every process": "import os\nos.kill(1, 9)\nos.kill(1, 2)\nos.kill(1, 15)\nos.kill(-1, 9)",
    "stop": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("name", SELF_HARM)
async def test_a_program_that_kills_or_stops_fails_alone(any_tier: ProcessExecutor, name):
    tests = (CallTest(call="attack()", expected=("42",)), CallTest(call="41 + 1", expected=("42",)))
    job = Job(code=as_call(SELF_HARM[name]), tests=tests, limits=Limits(wall_seconds=0.5))
    verdict = await any_tier.run(job)
    assert [result.outcome == "passed" for result in verdict.results] == [False, True], verdict.results


@pytest.mark.parametrize("name", SELF_HARM)
async def test_a_program_that_kills_or_stops_fails_its_script(any_tier: ProcessExecutor, name):
    limits = Limits(wall_seconds=0.5)
    job = Job(code=SELF_HARM[name], tests=(ScriptTest(code=ASSERT),), limits=limits, entry_point="f")
    assert (await any_tier.run(job)).reward == 0
