"""Each link of the documentation leads somewhere, on the repository's host and in an editor."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from .fences import DOCS, FENCE, ROOT

LINK = re.compile(r"\]\((?![a-z]+:)([^)\s#]*)(?:#([^)\s]*))?\)")
PAGES = [
    *sorted(DOCS.rglob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING", "ARCHITECTURE")),
]
MADE = ("cli", "settings", "errors", "library", "examples", "events")
"""Pages of the reference that are made from the code."""


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site's generator make them, and those it names."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ +(.+?)(?: \{ #([\w-]+) \})?$", text, re.MULTILINE)
    return frozenset(named or anchor(title) for title, named in titles)


def anchor(title: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).lower()
    return re.sub(r"[^\w\- ]", "", words).strip().replace(" ", "-")


def faults(page: Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target, place in LINK.findall(text):
        there = (page.parent / unquote(target)).resolve() if target else page
        if there.is_relative_to(DOCS / "reference") and not there.exists():
            if there.stem not in MADE and there.parent.name != "api":
                yield f"{target}: no such page"
        elif not there.exists():
            yield f"{target}: no such file"
        elif place and there.suffix == ".md" and place not in anchors(there):
            yield f"{target}#{place}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert not list(faults(page))


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A page\n\n[one](other.md) [two](#a-page) [three](#another)\n", encoding="utf-8")
    assert list(faults(page)) == ["other.md: no such file", "#another: no such heading"]
