"""agent-chat-ui in a headless Chromium: how a person types, waits, decides, and what they see then.

Two forms of the client are known: the template of the npm package, which shows an interrupt as a table, and
that of today, which has buttons for each decision.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

SIZE = {"width": 1040, "height": 860}
"""Pixels of the page: wide enough for the list of threads beside it; a screenshot is some 60 kB."""
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def built(folder: Path) -> Path:
    """The client that `npm` has, built in a folder; what was built there before is taken."""
    app = folder / "package/templates/vite"
    if not (app / "dist/index.html").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        name = _run(["npm", "pack", "--silent", "create-agent-chat-app"], folder).split()[-1]
        _run(["tar", "xzf", name], folder)
        _run(["npm", "install", "--silent", "--no-audit", "--no-fund"], app)
        _run(["npx", "vite", "build", "--logLevel", "error"], app)
    return app / "dist"


def _run(command: Sequence[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} in {folder}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serves a folder on loopback; gives its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium of this machine."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        raise SystemExit("no Chromium on PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, args=[*_QUIET])
        yield made
        made.close()


class ChatPage:
    """One thread of a graph in the client.

    Args:
        browser: Of `browser`.
        client, server: Addresses of agent-chat-ui and of `langgraph dev`.
        graph: The graph's name.
        patience: Seconds that a run may take.
    """

    def __init__(self, browser: Any, client: str, server: str, graph: str, patience: float) -> None:
        self.page = browser.new_page(viewport=SIZE)
        self.patience = patience
        self.faults: list[str] = []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)[:300]))
        self.page.goto(f"{client}/?apiUrl={server}&assistantId={graph}")
        self.page.wait_for_selector("textarea", timeout=60_000)

    # --- what a person does ----------------------------------------------------------------------------

    def say(self, text: str) -> list[str]:
        """Sends a message; gives each text of the page that was new while the run went on."""
        box = self.page.locator("form textarea").last
        box.fill(text)
        box.press("Enter")
        return self.wait()

    def wait(self) -> list[str]:
        """Waits for the end of a run; gives what the last answer said on the way, in turn."""
        seen, end = list[str](), time.monotonic() + self.patience
        self.page.wait_for_timeout(700)  # The button turns to Cancel.
        while time.monotonic() < end:
            texts = self.replies()
            if texts and texts[-1] not in seen:
                seen.append(texts[-1])
            if not self.page.get_by_role("button", name="Cancel").count():
                self.page.wait_for_timeout(700)
                return seen
            self.page.wait_for_timeout(250)
        raise SystemExit(f"a run took more than {self.patience:g} s:\n{self.text[-2000:]}")

    def press(self, name: str) -> None:
        """Presses a button."""
        self.page.get_by_role("button", name=name, exact=True).first.click()

    def reload(self) -> None:
        """Loads the page anew, as after a break."""
        self.page.reload()
        self.page.wait_for_selector(".markdown-content", timeout=60_000)
        self.page.wait_for_timeout(1500)

    def threads(self) -> list[str]:
        """The titles of the threads, in the list at the side."""
        mark = "&" if "?" in self.page.url else "?"
        self.page.goto(f"{self.page.url}{mark}chatHistoryOpen=true")
        self.page.wait_for_selector("p.truncate:visible", timeout=60_000)
        self.page.wait_for_timeout(1500)
        return self.page.locator("p.truncate:visible").all_inner_texts()

    # --- what they see ---------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """All that stands on the page."""
        return self.page.locator("body").inner_text()

    def replies(self) -> list[str]:
        """The texts of the graph, as they are set."""
        return [text.strip() for text in self.page.locator(".markdown-content").all_inner_texts()]

    @property
    def has_buttons(self) -> bool:
        """Whether the client offers decisions by buttons."""
        return self.page.get_by_text("Edit/Approve").count() > 0

    @property
    def formulas(self) -> int:
        """Texts that are set as formulas, which nothing here is."""
        return self.page.locator(".katex").count()

    def shoot(self, path: Path, at: str = "") -> None:
        """A screenshot, with a text at the top of the page where one is named."""
        if at:
            self.page.get_by_text(at).last.evaluate(
                "one => one.scrollIntoView({block: 'start', inline: 'nearest'})"
            )
            self.page.wait_for_timeout(300)
        # What was clicked was scrolled into view, sideways as well.
        self.page.evaluate("document.querySelectorAll('*').forEach(one => { one.scrollLeft = 0 })")
        self.page.screenshot(path=path)

    def close(self) -> None:
        """Closes the page."""
        self.page.close()
