"""The page of trees in a real browser, offline: what people see, find, press and replay."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from bdc_agents.types import Attempt, CallRecord, Node, Program, Review, Thought, Trace
from bdc_agents.view import render_html

from .browser import CHROMIUM, OPTIONS
from .conftest import HOSTILE
from .searches import FIRST, MENDED, grown, story
from .stub import Stub

playwright = pytest.importorskip(
    "playwright.async_api", reason="Playwright for Python is not installed: pip install playwright"
)
FRONTEND = Path(__file__).parents[2] / "frontend"
AXE = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser on this machine"),
    pytest.mark.asyncio(loop_scope="module"),
]
Open = Callable[..., Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    async with playwright.async_playwright() as started:
        browser = await started.chromium.launch(executable_path=CHROMIUM, args=[*OPTIONS])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Any, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens a page of traces from a file, without a network: it asks for nothing, and has no error."""
    contexts, wrong = [], list[str]()

    async def visit(traces: list[Trace] | str, hash: str = "", width: int = 1280, **options: Any) -> Any:
        live = isinstance(traces, str)
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, offline=not live, **options
        )
        contexts.append(context)
        page = await context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on(
            "console", lambda said: wrong.append(said.text) if said.type in {"error", "warning"} else None
        )
        if live:
            await page.goto(traces)
            return page
        file = tmp_path / "page.html"
        file.write_text(render_html(traces), encoding="utf-8")
        page.on(
            "request",
            lambda asked: wrong.append(asked.url) if not asked.url.startswith(file.as_uri()) else None,
        )
        await page.goto(f"{file.as_uri()}{hash}")
        await page.locator("article").wait_for()
        return page

    yield visit
    for context in contexts:
        await context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def found() -> Trace:
    return asyncio.run(story())


@pytest.fixture(scope="module")
def many(found: Trace) -> list[Trace]:
    """Forty problems, of which every fourth is not solved."""
    rows = []
    for number in range(40):
        solved = number % 4 > 0
        problem = found.problem.model_copy(
            update={
                "id": f"demo:{number}",
                "statement": f"Problem {number}: count the {'dry' if solved else 'wet'} days.",
            }
        )
        solution = found.solution.model_copy(
            update={
                "problem_id": problem.id,
                "solved": solved,
                "agent": "bob" if number % 2 else "ann",
                "seconds": float(40 - number),
            }
        )
        rows.append(found.model_copy(update={"problem": problem, "solution": solution}))
    return rows


async def texts(locator: Any) -> list[str]:
    return [" ".join(text.split()) for text in await locator.all_inner_texts()]


async def chosen(page: Any) -> str | None:
    return await page.locator(".crumbs b").first.text_content()


async def until(page: Any, script: str) -> None:
    """Waits for an expression. Playwright's own way evaluates it in the page, whose policy forbids it."""
    for _ in range(200):
        if await page.evaluate(script):
            return
        await page.wait_for_timeout(50)
    raise AssertionError(f"not so after ten seconds: {script}")


# --- the answer -------------------------------------------------------------------------------


async def test_the_answer_stands_first_and_can_be_copied(visit, found):
    page = await visit([found], permissions=["clipboard-read", "clipboard-write"])
    answer = page.get_by_role("region", name="The answer")
    told = (await texts(answer))[0]
    assert "Solved, not confirmed all 4 public tests pass" in told
    assert "written by bob in call 11" in told
    await answer.get_by_role("button", name="Copy the program").click()
    await page.get_by_text("Copied").wait_for()
    assert await page.evaluate("navigator.clipboard.readText()") == found.solution.code
    box = await answer.bounding_box()
    assert box["y"] < 100


async def test_a_repair_is_shown_as_what_it_changed(visit, found):
    page = await visit([found], "#node=0.0.0")
    diff = page.get_by_label("What the repair changed")
    added = await texts(diff.locator(".line.added code"))
    assert added == ["added: else:", "added: run = 0"]
    assert await diff.locator(".line.removed").count() == 0
    await page.get_by_role("button", name="Whole program").click()
    shown = await page.locator("aside .code code").all_inner_texts()
    assert "".join(shown).strip() == MENDED.strip()


