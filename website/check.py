"""Looks at the built site: does each link lead somewhere, and does a page load nothing from elsewhere?"""

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
"""What a browser fetches by itself when it opens a page."""


class _Page(HTMLParser):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[tuple[str, str]] = []
        """The tag and what it points to."""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("id", "name") and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.append((tag, value))


def faults(site: Path) -> Iterator[str]:
    """A line for each link that leads nowhere, and for each thing that a page loads from elsewhere.

    Args:
        site: Folder of the built site.
    """
    pages = {file: _Page(file) for file in sorted(site.rglob("*.html"))}
    for file, page in pages.items():
        if file.name == "404.html":  # Its links start at the root of a server, wherever that is.
            continue
        for tag, target in page.links:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if (tag, "src") in LOADED or (tag, "href") in LOADED:
                    here = file.relative_to(site)
                    yield f"{here}: <{tag}> loads {target}; keep what pages need on the site"
                continue
            there = Path(file.parent, unquote(parts.path)).resolve() if parts.path else file
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file():
                yield f"{file.relative_to(site)}: the link to {target} leads nowhere"
            elif parts.fragment and there in pages and unquote(parts.fragment) not in pages[there].ids:
                yield f"{file.relative_to(site)}: {target}: there is no such place on that page"
