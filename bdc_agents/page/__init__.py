"""Renders an offline HTML page, which opens without a network and never runs a text that it shows.

Data is embedded as JSON that no markup can end; `elements.js` inserts every text as text. A content security
policy allows the page's own script by its hash and nothing else.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib.resources import files


def render_page(
    title: str,
    body: str,
    *,
    style: str,
    script: str,
    parts: Mapping[str, str] | None = None,
    inline_styles: bool = False,
    live: bool = False,
) -> str:
    """Renders the page.

    Args:
        title: Title as plain text.
        body: HTML with marks such as `{{title}}`, `{{script}}` and those of `parts`.
        style, script: Style and script of the page.
        parts: HTML for further marks, by name.
        inline_styles: Whether elements may have inline styles, as drawings do.
        live: Whether its script and forms may ask the server that it comes from.
    """
    known = {
        "title": escape(title),
        "csp": policy(style, script, inline_styles=inline_styles, live=live),
        "style": style,
        "script": script,
        **(parts or {}),
    }
    template = asset(__name__, "shell.html").replace("{{page}}\n", body)
    # One pass, so that marks within an inserted part are not replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: known[mark[1]], template)


def embed_json(value: object) -> str:
    """JSON that is safe in a script element: it holds no tag, comment or line separator."""
    text = json.dumps(value, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(package: str, name: str) -> str:
    """The text of a file in a package."""
    return (files(package) / name).read_text(encoding="utf-8")


def drawing_script(package: str, name: str) -> str:
    """A package's script, preceded by the functions that make elements."""
    return asset(__name__, "elements.js") + asset(package, name)


def policy(style: str, script: str, *, inline_styles: bool = False, live: bool = False) -> str:
    """The content security policy of a page; see `render_page`."""
    styles = "unsafe-inline" if inline_styles else _hash(style)
    own = "connect-src 'self'; form-action 'self'" if live else "form-action 'none'"
    # With trusted types, and none that is allowed, a browser refuses to make markup of any text.
    return (
        f"default-src 'none'; style-src '{styles}'; script-src '{_hash(script)}'; {own}; "
        "base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"
