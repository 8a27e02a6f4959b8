"""Kernels that lack what a tier is made of: an old Landlock, and gVisor's kernel, which is no Linux.

An old Landlock is simulated where the sandbox makes its system calls: it names an older version, and
refuses what that version does not know, as such a kernel does. All else is real.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bdc_agents.errors import SandboxError
from bdc_agents.sandbox import Job, bootstrap
from bdc_agents.sandbox.executor import ProcessExecutor, run_blocking
from bdc_agents.sandbox.probes import attack
from bdc_agents.sandbox.tiers import Tier
from bdc_agents.types import CallTest

from .attacks import ATTACKS, NOT_STOPPED, standing

OLD_LANDLOCK = """
class _OldKernel:
    # How many rights on files each version knows.
    FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}

    def __getattr__(self, name):
        return getattr(_real, name)

    def syscall(self, number, *words):
        if number.value != _SYS_LANDLOCK:
            return _real.syscall(number, *words)
        attributes, size, flags = words
        if VERSION == 0:
            return self._refuse(errno.ENOSYS)
        if flags.value == 1:
            return VERSION
        if size.value > (8 if VERSION < 4 else 16):
            return self._refuse(errno.E2BIG)
        if int.from_bytes(ctypes.string_at(attributes, 8), "little") >> self.FILES[VERSION]:
            return self._refuse(errno.EINVAL)
        return _real.syscall(number, *words)

    def _refuse(self, number):
        ctypes.set_errno(number)
        return -1


_real, _libc = _libc, _OldKernel()
"""
OldLandlock = Callable[[int], None]


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> OldLandlock:
    """Has the kernel of every new sandbox offer this version of Landlock; 0 for none."""
    sources = bootstrap._sources

    def offer(version: int) -> None:
        old = OLD_LANDLOCK.replace("VERSION", str(version))
        changed = [
            (name, is_package, text + old if name == "isolation.kernel" else text)
            for name, is_package, text in sources()
        ]
        frame = bootstrap._frame(
            [(name, is_package, compile(text, name, "exec")) for name, is_package, text in changed]
        )
        monkeypatch.setattr("bdc_agents.sandbox.worker.first_frame", lambda: frame)

    return offer


@pytest.mark.parametrize("version", [0, 1, 2])
def test_the_tier_without_namespaces_refuses_an_old_landlock(
    landlock_tier: Tier, offers: OldLandlock, version: int
) -> None:
    offers(version)
    with pytest.raises(SandboxError, match=rf"Landlock version {version}, but 3 \(Linux 6\.2\) is needed"):
        attack(landlock_tier)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_it_holds_from_the_first_that_is_enough(
    landlock_tier: Tier, offers: OldLandlock, version: int
) -> None:
    offers(version)
    assert attack(landlock_tier) == ""


@pytest.mark.parametrize("version", [3, 5])
async def test_no_attack_works_there_either(
    landlock_tier: Tier, offers: OldLandlock, tmp_path: Path, version: int
) -> None:
    """What later versions scope, signals and abstract sockets, the filter of system calls stops."""
    offers(version)
    executor = ProcessExecutor(landlock_tier, workers=1)
    succeeded = set()
    with standing(tmp_path) as targets:
        for hostile in ATTACKS:
            test = CallTest(call=f"attack({targets!r})", expected=("'ESCAPED'",))
            (result,) = (await executor.run(Job(code=hostile.code, tests=(test,)))).results
            if result.outcome not in ("error", "wrong"):
                succeeded.add(hostile.name)
    await executor.aclose()
    assert succeeded == NOT_STOPPED["landlock"]


@pytest.fixture
def target() -> Iterator[Path]:
    """A file that everybody may write to, outside what a sandbox sees."""
    file = Path(f"/dev/shm/bdc-test-{os.getpid()}")
    if not file.parent.is_dir():
        pytest.skip("this machine has no /dev/shm")
    file.write_text("kept")
    file.chmod(0o666)
    yield file
    file.unlink()


def test_and_then_a_program_changes_no_file(landlock_tier: Tier, offers: OldLandlock, target: Path) -> None:
    """What version 3 has and version 2 has not: a file may not be cut off by its name either."""
    offers(3)
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None)\ndef f(path):\n"
        "    try:\n        open(path, 'a')\n    except OSError: pass\n    else: return 'opened'\n"
        "    return 'cut' if libc.truncate(path.encode(), 0) == 0 else 'safe'\n"
    )
    test = CallTest(call=f"f({str(target)!r})", expected=("'safe'",))
    verdict = run_blocking(ProcessExecutor(landlock_tier, workers=1), Job(code=code, tests=(test,)))
    assert verdict.passed, verdict.results
    assert target.read_text() == "kept"


@pytest.mark.parametrize("version", [0, 1, 2])
def test_namespaces_hold_with_an_old_landlock_or_none(
    strongest_tier: Tier, offers: OldLandlock, version: int
) -> None:
    offers(version)
    assert attack(strongest_tier) == ""


# --- gVisor ---------------------------------------------------------------------------------------

INSIDE = ("runsc", "--network=none", "--ignore-cgroups", "do", "-quiet")
TELL = """
import json
from bdc_agents.errors import SandboxRefused
from bdc_agents.sandbox import create_executor, probe
try:
    refused, tier = "", create_executor().tier
except SandboxRefused as error:
    refused, tier = str(error), ""
reports = {report.tier: (report.holds, report.reason) for report in probe()}
print(json.dumps({"refused": refused, "tier": tier, "reports": reports}))
"""


def test_within_gvisor_a_tier_holds_or_says_why_not_and_nothing_runs_without_one() -> None:
    if shutil.which("runsc") is None or subprocess.run([*INSIDE, "true"], check=False).returncode != 0:
        pytest.skip("runsc cannot run a command here")
    done = subprocess.run(
        [*INSIDE, sys.executable, "-c", TELL], capture_output=True, text=True, timeout=60, check=True
    )
    found = json.loads(done.stdout)
    isolating = {tier: told for tier, told in found["reports"].items() if tier != "unsafe"}
    holding = [tier for tier, (holds, _) in isolating.items() if holds]
    assert found["tier"] == (holding[0] if holding else "")
    for holds, reason in isolating.values():
        assert holds or len(reason) > len("[Errno 38] Function not implemented"), reason
    if not holding:
        assert "this machine offers no isolation" in found["refused"]
        assert all(reason in found["refused"] for _, reason in isolating.values())


def test_a_container_of_gvisor_holds_or_the_reason_names_what_its_kernel_lacks() -> None:
    from bdc_agents.sandbox import probe_tier

    report = probe_tier("gvisor")
    assert report.holds or "runsc" in report.reason or "pidfd_open" in report.reason, report.reason
