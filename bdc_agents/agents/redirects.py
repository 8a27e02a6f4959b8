"""Keeps the HTTP clients of chat models at their server, whichever package brings them."""

from typing import Any
from urllib.parse import urlsplit

from bdc_agents.agents.failures import NotAReply, shown_url

_CLIENTS = ("http_async_client", "root_async_client", "async_client", "_async_client", "client")
"""Where chat models of LangChain keep their clients: OpenAI's family, Mistral, Groq, Anthropic, Cohere."""
_DEEPEST = 4
"""Clients hold clients: `root_async_client._client`, `async_client.chat._client._client`."""


def keep_home(model: object) -> bool:
    """Has the asynchronous HTTP clients of a chat model refuse redirects to another server.

    LangChain has no common argument for that, so clients are looked for where its packages keep them.

    Returns:
        Whether there was one.
    """
    found = [client for name in _CLIENTS for client in _http_clients(getattr(model, name, None), _DEEPEST)]
    for client in found:
        hooks = client.event_hooks
        if stay not in hooks["response"]:  # Packages share one client between models of one address.
            client.event_hooks = {**hooks, "response": [*hooks["response"], stay]}
    return bool(found)


def _http_clients(holder: Any, depth: int) -> list[Any]:
    if holder is None or not depth:
        return []
    if isinstance(getattr(holder, "event_hooks", None), dict):
        # Of httpx or httpx2. A client that is not asynchronous would not await the hook.
        return [holder] if hasattr(holder, "aclose") else []
    return _http_clients(getattr(holder, "_client", None), depth - 1)


async def stay(response: Any) -> None:
    """Lets a redirect lead to the same server alone; a hook for responses of httpx.

    httpx takes `Authorization` away before it follows one to another server. It sends all other headers
    along, in which keys are as well, such as Anthropic's `x-api-key` and Azure's `api-key`, and the prompt.

    Raises:
        NotAReply: If it leads to another one.
    """
    if not response.has_redirect_location:
        return
    came = response.request.url
    target = came.join(response.headers["location"])
    if not same_server(str(came), str(target)):
        raise NotAReply(
            f"a redirect to another server ({shown_url(str(target))})",
            hint="it was not followed, since keys and prompts would go along; if you trust that server, "
            "write its address in base_url",
        )


_PORTS = {"http": 80, "https": 443}


def same_server(url: str, other: str) -> bool:
    """Whether two addresses are of one server: of one host and port, or of its HTTP and its HTTPS."""
    one, two = urlsplit(url), urlsplit(other)
    places = [(parts.scheme, parts.port or _PORTS.get(parts.scheme)) for parts in (one, two)]
    upgraded = places == [*_PORTS.items()]
    return one.hostname == two.hostname and (places[0] == places[1] or upgraded)
