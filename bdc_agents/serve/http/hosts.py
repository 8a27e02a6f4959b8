"""Checks which host a request addresses, to keep web pages from using the server through a browser.

A web page can make a browser on this machine send requests to this machine. If its own host name resolves
to this machine (DNS rebinding), it can also read the answers. The browser sends that name in `Host`, and
the page's origin in `Origin`. An address cannot be rebound, so this machine's addresses are always allowed.
"""

import re
from collections.abc import Awaitable, Callable, Container, Iterable, MutableMapping, Sequence
from ipaddress import ip_address
from typing import Any

from bdc_agents.errors import ConfigError
from bdc_agents.serve.http.openai import Refused, shortened
from bdc_agents.serve.loopback import is_loopback

Headers = Sequence[tuple[bytes, bytes]]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
ANY = "*"
"""Instead of a name: allows every name."""
_NAME = re.compile(r"[a-z0-9_.-]+|[0-9a-f:.]*:[0-9a-f:.]*:[0-9a-f:.]*")
_HOST = re.compile(r"(?P<name>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?", re.IGNORECASE)


class Hosts:
    """The host names that requests may address, at any port. Those of this machine itself are always allowed.

    Args:
        names: Further names: `models.example.org`, an address, or `*` for every name.

    Raises:
        ConfigError: If one is not a host name, for instance because it has a port.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {_plain(name) for name in names}
        for name in self._names - {ANY}:
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} is not a host name; expected one without scheme and port, "
                    "such as models.example.org"
                )

    def check(self, headers: Headers, origins: Container[str] = ()) -> None:
        """Makes sure that a request addresses this server, and does not come from another site's page.

        Args:
            origins: Pages of other sites that may use the server.

        Raises:
            Refused: If it does not, or comes from there.
        """
        if ANY in self._names:
            return
        sent = [value.decode("latin-1") for name, value in headers if name == b"host"]
        if len(sent) != 1 or not (host := _HOST.fullmatch(sent[0])):
            raise Refused("the request needs one Host header, with a name or an address", reason="host")
        if not self._known(host["name"]):
            raise Refused(
                f"{shortened(sent[0])!r} is not a name of this server; to allow it, serve with --allow-host",
                403,
                "host_not_allowed",
                reason="host",
            )
        for name, value in headers:
            origin = value.decode("latin-1") if name == b"origin" else None
            if origin is not None and origin not in origins and not self._is_from_here(origin):
                raise Refused(
                    f"pages of {shortened(origin)!r} may not use this server; to allow them, serve with "
                    "--allow-origin",
                    403,
                    "origin_not_allowed",
                    reason="origin",
                )

    def _is_from_here(self, origin: str) -> bool:
        scheme, mark, host = origin.partition("://")
        match = _HOST.fullmatch(host)
        return bool(mark and scheme in ("http", "https") and match and self._known(match["name"]))

    def _known(self, name: str) -> bool:
        plain = _plain(name)
        return is_loopback(plain) or plain in self._names


_ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


class Origins:
    """The pages of other sites that may read the server's answers in a browser (CORS).

    Not by Starlette's middleware: it answers with the list of allowed headers that it was given, and
    would stand outside of the guard, whose refusals a page could then not read.

    Args:
        names: Origins as a browser sends them, such as `http://localhost:3000`.

    Raises:
        ConfigError: If one is none.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.names = frozenset(names)
        for name in self.names:
            if not _ORIGIN.fullmatch(name):
                raise ConfigError(
                    f"{name!r:.200} is not an origin; expected a scheme, a name in lower case and perhaps a "
                    "port, without a path, such as http://localhost:3000"
                )

    def allow(self, headers: Headers) -> str | None:
        """The origin of a request, if its page may read the answer."""
        sent = [value.decode("latin-1") for name, value in headers if name == b"origin"]
        return sent[0] if len(sent) == 1 and sent[0] in self.names else None

    def told(self, headers: Headers, send: Send) -> Send:
        """A `send` whose answers, also refusals, the page of an allowed origin may read."""
        origin = self.allow(headers)
        if origin is None:
            return send
        allowed = ((b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin"))

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *allowed]}
            await send(message)

        return sending


def _plain(name: str) -> str:
    """The name in the form to compare: lower case, without brackets or a final dot."""
    plain = name.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    try:
        return str(ip_address(plain))
    except ValueError:
        return plain
