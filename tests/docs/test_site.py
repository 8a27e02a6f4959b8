"""The site builds: no warning of the generator, no link that leads nowhere, nothing from elsewhere."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .fences import DOCS, ROOT

CONFIG = ROOT / "website/zensical.toml"


def listed(nav: list[dict[str, Any]]) -> Iterator[str]:
    for entry in nav:
        for inside in entry.values():
            yield from listed(inside) if isinstance(inside, list) else (inside,)


def test_every_page_is_in_the_navigation() -> None:
    named = set(listed(tomllib.loads(CONFIG.read_text(encoding="utf-8"))["project"]["nav"]))
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert there <= named, f"name them in the navigation of {CONFIG.relative_to(ROOT)}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="needs the extra `docs`")
    pytest.importorskip("griffe", reason="needs the extra `docs`")
    work = tmp_path_factory.mktemp("docs")
    words = [sys.executable, "-m", "website", "--out", str(work)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return work / "site"


@pytest.mark.slow
def test_each_page_has_its_markdown_beside_it(site: Path) -> None:
    pages = [page for page in site.rglob("*.html") if page.name != "404.html"]
    assert pages
    for page in pages:
        assert page.with_suffix(".md").is_file()
        assert f'type="text/markdown" href="{page.stem}.md"' in page.read_text(encoding="utf-8")


@pytest.mark.slow
def test_llms_txt_lists_pages_that_exist(site: Path) -> None:
    text = (site / "llms.txt").read_text(encoding="utf-8")
    assert text.startswith("# bdc-agents\n\n> ")
    links = [
        line.partition("](")[2].partition(")")[0] for line in text.splitlines() if line.startswith("- [")
    ]
    assert len(links) > 30
    assert all((site / link).is_file() for link in links)


@pytest.mark.slow
def test_the_reference_has_every_public_name(site: Path) -> None:
    lines = (ROOT / "tests/public_api.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        match line.split("(")[0].split():
            case ["from", module, "import", name]:
                page = site / f"reference/api/{module.removeprefix('bdc_agents.')}.html"
                assert f'id="{name.lower()}"' in page.read_text(encoding="utf-8"), line
            case ["bdc", name, *_]:
                assert f'id="bdc-{name}"' in (site / "reference/cli.html").read_text(encoding="utf-8"), line
            case ["bdc.toml", _, key] if key != "preset":
                assert f"<code>{key}</code>" in (site / "reference/settings.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_leads_nowhere_or_loads_from_elsewhere_is_found(tmp_path: Path) -> None:
    from website.check import faults

    (tmp_path / "index.html").write_text(
        '<a href="a.html#x"></a><a href="b.html"></a><img src="https://e.org/i">'
    )
    (tmp_path / "a.html").write_text('<p id="y"></p><a href="https://e.org">fine</a>')
    assert [line.split(": ", 1)[1] for line in faults(tmp_path)] == [
        "a.html#x: there is no such place on that page",
        "the link to b.html leads nowhere",
        "<img> loads https://e.org/i; keep what pages need on the site",
    ]
