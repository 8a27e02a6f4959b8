"""`bdc agents`: who is configured, which local models there are, and who answers."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.table import Table
from rich.text import Text

from bdc_agents.cli.exits import ENVIRONMENT, SOLVED, guarded, results
from bdc_agents.cli.inputs import read_settings
from bdc_agents.cli.options import Agents, AsJson, Config
from bdc_agents.config import Settings
from bdc_agents.errors import BDCError
from bdc_agents.view.text import called, one_line, printable

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
    console = results()
    if lines:
        console.print(_agents_table(lines, pinged), *_troubles(lines), sep="\n")
    else:
        console.print("no agents are configured; write a bdc.toml (bdc config --example) or use --agent")
    console.print()
    console.print(_models_table(models), *_places(models), sep="\n")


def _agents_table(lines: Sequence[AgentLine], pinged: bool) -> Table:
    """One line an agent; what is wrong with one is a sentence, and stands below (see `_troubles`)."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    names = [line.name for line in lines]
    # Most are named by their model, or asked at their provider's own address: columns for some alone.
    heads = ["agent"]
    heads += ["model"] if any(_model(line, names) for line in lines) else []
    heads += ["endpoint"] if any(line.endpoint for line in lines) else []
    heads += ["answers", "tok/s"] if pinged else []
    for head in (*heads, "state"):
        fixed = head in {"answers", "tok/s", "state"}
        justify = "right" if head in {"answers", "tok/s"} else "left"
        table.add_column(head, justify=justify, overflow="fold", no_wrap=fixed)
    for line in lines:
        answer = line.ping
        ok = answer is not None and answer.ok
        rate = answer.tokens_per_second if answer else None
        cells = {
            "agent": Text(one_line(called(line.name, names), 80)),
            "model": Text(one_line(_model(line, names), 80) or "-"),
            "endpoint": Text(one_line(line.endpoint, 80) or "-"),
            "answers": Text(f"{answer.seconds:.1f} s" if answer and ok else "no", "green" if ok else "red"),
            "tok/s": Text(f"{rate:.0f}" if rate else "-"),
        }
        state = Text("not ready", "red") if _problem(line) else Text("ready", "green")
        table.add_row(*(cells[head] for head in heads), state)
    return table


def _model(line: AgentLine, names: Sequence[str]) -> str:
    """Its model where the name does not say it."""
    return "" if line.model in (line.name, called(line.name, names)) else line.model


def _problem(line: AgentLine) -> str:
    return line.problem or (line.ping.error if line.ping else "")


def _troubles(lines: Sequence[AgentLine]) -> Iterator[Text]:
    """What is to be said of an agent: why it is not ready, and what its endpoint does otherwise."""
    names = [line.name for line in lines]
    for line in lines:
        name = one_line(called(line.name, names), 80)
        if problem := _problem(line):
            # Errors name their agent first.
            said = printable(problem).removeprefix(f"agent {line.name!r}: ")
            yield Text(f"{name}: {said}", "red")
        for note in line.ping.notes if line.ping else ():
            yield Text(f"{name}: {printable(note)}", "yellow")


def _models_table(models: "Sequence[ModelStatus]") -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("local model", "size", "here", "licence"):
        justify = "right" if name == "size" else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name != "licence")
    for model in models:
        here = Text("yes", "green") if model.path else Text("no", "dim")
        licence = model.licence if model.agent else f"{model.licence}; a base model, no agent"
        table.add_row(f"local:{model.name}", _size(model), here, licence)
    return table


def _places(models: "Sequence[ModelStatus]") -> Iterator[Text]:
    """The folders of the local models, and why one cannot be used."""
    for folder in dict.fromkeys(model.path.parent for model in models if model.path):
        yield Text(f"in {folder}", "dim", overflow="fold")
    for model in models:
        if model.problem and not model.path:
            yield Text(f"local:{model.name}: {printable(model.problem)}", "dim")


def _size(model: "ModelStatus") -> str:
    return f"{model.size / 1e6:,.0f} MB"
