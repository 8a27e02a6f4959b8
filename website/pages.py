"""Puts the pages of `docs/` in one folder with what they link to elsewhere in the repository.

A link of a page in `docs/` is right on the repository's host and in an editor. On the site there is no
repository around the pages, so each file that is linked to comes along: Markdown as a page below
`project/`, an example as a part of the page of examples, anything else as a file below `files/`.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")
"""The end of a link or picture whose target is no address of the web and no place on the same page."""
NOWHERE = re.compile(r"\[([^\[\]]*)\]\(\0\)")
"""A link that is left out on the site: its words stay."""
FENCE = re.compile(r"^(`{3,}|~{3,})")
ALWAYS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
"""Pages outside `docs/` that the navigation names."""


def stage(root: Path, pages: Path) -> None:
    """Writes every page, with links that are right on the site.

    Args:
        root: Folder of the repository.
        pages: Where the pages go; generated ones below `reference/` are there already.
    """
    waiting = [*sorted((root / "docs").rglob("*.md")), *(root / name for name in ALWAYS)]
    done: set[Path] = set()
    while waiting:
        source = waiting.pop()
        if source in done:
            continue
        done.add(source)
        place = _place(root, source)
        text = source.read_text(encoding="utf-8") if source.suffix == ".md" else None
        (pages / place).parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            shutil.copy(source, pages / place)
            continue
        written, found = _with_links(root, source, place, text)
        waiting += found
        (pages / place).write_text(written, encoding="utf-8")
    for picture in (root / "docs/images").iterdir():
        (pages / "images").mkdir(exist_ok=True)
        shutil.copy(picture, pages / "images")
    shutil.copytree(root / "website/assets", pages / "assets", dirs_exist_ok=True)


def _place(root: Path, source: Path) -> str:
    """Where a file of the repository is on the site."""
    path = source.relative_to(root)
    if path.parts[0] == "docs":
        return path.relative_to("docs").as_posix()
    if path.suffix == ".md":
        # The generator takes a README.md for the index of its folder.
        return f"project/{path.as_posix()}".replace("README.md", "readme.md").lower()
    return f"files/{path.as_posix()}"


def _with_links(root: Path, source: Path, place: str, text: str) -> tuple[str, list[Path]]:
    found: list[Path] = []

    def target(match: re.Match[str]) -> str:
        path = Path(os.path.normpath(source.parent / unquote(match[1])))
        anchor = match[2] or ""
        if path.is_dir() and (path / "README.md").is_file():
            path = path / "README.md"
        if path.parent == root / "examples":
            there, anchor = "reference/examples.md", f"#{path.name.replace('.', '').lower()}"
        elif path.is_relative_to(root / "docs/reference"):  # generated, so not there to be looked at
            there = path.relative_to(root / "docs").as_posix()
        elif path.is_dir():  # The site has no lists of files.
            return "](\0)"
        elif path.is_file() and path.is_relative_to(root):
            found.append(path)
            there = _place(root, path)
        else:
            raise SystemExit(
                f"{source.relative_to(root)}: the link to {match[1]!r} leads nowhere; mend or remove it"
            )
        return f"]({os.path.relpath(there, Path(place).parent)}{anchor})"

    lines = [NOWHERE.sub(r"\1", LINK.sub(target, line)) if outside else line for outside, line in prose(text)]
    return "\n".join(lines) + "\n", found


def prose(text: str) -> Iterator[tuple[bool, str]]:
    """Each line, and whether it is outside of code: neither in a fence nor indented like code."""
    fence = ""
    for line in text.splitlines():
        mark = FENCE.match(line.strip())
        if mark and not fence:
            fence = mark[1]
            yield False, line
        elif mark and line.strip() == fence:
            fence = ""
            yield False, line
        else:
            yield not fence and not line.startswith("    "), line
