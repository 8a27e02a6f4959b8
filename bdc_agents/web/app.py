"""The routes of the tree pages, over searches that are kept anywhere; a mistake is answered by a sentence.

What there is:

    /tree                         the searches, as a page; /tree/threads: as JSON
    /tree/ID[?checkpoint=]        the page of one
    /tree/ID/trace[?checkpoint=]  its trace; /checkpoints, /events: what its page needs besides
    /tree/ID/fork                 what a person does to it (POST); likewise edit, add, veto, continue
    /tree/sign-in                 keeps an Authorization header for a browser (POST)
"""

import json
import logging
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from bdc_agents.errors import UsageError
from bdc_agents.web.pages import HEADERS, list_page, message_page, sign_in_page, tree_page
from bdc_agents.web.searches import ACTIONS, Denied, Json, Refusal, Searches, Shown
from bdc_agents.web.sign_in import sign_in

Opens = Callable[[Request], AbstractAsyncContextManager[Searches]]
"""The searches that a request may see, open while it is answered."""
log = logging.getLogger(__name__)

_BODY_BYTES = 64 * 1024
"""Of what a person sends: a thought has up to 2,000 characters."""
_THREAD = re.compile(r"[0-9A-Za-z_.-]{1,64}")
_CHECKPOINT = re.compile(r"[0-9A-Za-z_:@|.-]{1,400}")
"""Ids as LangGraph writes them: UUIDs, before one of a subgraph its namespace. Nothing else gets further."""
_DATA = {"x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin"}
_SIGN_IN = "/tree/sign-in"
_PING_SECONDS = 15
"""After so long without news a line is sent, so that proxies keep the connection."""


Answer = Callable[[Request, Searches], Awaitable[Response]]