async def test_a_failed_test_shows_what_differs(visit, found):
    page = await visit([found], "#node=0.0")
    tests = page.locator("aside .test")
    first = (await texts(tests))[0]
    assert "longest([1, 2, 0, 3])" in first
    assert "expected 2 actual 3" in first
    assert await page.locator("aside .attempt").count() == 1


async def test_the_best_attempt_comes_first_and_repeated_ones_are_one_line(visit, found):
    page = await visit([found], "#node=0")
    rows = await texts(page.locator("aside .attempt > summary"))
    root = found.nodes[0]
    assert len(rows) == len({attempt.program for attempt in root.attempts}) < len(root.attempts)
    assert rows[0].startswith("◐ 2/4")
    assert await page.locator("aside .attempt[open]").count() == 1


# --- time -------------------------------------------------------------------------------------


async def test_the_replay_shows_the_tree_as_it_was(visit, found):
    page = await visit([found])
    slider = page.get_by_role("slider", name="Calls made")
    assert await slider.get_attribute("max") == str(len(found.calls))
    await slider.fill("2")
    assert await page.locator(".node:not(.ghost)").count() == 1
    assert "After 2 of 13 calls" in await page.locator(".now").inner_text()
    await slider.fill("4")
    await page.locator("[data-node='0.0']:not(.ghost)").wait_for()
    assert "not evaluated" in await page.locator("[data-node='0.0']").inner_text()
    await page.get_by_role("button", name="One call on").click()
    await page.get_by_role("button", name="End", exact=True).click()
    assert await page.locator(".node.ghost").count() == 0


async def test_every_program_of_a_trace_has_its_call(visit, found):
    """The curve ends at the answer's reward, and each call that wrote says what came of it."""
    page = await visit([found])
    calls = page.get_by_label("Calls", exact=True)
    await page.get_by_text("13 calls", exact=True).click()
    rows = await texts(calls.locator("tbody tr"))
    programs = [call for call in found.calls if call.purpose in {"boost", "repair"}]
    assert sum(bool(re.search(r": [✓◐✗!] [01]\.\d\d", row)) for row in rows) == len(programs)
    assert "bob repaired a program, its code shown at 0.0 → 0.0.0: ✓ 1.00" in rows[10]
    assert "ann thought on at 0: 3 thoughts" in rows[3]


async def test_a_repair_that_gave_what_was_there_is_told_from_one_that_gave_a_child(visit, found):
    """Bob's first repair of ann's program gave it once more; ann's repair and his second one made a child."""
    key = found.nodes[0].attempts[0].program
    first = found.calls[0]
    repair = found.calls[10]

    def call(order: int, agent: str) -> CallRecord:
        move = repair.move.model_copy(update={"node": "0", "agent": agent, "program": key})
        return repair.model_copy(update={"order": order, "agent": agent, "node": "0", "move": move})

    def child(number: int, agent: str) -> Node:
        attempt = Attempt(program=f"new{number}", agent=agent, reward=0.5)
        thought = Thought(text="Mended.", agent=agent)
        return Node(
            id=f"0.{number}",
            parent="0",
            thought=thought,
            mends=key,
            kind="repair",
            value=0.5,
            attempts=(attempt,),
        )

    attempts = tuple(Attempt(program=key, agent=agent, reward=0.5) for agent in ("ann", "bob"))
    root = Node(children=("0.0", "0.1"), attempts=attempts, value=0.5)
    programs = dict.fromkeys((key, "new0", "new1"), found.programs[key])
    calls = (first, call(1, "bob"), call(2, "ann"), call(3, "bob"))
    nodes = (root, child(0, "ann"), child(1, "bob"))
    page = await visit([found.model_copy(update={"nodes": nodes, "programs": programs, "calls": calls})])
    await page.get_by_text("4 calls", exact=True).click()
    rows = await texts(page.get_by_label("Calls", exact=True).locator("tbody tr .link:not([aria-label])"))
    assert rows == ["0", "0", "0", "0.0", "0", "0.1"]


async def test_playing_ends_at_the_end(visit, found):
    page = await visit([found], reduced_motion="reduce")
    await page.get_by_role("button", name="Replay the search").click()
    await page.locator(".node.ghost").first.wait_for()
    await page.get_by_text("All 13 calls").wait_for(timeout=20_000)
    assert await page.locator(".node.ghost").count() == 0


