"""The LangGraph server's own API in this process, used as whoever asks: with their credentials alone.

`langgraph_sdk.get_client()` reaches it past the server's authentication, for code of a graph. A page would
then show every thread to everybody.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from langgraph_sdk.client import LangGraphClient
from starlette.requests import Request

from bdc_agents.web.searches import Denied, Refusal
from bdc_agents.web.sign_in import with_authorization

_OWN_HEADERS = frozenset(
    b"host connection content-length content-type transfer-encoding accept accept-encoding origin "
    b"if-none-match last-event-id".split()
)
"""Headers about the request to the page itself. All others go on: credentials may be in any of them."""

_SHOWN = 300
"""Characters of what the server says in a sentence for a person."""


@asynccontextmanager
async def as_caller(request: Request) -> AsyncGenerator[LangGraphClient]:
    """A client whose requests are the caller's.

    Raises:
        Refusal: In place of an error of the API.
    """
    sent = with_authorization(request)
    headers = [(name, value) for name, value in sent if name not in _OWN_HEADERS]
    # An address of its own, as the transport needs one; nothing is sent there.
    http = httpx.AsyncClient(base_url="http://api", transport=_within(request.app), headers=headers)
    try:
        async with LangGraphClient(http) as client:
            yield client
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        kind = Denied if status in (401, 403) else Refusal
        raise kind(_told(status, str(error)[:_SHOWN]), status if status < 500 else 502) from error
    except httpx.HTTPError as error:
        raise Refusal(f"the server did not answer: {error}", 502) from error


def _within(app: Any) -> httpx.AsyncBaseTransport:
    """A transport to the app without a network, whose answers may be streams."""
    from langgraph_api.asgi_transport import ASGITransport  # pyright: ignore[reportMissingImports]

    return ASGITransport(app)  # Without the root path that the server takes for its own.


def _told(status: int, said: str) -> str:
    match status:
        case 401 | 403:
            return f"this server does not let you see or change this search: {said}"
        case 404 | 422:
            return f"there is no such search on this server, or it is not yours: {said}"
        case 409:
            return f"the search is busy; try again when it has ended: {said}"
        case _ if status >= 500:
            return "the server could not read this search; its log says why"
    return f"the server refused: {said}"
