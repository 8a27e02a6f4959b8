"""The sandbox: runs programs by LLMs, all of them as hostile. SECURITY.md says what each tier covers."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from bdc_agents.config import SandboxConfig
from bdc_agents.extras import lazily

from .backend import BackendExecutor
from .compare import text_matches, value_matches
from .executor import ProcessExecutor
from .probes import TierReport, choose, probe_tier
from .protocol import Executor, Job, job_for
from .tiers import TIERS, make_tier
from .workspace import Workspace, WorkspaceLimits

if TYPE_CHECKING:
    from .for_deepagents import WorkspaceBackend as WorkspaceBackend

__all__ = [
    "TIERS",
    "BackendExecutor",
    "Executor",
    "Job",
    "TierReport",
    "Workspace",
    "WorkspaceLimits",
    "create_executor",
    "job_for",
    "probe",
    "text_matches",
    "value_matches",
]

# Of an extra, so imported on first use, and not by `import *`.
__getattr__ = lazily(__name__, {"WorkspaceBackend": "bdc_agents.sandbox.for_deepagents"})


def create_executor(
    config: SandboxConfig = SandboxConfig(),  # noqa: B008 - frozen
    *,
    probe_with: Callable[[str], TierReport] = probe_tier,
) -> Executor:
    """Makes an executor of the strongest tier that holds on this machine, or of the configured one.

    First a program tries to break out of the tier; this takes about 0.1 seconds.

    Args:
        config: Tier, number of programs at once, and whether to run without isolation.
        probe_with: Tries out a tier.

    Raises:
        SandboxRefused: If no tier holds and running without isolation is not allowed.
        ConfigError: If a package is not installed.
    """
    tier = make_tier(choose(config.tier, config.allow_unsafe, probe_with), packages=config.packages)
    return ProcessExecutor(tier, config.workers)


def probe() -> list[TierReport]:
    """Reports whether each tier holds on this machine, the strongest first."""
    return [probe_tier(name) for name in TIERS]
