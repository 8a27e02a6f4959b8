"""`bdc serve`: the search or a library behind an OpenAI-compatible endpoint, until it is told to stop."""

import asyncio
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdc_agents.cli.download import fetch_weights
from bdc_agents.cli.exits import SOLVED, guarded, note
from bdc_agents.cli.inputs import closing, read_settings
from bdc_agents.cli.options import Agents, AllowUnsafe, Calls, Config, KeptIn, Money, Tokens
from bdc_agents.config import Settings
from bdc_agents.errors import ConfigError, UsageError
from bdc_agents.experts.hub import library_folder
from bdc_agents.experts.manifest import read_manifest
from bdc_agents.extras import need
from bdc_agents.serve.backends.catalog import check_backend
from bdc_agents.serve.http.guard import ServerLimits
from bdc_agents.serve.http.hosts import ANY, Hosts
from bdc_agents.serve.loopback import is_loopback
from bdc_agents.serve.routed_model import RoutedModel

if TYPE_CHECKING:
    from bdc_agents.agents import Agent
    from bdc_agents.serve.http.served import Served

EXAMPLES = (
    "bdc serve -a openai:gpt-4o-mini -a anthropic:claude-haiku-4-5 --calls 30 --out runs/served",
    "bdc serve experts/library/mine",
    "BDC_API_KEY=... bdc serve experts/library/mine --host 0.0.0.0 --port 8000",
    "bdc serve experts/library/mine --base local:smollm2-135m --slots 4 --context 4096",
    "bdc serve experts/library/mine --backend llama.cpp",
    "VLLM_API_KEY=... bdc serve experts/library/mine --backend vllm --url http://127.0.0.1:8000",
)
KEY = "BDC_API_KEY"


