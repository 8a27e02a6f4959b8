"""What the pages of the site show as code, and how it is to be run.

A fence with a title is a file. The others run in the order of the page: the lines of `sh` that begin with
`bdc` or `python`, then all of Python in one process. Above a fence that cannot run stands a comment with the
reason, which the site does not show:

    <!-- not run: it serves until it is stopped -->
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^>]*) -->\n)?"
    r"^(?P<mark>`{3,})(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<code>.*?)^(?P=mark)$",
    re.DOTALL | re.MULTILINE,
)
HELD = (
    *("agents.md", "chat.md", "human.md", "tools.md", "problems.md", "view.md", "distill.md", "serving.md"),
    *("datasets.md", "grading.md", "runs.md", "sandbox.md", "traces.md", "streaming.md"),
)
"""Pages whose snippets tests of the parts they are about run."""


@dataclass(frozen=True)
class Fence:
    """One block of code of a page."""

    language: str
    code: str
    title: str | None
    reason: str | None
    """Why it is not run; None if it is."""


def fences(page: Path) -> list[Fence]:
    """The blocks of code of a page, in order."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Fence(one["language"], one["code"], one["title"], one["reason"]) for one in found]


def pages() -> list[Path]:
    """The pages whose code is run here."""
    return sorted(page for page in DOCS.rglob("*.md") if page.name not in HELD or page.parent != DOCS)


def commands(fence: Fence) -> list[str]:
    """The commands of a block, one a line; what installs is not among them."""
    lines = [line.split("  #")[0].strip() for line in fence.code.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line.startswith(("bdc ", "python "))]
