"""LangChain's agent-chat-ui on the graph `chat`: conversations in a real browser, and what a person sees.

    python benchmarks/chat_ui.py --out FOLDER                # scripted agents; the client that npm has
    python benchmarks/chat_ui.py --out FOLDER --local        # the two small models, on this machine's CPU
    python benchmarks/chat_ui.py --out FOLDER --client URL   # an agent-chat-ui that runs there

It needs `pip install 'bdc-agents[local,studio]' playwright`, node and a Chromium. Into FOLDER go the client,
which is built once, screenshots, and `result.json`: what was looked for, and whether it was seen. The client
of npm is of April 2025; that of today runs from a clone of agent-chat-ui, by `npm install` and `npm run dev`.

Three conversations: a problem in words that is solved, and goes on with a test and a wish; one in which a
person decides on thoughts, on the program and on the budget, by buttons where the client has them, else in
words; and messages that are no problem. What real models find is told and not judged.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
from chat_page import ChatPage, browser, built, served

from bdc_agents.testing import ScriptedEndpoint

ROOT = Path(__file__).parents[1]
CALLS = 8
"""Of each message: enough for two rounds, and some minutes of CPU with the small models."""
LATENCY = 1.0
"""Seconds of a scripted reply, so that there is something to wait for."""

MEAN = (
    "Write mean(xs), which returns the average of a list of numbers. mean([1, 2, 3]) should be 2 and "
    "mean([4, 8]) should be 6."
)
MEDIAN = (
    "Write median(xs), which returns the middle of a list of numbers. median([3, 1, 2]) should be 2 and "
    "median([9, 5, 7, 1, 8]) should be 7."
)


# --- scripted agents ---------------------------------------------------------------------------------------

PROGRAMS = {
    "mean": "def mean(xs):\n    return sum(xs) / len(xs)",
    "empty": "def mean(xs):\n    if not xs:\n        return 0\n    return sum(xs) / len(xs)",
    "loop": (
        "def mean(xs):\n    total = count = 0\n    for x in xs:\n"
        "        total, count = total + x, count + 1\n    return total / count if count else 0"
    ),
    "half": "def mean(xs):\n    return xs[0]",
    "middle": "def median(xs):\n    return xs[len(xs) // 2]",
    "sorted": "def median(xs):\n    return sorted(xs)[len(xs) // 2]",
}
IDEAS = {
    "small": ("Take the element in the middle of the list.", "Average the smallest and the largest."),
    "large": ("Remove the ends in turn until one is left: that costs $1 to $n steps.",),
}


def respond(body: dict[str, Any]) -> str:
    """Large is right where it can be, small is mostly not. A median needs a thought that a person had."""
    time.sleep(LATENCY)
    asked = "\n".join(str(message["content"]) for message in body["messages"])
    right = body["model"] == "large"
    if "reasonableness" in asked:
        thoughts = [{"thought": idea, "reasonableness": 0.7} for idea in IDEAS[body["model"]]]
        return json.dumps({"thoughts": thoughts})
    if '"tests"' in asked:
        return json.dumps(
            {
                "tests": [{"call": "double(4)", "expected": "8"}]
                if right
                else [{"call": "double(1)", "expected": "2"}]
            }
        )
    if "median" in asked:
        name = "sorted" if "Sort" in asked else "middle"
    elif "without a call of sum" in asked:
        name = "loop"
    elif "mean([])" in asked:
        name = "empty" if right else "half"
    else:
        name = "mean" if right else "half"
    if "double" in asked:
        return "```python\ndef double(x):\n    return 2 * x\n```"
    return f"This should do.\n```python\n{PROGRAMS[name]}\n```"


def scripted(url: str) -> str:
    """The settings of scripted agents behind an address."""
    agent = '[agents.{0}]\nmodel = "{0}"\nbase_url = "{1}"\napi_key = "any"\n'
    return "".join(agent.format(name, url) for name in ("small", "large"))


LOCAL = """
[agents.small]
model = "local:qwen2.5-coder-0.5b"
timeout = 100000
options = {slots = 2, context = 8192, threads = 1}

