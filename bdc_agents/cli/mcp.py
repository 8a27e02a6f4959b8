"""`bdc mcp`: the search for editors and agents that speak MCP, over stdio or HTTP."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bdc_agents.cli.exits import SOLVED, guarded, note
from bdc_agents.cli.inputs import closing, read_settings
from bdc_agents.cli.options import Agents, AllowUnsafe, Calls, Config, KeptIn, Money, Tokens
from bdc_agents.cli.serve import announce, opened_agents, server_hosts, server_key
from bdc_agents.errors import UsageError
from bdc_agents.extras import need

if TYPE_CHECKING:
    from bdc_agents.agents import Agent
    from bdc_agents.sandbox import Executor

EXAMPLES = (
    "bdc mcp -a openai:gpt-4o-mini -a anthropic:claude-haiku-4-5 --calls 30",
    "BDC_API_KEY=... bdc mcp -a openai:gpt-4o-mini --http --port 8766",
)
PATH = "/mcp"
OFFERS = "tools: solve, run_tests, view_tree"


@guarded
def mcp(
    agent: Agents = None,
    calls: Calls = None,
    tokens: Tokens = None,
    money: Money = None,
    config: Config = None,
    out: KeptIn = None,
    http: Annotated[
        bool, typer.Option("--http", help="Listen for HTTP (streamable HTTP at /mcp) instead of stdio.")
    ] = False,
    host: Annotated[
        str, typer.Option(help="With --http: address to listen on. Default: only this machine.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="With --http: port to listen on; 0 picks a free one.")
    ] = 8766,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="With --http: name by which clients may call the server. May be repeated."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="With --http: time limit of one request, and so of one search.")
    ] = 300.0,
    no_key: Annotated[bool, typer.Option("--no-key", help="With --http: require no API key.")] = False,
    allow_unsafe: AllowUnsafe = False,
) -> int:
    """Serve the search to editors and agents that speak MCP.

    Its tools: solve searches for a program that passes your tests, run_tests runs a program in the sandbox,
    view_tree shows what a search tried. Over stdio the client starts this command itself; --http serves
    many clients, which need the key in BDC_API_KEY, or the one that is shown.
    """
    need("mcp")
    settings = read_settings(
        config, budget={"calls": calls, "tokens": tokens, "money": money}, allow_unsafe=allow_unsafe
    )
    from bdc_agents.sandbox import create_executor
    from bdc_agents.serve.keeping import trace_keeper
    from bdc_agents.serve.mcp import create_mcp_server

    if not http and (no_key or allow_host or host != "127.0.0.1"):
        raise UsageError("--host, --allow-host and --no-key are for a server: add --http")
    key = server_key(host, no_key) if http else None
    hosts = server_hosts(host, allow_host or ())
    search, budget = settings.search, settings.budget
    if http:
        from bdc_agents.serve.http.search import ending_within

        search, budget = ending_within(seconds, search, budget)
    agents = opened_agents(settings, agent or ())
    executor = create_executor(settings.sandbox)
    keep = trace_keeper(out, "mcp") if out else None
    server = create_mcp_server(agents, executor=executor, search=search, budget=budget, keep=keep)
    if http:
        _over_http(server, agents, executor, host, port, key, hosts, seconds)
    else:
        asyncio.run(_over_stdio(server, agents, executor))
    note("stopped")
    return SOLVED


async def _over_stdio(server: Any, agents: "Sequence[Agent]", executor: "Executor") -> None:
    async with closing(agents, executor):
        await server.run_stdio_async()


def _over_http(
    server: Any,
    agents: "Sequence[Agent]",
    executor: "Executor",
    host: str,
    port: int,
    key: str | None,
    hosts: Sequence[str],
    seconds: float,
) -> None:
    for module in ("starlette", "uvicorn"):
        need(module)
    from mcp.server.transport_security import TransportSecuritySettings

    from bdc_agents.serve.http.guard import Guard, ServerLimits
    from bdc_agents.serve.http.hosts import Hosts, Origins
    from bdc_agents.serve.http.metrics import Metrics
    from bdc_agents.serve.http.server import listen, serve_forever

    limits = ServerLimits(seconds=seconds)
    # Each request stands alone, so nothing is kept for clients that never come back. The guard checks hosts.
    app = server.streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    inner = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(given: Any) -> AsyncIterator[Any]:
        async with closing(agents, executor), inner(given) as state:
            yield state

    app.router.lifespan_context = lifespan
    guard = Guard(app, key, limits, Metrics(), Hosts(hosts), Origins(), PATH)
    with listen(host, port) as place:
        shown = place.getsockname()[1]
        serve_forever(
            guard,
            place,
            limits,
            lambda: announce(host, shown, PATH, "tools: solve, run_tests, view_tree", key),
        )
