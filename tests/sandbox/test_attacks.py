"""Hostile programs. Each attack is first shown to work on a bare interpreter, where that is harmless."""
# ruff: noqa: ASYNC240, E501

import errno
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bdc_agents.sandbox import Job
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.types import CallTest, Limits

from .attacks import ATTACKS, NOT_STOPPED, SECRET, Attack, standing


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[dict[str, object]]:
    with standing(tmp_path) as found:
        yield found


def on_a_bare_interpreter(attack: Attack, targets: dict[str, object]) -> str:
    code = f"{attack.code}\nprint(repr(attack({targets!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"KEY": SECRET},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout.strip() or done.stderr.strip()


MISSING = (errno.EPERM, errno.ENOENT, errno.ENOSYS, errno.EOPNOTSUPP, errno.EAFNOSUPPORT)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_control_the_attack_works_without_a_sandbox(attack, targets):
    if attack.root and os.geteuid() != 0:
        pytest.skip("works for root only")
    if attack.numbered and platform.machine() != "x86_64":
        pytest.skip("numbers of system calls are those of x86_64")
    outcome = on_a_bare_interpreter(attack, targets)
    if attack.may_be_missing and any(f"Errno {number}]" in outcome for number in MISSING):
        pytest.skip(f"this kernel does not offer it to anybody: {outcome.splitlines()[-1]}")
    assert outcome == "'ESCAPED'"


async def test_no_attack_works_in_the_sandbox(any_tier: ProcessExecutor, targets):
    succeeded = set()
    for attack in ATTACKS:
        test = CallTest(call=f"attack({targets!r})", expected=("'ESCAPED'",))
        (result,) = (await any_tier.run(Job(code=attack.code, tests=(test,)))).results
        if result.outcome not in ("error", "wrong"):
            succeeded.add(attack.name)
    assert succeeded == NOT_STOPPED.get(any_tier.tier, set())
    assert Path(str(targets["prey"])).exists()
    assert not (Path(str(targets["folder"])) / "new").exists()


def test_there_are_enough_attacks():
    assert len(ATTACKS) >= 150
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS)


TRIED_BY = {
    "environment variables of the caller": {"read the environment", "read its own environment through /proc"},
    "files that can be read": {
        "read /etc/passwd",
        "read a file of the caller",
        "read through the root of another process",
    },
    "files that can be written": {
        "write beside the caller's file",
        "empty a file",
        "many files",
        "a large file",
    },
    "network, the hypervisor's sockets": {"connect to a port of this machine", "a socket to the hypervisor"},
    "other processes": {
        "list other processes",
        "signal another process",
        "own a pipe's signals in another's name",
    },
    "system calls (seccomp)": {"test_a_lone_program_makes_the_documented_calls_and_no_others"},
    "the kernel's memory": {"grow a pipe", "pages kept by a pipe", "pages that are shared and in no file"},
    "Landlock around it all": {"test_landlock_is_in_force_wherever_the_kernel_has_it"},
    "privileges": {"become another user", "test_root_becomes_nobody_without_capabilities"},
    "end of what a program started": {"fork", "test_a_process_of_one_test_does_not_live_to_see_the_next"},
}
"""Some of what tries each row of the table in SECURITY.md."""
NOT_TO_BE_TRIED = {"", "needs", "start", "kernel that a program speaks to"}


def test_each_row_of_the_table_is_tried():
    folder = Path(__file__).parent
    text = (folder.parents[1] / "SECURITY.md").read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ")}
    tests = "".join(file.read_text(encoding="utf-8") for file in folder.glob("test_*.py"))
    known = {attack.name for attack in ATTACKS} | set(re.findall(r"def (test_\w+)", tests))
    assert rows - NOT_TO_BE_TRIED == set(TRIED_BY)
    assert set().union(*TRIED_BY.values()) <= known


# --- what one test leaves for the next ---------------------------------------------------------------

