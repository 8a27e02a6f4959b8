"""Which tier is chosen, when untrusted programs are refused, and ordinary users."""
# ruff: noqa: ASYNC221, ASYNC240, E501

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from bdc_agents.config import SandboxConfig
from bdc_agents.errors import SandboxError, SandboxRefused
from bdc_agents.sandbox import TIERS, Executor, Job, TierReport, create_executor, probe, tiers
from bdc_agents.sandbox.executor import ProcessExecutor
from bdc_agents.sandbox.inside.isolation import landlock
from bdc_agents.sandbox.probes import attack, choose, probe_tier
from bdc_agents.sandbox.tiers import ENVIRONMENT, NOBODY, make_tier
from bdc_agents.types import CallTest


def holds_only(*names: str):
    return lambda name: TierReport(name, name in names, "" if name in names else f"{name} was made to fail")


@pytest.mark.parametrize(
    ("tier", "allow_unsafe", "holding", "chosen"),
    [
        ("auto", False, ("namespaces", "bubblewrap"), "namespaces"),
        ("auto", False, ("bubblewrap",), "bubblewrap"),
        ("auto", True, ("bubblewrap",), "bubblewrap"),
        ("auto", True, (), "unsafe"),
        ("bubblewrap", False, ("namespaces", "bubblewrap"), "bubblewrap"),
        ("unsafe", False, ("namespaces",), "unsafe"),
    ],
)
def test_the_strongest_tier_that_holds_is_chosen(tier, allow_unsafe, holding, chosen):
    assert choose(tier, allow_unsafe, holds_only(*holding)) == chosen


@pytest.mark.parametrize(
    ("config", "holding"),
    [
        (SandboxConfig(), ()),
        (SandboxConfig(tier="namespaces"), ("bubblewrap",)),
        (SandboxConfig(tier="bubblewrap", allow_unsafe=True), ("namespaces",)),
    ],
)
def test_programs_are_refused_where_nothing_holds(config, holding):
    with pytest.raises(SandboxRefused) as refused:
        create_executor(config, probe_with=holds_only(*holding))
    message = str(refused.value)
    tried = TIERS[:-1] if config.tier == "auto" else (config.tier,)
    assert all(f"{name} was made to fail" in message for name in tried)
    assert "apt install bubblewrap" in message
    assert "allow_unsafe = true" in message
    assert "--allow-unsafe" in message


def test_each_tier_is_probed_once():
    asked = []
    create_executor(probe_with=lambda name: asked.append(name) or TierReport(name, True))
    assert asked == ["namespaces"]


def test_the_report_names_every_tier():
    reports = probe()
    assert [report.tier for report in reports] == list(TIERS)
    assert all(report.holds or report.reason for report in reports)
    assert not reports[-1].holds


def test_the_probe_finds_the_holes_of_a_bare_interpreter(monkeypatch):
    bare = replace(make_tier("unsafe"), name="namespaces")
    monkeypatch.setattr("bdc_agents.sandbox.probes.make_tier", lambda name: bare)
    report = probe_tier("namespaces")
    assert not report.holds
    assert "a program can" in report.reason
    assert "read /etc/passwd" in report.reason
    assert "see other processes" in report.reason