async def test_why_this_leaf_tells_beliefs_and_rivals(visit, found):
    page = await visit([found], "#node=0.0.0")
    await page.get_by_text("Why this leaf?").click()
    why = await page.locator(".why").inner_text()
    gain = found.calls[10].move.gain
    assert f"{gain:.2f}" in why
    assert "from a program that is right in part" in why
    before = await texts(page.get_by_label("What the same move had given").locator("tbody tr"))
    assert sorted(row.rpartition(" ")[0] for row in before) == ["ann 0 0 1 0", "bob 0 0 0 0"]
    forks = await texts(page.get_by_label("Children of 0 at that time").locator("tbody tr"))
    assert forks[0].startswith("0.0 ←")
    assert len(forks) == 3


# --- finding ----------------------------------------------------------------------------------


async def test_problems_are_found_filtered_and_sorted(visit, many):
    page = await visit(many)
    rows = page.locator(".problem")
    assert await rows.count() == 40
    assert "30 of 40 problems solved" in await page.locator(".problems h2").inner_text()
    await page.get_by_label("Result", exact=True).select_option("unsolved")
    assert await rows.count() == 10
    await page.get_by_label("Find a problem").fill("wet 36")
    assert [text.split()[1] for text in await texts(rows)] == ["demo:36"]
    await page.get_by_label("Find a problem").fill("")
    await page.get_by_label("Result", exact=True).select_option("")
    await page.get_by_label("Answer by").select_option("bob")
    assert await rows.count() == 20
    await page.get_by_role("columnheader", name="time").get_by_role("button").click()
    assert "demo:1" in (await texts(rows))[0]
    await page.get_by_role("columnheader", name="time").get_by_role("button").click()
    assert "demo:39" in (await texts(rows))[0]


async def test_a_link_leads_to_a_problem_a_node_and_a_moment(visit, many):
    page = await visit(many, "#problem=demo%3A7&node=0.1&call=9")
    assert await page.locator(".problem-id").inner_text() == "demo:7"
    assert await chosen(page) == "0.1"
    assert "After 9 of 13 calls" in await page.locator(".now").inner_text()
    await page.get_by_role("link", name="demo:9", exact=True).click()
    await until(page, "location.hash === '#problem=demo%3A9'")
    await page.locator("[data-node='0.2']").click()
    await until(page, "location.hash === '#problem=demo%3A9&node=0.2'")
    await page.evaluate("location.hash = '#problem=demo%3A5&node=0.0'")
    await page.get_by_role("heading", name="demo:5").wait_for()
    assert await chosen(page) == "0.0"
    await page.evaluate("location.hash = '#node=9.9.9&call=-3&problem=none'")
    assert await chosen(page) == "0.0"


async def test_the_tree_is_searched_by_words_of_thoughts_and_programs(visit, found):
    page = await visit([found])
    box = page.get_by_label("Find a thought or a program in the tree")
    await box.fill("rainy longest piece")
    assert await page.locator(".node.found").count() == 1
    await box.press("Enter")
    assert await chosen(page) == "0.1"
    await box.fill("run = 0")
    for wanted in ("0", "0.0", "0.0.0", "0.2", "0"):
        await box.press("Enter")
        assert await chosen(page) == wanted


# --- keys and folds ---------------------------------------------------------------------------


INSIDE = """() => {
  const box = document.activeElement.getBoundingClientRect();
  const frame = document.querySelector('.canvas').getBoundingClientRect();
  return box.left >= frame.left && box.top >= frame.top && box.right <= frame.right + 1
    && box.bottom <= frame.bottom + 1;
}"""


async def test_keys_walk_the_tree_and_the_window_follows(visit):
    page = await visit([grown(300)], "#node=0")
    await page.locator('[role="treeitem"][tabindex="0"]').focus()
    assert await page.locator('[role="treeitem"][tabindex="0"]').count() == 1
    for key in ("Home", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "End"):
        await page.keyboard.press(key)
        focused = await page.evaluate("document.activeElement.dataset.key")
        assert await page.locator('[role="treeitem"][tabindex="0"]').get_attribute("data-key") == focused
        inside = await page.evaluate(INSIDE)
        assert inside, key
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    assert (await page.evaluate("document.activeElement.dataset.key")).count(".") == 1