[agents.large]
model = "local:qwen2.5-coder-1.5b"
timeout = 100000
options = {slots = 2, context = 8192, threads = 1}
"""


# --- the server --------------------------------------------------------------------------------------------

ASKS = '''
"""The chat of this repository, which asks a person; the published walk, as it begins with thoughts."""

import sys

sys.path.insert(0, "graphs")
import chat
from bdc_agents.chat import create_chat_graph
from bdc_agents.config import SearchConfig

search = SearchConfig.preset("paper").model_copy(update={"width": 2, "stop_when_solved": True})
graph = create_chat_graph(
    chat.load_agents(chat.settings),
    executor=chat.create_executor(chat.settings.sandbox),
    search=search,
    budget=chat.settings.budget,
    interrupt_for=("thoughts", "accept", "budget"),
).compile(name="bdc-asks")
'''


@contextmanager
def langgraph_dev(settings: str, cache: Path | None) -> Iterator[str]:
    """`langgraph dev` with the graph `chat` of this repository and one that asks; gives its address."""
    command = shutil.which("langgraph", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if not command:
        raise SystemExit("no langgraph on PATH: pip install 'bdc-agents[studio]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(ROOT / "graphs", folder / "graphs", ignore=shutil.ignore_patterns("__pycache__"))
        config = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
        graphs = {"chat": config["graphs"]["chat"], "asks": "./graphs/asks.py:graph"}
        (folder / "langgraph.json").write_text(json.dumps(config | {"graphs": graphs}), encoding="utf-8")
        (folder / "graphs/asks.py").write_text(ASKS, encoding="utf-8")
        (folder / "bdc.toml").write_text(f"{settings}\n[budget]\ncalls = {CALLS}\n", encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        own = {"XDG_CACHE_HOME": str(cache)} if cache else {}
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [command, "dev", "--no-browser", "--no-reload", "--port", str(port)],
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {"LANGSMITH_TRACING": "false"} | own,
            )
        try:
            _wait_for(f"http://127.0.0.1:{port}/ok", process, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(400):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
        if process.poll() is not None:
            break
    raise SystemExit(log.read_text(encoding="utf-8")[-3000:])


# --- conversations -----------------------------------------------------------------------------------------


class Seen:
    """What was looked for in a conversation, and whether it was there.

    Args:
        out: Where screenshots go.
        name: Of the conversation.
        judged: Whether what agents found counts, as it does with scripted ones.
    """

    def __init__(self, out: Path, name: str, *, judged: bool) -> None:
        self.out, self.name, self.judged = out, name, judged
        self.checks: dict[str, bool] = {}
        self.told: list[str] = []

    def look(self, what: str, there: bool) -> None:
        """Notes whether something is as it is to be."""
        self.checks[what] = there and self.checks.get(what, True)
        if not there:
            print(f"  not seen: {what}", flush=True)

    def found(self, what: str, text: str, begins: str) -> None:
        """Notes what came of a search: judged with scripted agents, told with real ones."""
        if self.judged:
            self.look(what, text.startswith(begins))
        else:
            self.told.append(f"{what}: {text.splitlines()[0][:160]}")

    def turn(self, page: ChatPage, shot: str, at: str = "") -> None:
        """What holds after every turn."""
        texts = page.replies()
        self.look("no text stands twice in a row", all(a != b for a, b in pairwise(texts)))
        self.look(
            "no raw JSON is shown", not any('{"' in text or "action_requests" in text for text in texts)
        )
        self.look("nothing is set as a formula", page.formulas == 0)
        self.look("no error is shown", "An error occurred" not in page.text and not page.faults)
        page.shoot(self.out / f"{self.name}-{shot}.png", at)


def solved_and_on(page: ChatPage, seen: Seen) -> None:
    """A problem with tests in words; a test that fails; a wish; the page loaded anew; the list of threads."""
    said = page.say(MEAN)
    seen.look(
        "what was understood is shown", page.replies()[0].startswith("I understood: the function mean.")
    )
    seen.look("who is asked is shown while it runs", any(text.startswith("I ask ") for text in said))
    if seen.judged:  # A search may end with its first round.
        seen.look("how far it is is shown while it runs", any(" rollouts: " in text for text in said))
    seen.look("progress is gone in the end", not page.replies()[-1].startswith("I ask "))
    seen.found("solved", page.replies()[-1], "Solved: mean passes 2 of 2 tests.")
    seen.turn(page, "solved")
    page.say("it fails for the empty list: mean([]) should be 0")
    seen.look("the test is added", page.replies()[-2].startswith("I add 1 test"))
    seen.found("solved with the test", page.replies()[-1], "Solved: mean passes 3 of 3 tests.")
    seen.turn(page, "test")
    page.say("without a call of sum")
    seen.look("the wish is taken", "Your remark goes to the agents" in page.replies()[-2])
    seen.found("solved with the wish", page.replies()[-1], "Solved: mean passes 3 of 3 tests.")
    seen.turn(page, "wish")
    before = page.replies()
    page.reload()
    seen.look("the page is the same when it is loaded anew", page.replies() == before)
    titles = page.threads()
    seen.look("the list names the thread by its problem", any(MEAN.startswith(one[:40]) for one in titles))
    seen.turn(page, "threads")


def decided(page: ChatPage, seen: Seen) -> None:
    """A person edits a thought, approves others, refuses a program and more, and sees what they decided."""
    page.say(MEDIAN)
    question = page.replies()[-1]
    if not seen.judged and " new thought" not in page.text:
        seen.told.append(f"no thought was asked about: {question.splitlines()[0][:160]}")
        return
    seen.look("thoughts are listed in words", any(" new thought" in text for text in page.replies()))
    seen.turn(page, "thoughts", at="before programs are written")
    _edit_the_first_thought(page, seen)
    seen.look("what was decided is told", any(text.startswith("You decided: ") for text in page.replies()))
    seen.turn(page, "decided", at="You decided: ")
    page.say("thanks")
    seen.look("a question stays when something else is said", "I still wait for your decision" in page.text)
    seen.turn(page, "waits")
    before = [text for text in page.replies() if text.startswith(("I ", "You "))]
    page.reload()
    again = [text for text in page.replies() if text.startswith(("I ", "You "))]
    seen.look("the page is the same when it is loaded anew", again == before)
    for number in range(6):  # Whatever is asked next: some rounds of thoughts, a program, the budget.
        if "wait for your decision" not in page.replies()[-1]:
            break
        page.say("reject" if "to have more?" in page.replies()[-1] else "approve")
        seen.turn(page, f"on-{number}")
    seen.found("solved in the end", page.replies()[-1], "Solved: median passes 2 of 2 tests.")


EDITED = "Sort the numbers first, then take the one in the middle."


def _edit_the_first_thought(page: ChatPage, seen: Seen) -> None:
    """By buttons where the client has them, else in words."""
    seen.told.append("decided by buttons" if page.has_buttons else "decided in words")
    if not page.has_buttons:
        page.say(f"edit 1: {EDITED}")
        return
    titled = re.search(r"thought \(1/(\d+)\)", page.text)
    page.page.locator("textarea").first.fill(EDITED)
    page.shoot(seen.out / f"{seen.name}-edited.png", at="Edit/Approve")
    page.press("Submit")
    if titled:
        for number in range(2, int(titled[1]) + 1):
            page.page.get_by_text(f"Action {number - 1} captured").wait_for()
            page.page.get_by_text(f"thought ({number}/{titled[1]})").wait_for()
            page.page.wait_for_timeout(500)  # The form of the one before is still there for a moment.
            page.press("Approve")
        page.press(f"Submit all {titled[1]} decisions")
    page.wait()


def no_problem(page: ChatPage, seen: Seen) -> None:
    """A greeting, a problem that cannot be used, a question, and a problem without tests."""
    page.say("hello")
    seen.look("a greeting gets an example", "Tell me what a Python function" in page.replies()[-1])
    page.say('{"statement": "Write f.", "tests": ["f(1) -> two"]}')
    seen.look("a wrong test is named", page.replies()[-1].startswith("I cannot use this yet: test 1"))
    page.say("```python\nimport numpy\nassert f([1]) == numpy.array([1])\n```")
    seen.look("a test that cannot run is refused", page.replies()[-1].startswith("I cannot search for this"))
    seen.turn(page, "refused")
    page.say("Write double(x), which returns twice x.")
    if seen.judged:
        seen.look("proposed tests are asked about", "Are they right?" in page.replies()[-1])
        page.say("what?")
        seen.look("the question stays", "I wait for your word on the tests" in page.replies()[-1])
        page.say("2")
    seen.found("solved with the tests", page.replies()[-1], "Solved: double passes 1 of 1 test.")
    seen.turn(page, "proposed")


CONVERSATIONS: Mapping[str, tuple[str, Callable[[ChatPage, Seen], None]]] = {
    "solved": ("chat", solved_and_on),
    "decided": ("asks", decided),
    "refused": ("chat", no_problem),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--client", default="")
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--only", choices=[*CONVERSATIONS], action="append")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds that a run may take")
    options = parser.parse_args()
    patience = options.patience or (3600.0 if options.local else 180.0)
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with ExitStack() as stack:
        client = options.client or stack.enter_context(served(built(options.out / "client")))
        endpoint = stack.enter_context(nullcontext() if options.local else ScriptedEndpoint(respond))
        settings = scripted(endpoint.url) if endpoint else LOCAL
        cache = None if options.local else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(langgraph_dev(settings, cache))
        chromium = stack.enter_context(browser())
        for name in options.only or CONVERSATIONS:
            graph, talk = CONVERSATIONS[name]
            print(name, flush=True)
            seen, began = Seen(options.out, name, judged=not options.local), time.monotonic()
            page = ChatPage(chromium, client.rstrip("/"), server, graph, patience)
            talk(page, seen)
            page.close()
            rows.append(
                {
                    "conversation": name,
                    "agents": "local" if options.local else "scripted",
                    "client": "given" if options.client else "npm",
                    "seconds": round(time.monotonic() - began, 1),
                    "seen": seen.checks,
                    "told": seen.told,
                }
            )
    text = json.dumps({"date": date.today().isoformat(), "rows": rows}, indent=1)
    (options.out / "result.json").write_text(text + "\n", encoding="utf-8")
    missing = [what for row in rows for what, there in row["seen"].items() if not there]
    print(f"{sum(len(row['seen']) for row in rows)} looked for, {len(missing)} not seen")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