def test_a_missing_bubblewrap_is_a_reason(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    report = probe_tier("bubblewrap")
    assert not report.holds
    assert "apt install bubblewrap" in report.reason


def test_on_other_systems_the_refusal_says_what_works_there(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(SandboxRefused) as refused:
        create_executor(SandboxConfig())
    assert "namespaces: it needs Linux, and this is Darwin" in str(refused.value)
    assert "on macOS and Windows use a Linux container, or BackendExecutor" in str(refused.value)


async def test_landlock_is_in_force_wherever_the_kernel_has_it(any_tier: ProcessExecutor):
    """A folder that the mounts show, and Landlock does not."""
    if any_tier.tier == "gvisor" or not landlock.version():
        pytest.skip("no Landlock")
    (result,) = (
        await any_tier.run(Job(code="import os", tests=(CallTest(call="os.listdir('/')", expected=("[]",)),)))
    ).results
    assert "PermissionError" in result.error, result


async def test_probing_works_within_a_running_loop():
    assert isinstance(create_executor(SandboxConfig(tier="unsafe")), Executor)
    assert probe_tier("namespaces").tier == "namespaces"


async def test_a_program_has_no_environment_but_ours(sandbox: ProcessExecutor, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    code = "import os, sys, time\ndef f():\n    return {k: v for k, v in os.environ.items() if k != 'PWD'}"
    tests = (
        CallTest(call="f()", expected=(repr(ENVIRONMENT),)),
        CallTest(call="hash('a') == hash('a') and sys.flags.hash_randomization", expected=("0",)),
        CallTest(call="sys.getfilesystemencoding(), sys.stdout.encoding", expected=("('utf-8', 'utf-8')",)),
        CallTest(call="time.tzname", expected=("('UTC', 'UTC')",)),
        CallTest(
            call="sys.argv, [p for p in sys.path if 'site-packages' in p]", expected=("(['program.py'], [])",)
        ),
        CallTest(call="any('bdc' in name or 'inside' in name for name in sys.modules)", expected=("False",)),
    )
    verdict = await sandbox.run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.failures


async def test_the_standard_library_is_there(sandbox: ProcessExecutor):
    names = "asyncio, array, bisect, bz2, collections, ctypes, csv, datetime, decimal, fractions, functools, hashlib, heapq"
    more = "itertools, json, lzma, math, multiprocessing, numbers, random, re, sqlite3, ssl, statistics, typing, zlib"
    code = f"import {names}, {more}\ndef f():\n    return hashlib.sha256(b'').hexdigest()[:4]"
    verdict = await sandbox.run(Job(code=code, tests=(CallTest(call="f()", expected=("'e3b0'",)),)))
    assert verdict.passed, verdict.results


async def test_nothing_but_libraries_is_visible(sandbox: ProcessExecutor):
    code = "import os\ndef f(*paths):\n    open('/dev/null', 'w').write('x')\n    return [p for p in paths if os.path.exists(p)]"
    paths = (
        __file__,
        tiers.__file__,
        pytest.__file__,
        "/home",
        "/var",
        "/sys",
        "/boot",
        "/run",
        "/etc/hosts",
    )
    verdict = await sandbox.run(Job(code=code, tests=(CallTest(call=f"f{paths!r}", expected=("[]",)),)))
    assert verdict.passed, verdict.results


async def test_an_event_loop_runs_in_a_program(sandbox: ProcessExecutor):
    code = "import asyncio\nasync def g():\n    await asyncio.sleep(0)\n    return 1\ndef f():\n    return asyncio.run(g())"
    verdict = await sandbox.run(Job(code=code, tests=(CallTest(call="f()", expected=("1",)),)))
    assert verdict.passed, verdict.results


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests ran as one")
async def test_namespaces_hold_for_an_ordinary_user():
    python = "/usr/bin/python3"
    if shutil.which("setpriv") is None or not Path(python).exists():
        pytest.skip("needs setpriv and a system Python")
    if (
        subprocess.run(["setpriv", f"--reuid={NOBODY}", "unshare", "-Ur", "true"], check=False).returncode
        != 0
    ):
        pytest.skip("ordinary users may not create user namespaces here")
    tier = make_tier("namespaces", python)
    user = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    own = replace(tier, command=(*user, *tier.command))
    code = "import os\ndef f():\n    return os.getuid(), os.getpid(), os.path.exists('/etc/passwd'), os.access('/usr/lib', os.W_OK)"
    tests = (
        CallTest(call="f()", expected=(f"({NOBODY}, 2, False, False)",)),
        CallTest(
            call="open('/proc/self/status').read().count('CapEff:\\t0000000000000000')", expected=("1",)
        ),
    )
    verdict = await ProcessExecutor(own).run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.results


async def test_root_becomes_nobody_without_capabilities(sandbox: ProcessExecutor):
    code = "import os\ndef f():\n    lines = open('/proc/self/status').read().splitlines()\n    return dict(line.split(':\\t') for line in lines)"
    wanted = {f"Cap{kind}": "0" * 16 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} | {
        "NoNewPrivs": "1",
        "Seccomp": "2",
    }
    tests = (
        CallTest(call=f"{{k: f()[k] for k in {list(wanted)!r}}}", expected=(repr(wanted),)),
        CallTest(call="os.getuid() != 0 and os.getgid() != 0", expected=("True",)),
    )
    verdict = await sandbox.run(Job(code=code, tests=tests))
    assert verdict.passed, verdict.failures


@pytest.mark.parametrize(("name", "holds"), [("namespaces", False), ("landlock", True)])
def test_without_user_namespaces_the_tier_without_any_holds(name, holds):
    none = ("unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh")
    if shutil.which("unshare") is None or subprocess.run([*none, "true"], check=False).returncode != 0:
        pytest.skip("this machine has no user namespaces that could be switched off")
    tier = replace(make_tier(name), user=None)
    own = replace(tier, command=(*none, *tier.command))
    if holds:
        assert attack(own) == ""
    else:
        with pytest.raises(SandboxError, match="did not start"):
            attack(own)
