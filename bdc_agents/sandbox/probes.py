"""Probes the tiers with a hostile program, and chooses the strongest one that holds on this machine."""

import os
import platform
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bdc_agents.errors import SandboxRefused
from bdc_agents.types import CallTest

from .executor import ProcessExecutor, run_blocking
from .protocol import Job
from .tiers import ENVIRONMENT, TIERS, Tier, make_tier


@dataclass(frozen=True)
class TierReport:
    """Whether a tier holds on this machine; if not, why."""

    tier: str
    holds: bool
    reason: str = ""


_QUOTES = "'\""
# 40 is AF_VSOCK, which not every Python names. Small process ids are those of the sandbox's own namespace.
_PROBE = '''
import os, socket

def holes(port, listed, secret, pid):
    """Names of what a program can reach but must not."""
    def works(attempt, *arguments):
        try:
            return attempt(*arguments) is not False
        except Exception:
            return False
    attempts = {
        "connect to a port of this machine": lambda: socket.create_connection(("127.0.0.1", port), 2),
        "open an internet socket": lambda: socket.socket(socket.AF_INET),
        "open a socket to the hypervisor": lambda: socket.socket(40, socket.SOCK_STREAM),
        "read /etc/passwd": lambda: open("/etc/passwd").read(),
        "read a file of the caller": lambda: open(secret).read(),
        "write to the standard library": lambda: os.open(os.__file__, os.O_WRONLY),
        "see other processes": lambda: len([n for n in os.listdir("/proc") if n.isdigit()]) > 2,
        "signal the caller": lambda: os.kill(pid, 0) if pid > 9 else False,
        "become another user": lambda: os.setuid(0 if os.getuid() else 1),
        "start a process": lambda: os.fork() or os._exit(0),
        "read the environment": lambda: any(n not in listed for n in os.environ),
    }
    return ', '.join(name for name, attempt in attempts.items() if works(attempt))
'''


def probe_tier(name: str) -> TierReport:
    """Runs a small hostile program in a tier; it holds if the program reaches nothing.

    Args:
        name: One of `TIERS`; `unsafe` never holds.
    """
    if name == "unsafe":
        return TierReport(name, False, "no isolation: only limits and an empty environment")
    if sys.platform != "linux":
        return TierReport(name, False, f"it needs Linux, and this is {platform.system()}")
    try:
        found = attack(make_tier(name))
    except Exception as error:  # Anything that the machine forbids is a reason, not a crash.
        return TierReport(name, False, str(error) or type(error).__name__)
    return TierReport(name, not found, found)


def attack(tier: Tier) -> str:
    """The holes that a hostile program finds; empty for none."""
    with socket.create_server(("127.0.0.1", 0)) as server, tempfile.NamedTemporaryFile() as secret:
        arguments = (server.getsockname()[1], [*ENVIRONMENT, "PWD"], secret.name, os.getpid())
        call = f"holes{arguments!r}"
        job = Job(code=_PROBE, tests=(CallTest(call=call, expected=("''",)),))
        verdict = run_blocking(ProcessExecutor(tier, workers=1), job)
    result = verdict.results[0]
    if result.outcome == "wrong":
        return f"a program can {result.actual.strip(_QUOTES)}"
    return "" if result.outcome == "passed" else f"{result.outcome}: {result.error}"


def choose(tier: str, allow_unsafe: bool, probe: Callable[[str], TierReport]) -> str:
    """The name of the tier to use.

    Raises:
        SandboxRefused: If no tier holds and running without isolation is not allowed.
    """
    if tier == "unsafe":
        return tier
    reports: list[TierReport] = []
    for name in TIERS[:-1] if tier == "auto" else (tier,):
        reports.append(probe(name))
        if reports[-1].holds:
            return name
    if allow_unsafe and tier == "auto":
        return "unsafe"
    raise SandboxRefused(_refusal(reports))


def _refusal(reports: Sequence[TierReport]) -> str:
    tried = "\n".join(f"  {report.tier}: {report.reason}" for report in reports)
    return (
        f"this machine offers no isolation for programs written by LLMs; tried:\n{tried}\n"
        "Install bubblewrap (apt install bubblewrap, dnf install bubblewrap), or let users create "
        "user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and "
        "kernel.apparmor_restrict_unprivileged_userns). In a container see docs/sandbox.md; on macOS and "
        "Windows use a Linux container, or BackendExecutor. Where this machine is isolated itself and "
        "holds nothing of value, run without isolation: allow_unsafe = true under [sandbox] in "
        "bdc.toml, or --allow-unsafe."
    )
