"""What `bdc serve` does: open the place, load the library, serve until it is told to stop."""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bdc_agents.cli.exits import SOLVED, note
from bdc_agents.errors import ConfigError
from bdc_agents.extras import need
from bdc_agents.serve.http.hosts import ANY, Hosts
from bdc_agents.serve.loopback import is_loopback

KEY = "BDC_API_KEY"


def run(
    library: Path,
    host: str,
    port: int,
    *,
    no_key: bool,
    allow_host: Sequence[str],
    requests: int,
    seconds: float,
    **model: Any,
) -> int:
    """Serves a library.

    Args:
        allow_host: Names under which clients may call the server, besides this machine's own.
        model: Options of `RoutedModel.from_library`.
    """
    key = _key(host, no_key)
    hosts = _hosts(host, allow_host)
    _need()
    from bdc_agents.serve.http.api import create_app
    from bdc_agents.serve.http.guard import ServerLimits
    from bdc_agents.serve.http.server import listen, serve_forever
    from bdc_agents.serve.model import RoutedModel

    limits = ServerLimits(requests=requests, seconds=seconds)
    with listen(host, port) as place:
        served = RoutedModel.from_library(library, **model)
        app = create_app(served, key=key, limits=limits, hosts=hosts)
        shown = place.getsockname()[1]
        serve_forever(app, place, limits, lambda: _announce(host, shown, served.names, key))
    note("stopped")
    return SOLVED


def _key(host: str, no_key: bool) -> str | None:
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


def _hosts(host: str, allowed: Sequence[str]) -> Sequence[str]:
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


def _need() -> None:
    for module in ("starlette", "uvicorn"):
        need(module)


def _announce(host: str, port: int, models: Sequence[str], key: str | None) -> None:
    address = f"[{host}]" if ":" in host else host
    note(f"listening at http://{address}:{port}/v1")
    note(f"models: {', '.join(models)}")
    if key is None:
        note("no API key is asked for")
    elif os.environ.get(KEY):
        note(f"API key: the one in {KEY}")
    else:
        note(f"API key, shown this once: {key}")
