"""The tree pages by HTTP, over searches that are kept anywhere: what comes back, and what is refused."""

import json
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from bdc_agents.errors import UsageError
from bdc_agents.web.app import tree_routes
from bdc_agents.web.searches import ACTIONS, Event, Json, Refusal, Shown

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028"
HERE = "http://here:2024"
JSON = {"content-type": "application/json"}


class OneSearch:
    """A search with a hostile text, or none."""

    def __init__(self, agents: Sequence[str] = ("ann",)) -> None:
        self.agents = agents
        self.done: list[tuple[str, str, Json]] = []

    async def rows(self) -> list[Json]:
        return [{"id": "one", "problem": HOSTILE, "outcome": "solved", "updated": "2026-12-01T00:00:00Z"}]

    async def shown(self, thread: str, checkpoint: str | None = None) -> Shown:
        if thread != "one":
            raise Refusal(f"there is no search {thread}", 404)
        trace = json.dumps({"statement": HOSTILE}, ensure_ascii=False)
        return Shown(HOSTILE, trace, "busy", checkpoint or "c9", f"tag-{checkpoint}")

    async def checkpoints(self, thread: str) -> list[Json]:
        if thread == "broken":
            raise RuntimeError("/secret/path")
        return [{"id": "c9", "at": "", "node": "", "calls": 0, "best": 0.0}]

    async def events(self, thread: str) -> AsyncGenerator[Event]:
        await self.shown(thread)
        yield "status", {"status": "busy"}
        yield "changed", {"nodes": 3, "calls": 2}

    async def act(self, thread: str, action: str, body: Json) -> Json:
        self.done.append((thread, action, body))
        if body.get("node") == "0.9":
            raise UsageError("unknown node '0.9'")
        return {"thread": "two"} if action == "fork" else {"status": "busy"}


@pytest.fixture
def searches() -> OneSearch:
    return OneSearch()


@pytest.fixture
async def http(searches: OneSearch) -> AsyncGenerator[httpx.AsyncClient]:
    @asynccontextmanager
    async def opens(_: Any) -> AsyncGenerator[OneSearch]:
        yield searches

    app = Starlette(routes=[*tree_routes(opens), Mount("/below", routes=tree_routes(opens))])
    async with httpx.AsyncClient(base_url=HERE, transport=httpx.ASGITransport(app)) as client:
        yield client


def block_of(page: str) -> Any:
    [block] = re.findall(r'<script type="application/json" id="[a-z]+">(.*?)</script>', page)
    return json.loads(block)


async def test_the_page_carries_what_its_script_needs(http: httpx.AsyncClient) -> None:
    page = await http.get("/tree/one")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    data = block_of(page.text)
    assert data["title"] == HOSTILE
    assert data["traces"] == [{"statement": HOSTILE}]
    assert data["live"] == {
        "thread": "one",
        "checkpoint": None,
        "status": "busy",
        "agents": ["ann"],
        "urls": {
            **{name: f"/tree/one/{name}" for name in ("trace", "events", "checkpoints", *ACTIONS)},
            "threads": "/tree/threads",
        },
    }
    below = block_of((await http.get("/below/tree/one?checkpoint=c1")).text)["live"]
    assert below["checkpoint"] == "c1"
    assert below["urls"]["trace"] == "/below/tree/one/trace"


async def test_nobody_is_offered_to_step_in_where_no_agent_may_be_asked(
    http: httpx.AsyncClient, searches: OneSearch
) -> None:
    searches.agents = ()
    urls = block_of((await http.get("/tree/one")).text)["live"]["urls"]
    assert {name for name, url in urls.items() if url is None} == set(ACTIONS)


@pytest.mark.parametrize("path", ["/tree", "/tree/one", "/tree/none"])
async def test_pages_run_no_text_that_they_show(http: httpx.AsyncClient, path: str) -> None:
    page = await http.get(path)
    assert "<script>alert" not in page.text
    header = page.headers["content-security-policy"]
    [own] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page.text)
    assert "frame-ancestors 'none'" in header
    for policy in (header, own):
        assert "default-src 'none'" in policy
        assert "unsafe-inline" not in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


async def test_the_policy_lets_a_live_page_ask_its_own_server_alone(http: httpx.AsyncClient) -> None:
    page = await http.get("/tree/one")
    [own] = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page.text)
    assert "connect-src 'self'" in own
    assert page.headers["content-security-policy"] == own + "; frame-ancestors 'none'"


async def test_a_trace_comes_once_as_long_as_it_is_the_same(http: httpx.AsyncClient) -> None:
    first = await http.get("/tree/one/trace")
    assert first.json() == {"status": "busy", "checkpoint": "c9", "trace": {"statement": HOSTILE}}
    again = await http.get("/tree/one/trace", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await http.get("/tree/one/trace?checkpoint=c1", headers={"if-none-match": first.headers["etag"]})
    assert other.json()["checkpoint"] == "c1"


async def test_events_begin_with_the_status(http: httpx.AsyncClient) -> None:
    events = await http.get("/tree/one/events")
    assert events.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in events.text.splitlines() if line]
    assert lines == [
        "event: status",
        'data: {"status": "busy"}',
        "event: changed",
        'data: {"nodes": 3, "calls": 2}',
    ]


