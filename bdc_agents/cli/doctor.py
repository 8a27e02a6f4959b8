"""`bdc doctor`: what this machine can do, what is missing, and how to get it."""

import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rich.table import Table
from rich.text import Text

from bdc_agents.cli.exits import ENVIRONMENT, SOLVED, guarded, results
from bdc_agents.cli.options import AsJson, Config
from bdc_agents.config import CONFIG_FILE, Settings, load_settings
from bdc_agents.errors import BDCError
from bdc_agents.types import Frozen
from bdc_agents.view.text import printable

EXAMPLES = (
    "bdc doctor",
    "bdc doctor --json",
)
PACKAGES = ("langgraph", "langchain", "langchain-core", "langchain-openai", "pydantic", "rich", "typer")
EXTRAS = {
    "local": ("xllamacpp", "models on this machine's CPU"),
    "hub": ("datasets", "data sets from the hub"),
    "studio": ("langgraph_cli", "LangGraph Studio"),
    "distill": ("torch", "training experts"),
}
_ELSEWHERE = (
    "programs are isolated on Linux only: run this in a Linux container or virtual machine, or let "
    "BackendExecutor run programs in a sandbox of deepagents; see docs/sandbox.md"
)


@guarded
def doctor(config: Config = None, as_json: AsJson = False) -> int:
    """Say what this machine can do, what is missing and how to get it."""
    checks = [_python(), _versions(), *_settings(config), *_sandbox(config), *_local()]
    checks += [*map(_extra, EXTRAS), _gpu()]
    ready = not any(check.state == "failed" for check in checks)
    if as_json:
        print(json.dumps({"ready": ready, "checks": [check.model_dump() for check in checks]}))
    else:
        _show(checks, ready)
    return SOLVED if ready else ENVIRONMENT


class Check(Frozen):
    """One finding.

    Args:
        state: `ok`, `missing` (optional, not there), or `failed` (the search cannot run so).
        fix: What to do about it; empty where nothing is to be done.
    """

    name: str
    state: Literal["ok", "missing", "failed"]
    detail: str
    fix: str = ""


def _python() -> Check:
    here = f"{platform.python_version()} on {platform.system()} {platform.machine()} ({sys.executable})"
    if platform.system() != "Linux":
        return Check(name="python", state="failed", detail=here, fix=_ELSEWHERE)
    return Check(name="python", state="ok", detail=here)


def _versions() -> Check:
    return Check(
        name="packages", state="ok", detail=", ".join(f"{p} {_version(p)}" for p in ("bdc-agents", *PACKAGES))
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _settings(config: Path | None) -> list[Check]:
    """The settings file, and whether its agents can be made; local models stand in for none."""
    file = config or Path(CONFIG_FILE)
    try:
        settings = load_settings(config)
    except BDCError as error:
        return [Check(name="settings", state="failed", detail=str(error), fix="bdc config --example")]
    found = f"{file}" if file.is_file() else f"no {file}: the defaults are used"
    return [Check(name="settings", state="ok", detail=found), _agents(settings)]


def _agents(settings: Settings) -> Check:
    from bdc_agents.agents import load_agents
    from bdc_agents.agents.local import has_runtime

    if not settings.agents:
        ready = has_runtime()
        detail = "none are configured" + ("; two local models stand in" if ready else "")
        fix = "" if ready else "bdc config --example > bdc.toml, or pip install 'bdc-agents[local]'"
        return Check(name="agents", state="ok" if ready else "failed", detail=detail, fix=fix)
    usable, problems = list[str](), list[str]()
    for name in settings.agents:
        try:
            load_agents(settings, [name])
            usable.append(name)
        except BDCError as error:
            problems.append(f"{name}: {error}")
    detail = "; ".join([", ".join(usable) or "none can be used", *problems])
    fix = "" if not problems else "mend these agents in the settings; bdc agents --ping asks each"
    return Check(name="agents", state="failed" if problems else "ok", detail=detail, fix=fix)


def _sandbox(config: Path | None) -> list[Check]:
    try:
        allowed = load_settings(config).sandbox
    except BDCError:
        allowed = Settings().sandbox
    from bdc_agents.sandbox import probe

    reports = probe()
    checks = [
        Check(
            name=f"sandbox {report.tier}",
            state="ok" if report.holds else "missing",
            detail=report.reason or "holds: a program that tried to break out reached nothing",
        )
        for report in reports
        if report.tier != "unsafe"
    ]
    used = [report.tier for report in reports if report.holds and allowed.tier in {"auto", report.tier}]
    if used:
        return [*checks, Check(name="sandbox", state="ok", detail=f"programs run in the tier {used[0]}")]
    if allowed.allow_unsafe or allowed.tier == "unsafe":
        detail = "programs run without isolation, as the settings allow"
        return [*checks, Check(name="sandbox", state="missing", detail=detail)]
    fix = "install bubblewrap (apt install bubblewrap), or allow user namespaces; see docs/sandbox.md"
    fix = fix if platform.system() == "Linux" else _ELSEWHERE
    return [*checks, Check(name="sandbox", state="failed", detail="no tier of isolation holds", fix=fix)]


def _local() -> list[Check]:
    from bdc_agents.agents.local import describe_models

    checks: list[Check] = []
    for model in describe_models():
        size = f"{model.size / 1e6:,.0f} MB, {model.licence}"
        if model.problem:
            checks.append(Check(name=f"local:{model.name}", state="missing", detail=model.problem))
        elif model.path:
            checks.append(Check(name=f"local:{model.name}", state="ok", detail=f"{model.path} ({size})"))
        elif model.agent:
            detail = f"not downloaded ({size})"
            fix = "its first use downloads it"
            checks.append(Check(name=f"local:{model.name}", state="missing", detail=detail, fix=fix))
    return checks


def _extra(name: str) -> Check:
    module, use = EXTRAS[name]
    if find_spec(module):
        return Check(name=f"extra [{name}]", state="ok", detail=use)
    return Check(name=f"extra [{name}]", state="missing", detail=use, fix=f"pip install 'bdc-agents[{name}]'")


def _gpu() -> Check:
    program = shutil.which("nvidia-smi")
    if program is None:
        return Check(name="GPU", state="missing", detail="none found (no nvidia-smi); none is needed")
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        return Check(name="GPU", state="missing", detail=f"nvidia-smi failed: {error}")
    return Check(name="GPU", state="ok", detail="; ".join(answer.stdout.strip().splitlines()))


def _show(checks: Sequence[Check], ready: bool) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column("name", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("detail", overflow="fold")
    styles = {"ok": "green", "missing": "dim", "failed": "bold red"}
    for check in checks:
        text = Text(printable(check.detail))
        if check.fix:
            text.append(f"\n{printable(check.fix)}", "cyan")
        table.add_row(Text(check.name), Text(check.state, styles[check.state]), text)
    console = results()
    console.print(table)
    verdict = "a search can run here" if ready else "a search cannot run here: see what failed above"
    console.print(Text(f"\n{verdict}", "bold green" if ready else "bold red"))
