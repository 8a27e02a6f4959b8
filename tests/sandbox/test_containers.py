"""The sandbox in a container, as Docker runs one by default: its seccomp profile, rights and hidden files.

The profile is put in force for real, for a process that then looks for a tier and runs hostile
programs in it. What the profile refuses is that of Docker 28, for a container without CAP_SYS_ADMIN.
"""

import errno
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.sandbox import TierReport
from bdc_agents.sandbox.inside.isolation import seccomp

from .attacks import NOT_STOPPED
from .conftest import available

CALLS = 470  # as many as the profile knows, on x86_64
REFUSED = {
    *range(134, 137), 103, 139, 153, 155, 156, 161, *range(163, 186), 212, 227, *range(236, 240), 246,
    *range(248, 251), 256, 272, 279, 298, 300, 304, 308, 312, 313, 320, 321, 323, *range(425, 434),
    *(438, 440, 442, 443, 450, 459, 460, 461, 467, 468, 469),
} - {135}  # fmt: skip
FAMILIES = sorted({*range(46)} - {12, 19, 20, 23, 25, 34, 37, 38, 40})
CLONE, CLONE3, SOCKET, PERSONALITY, CHROOT = 56, 435, 41, 135, 161
NEW_NAMESPACES = 0x7E020000
PERSONALITIES = (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
ROOT = Path(__file__).parents[2]
RIGHTS = (0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31)
"""The capabilities of root in a container, CAP_CHOWN to CAP_SETFCAP."""


def profile(rights: tuple[int, ...]) -> bytes:
    """Docker's profile as a program for the kernel."""
    no, allow = seccomp._error(errno.EPERM), seccomp._ALLOW
    refused = REFUSED - ({CHROOT} if 18 in rights else set())
    blocks = {number: no if number in refused else allow for number in range(CALLS)}
    blocks[CLONE] = seccomp._any_bit(0, NEW_NAMESPACES, no)
    blocks[CLONE3] = seccomp._error(errno.ENOSYS)
    blocks[SOCKET] = seccomp._one_of(0, FAMILIES, no)
    blocks[PERSONALITY] = seccomp._one_of(0, PERSONALITIES, no)
    begin = ((0x20, 0, 0, 0),)
    return seccomp._packed((*begin, *seccomp._search(seccomp._intervals(blocks))))


CONTAIN = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def must(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def mount(source, target, kind, flags):
    must(libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None))
profile, hidden, rights, user, *command = sys.argv[1:]
must(libc.unshare(0x20000))
mount("none", "/", "", 0x44000)
def there(*paths):
    return filter(os.path.exists, paths if hidden else ())
for path in there("/proc/kcore", "/proc/keys", "/proc/timer_list"):
    mount("/dev/null", path, "", 0x1000)
for path in there("/proc/acpi", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"):
    mount("tmpfs", path, "tmpfs", 1)
for path in there("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"):
    mount(path, path, "", 0x5000)
    mount(path, path, "", 0x5021)
code = bytes.fromhex(profile)
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_char_p)]
must(libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0))
rights = [int(right) for right in rights.split(",") if right]
for right in range(64):
    if right not in rights and libc.prctl(24, right, 0, 0, 0) < 0:
        break
os.setgroups([])
os.setresgid(int(user), int(user), int(user))
os.setresuid(int(user), int(user), int(user))
if user == "0":
    mask = sum(1 << right for right in rights)
    sets = (ctypes.c_uint32 * 6)(mask, mask, 0, 0, 0, 0)
    must(libc.capset((ctypes.c_uint32 * 2)(0x20080522, 0), sets))
os.execv(command[0], command)
"""

INSIDE = """
import asyncio, json, os, sys, tempfile
from pathlib import Path
from typing import Any
from bdc_agents.sandbox import Job, create_executor, probe
from bdc_agents.types import CallTest, ScriptTest, StdinTest
from tests.sandbox.attacks import ATTACKS, standing

async def main():
    reports = {report.tier: report.reason for report in probe() if not report.holds}
    executor = create_executor()
    succeeded, strange = [], []
    with tempfile.TemporaryDirectory() as folder, standing(Path(folder)) as targets:
        for attack in ATTACKS:
            test = CallTest(call=f"attack({targets!r})", expected=("'ESCAPED'",))
            (result,) = (await executor.run(Job(code=attack.code, tests=(test,)))).results
            if result.outcome == "passed":
                succeeded.append(attack.name)
            elif result.outcome not in ("error", "wrong"):
                strange.append(f"{attack.name}: {result.outcome} {result.error}")
    right = [
        StdinTest(stdin="3\\n", expected=("6",)),
        CallTest(call="f(2)", expected=("4",)),
        ScriptTest(code="assert f(4) == 8"),
    ]
    code = "import sys, threading\\ndef f(x):\\n    return 2 * x\\n"
    by_input = code + "threading.Thread(target=lambda: print(f(int(open('/dev/stdin').read())))).start()\\n"
    jobs = [Job(code=code, tests=(test,)) for code, test in zip((by_input, code, code), right)]
    passed = [(await executor.run(job)).passed for job in jobs]
    hungry = Job(code="", tests=(CallTest(call="len(b'x' * 10**9)", expected=("0",)),))
    passed.append((await executor.run(hungry)).results[0].outcome)
    await executor.aclose()
    print(json.dumps([executor.tier, reports, sorted(succeeded), strange, passed]))
asyncio.run(main())
"""

CASES = {
    "root": ("0", RIGHTS),
    "root without capabilities": ("0", ()),
    "another user": ("1000", ()),
}


pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can put such a profile in force"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86_64"),
]


def in_a_container(case: str, confined: bool = True, hidden: bool = True) -> Any:
    """What `INSIDE` found in a container of this kind."""
    tier = available("landlock")
    if isinstance(tier, TierReport):
        pytest.skip(f"landlock: {tier.reason}")
    user, rights = CASES[case]
    filter = profile(rights) if confined else seccomp._packed(seccomp._ALLOW)
    places = [str(ROOT), *(place for place in sys.path if place and not place.startswith(sys.base_prefix))]
    environment = {"PYTHONPATH": os.pathsep.join(places), "HOME": "/", "PATH": os.environ["PATH"]}
    contain = [sys.executable, "-c", CONTAIN, filter.hex(), "x" * hidden, ",".join(map(str, rights)), user]
    done = subprocess.run(
        [*contain, tier.command[0], "-c", INSIDE],
        env=environment, cwd="/", capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_in_dockers_default_profile_landlock_holds_and_runs_right_programs(case: str) -> None:
    chosen, reports, succeeded, strange, passed = in_a_container(case)
    assert chosen == "landlock"
    assert "namespaces" in reports
    assert set(succeeded) == NOT_STOPPED["landlock"]
    assert strange == []
    assert passed == [True, True, True, "memory"]


@pytest.mark.parametrize("hidden", [False, True], ids=["all of /proc", "parts of /proc hidden"])
@pytest.mark.parametrize("case", ["root", "another user"])
def test_without_a_profile_namespaces_hold(case: str, hidden: bool) -> None:
    """Where parts of /proc are hidden nobody may mount another: there is none, and so no /dev/stdin."""
    chosen, _, succeeded, strange, passed = in_a_container(case, confined=False, hidden=hidden)
    assert chosen == "namespaces"
    assert succeeded == []
    assert strange == []
    assert passed == [not hidden, True, True, "memory"]