async def test_what_a_person_does_is_done(http: httpx.AsyncClient, searches: OneSearch) -> None:
    forked = await http.post("/tree/one/fork", json={"checkpoint": "search:1@2", "agents": ["ann"]})
    assert forked.json() == {"thread": "two", "url": "/tree/two"}
    assert (await http.post("/tree/one/veto", json={"node": "0.1"})).json() == {"status": "busy"}
    assert searches.done == [
        ("one", "fork", {"checkpoint": "search:1@2", "agents": ["ann"]}),
        ("one", "veto", {"node": "0.1"}),
    ]


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/tree/none", 404, "there is no search none"),
        ("/tree/none/trace", 404, "there is no search none"),
        ("/tree/none/events", 404, "there is no search none"),
        ("/tree/a%22b/trace", 404, "is no id of a search; /tree lists those there are"),
        ("/tree/" + "a" * 9000 + "/trace", 404, "is no id of a search"),
        ("/tree/one/trace?checkpoint=%3Cb%3E", 404, "'<b>' is no id of a checkpoint"),
        ("/tree/one/trace?checkpoint=" + "a" * 401, 404, "is no id of a checkpoint"),
        ("/tree/broken/checkpoints", 500, "this search could not be read; the server's log says why"),
    ],
)
async def test_what_cannot_be_shown_is_told_in_a_sentence(
    http: httpx.AsyncClient, path: str, status: int, says: str
) -> None:
    answer = await http.get(path)
    assert answer.status_code == status
    text = answer.text if path == "/tree/none" else answer.json()["error"]
    assert says in text
    assert "/secret/path" not in text


@pytest.mark.parametrize(
    ("body", "headers", "status", "says"),
    [
        (b'{"node": "0.9"}', JSON, 400, "unknown node '0.9'"),
        (b"[]", JSON, 400, "the body must be a JSON object"),
        (b"{", JSON, 400, "the body must be a JSON object"),
        (b"[" * 50_000, JSON, 400, "the body must be a JSON object"),
        (b"\xff", JSON, 400, "the body must be a JSON object"),
        (b'{"checkpoint": 7}', JSON, 404, "'7' is no id of a checkpoint"),
        (b'"' + b"a" * 65_536 + b'"', JSON, 413, "the body is larger than 65,536 bytes"),
        (b"{}", {"content-type": "text/plain"}, 415, "send Content-Type: application/json"),
        (b"{}", {}, 415, "send Content-Type: application/json"),
        (b"{}", JSON | {"origin": "http://evil.example"}, 403, "a page of another site"),
        (b"{}", JSON | {"origin": "null"}, 403, "a page of another site"),
        (b"{}", JSON | {"origin": "http://here:9999"}, 403, "a page of another site"),
        (b"{}", JSON | {"sec-fetch-site": "cross-site"}, 403, "a page of another site"),
        (b"{}", JSON | {"sec-fetch-site": "cross-site", "origin": "null"}, 403, "a page of another site"),
        (b"{}", JSON | {"sec-fetch-site": "none", "origin": "http://evil.example"}, 403, "another site"),
        (b"{}", JSON | {"sec-fetch-site": "same-site"}, 403, "a page of another site"),
    ],
)
async def test_what_cannot_be_done_is_told_and_changes_nothing(
    http: httpx.AsyncClient, searches: OneSearch, body: bytes, headers: Any, status: int, says: str
) -> None:
    answer = await http.post("/tree/one/edit", content=body, headers=headers)
    assert (answer.status_code, says in answer.json()["error"]) == (status, True), answer.text
    assert not searches.done or searches.done[0][2] == {"node": "0.9"}


async def test_the_pages_own_requests_are_answered(http: httpx.AsyncClient) -> None:
    own = {"origin": HERE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert (await http.get("/tree/one/trace", headers=own)).status_code == 200
    assert (await http.post("/tree/one/veto", json={}, headers=own)).status_code == 200


async def test_other_sites_may_link_to_a_page_and_read_nothing(http: httpx.AsyncClient) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert (await http.get("/tree/one", headers=link)).status_code == 200
    assert (await http.get("/tree", headers=link)).status_code == 200
    script = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    for path in (
        "/tree/one",
        "/tree/one/trace",
        "/tree/threads",
        "/tree/one/events",
        "/tree/one/checkpoints",
    ):
        assert (await http.get(path, headers=script)).status_code == 403
        assert (await http.get(path, headers=script | {"origin": "http://evil.example"})).status_code == 403
    assert (await http.get("/tree/one/trace", headers=link)).status_code == 403


async def test_no_other_method_does_anything(http: httpx.AsyncClient, searches: OneSearch) -> None:
    for action in ACTIONS:
        for method in ("GET", "PUT", "DELETE"):
            assert (await http.request(method, f"/tree/one/{action}")).status_code == 405
    assert not searches.done


def test_a_form_without_a_referrer_is_taken_from_its_own_site_alone() -> None:
    """Browsers send `Origin: null` with the sign-in form, as the pages tell no referrer."""
    from starlette.requests import Request

    from bdc_agents.web.app import _refuse_other_sites

    def post(site: str | None) -> Request:
        told = {"host": "here", "origin": "null"} | ({"sec-fetch-site": site} if site else {})
        headers = [(key.encode(), value.encode()) for key, value in told.items()]
        return Request({"type": "http", "method": "POST", "headers": headers})

    _refuse_other_sites(post("same-origin"), page=True)
    for site in ("cross-site", "same-site", None):
        with pytest.raises(Exception, match="another site"):
            _refuse_other_sites(post(site), page=True)
