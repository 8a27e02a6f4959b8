import base64
import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.page import asset, drawing_script, embed_json
from bdc_agents.view import render_html

from .browser import CHROMIUM, OPTIONS


class Page(HTMLParser):
    """The elements of a page, and the text of its scripts and styles as a browser delimits them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.raw: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in {"script", "style", "title", "h1"}:
            self.raw.append((tag, ""))
            self.open = True

    def handle_data(self, data) -> None:
        if getattr(self, "open", False):
            tag, text = self.raw[-1]
            self.raw[-1] = (tag, text + data)

    def handle_endtag(self, tag) -> None:
        if tag in {"script", "style", "title", "h1"}:
            self.open = False

    def texts(self, tag: str) -> list[str]:
        return [text for name, text in self.raw if name == tag]


def test_the_page_holds_the_traces_as_they_are(run, hostile):
    traces = [run[0], hostile[0]]
    data = json.loads(Page(render_html(traces, "two")).texts("script")[0])
    assert data == {
        "title": "two",
        "traces": [trace.model_dump(mode="json") for trace in traces],
        "live": None,
    }


def test_hostile_texts_stay_inside_the_data(hostile):
    text = render_html([hostile[0]], title=hostile[0].problem.statement)
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert page.texts("title") == page.texts("h1") == [hostile[0].problem.statement]
    assert "\u2028" not in page.texts("script")[0]
    assert "<" not in page.texts("script")[0]


@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_embedded_json_survives_and_cannot_end_its_element(value):
    embedded = embed_json(value)
    assert json.loads(embedded) == value
    assert not re.search("[<>&\u2028\u2029]|[^\x00-\x7f]", embedded)


def _rules(page: Page) -> dict[str, str]:
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    return dict(rule.strip().split(" ", 1) for rule in policy.split(";"))


def test_the_policy_allows_this_script_and_style_alone(run):
    page = Page(render_html([run[0]]))
    rules = _rules(page)
    assert rules["default-src"] == rules["trusted-types"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert rules["script-src"] == source(page.texts("script")[1])
    assert rules["style-src"] == source(page.texts("style")[0])


def test_nothing_is_loaded_from_elsewhere(run):
    page = Page(render_html([run[0]]))
    attributes = {name for _, attrs in page.tags for name in attrs}
    assert not attributes & {"src", "href", "srcset", "style", "action"}
    assert not any(name.startswith("on") for name in attributes)
    program = page.texts("script")[1] + page.texts("style")[0]
    # Names of kinds of elements, none of which is ever asked for.
    assert {urlsplit(url).netloc for url in re.findall(r"\w+://[^\s\"'`]+", program)} == {"www.w3.org"}
    assert not re.search(r"@import|url\(|XMLHttp|WebSocket|sendBeacon|import\(", program)


def test_an_offline_page_may_ask_nobody_and_a_live_one_its_own_server_alone(run):
    assert "connect-src" not in _rules(Page(render_html([run[0]])))
    live = Page(render_html([], "live", live={"thread": "1", "urls": {}}))
    assert _rules(live)["connect-src"] == "'self'"
    assert json.loads(live.texts("script")[0])["live"] == {"thread": "1", "urls": {}}


@pytest.mark.parametrize(
    "script",
    [asset("bdc_agents.view", "page.js"), drawing_script("bdc_agents.distill.clustering", "map.js")],
    ids=["page.js", "map.js"],
)
def test_the_scripts_have_no_way_to_make_markup_of_text(script):
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|Function\(", script
    )


def test_the_title_names_the_problem_or_their_number(run):
    assert Page(render_html([run[0]])).texts("h1") == [run[0].problem.id]
    assert Page(render_html([run[0], run[0]])).texts("h1") == ["2 problems"]
    assert Page(render_html([], "none")).texts("h1") == ["none"]


def _dom(page, folder) -> str:
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [
        CHROMIUM,
        "--headless",
        *OPTIONS,
        f"--user-data-dir={folder / 'profile'}",
        "--dump-dom",
        file.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no browser on this machine")
def test_a_browser_draws_the_tree_and_runs_nothing_hostile(run, hostile, tmp_path):
    marked = '<img src=x onerror="document.title=1">'
    trace = hostile[0].model_copy(
        update={"solution": hostile[0].solution.model_copy(update={"set_aside": {marked: marked}})}
    )
    dom = Page(_dom(render_html([trace, run[0]], "safe"), tmp_path))
    assert dom.texts("title")[0] == "safe"  # the others are of the drawing
    assert "img" not in {tag for tag, _ in dom.tags}
    assert [tag for tag, _ in dom.tags].count("script") == 2
    drawn = [attrs["data-node"] for _, attrs in dom.tags if "data-node" in attrs]
    evaluated = {node.id for node in trace.nodes if node.value is not None}
    # What is out of sight and what was never evaluated is not drawn.
    assert {"0", trace.solution.node} <= set(drawn) <= {node.id for node in trace.nodes}
    assert len(drawn) == len({*drawn})
    assert len({*drawn} & evaluated) > 1
