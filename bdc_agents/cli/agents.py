"""`bdc agents`: who is configured, which local models there are, and who answers."""

import asyncio
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bdc_agents.cli.exits import ENVIRONMENT, SOLVED, guarded
from bdc_agents.cli.inputs import read_settings
from bdc_agents.cli.options import Agents, AsJson, Config
from bdc_agents.config import Settings
from bdc_agents.errors import BDCError
from bdc_agents.view.text import one_line, printable

# `--help` needs nothing of what searches, nor of chat models, which take two seconds to import.
if TYPE_CHECKING:
    from bdc_agents.agents import Ping
    from bdc_agents.agents.local import ModelStatus

EXAMPLES = (
    "bdc agents",
    "bdc agents --ping",
    "bdc agents -a openai:gpt-4o-mini --ping",
)


@guarded
def agents(
    ping: Annotated[bool, typer.Option("--ping", help="Ask each agent for a short reply.")] = False,
    agent: Agents = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """List the configured agents and the local models."""
    from bdc_agents.agents.local import describe_models

    settings = read_settings(config)
    models = describe_models()
    names = [*(agent or settings.agents)]
    lines = asyncio.run(_lines(settings, names, models, ping))
    if as_json:
        found = {
            "agents": [
                line._asdict() | {"ping": line.ping and line.ping.model_dump(mode="json")} for line in lines
            ],
            "models": [model.model_dump(mode="json") for model in models],
        }
        print(json.dumps(found))
    else:
        _show(lines, models, ping)
    # One that fails is enough: whoever asks wants to know whether the team can begin.
    silent = ping and not (lines and all(line.ping and line.ping.ok for line in lines))
    return ENVIRONMENT if silent else SOLVED


class AgentLine(NamedTuple):
    """One agent of the settings.

    Args:
        endpoint: Where it is asked; empty for the provider's own address.
        problem: Why it cannot be used; empty where it can.
        ping: Whether it answers; None where it was not asked.
    """

    name: str
    model: str
    endpoint: str = ""
    problem: str = ""
    ping: "Ping | None" = None


async def _lines(
    settings: Settings, names: Sequence[str], models: "Sequence[ModelStatus]", pinged: bool
) -> list[AgentLine]:
    """One after another, so that the figures of local models do not disturb each other."""
    return [await _line(settings, name, models, pinged) for name in names]


async def _line(settings: Settings, name: str, models: "Sequence[ModelStatus]", pinged: bool) -> AgentLine:
    from bdc_agents.agents import load_agents
    from bdc_agents.agents import ping as ask
    from bdc_agents.agents.failures import shown_url

    line = AgentLine(name=name, model=name)
    try:
        config = settings.agent(name)
        line = AgentLine(name=name, model=config.model, endpoint=shown_url(config.base_url or ""))
        (agent,) = load_agents(settings, [name])
    except BDCError as error:
        return line._replace(problem=str(error))
    try:
        absent = _absent(config.model, models) if not config.path else ""
        if absent or not pinged:
            return line._replace(problem=absent)
        return line._replace(ping=await ask(agent))
    finally:
        await agent.aclose()


def _absent(model: str, models: "Sequence[ModelStatus]") -> str:
    """Why the weights are not there; a ping does not download gigabytes by itself."""
    for status in models:
        if model == f"local:{status.name}" and status.path is None:
            return status.problem or f"{_size(status)} not downloaded yet: its first search does"
    return ""


def _show(lines: Sequence[AgentLine], models: "Sequence[ModelStatus]", pinged: bool) -> None:
    console = Console()
    if lines:
        console.print(_agents_table(lines, pinged))
    else:
        console.print("no agents are configured; write a bdc.toml (bdc config --example) or use --agent")
    console.print()
    console.print(_models_table(models))


def _agents_table(lines: Sequence[AgentLine], pinged: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("agent", "model", "endpoint", *(("answers", "tok/s") if pinged else ()), "state"):
        table.add_column(name, justify="right" if name in {"answers", "tok/s"} else "left", overflow="fold")
    for line in lines:
        answer = line.ping
        cells = [Text(one_line(text, 80)) for text in (line.name, line.model, line.endpoint or "-")]
        if pinged:
            ok = answer is not None and answer.ok
            cells.append(Text(f"{answer.seconds:.1f} s" if answer and ok else "no", "green" if ok else "red"))
            rate = answer.tokens_per_second if answer else None
            cells.append(Text(f"{rate:.0f}" if rate else "-"))
        problem = line.problem or (answer.error if answer else "")
        told = "".join(f"; {note}" for note in (answer.notes if answer else ()))
        cells.append(Text(printable(problem), "red") if problem else Text(f"ready{printable(told)}", "green"))
        table.add_row(*cells)
    return table


def _models_table(models: "Sequence[ModelStatus]") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("local model", "size", "licence", "on this machine"):
        table.add_column(
            name,
            justify="right" if name == "size" else "left",
            overflow="fold",
            no_wrap=name in {"local model", "size"},
        )
    for model in models:
        place = Text(str(model.path), "green") if model.path else Text(model.problem or "no", "dim")
        if not model.agent:
            place.append("  (a base model: no agent)", "dim")
        table.add_row(f"local:{model.name}", _size(model), model.licence, place)
    return table


def _size(model: "ModelStatus") -> str:
    return f"{model.size / 1e6:,.0f} MB"
