"""`bdc collect`: many problems into one run folder, from what was typed to an exit code."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.console import Console

from bdc_agents.cli.inputs import agent_names
from bdc_agents.cli.collect_progress import view_for
from bdc_agents.cli.exits import SOLVED, UNSOLVED, note
from bdc_agents.cli.download import fetch_weights
from bdc_agents.config import Budget, Settings, explain
from bdc_agents.errors import ConfigError, unknown
from bdc_agents.runs.collect import CollectConfig, Collected
from bdc_agents.runs.collect import collect as run
from bdc_agents.runs.engine import Engine
from bdc_agents.view.text import count, money, plural

if TYPE_CHECKING:
    from bdc_agents.evaluate.survey import Survey

REPORT_FILE = "report.html"
_SIGNAL = 128
"""Added to a signal's number, as shells do it."""


def collect(
    config: CollectConfig,
    settings: Settings,
    asked: Sequence[str],
    *,
    out: Path,
    engine: Engine | None = None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Collects and reports it.

    Args:
        config: What is collected; its agents are chosen here.
        settings: With the options over them.
        asked: Agents of the command line.
        out: Run folder.
        engine: Does the work; None searches in this process.
        as_json: One JSON object on stdout at the end.
        quiet: Plain lines instead of the live view; with `as_json`, no progress at all.

    Returns:
        The exit code: 0 when every problem has its trace.
    """
    names, why = agent_names(settings, asked)
    if why:
        note(why)
    config = config.model_copy(update={"agents": tuple(names)})
    if engine is None:  # other machines need weights of their own
        asyncio.run(fetch_weights(settings, names))
    silent = as_json and (quiet or not sys.stderr.isatty())
    view = view_for(Console(stderr=True), str(out), plain=quiet, silent=silent)
    with view:
        collected, signal = run(
            config,
            out,
            settings,
            engine=engine,
            on_trace=view.on_trace,
            on_progress=view.on_progress,
            on_note=view.on_note,
            on_stop=lambda _: view.on_stop(),
        )
    found = write_report(out)
    if as_json:
        signs = [finding.model_dump() for finding in found.findings] if found else []
        print(json.dumps(as_object(collected) | {"findings": signs}))
    else:
        _report(collected, found)
    if signal is not None:
        return _SIGNAL + signal
    return SOLVED if collected.ended == "complete" and not collected.failures else UNSOLVED


def engine_for(name: str, ray_address: str | None) -> Engine | None:
    """The engine of `--engine` and `--ray-address`; None for the one in this process.

    Raises:
        ConfigError: If an address is given to an engine that has none.
    """
    if name == "ray":
        from bdc_agents.runs.ray.search import ray_engine

        return ray_engine(ray_address)
    if ray_address is not None:
        raise ConfigError("--ray-address needs --engine ray")
    return None


def read_budget(texts: Sequence[str]) -> Budget:
    """The caps of `--budget calls=100,money=2.5`.

    Raises:
        ConfigError: If one is unknown or no number.
    """
    caps: dict[str, Any] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"not a budget: {part!r}; write CAP=NUMBER, such as calls=1000")
        if name not in Budget.model_fields:
            raise ConfigError(unknown("cap of --budget", name, Budget.model_fields))
        caps[name] = value
    try:
        return Budget.model_validate(caps)
    except ValidationError as error:
        raise ConfigError(explain(error, "--budget", Budget)) from None


def as_object(collected: Collected) -> dict[str, Any]:
    """The end of a run as plain data, for machines."""
    progress = collected.progress
    loads = {
        name: load.model_dump() | {"share": round(load.share, 4)} for name, load in progress.loads.items()
    }
    return {
        "run": str(collected.folder),
        "ended": collected.ended,
        **progress.totals.model_dump(),
        "solve_rate": progress.solve_rate,
        "done_here": progress.done_here,
        "seconds": round(progress.seconds, 2),
        "spent": progress.spent.model_dump(),
        "endpoints": loads,
        "failures": collected.failures,
        "notes": list(collected.notes),
    }


def write_report(out: Path) -> "Survey | None":
    """Writes the `report.html` of a run folder, and returns its figures; None while it has no trace.

    Raises:
        UsageError: If there is no such run.
    """
    from bdc_agents.evaluate.report.collection import write_collection_report
    from bdc_agents.evaluate.survey import survey

    found = survey(out)
    if found:
        write_collection_report(out, found)
    return found


def _report(collected: Collected, found: "Survey | None") -> None:
    totals, spent = collected.progress.totals, collected.progress.spent
    rate = f" ({totals.solved / totals.done:.0%})" if totals.done else ""
    print(
        f"{totals.done} of {plural(totals.total, 'problem')} done: {totals.solved} solved{rate}, "
        f"{totals.kept} kept; {plural(totals.calls, 'call')}, {count(totals.tokens)} tokens, "
        f"{money(collected.progress.money)}"
    )
    for problem, reason in list(collected.failures.items())[:10]:
        note(f"no trace of {problem}: {reason}")
    if len(collected.failures) > 10:
        note(f"and of {len(collected.failures) - 10} more")
    if collected.ended == "stopped":
        note(f"stopped; the same command goes on with {collected.folder}")
    elif collected.ended != "complete":
        note(
            f"the run's budget of {collected.ended} is spent ({spent.calls} calls, {count(spent.tokens)} "
            f"tokens, {money(spent.money)}); the same command with more goes on"
        )
    for finding in found.findings if found else ():
        note(f"! {finding}")
    note(f"traces are in {collected.folder}; see them with: bdc view {collected.folder}")
    if found:
        _tell_skills(found)
        note(f"figures and plots: {collected.folder / REPORT_FILE}")


def _tell_skills(found: "Survey") -> None:
    from bdc_agents.evaluate.summary import skills_line

    if len(found.skills) > 1:
        note(f"for [search] in bdc.toml, where the next bandit can start: {skills_line(found.skills)}")


__all__ = ["CollectConfig", "as_object", "collect", "engine_for", "read_budget", "write_report"]