LEAVINGS = {
    "a file": "open('left', 'w').close()",
    "a folder without rights": "os.makedirs('a/b/c'); open('a/b/f', 'w').close(); os.chmod('a/b', 0); os.chmod('a', 0)",
    "deep folders": "[(os.mkdir('d' * 200), os.chdir('d' * 200)) for _ in range(100)]",
    "a link to the root": "os.symlink('/', 'root')",
    "a folder without rights at the top": "os.chmod('/tmp', 0)",
    "a changed module": "import math; math.floor = None",
    "a changed builtin": "import builtins; builtins.len = None",
    "a changed report": "import json; json.dumps = None",
}


@pytest.mark.parametrize("name", LEAVINGS)
async def test_one_test_leaves_nothing_for_the_next(sandbox: ProcessExecutor, name):
    code = (
        "import os\n"
        f"def leave():\n    {LEAVINGS[name]}\n    os._exit(0)\n"
        "def state():\n    import math\n    return os.listdir('/tmp'), os.getcwd(), math.floor(1.5), len('ab')\n"
    )
    clean = CallTest(call="state()", expected=("([], '/tmp', 1, 2)",))
    leave = CallTest(call="leave()", expected=("0",))
    verdict = await sandbox.run(Job(code=code, tests=(clean, leave, clean)))
    assert [result.outcome for result in verdict.results] == ["passed", "error", "passed"], verdict.results


async def test_a_process_of_one_test_does_not_live_to_see_the_next(sandbox: ProcessExecutor):
    code = (
        "import os, time\n"
        "def spawn():\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(30)\n"
        "            os._exit(0)\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "    return 1\n"
        "def others():\n"
        "    return [pid for pid in os.listdir('/proc') if pid.isdigit() and int(pid) not in (1, os.getpid())]\n"
    )
    tests = (CallTest(call="spawn()", expected=("1",)), CallTest(call="others()", expected=("[]",)))
    verdict = await sandbox.run(Job(code=code, tests=tests, limits=Limits(processes=4)))
    assert verdict.passed, verdict.results


async def test_a_program_sees_no_expected_value_and_no_later_test(strongest: ProcessExecutor):
    code = (
        "import gc, sys\n"
        "def search(*parts):\n"
        "    word = ''.join(parts)\n"
        "    texts = [o for o in gc.get_objects() if type(o) is dict]\n"
        "    return any(word in str(v) for d in texts for v in list(d.values()) if type(v) is str)\n"
    )
    tests = (
        CallTest(call="search('hid', 'den-answer')", expected=("'hidden-answer'", "False")),
        CallTest(call="'hidden-answer' and 1", expected=("1",)),
    )
    verdict = await strongest.run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.results


async def test_a_program_leaves_nothing_for_the_next_program(sandbox: ProcessExecutor):
    leave = (
        "import builtins, math, os, random, sys\nbuiltins.abs = lambda x: 1\nmath.pi = 3\nsys.setrecursionlimit(500)\n"
        "os.environ['LEFT'] = 'x'\nopen('/tmp/left', 'w').write('x')\nsys.modules['left'] = math\nkeep = 'a-secret-of-' + 'one'\n"
        "def f():\n    return 1\n"
    )
    look = (
        "import gc, math, os, sys\ndef f():\n    word = 'a-secret-of-' + 'one'\n"
        "    return abs(-2), math.pi > 3.1, sys.getrecursionlimit(), 'LEFT' in os.environ, os.listdir('/tmp'), 'left' in sys.modules\n"
    )
    one = CallTest(call="f()", expected=("1",))
    clean = CallTest(call="f()", expected=("(2, True, 1000, False, [], False)",))
    for _ in range(3):
        assert (await sandbox.run(Job(code=leave, tests=(one,)))).passed
        verdict = await sandbox.run(Job(code=look, tests=(clean,)))
        assert verdict.passed, verdict.results
