"""Builds the site: `python -m website`, which `make docs` does.

    docs/*.md ──────────┐
    files they link to ─┼─► build/docs/pages ──► zensical build --strict ──► build/docs/site
    docstrings, CLI ────┘                                    + Markdown of each page, llms.txt

Nothing is loaded from elsewhere, neither here nor by a reader's browser; `check` fails the build where a
page would. It also fails where a link leads nowhere.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from website.check import faults
from website.markdown import write_markdown
from website.pages import stage
from website.reference import write_reference

ROOT = Path(__file__).parents[1]


def build(work: Path) -> Path:
    """Builds the site.

    Args:
        work: A folder that is emptied first.

    Returns:
        The folder of the site; `index.html` in it opens without a server.

    Raises:
        SystemExit: If the generator warns, a link leads nowhere, or a page would load from elsewhere.
    """
    shutil.rmtree(work, ignore_errors=True)
    pages, site = work / "pages", work / "site"
    write_reference(ROOT, pages / "reference")
    stage(ROOT, pages)
    shutil.copy(ROOT / "website/zensical.toml", work)
    generator = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(
        generator, cwd=work, capture_output=True, text=True, check=False, env=os.environ | {"NO_COLOR": "1"}
    )
    if done.returncode:
        sys.exit(done.stdout or done.stderr)
    write_markdown(work / "zensical.toml", pages, site)
    if found := list(faults(site)):
        sys.exit("\n".join(found))
    return site


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Builds the documentation site.")
    parser.add_argument("--out", type=Path, default=ROOT / "build/docs")
    print(f"{build(parser.parse_args().out) / 'index.html'}")
