"""Puts the Markdown of each page beside its HTML, and writes `llms.txt`, which lists the pages.

https://llmstxt.org says what the file is: an index of a site's pages for readers that are programs.
"""

import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from website.pages import prose

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; worker-src 'self' blob:; object-src 'none'; base-uri 'none'"
)
"""What a browser may load for a page: what is on the site. The generator's scripts are in its pages."""
LINKED = re.compile(r"\[([^\]]+)\]\([^)]*\)")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)


def write_markdown(config: Path, pages: Path, site: Path) -> None:
    """Writes `PAGE.md` beside each `PAGE.html`, names it in the page's head, and writes `llms.txt`.

    Args:
        config: `zensical.toml`, whose navigation gives the order.
        pages: Folder of the pages as Markdown.
        site: Folder of the built site.
    """
    project = tomllib.loads(config.read_text(encoding="utf-8"))["project"]
    for page in pages.rglob("*.md"):
        beside = site / page.relative_to(pages)
        shutil.copy(page, beside)
        _name_markdown(beside.with_suffix(".html"))
    listed = "\n".join(_listed(project["nav"], pages))
    head = f"# {project['site_name']}\n\n> {project['site_description']}\n"
    (site / "llms.txt").write_text(f"{head}{listed}\n", encoding="utf-8")


def _name_markdown(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    link = f'<link rel="alternate" type="text/markdown" href="{page.with_suffix(".md").name}">'
    text = text.replace("<head>", f"<head>{policy}", 1).replace("</head>", f"{link}</head>", 1)
    page.write_text(text, encoding="utf-8")


def _listed(nav: list[dict[str, Any]], pages: Path, deep: int = 0) -> Iterator[str]:
    for entry in nav:
        for title, inside in entry.items():
            if isinstance(inside, list):
                yield f"\n{'#' * min(deep + 2, 3)} {title}\n"
                yield from _listed(inside, pages, deep + 1)
            else:
                yield f"- [{title}]({inside}): {_first_sentence(pages / inside)}"


def _first_sentence(page: Path) -> str:
    """What a page says first, below its title."""
    lines = (line if outside else "" for outside, line in prose(page.read_text(encoding="utf-8")))
    for paragraph in COMMENT.sub("", "\n".join(lines)).split("\n\n"):
        words = " ".join(paragraph.split())
        if words and not words.startswith(("#", "|", "!", "<", "-", "[")):
            sentence = re.split(r"(?<=[\w)`*\"])\.(?:\s|$)", LINKED.sub(r"\1", words))[0].rstrip(":")
            return f"{sentence}."
    return f"{page.stem}."
