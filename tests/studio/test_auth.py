"""The tree pages on a server with an authentication of its own: nobody sees or changes what is not theirs.

pip install 'bdc-agents[studio]'
BDC_TEST_STUDIO=1 python -m pytest tests/studio/test_auth.py
"""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from bdc_agents.testing import ScriptedEndpoint

AUTH = """
from langgraph_sdk import Auth

auth = Auth()
USERS = {"Bearer ann-token": "ann", "Bearer bob-token": "bob"}


@auth.authenticate
async def authenticate(authorization: str | None) -> str:
    if authorization not in USERS:
        raise Auth.exceptions.HTTPException(status_code=401, detail="who are you?")
    return USERS[authorization]


@auth.on.threads
async def owned(ctx: Auth.types.AuthContext, value: dict) -> dict:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}
"""
ANN, BOB = ({"authorization": f"Bearer {name}-token"} for name in ("ann", "bob"))
PROBLEM = {"id": "double", "statement": "Write double(x).", "public_tests": ["double(4) -> 8"]}
ACTIONS = {
    "fork": {},
    "edit": {"node": "0.0", "thought": "x"},
    "add": {"parent": "0", "thought": "Add x."},
    "veto": {"node": "0.0"},
    "continue": {"calls": 2},
}


@pytest.fixture(scope="module")
def server(langgraph_dev: Callable[..., str]) -> Iterator[str]:
    with ScriptedEndpoint(lambda _: "```python\ndef double(x):\n    return 3 * x\n```") as endpoint:
        agent = f'[agents.wrong]\nmodel = "m"\nbase_url = "{endpoint.url}"\napi_key = "k"\n'
        yield langgraph_dev(agent, AUTH)


@pytest.fixture
async def thread(server: str) -> AsyncIterator[str]:
    """A search of ann's that has ended."""
    async with get_client(url=server, headers=ANN) as client:
        found = (await client.threads.create())["thread_id"]
        context: Any = {"search": {"rollouts": 2}}
        await client.runs.wait(found, "search", input={"problem": PROBLEM}, context=context)
        yield found


@pytest.fixture
async def http(server: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server, timeout=60) as http:
        yield http


async def test_the_owner_sees_and_steps_in(http: httpx.AsyncClient, thread: str) -> None:
    assert (await http.get(f"/tree/{thread}", headers=ANN)).status_code == 200
    trace = (await http.get(f"/tree/{thread}/trace", headers=ANN)).json()["trace"]
    assert trace["nodes"]
    assert thread in {row["id"] for row in (await http.get("/tree/threads", headers=ANN)).json()}
    done = await http.post(f"/tree/{thread}/add", json=ACTIONS["add"], headers=ANN)
    assert done.json() == {"status": "idle"}
    fork = (await http.post(f"/tree/{thread}/fork", json={"calls": 2}, headers=ANN)).json()["thread"]
    assert (await http.get(f"/tree/{fork}/trace", headers=ANN)).status_code == 200
    assert (await http.get(f"/tree/{fork}/trace", headers=BOB)).status_code == 404


@pytest.mark.parametrize(("who", "status"), [({}, 401), (BOB, 404), ({"x-api-key": "k"}, 401)])
async def test_nobody_else_sees_or_changes_anything(
    http: httpx.AsyncClient, server: str, thread: str, who: Any, status: int
) -> None:
    for path in ("", "/trace", "/events", "/checkpoints"):
        answer = await http.get(f"/tree/{thread}{path}", headers=who)
        assert answer.status_code == status, path
        assert "double" not in answer.text
    for action, body in ACTIONS.items():
        answer = await http.post(f"/tree/{thread}/{action}", json=body, headers=who)
        assert answer.status_code == status, action
    listed = await http.get("/tree/threads", headers=who)
    assert listed.status_code == 401 if status == 401 else listed.json() == []
    async with get_client(url=server, headers=ANN) as client:
        state: Any = await client.threads.get_state(thread)
        assert not state["values"].get("reviews")
        assert len(await client.runs.list(thread)) == 1


async def test_a_browser_signs_in(http: httpx.AsyncClient, thread: str) -> None:
    page = await http.get(f"/tree/{thread}")
    assert page.status_code == 401
    assert "who are you?" in page.text
    assert 'action="/tree/sign-in"' in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    signed = await http.post("/tree/sign-in", data={"authorization": "ann-token"})
    assert (signed.status_code, signed.headers["location"]) == (303, "/tree")
    cookie = signed.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=lax", "path=/tree"))
    assert (await http.get(f"/tree/{thread}")).status_code == 200
    # The cookie is for the pages alone, and one's own header counts more.
    assert (await http.get(f"/threads/{thread}")).status_code == 401
    assert (await http.get(f"/tree/{thread}/trace", headers=BOB)).status_code == 404
    elsewhere = {"origin": "http://evil.example", "sec-fetch-site": "cross-site"}
    for path, sent in (
        (f"/tree/{thread}/veto", {"json": {"node": "0.0"}}),
        ("/tree/sign-in", {"data": {"authorization": "bob-token"}}),
    ):
        assert (await http.post(path, **sent, headers=elsewhere)).status_code == 403


@pytest.mark.parametrize("typed", ["", "a\r\nx: y", "ü", "t" * 9000])
async def test_what_can_be_no_token_is_refused(http: httpx.AsyncClient, typed: str) -> None:
    answer = await http.post("/tree/sign-in", data={"authorization": typed})
    assert answer.status_code in (400, 413)
    assert "set-cookie" not in answer.headers
