"""How fast the page of a large tree is: until it stands, and its longest task while somebody uses it.

    python benchmarks/page.py --nodes 1000 --out benchmarks/results/page.json

It needs Playwright for Python and a Chromium (`--chromium`, by default the one on the path). A task is what
keeps the browser from drawing and from taking a key. The browser's own trace tells each task of the page's
main thread: by the clock, and by the CPU time that it took, which others on the machine change less.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

from bdc_agents.view import render_html

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from view.browser import CHROMIUM, OPTIONS
from view.searches import grown

WATCH = """
new MutationObserver((_, watch) => {
  if (document.querySelector("[data-node]")) { window.stood = performance.now(); watch.disconnect(); }
}).observe(document, {childList: true, subtree: true});
"""
CATEGORIES = ["toplevel", "disabled-by-default-devtools.timeline", "__metadata"]


def _idle(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done, 60)))")


def _fold(page: Page) -> None:
    for _ in range(3):
        page.get_by_role("button", name="Fold", exact=True).click()
        _idle(page)
        page.get_by_role("button", name="Unfold all").click()
        _idle(page)


def _pan(page: Page) -> None:
    for step in range(40):
        page.evaluate("(step) => document.querySelector('.canvas').scrollTo(step * 20, step * 900)", step)
        _idle(page)


def _replay(page: Page) -> None:
    slider = page.get_by_role("slider")
    for step in range(0, 1000, 40):
        slider.fill(str(step))
        _idle(page)
    page.get_by_role("button", name="End", exact=True).click()
    _idle(page)


def _walk(page: Page) -> None:
    page.locator('[role="treeitem"][tabindex="0"]').focus()
    for key in ["Home", *["ArrowRight"] * 4, *["ArrowDown"] * 12, *["ArrowLeft"] * 3]:
        page.keyboard.press(key)
        _idle(page)


def _zoom(page: Page) -> None:
    page.get_by_role("button", name="Fit", exact=True).click()
    _idle(page)
    for _ in range(10):
        page.get_by_role("button", name="Zoom in").click()
        _idle(page)


def _find(page: Page) -> None:
    page.get_by_label("Find a thought").press_sequentially("neighbours before step 7")
    _idle(page)


DEEDS = {"walk": _walk, "fold": _fold, "pan": _pan, "replay": _replay, "zoom": _zoom, "find": _find}


def _tasks(trace: bytes) -> list[tuple[float, float]]:
    """Milliseconds of each task of the page's main thread: by the clock, and of CPU."""
    events = json.loads(trace)["traceEvents"]
    mains = {
        (one["pid"], one["tid"]) for one in events if one.get("args", {}).get("name") == "CrRendererMain"
    }
    return [
        (one["dur"] / 1000, one.get("tdur", one["dur"]) / 1000)
        for one in events
        if one["name"] == "RunTask" and "dur" in one and (one["pid"], one["tid"]) in mains
    ]


def measure(html: Path, chromium: str) -> dict[str, Any]:
    """One visit: milliseconds until the tree stands, and the longest task of each deed, also of CPU."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*OPTIONS])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.add_init_script(WATCH)

        def traced(deed: Callable[[Page], None]) -> list[tuple[float, float]]:
            browser.start_tracing(page=page, categories=CATEGORIES)
            deed(page)
            return _tasks(browser.stop_tracing())

        def visit(page: Page) -> None:
            page.goto(html.as_uri())
            page.wait_for_function("window.stood")
            _idle(page)

        tasks = traced(visit)
        found: dict[str, Any] = {
            "stands": page.evaluate("window.stood"),
            "stands_cpu": sum(cpu for _, cpu in tasks),
        }
        for name, deed in DEEDS.items():
            tasks = traced(deed)
            found[name] = max(wall for wall, _ in tasks)
            found[f"{name}_cpu"] = max(cpu for _, cpu in tasks)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--visits", type=int, default=5)
    parser.add_argument("--chromium", default=CHROMIUM)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    trace = grown(options.nodes)
    with tempfile.TemporaryDirectory() as folder:
        html = Path(folder) / "page.html"
        html.write_text(render_html([trace]), encoding="utf-8")
        load = os.getloadavg()[0]
        visits = [measure(html, options.chromium) for _ in range(options.visits)]
        size = html.stat().st_size
    middle = {name: round(statistics.median(visit[name] for visit in visits)) for name in visits[0]}
    worst = {name: round(max(visit[name] for visit in visits)) for name in visits[0]}
    result = {
        "nodes": len(trace.nodes), "evaluated": options.nodes, "bytes": size, "visits": options.visits,
        "cores": os.cpu_count(), "load_before": round(load, 1), "load_after": round(os.getloadavg()[0], 1),
        "median_ms": middle, "worst_ms": worst,
    }  # fmt: skip
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