@guarded
def serve(
    library: Annotated[
        Path | None,
        typer.Argument(
            metavar="[LIBRARY]",
            help="A library of bdc distill, or ORG/NAME of one on the Hugging Face hub. Without one the "
            "search is served.",
        ),
    ] = None,
    agent: Agents = None,
    calls: Calls = None,
    tokens: Tokens = None,
    money: Money = None,
    config: Config = None,
    out: KeptIn = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on. Default: only this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 picks a free one.")
    ] = 8765,
    backend: Annotated[
        str,
        typer.Option(help="transformers: in this process; llama.cpp: quantised, beside it; vllm: at --url."),
    ] = "transformers",
    url: Annotated[
        str | None, typer.Option(help="Address of the vLLM server. Its key comes from VLLM_API_KEY.")
    ] = None,
    adapters: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder for mixtures. The vLLM server must see it under the same path."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="The base model, if it is not where the library says: local:NAME, a hub repository, a "
            "folder, a GGUF file, or its name at the vLLM server.",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device of transformers: cpu or cuda. Default: a GPU, if there is one.")
    ] = None,
    slots: Annotated[int, typer.Option(min=1, help="Replies generated at once; more requests wait.")] = 8,
    context: Annotated[
        int | None,
        typer.Option(min=16, help="Most tokens of prompt and reply together. Fewer take less memory."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Name by which clients may call the server, besides localhost, such as a proxy's. May be "
            "repeated. Without it, a server that others can reach accepts any name.",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ORIGIN",
            help="Page that may use the server through a browser (CORS), such as http://localhost:3000. "
            "May be repeated.",
        ),
    ] = None,
    requests: Annotated[int, typer.Option(min=1, help="Most requests at once; more get a 429.")] = 32,
    seconds: Annotated[float, typer.Option(min=1, help="Time limit of one request.")] = 300.0,
    no_key: Annotated[
        bool, typer.Option("--no-key", help="Require no API key. Only where nobody else can connect.")
    ] = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Serve the search, or a library, to every client that speaks OpenAI's chat protocol.

    Callers need the key in the environment variable BDC_API_KEY; without one, a key is made and
    shown once. Without a library, the models bdc-search and bdc-search-paper search for what a
    conversation asks. With one, bdc mixes the experts for each problem, bdc-solver also runs what
    they write on the tests, and searches where they fail, given agents by --agent.
    """
    key = server_key(host, no_key)
    hosts = server_hosts(host, allow_host or ())
    of_library = {"base": base, "device": device, "context": context, "url": url, "adapters": adapters}
    # What was typed wrong is told before a package that is not installed.
    check_backend(backend)
    if library is None:
        _refuse_without_library(of_library | {"backend": None if backend == "transformers" else backend})
    else:
        library = library_folder(library)
        read_manifest(library)
    for module in ("starlette", "uvicorn"):
        need(module)
    # These need the extra `serve`.
    from bdc_agents.serve.http.api import create_app
    from bdc_agents.serve.http.hosts import Origins
    from bdc_agents.serve.http.server import listen, serve_forever

    origins = Origins(allow_origin or ()).names
    caps = {"calls": calls, "tokens": tokens, "money": money}
    settings = read_settings(config, budget=caps, allow_unsafe=allow_unsafe)
    limits = ServerLimits(requests=requests, seconds=seconds)
    with listen(host, port) as place:
        served: list[Served] = []
        # Beside a library only those that are named: their calls may cost money.
        agents = opened_agents(settings, agent or ()) if agent or library is None else ()
        if library is not None:
            model = RoutedModel.from_library(library, backend=backend, slots=slots, **of_library)
            served += _of_library(model, agents, settings, limits, out)
        if agents:
            served.append(_search(agents, settings, limits, out))
        app = create_app(served, key=key, limits=limits, hosts=hosts, origins=origins)
        shown = place.getsockname()[1]
        offers = f"models: {', '.join(name for one in served for name in one.names)}"
        serve_forever(app, place, limits, lambda: announce(host, shown, "/v1", offers, key))
    note("stopped")
    return SOLVED


def _refuse_without_library(options: Mapping[str, Any]) -> None:
    """Refuses options of a library where none is served.

    Raises:
        UsageError: If one is given.
    """
    for name, value in options.items():
        if value is not None:
            raise UsageError(f"--{name} is for a library; name one: bdc serve LIBRARY --{name} {value}")


def opened_agents(settings: Settings, asked: Sequence[str]) -> "Sequence[Agent]":
    """The agents that search, with the weights that they need on this machine.

    Args:
        settings: Whose agents take part where none is asked for.
        asked: Names or model strings of `--agent`.

    Raises:
        ConfigError: If there are none. An editor may start the server in any folder, so no local models stand
            in here, which would be a download of 1.6 GB that nobody asked for.
    """
    from bdc_agents.agents import load_agents

    if not asked and not settings.agents:
        raise ConfigError(
            "no agents: name one, such as --agent openai:gpt-4o-mini or --agent local:qwen2.5-coder-1.5b, or "
            "write a bdc.toml (bdc config --example) and give it with --config"
        )
    names = [*(asked or settings.agents)]
    agents = load_agents(settings, names)
    asyncio.run(fetch_weights(settings, names))
    return agents


def _search(
    agents: "Sequence[Agent]", settings: Settings, limits: ServerLimits, out: Path | None
) -> "Served":
    from bdc_agents.sandbox import create_executor
    from bdc_agents.serve.http.search import SearchModels
    from bdc_agents.serve.keeping import trace_keeper

    executor = create_executor(settings.sandbox)
    return SearchModels(
        agents,
        executor,
        search=settings.search,
        budget=settings.budget,
        seconds=limits.seconds,
        keep=trace_keeper(out, "served") if out else None,
        close=closing(agents, executor).aclose,
    )


def _of_library(
    model: RoutedModel,
    agents: "Sequence[Agent]",
    settings: Settings,
    limits: ServerLimits,
    out: Path | None,
) -> "list[Served]":
    """The library's models, and the solver, which searches where there are agents."""
    from bdc_agents.serve.http.library import LibraryModels
    from bdc_agents.serve.http.search import ending_within
    from bdc_agents.serve.http.solver import SolverModel
    from bdc_agents.serve.solver.runnable import BDCSolver

    search, budget = ending_within(limits.seconds, settings.search, settings.budget)
    solver = BDCSolver(model, agents=agents or None, search=search, budget=budget, traces=out)
    return [LibraryModels(model, limits.max_tokens), SolverModel(solver, limits.seconds)]


def server_key(host: str, no_key: bool) -> str | None:
    """The key that callers need: the environment's, or a fresh one.

    Raises:
        ConfigError: If others could reach a server without a key, or the key is too short.
    """
    if no_key:
        if not is_loopback(host):
            raise ConfigError(
                f"--no-key lets everyone who reaches {host} use the model; drop it, or serve on 127.0.0.1"
            )
        return None
    key = os.environ.get(KEY)
    if key is not None and len(key) < 16:
        raise ConfigError(
            f"the key in {KEY} has {len(key)} characters; take at least 16, or unset it for a fresh one"
        )
    return key or secrets.token_urlsafe(32)


def server_hosts(host: str, allowed: Sequence[str]) -> Sequence[str]:
    """Names that requests may be for, besides this machine's own.

    Where others can connect, nobody knows under which names they do; there every name will do if none
    is given, as the key keeps out pages of the web.

    Raises:
        ConfigError: If one of them is no name.
    """
    Hosts(allowed)
    if is_loopback(host):
        return allowed
    return (*allowed, host) if allowed else (ANY,)


def announce(host: str, port: int, path: str, offers: str, key: str | None) -> None:
    """Tells where a server listens, what it offers, and its key."""
    address = f"[{host}]" if ":" in host else host
    note(f"listening at http://{address}:{port}{path}")
    note(offers)
    if key is None:
        note("no API key is asked for")
    elif os.environ.get(KEY):
        note(f"API key: the one in {KEY}")
    else:
        note(f"API key, shown this once: {key}")