async def test_enter_folds_and_what_is_chosen_below_unfolds(visit):
    page = await visit([grown(60)], "#node=0.1")
    box = page.locator("[data-node='0.1']")
    await box.focus()
    await page.keyboard.press("Enter")
    assert await box.get_attribute("aria-expanded") == "false"
    assert await page.locator("[data-node='0.1.0']").count() == 0
    await page.evaluate("location.hash = '#node=0.1.0'")
    await page.locator("[data-node='0.1.0']").wait_for()
    assert await chosen(page) == "0.1.0"


async def test_children_without_a_program_are_one_row(visit):
    page = await visit([grown(5, idle=12)], "#node=0")
    row = page.locator("[data-key='0+']")
    assert await row.inner_text() == "12 not evaluated"
    await row.focus()
    await page.keyboard.press("Enter")
    await until(page, "document.activeElement.dataset.node === '0.4'")
    await page.keyboard.press("End")
    await until(page, "document.activeElement.dataset.node === '0.15'")


async def test_a_large_tree_is_drawn_in_part_and_its_overview_leads_anywhere(visit):
    page = await visit([grown(1000)], "#node=0")
    assert await page.locator("[data-node]").count() < 80
    box = await page.locator(".overview").bounding_box()
    await page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.02)
    node = await chosen(page)
    assert node is not None
    assert node.count(".") == 5
    await page.locator(f"[data-node='{node}']").wait_for()
    await page.get_by_role("button", name="Fit", exact=True).click()
    assert "far" in await page.locator(".canvas").get_attribute("class")


# --- strangers' texts -------------------------------------------------------------------------


