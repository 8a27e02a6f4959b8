"""Pages: the tree of one search, the list of searches, and a sentence where something is wrong."""

from collections.abc import Mapping, Sequence
from html import escape
from json import dumps
from typing import Any

from bdc_agents.page import asset, policy, render_page
from bdc_agents.web.searches import Json, Shown

_STYLE = asset("bdc_agents.view", "page.css")
_TREE = asset("bdc_agents.view", "page.html")
_SCRIPT = asset("bdc_agents.view", "page.js")
HEADERS = {
    # As in the page itself; a frame is refused by a header alone.
    "content-security-policy": policy(_STYLE, _SCRIPT, live=True) + "; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
"""Headers of every page."""


def tree_page(shown: Shown, live: Json) -> str:
    """The page of one search.

    Args:
        shown: The search.
        live: Where its script finds the rest, as the page's JSON block has it.
    """
    traces = f"[{shown.trace}]" if shown.trace else "[]"
    data = f'{{"title":{dumps(shown.title)},"traces":{traces},"live":{dumps(live)}}}'
    parts = {"data": _harmless(data)}
    return render_page(shown.title, _TREE, style=_STYLE, script=_SCRIPT, parts=parts, live=True)


def list_page(rows: Sequence[Mapping[str, Any]]) -> str:
    """The list of searches, each with its outcome and the address of its page."""
    lines = "".join(
        f'<tr><td><a href="{escape(row["url"])}">{escape(row["problem"])}</a></td>'
        f"<td>{escape(row['outcome'])}</td><td>{escape(row['updated'])}</td></tr>"
        for row in rows
    )
    head = "<tr><th>Problem</th><th>Outcome</th><th>Last changed</th></tr>"
    none = "<p>No search yet: start one in Studio, or with any client of this server.</p>"
    return _plain("Searches", f"<table>{head}{lines}</table>" if rows else none)


def message_page(text: str, way_back: str) -> str:
    """A page that says why there is nothing to see, with the address of the list."""
    back = f'<p><a href="{escape(way_back)}">All searches</a></p>'
    return _plain("No tree to show", f"<p>{escape(text)}</p>{back}")


def sign_in_page(text: str, address: str) -> str:
    """A page that says why a person may not see something, and where they can send who they are."""
    form = (
        f'<form method="post" action="{escape(address)}"><p><label>Authorization: '
        '<input type="password" name="authorization" autocomplete="off" required></label> '
        '<button>Sign in</button></p><p class="quiet">The token that clients of this server send.</p></form>'
    )
    return _plain("Sign in", f"<p>{escape(text)}</p>{form}")


def _plain(title: str, body: str) -> str:
    main = "<header><h1>{{title}}</h1></header><main>{{body}}</main>"
    return render_page(title, main, style=_STYLE, script="", parts={"body": body}, live=True)


def _harmless(text: str) -> str:
    """JSON text that is safe in a script element; see `bdc_agents.page.embed_json`."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
