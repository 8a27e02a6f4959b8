"""Signing in: a browser that opens a page sends no `Authorization` header, so a cookie keeps it for one.

The server's own authentication decides what it is worth, with each request. The cookie is for the tree pages
alone, and no script can read it; it ends with the browser's session.
"""

from collections.abc import Sequence
from urllib.parse import parse_qs, quote, unquote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from bdc_agents.web.searches import Refusal

COOKIE = "bdc-authorization"
_BYTES = 8 * 1024
"""Of a form: a token is shorter, as servers take some 8 KB of headers."""


async def sign_in(request: Request) -> Response:
    """Keeps what a person typed, and leads on to the list of searches.

    Raises:
        Refusal: If it can be no header's value.
    """
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > _BYTES:
            raise Refusal(f"the form is larger than {_BYTES:,} bytes", 413)
    typed = parse_qs(data.decode("utf-8", "replace")).get("authorization", [""])[0].strip()
    if not typed or not typed.isascii() or not typed.isprintable():
        raise Refusal("type the token that this server expects, such as Bearer TOKEN", 400)
    value = typed if " " in typed else f"Bearer {typed}"
    base = str(request.scope.get("root_path", "")).rstrip("/")
    answer = RedirectResponse(f"{base}/tree", 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, quote(value), path=f"{base}/tree", secure=secure, httponly=True, samesite="lax")
    return answer


def with_authorization(request: Request) -> Sequence[tuple[bytes, bytes]]:
    """The headers of a request, with what a person has signed in with where it has no `Authorization`."""
    headers: Sequence[tuple[bytes, bytes]] = request.headers.raw
    kept = unquote(request.cookies.get(COOKIE, ""))
    if "authorization" in request.headers or not kept or not kept.isascii() or not kept.isprintable():
        return headers
    return [*headers, (b"authorization", kept.encode())]