def _everywhere(value: Any, text: str) -> Any:
    """Every free text of a trace replaced by another one."""
    kept = {
        "id",
        "entry_point",
        "public_tests",
        "preamble",
        "starter_code",
        "limits",
        "settings",
        "parent",
        "children",
        "outcome",
        "stopped_by",
        "kind",
        "purpose",
        "program",
        "node",
        "version",
        "checker",
        "asked",
        "decision",
        "created",
        "agent",
        "author",
        "before",
    }
    if isinstance(value, dict):
        return {key: inner if key in kept else _everywhere(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_everywhere(inner, text) for inner in value]
    return text if isinstance(value, str) and value else value


async def test_strangers_texts_are_texts_wherever_they_stand(visit, found):
    fields = _everywhere(found.model_dump(mode="json"), f"{HOSTILE} <b id=mark>x</b>")
    fields["calls"][0] |= {"unread": HOSTILE, "said": HOSTILE}
    fields["calls"][1] |= {"error": HOSTILE}
    fields["reviews"] = [
        Review(asked="thoughts", decision="edit", node="0.1", text=HOSTILE, by=HOSTILE).model_dump()
    ]
    fields["solution"] |= {"notes": [HOSTILE], "set_aside": {"ann": HOSTILE, HOSTILE: HOSTILE}}
    trace = Trace.model_validate(fields)
    page = await visit([trace])
    await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    await page.wait_for_timeout(100)
    await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for node in ("0", "0.0", "0.0.0"):
        await page.locator(f"[data-node='{node}']").click()
    assert await page.locator("#mark, img, article script, iframe").count() == 0
    text = await page.locator("body").inner_text()
    assert "<img src=x onerror=alert(2)>" in text
    assert not re.search(
        "[\x1b\x07\x9b\u202e\u2028]", await page.evaluate("document.getElementById('page').innerText")
    )
    assert {"RLO", "ESC", "BEL", "CSI"} <= {*await page.locator(".unseen").all_inner_texts()}
    named = "[...document.querySelectorAll('[aria-label],[title]')]"
    names = await page.evaluate(f"{named}.map((one) => one.ariaLabel + one.title).join()")
    assert not re.search("[\x1b\x07\x9b\u202e]", names)


async def test_the_browser_itself_refuses_to_make_markup(browser, found, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(render_html([found]), encoding="utf-8")
    page = await browser.new_page()
    await page.goto(file.as_uri())
    script = (
        "(() => { try { document.body.innerHTML = '<b>x</b>'; } catch (error) { return error.name; } })()"
    )
    assert await page.evaluate(script) == "TypeError"
    assert await page.locator("article").count() == 1
    await page.close()


async def test_megabytes_are_cut_until_somebody_asks(visit, found):
    huge = "x" * 3_000_000
    key = found.nodes[0].attempts[0].program
    programs = {
        **found.programs,
        key: Program(
            code=f"{FIRST}# {huge}\n" + "y = 1\n" * 200_000, agent="ann", verdict=found.programs[key].verdict
        ),
    }
    problem = found.problem.model_copy(update={"statement": huge})
    page = await visit([found.model_copy(update={"programs": programs, "problem": problem})], "#node=0")
    assert await page.evaluate("document.body.innerText.length") < 40_000
    await page.locator("aside").get_by_role("button", name="show more of 200,0").click()
    assert await page.evaluate("document.querySelectorAll('aside .line').length") > 1000


# --- people -----------------------------------------------------------------------------------


async def test_a_persons_decisions_are_listed(visit, found):
    reviews = (
        Review(asked="thoughts", decision="edit", node="0.1", text="Without sorting.", rollouts=2),
        Review(asked="budget", decision="approve", caps={"calls": 28}, rollouts=9),
    )
    page = await visit([found.model_copy(update={"reviews": reviews})])
    told = await texts(page.locator(".decisions li"))
    assert told[0] == "person edited a thought at 0.1 Without sorting. after 2 rollouts"
    assert told[1] == "person approved the budget from then on: 28 calls after 9 rollouts"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
async def test_axe_finds_nothing(browser, many, tmp_path, theme, width):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: make page")
    file = tmp_path / "page.html"
    pruned = [
        node.model_copy(update={"pruned": True}) if node.id == "0.2" else node for node in many[1].nodes
    ]
    traces = [many[0], many[1].model_copy(update={"nodes": tuple(pruned)})]
    file.write_text(render_html(traces), encoding="utf-8")
    # The policy would keep axe itself out.
    context = await browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=theme, bypass_csp=True, offline=True
    )
    page = await context.new_page()
    for place in (
        "#problem=demo%3A0&node=0.0.0",
        "#problem=demo%3A1&node=0.2&call=9",
        "#problem=demo%3A1&node=0",
    ):
        await page.goto("about:blank")
        await page.goto(f"{file.as_uri()}{place}")
        await page.locator("article").wait_for()
        for _ in "12":
            await page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            await page.wait_for_timeout(50)
        await page.evaluate(AXE.read_text(encoding="utf-8"))
        result = await page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        assert [
            (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
            for one in result["violations"]
        ] == []
    await context.close()


CONTRAST = (Path(__file__).parent / "contrast.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_drawings_stand_out_from_what_is_behind_them(visit, theme):
    """Axe does not look into drawings: texts need 4.5 to 1, and what carries meaning 3 to 1."""
    page = await visit([grown(40, agents=tuple("abcdefgh"))], color_scheme=theme)
    rows = await page.evaluate(CONTRAST)
    assert len({what for what, _, _ in rows if what.startswith("mark mark agent")}) == 8
    assert len(rows) > 60
    assert [row for row in rows if row[2] < row[1]] == []


async def test_a_phone_shows_all_of_it_without_scrolling_sideways(visit, many):
    page = await visit(many, width=390, has_touch=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    assert await page.evaluate("document.documentElement.scrollHeight") < 4200


async def test_paper_has_the_whole_tree_as_lines(visit, found):
    page = await visit([found])
    await page.evaluate("dispatchEvent(new Event('beforeprint'))")
    await page.emulate_media(media="print")
    lines = await texts(page.locator(".outline p"))
    assert [line.split()[0] for line in lines] == [node.id for node in found.nodes if node.value is not None]
    assert await page.locator(".work").is_hidden()


# --- live -------------------------------------------------------------------------------------


@pytest_asyncio.fixture(loop_scope="module")
async def live(found: Trace) -> AsyncIterator[Stub]:
    with Stub(found) as stub:
        yield stub


async def test_a_live_tree_grows_under_the_eye(visit, live):
    page = await visit(f"{live.url}/tree/t1")
    await page.get_by_text("searching").wait_for()
    await page.get_by_text("All 2 calls").wait_for()
    live.move(calls=5)
    await page.get_by_text("All 5 calls").wait_for()
    await page.locator("[data-node='0']").click()
    live.move(calls=13, status="idle")
    await page.get_by_text("at rest").wait_for()
    await page.get_by_text("All 13 calls").wait_for()
    await page.locator("[data-node='0.0.0']").wait_for()
    assert await chosen(page) == "0"


async def test_past_states_and_other_searches_are_listed(visit, live):
    page = await visit(f"{live.url}/tree/t1")
    live.move(calls=6)
    await page.get_by_text("All 6 calls").wait_for()
    await page.get_by_text("Other searches").click()
    link = page.get_by_role("link", name="demo:another")
    assert (await link.get_attribute("href")) == f"{live.url}/tree/t0"
    await page.get_by_text("Past states", exact=True).click()
    await page.get_by_role("button", name="3 calls").click()
    await page.get_by_text("All 3 calls").wait_for()
    live.move(calls=7)
    await page.get_by_role("button", name="Fork…").click()
    await page.get_by_label("bob").uncheck()
    await page.get_by_label("Calls it may make").fill("30")
    await page.get_by_role("button", name="Fork", exact=True).click()
    await page.wait_for_url("**/tree/t1#forked")
    assert live.asked == [("fork", {"checkpoint": "3", "agents": ["ann"], "calls": 30})]


async def test_a_person_edits_adds_vetoes_and_goes_on(visit, live):
    live.move(calls=13, status="idle")
    page = await visit(f"{live.url}/tree/t1")
    await page.get_by_text("All 13 calls").wait_for()
    await page.locator("[data-node='0.1']").click()
    await page.get_by_role("button", name="Edit the thought").click()
    field = page.get_by_label("Thought", exact=True)
    assert await field.input_value() == "Split the list at rainy days and take the longest piece."
    await field.fill("Count by hand.")
    await page.get_by_role("button", name="Keep it").click()
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.get_by_role("button", name="Add a thought below").click()
    await page.get_by_role("button", name="Keep it").click()
    await page.get_by_text("Write the thought first.").wait_for()
    await page.get_by_label("Thought", exact=True).fill("Use groupby.")
    await page.get_by_role("button", name="Keep it").click()
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.get_by_role("button", name="Veto this branch").click()
    await page.get_by_role("button", name="Veto it").click()
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.get_by_role("button", name="Continue…").click()
    await page.get_by_label("Calls more").fill("1.5")
    await page.get_by_role("button", name="Continue", exact=True).click()
    await page.get_by_text("Calls are a whole number").wait_for()
    await page.get_by_label("Calls more").fill("8")
    await page.get_by_role("button", name="Continue", exact=True).click()
    await page.get_by_role("dialog").wait_for(state="detached")
    assert live.asked == [
        ("edit", {"node": "0.1", "thought": "Count by hand."}),
        ("add", {"parent": "0.1", "thought": "Use groupby."}),
        ("veto", {"node": "0.1"}),
        ("continue", {"calls": 8}),
    ]


async def test_what_the_server_refuses_is_told_in_its_words(browser, live):
    live.move(calls=13, status="idle", refuse="The search runs; wait until it rests, or fork it.")
    page = await browser.new_page()
    await page.goto(f"{live.url}/tree/t1")
    await page.get_by_text("All 13 calls").wait_for()
    await page.get_by_role("button", name="Continue…").click()
    await page.get_by_role("button", name="Continue", exact=True).click()
    await (
        page.get_by_role("alert").get_by_text("The search runs; wait until it rests, or fork it.").wait_for()
    )
    assert live.asked == []
    await page.keyboard.press("Escape")
    await page.get_by_role("dialog").wait_for(state="detached")
    await page.close()


async def test_a_search_that_has_not_begun_says_so(visit, live):
    live.move(calls=0)
    page = await visit(f"{live.url}/tree/t1")
    await page.get_by_text("This search has not begun yet").wait_for()
    live.move(calls=1)
    await page.get_by_text("All 1 call").wait_for()