def tree_routes(opens: Opens, *, signs_in: bool = False) -> list[Route]:
    """The routes.

    Args:
        opens: Gives the searches that the caller may see.
        signs_in: Whether an `Authorization` header decides who may see what.
    """

    def route(path: str, answer: Callable[[Request], Awaitable[Response]], method: str = "GET") -> Route:
        endpoint = partial(_guarded, answer, path in pages)
        return Route(path, endpoint, methods=[method], include_in_schema=False)

    def reads(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
        return partial(_opened, opens, answer)

    here = "/tree/{thread}"
    pages = ("/tree", here, _SIGN_IN)
    return [
        *([route(_SIGN_IN, sign_in, "POST")] if signs_in else ()),
        route("/tree", reads(_list)),
        route("/tree/threads", reads(_threads)),
        route(here, reads(_page)),
        route(f"{here}/trace", reads(_trace)),
        route(f"{here}/events", partial(_events, opens)),
        route(f"{here}/checkpoints", reads(_checkpoints)),
        *(route(f"{here}/{action}", reads(partial(_act, action)), "POST") for action in ACTIONS),
    ]


async def _opened(opens: Opens, answer: Answer, request: Request) -> Response:
    async with opens(request) as searches:
        return await answer(request, searches)


async def _guarded(
    answer: Callable[[Request], Awaitable[Response]], page: bool, request: Request
) -> Response:
    """The answer, or a sentence on why there is none: a page where a person opened one, else JSON."""
    try:
        _refuse_other_sites(request, page=page)
        return await answer(request)
    except Denied as denied:
        if page:
            asks = sign_in_page(str(denied), f"{_base(request)}{_SIGN_IN}")
            return HTMLResponse(asks, denied.status, HEADERS)
        return _sentence(request, str(denied), denied.status, page=False)
    except Refusal as refusal:
        return _sentence(request, str(refusal), refusal.status, page=page)
    except UsageError as error:
        return _sentence(request, str(error), 400, page=page)
    except Exception:  # A fault of ours, or a state that no search wrote: a person gets a sentence even then.
        log.exception("a tree could not be shown")
        return _sentence(request, "this search could not be read; the server's log says why", 500, page=page)


def _sentence(request: Request, text: str, status: int, *, page: bool) -> Response:
    if page:
        return HTMLResponse(message_page(text, f"{_base(request)}/tree"), status, HEADERS)
    return JSONResponse({"error": text}, status, _DATA)


def _refuse_other_sites(request: Request, *, page: bool) -> None:
    """Refuses what a page of another site sends with the credentials that a browser adds.

    A link on another site may open a page. `Origin` and `Sec-Fetch-Site` come from the browser, and no page
    can change them; other clients send neither.

    Raises:
        Refusal: If it comes from there, or its body is not declared as JSON.
    """
    headers = request.headers
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    opened = page and request.method == "GET" and headers.get("sec-fetch-mode", "navigate") == "navigate"
    elsewhere = site not in ("same-origin", "none") and not opened
    # A form of a page that tells no referrer has no origin, so that only `Sec-Fetch-Site` tells where it is.
    known = origin is None or (origin == "null" and "sec-fetch-site" in headers)
    if elsewhere or not (known or urlsplit(str(origin)).netloc == headers.get("host")):
        raise Refusal("this comes from a page of another site; open the tree's own page", 403)
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.method == "POST" and not page and kind != "application/json":
        raise Refusal("the body must be JSON and say so: send Content-Type: application/json", 415)


# --- what is asked for ------------------------------------------------------------------------------------


def _base(request: Request) -> str:
    """Where the server's paths begin, as the browser sees them."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def _thread(request: Request) -> str:
    thread = str(request.path_params["thread"])
    if not _THREAD.fullmatch(thread):
        there = f"{_base(request)}/tree lists those there are"
        raise Refusal(f"{thread[:80]!r} is no id of a search; {there}", 404)
    return thread


def _checkpoint(request: Request, sent: Any) -> str | None:
    if sent is None or sent == "":
        return None
    if not isinstance(sent, str) or not _CHECKPOINT.fullmatch(sent):
        raise Refusal(
            f"{str(sent)[:80]!r} is no id of a checkpoint; those of this search are listed at "
            f"{_base(request)}/tree/{_thread(request)}/checkpoints",
            404,
        )
    return sent


async def _body(request: Request) -> Json:
    """The body of a request.

    Raises:
        Refusal: If it is too large, or no JSON object.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BODY_BYTES:
            raise Refusal(f"the body is larger than {_BODY_BYTES:,} bytes", 413)
    try:
        sent = json.loads(bytes(data) or b"{}")
    except (ValueError, RecursionError):
        sent = None
    if not isinstance(sent, dict):
        raise Refusal('the body must be a JSON object, such as {"node": "0.1"}', 400)
    return sent


# --- the answers ------------------------------------------------------------------------------------------


async def _list(request: Request, searches: Searches) -> Response:
    return HTMLResponse(list_page(await _rows(request, searches)), headers=HEADERS)


async def _threads(request: Request, searches: Searches) -> Response:
    return JSONResponse(await _rows(request, searches), headers=_DATA)


async def _rows(request: Request, searches: Searches) -> list[Json]:
    return [{**row, "url": f"{_base(request)}/tree/{row['id']}"} for row in await searches.rows()]


async def _page(request: Request, searches: Searches) -> Response:
    thread = _thread(request)
    asked = _checkpoint(request, request.query_params.get("checkpoint"))
    shown = await searches.shown(thread, asked)
    return HTMLResponse(tree_page(shown, _live(request, searches, thread, shown, asked)), headers=HEADERS)


def _live(request: Request, searches: Searches, thread: str, shown: Shown, asked: str | None) -> Json:
    """What the page's script needs to go on: see `Searches` for what each address gives."""
    here = f"{_base(request)}/tree/{thread}"
    acts = {action: f"{here}/{action}" if searches.agents else None for action in ACTIONS}
    reads = {name: f"{here}/{name}" for name in ("trace", "events", "checkpoints")}
    return {
        "thread": thread,
        "checkpoint": asked,
        "status": shown.status,
        "agents": [*searches.agents],
        "urls": {**reads, "threads": f"{_base(request)}/tree/threads", **acts},
    }


async def _trace(request: Request, searches: Searches) -> Response:
    asked = _checkpoint(request, request.query_params.get("checkpoint"))
    shown = await searches.shown(_thread(request), asked)
    headers = {**_DATA, "etag": f'"{shown.tag}"', "cache-control": "private, no-cache"}
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(shown.body, headers=headers, media_type="application/json")


async def _checkpoints(request: Request, searches: Searches) -> Response:
    return JSONResponse(await searches.checkpoints(_thread(request)), headers=_DATA)


async def _act(action: str, request: Request, searches: Searches) -> Response:
    body = await _body(request)
    if "checkpoint" in body:
        body["checkpoint"] = _checkpoint(request, body["checkpoint"])
    done = await searches.act(_thread(request), action, body)
    if "thread" in done:
        done["url"] = f"{_base(request)}/tree/{done['thread']}"
    return JSONResponse(done, headers=_DATA)


async def _events(opens: Opens, request: Request) -> Response:
    """A stream, for which the searches stay open for as long as somebody listens."""
    thread = _thread(request)

    async def told() -> AsyncGenerator[Json]:
        async with opens(request) as searches, aclosing(searches.events(thread)) as events:
            async for name, data in events:
                yield {"event": name, "data": json.dumps(data)}

    stream = told()
    first = await anext(stream)  # A thread that is not there is refused before the stream begins.

    async def all_told() -> AsyncGenerator[Json]:
        async with aclosing(stream):
            yield first
            async for event in stream:
                yield event

    return EventSourceResponse(all_told(), headers=_DATA, ping=_PING_SECONDS)
