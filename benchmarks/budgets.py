"""Random budgets over random settings, and endpoints that fail and misreport in every way: does a cap hold?

    python benchmarks/budgets.py --simulated 2000
    python benchmarks/budgets.py --real 200

Simulated time runs the search, its agents and their retries on a clock that jumps; the chat model and the
executor are scripted. Real time has an HTTP server, a real sandbox and the machine's own clock. Of every
search it is checked that
- calls, and the requests that its endpoints answered, never exceed the cap;
- tokens and money exceed theirs by nothing but what an endpoint wrote beyond the limit it was sent, and
  the result says so;
- seconds exceed theirs by at most one, and nothing is in flight or running afterwards.
"""

import argparse
import asyncio
import json
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from threading import Lock, Thread
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from bdc_agents.agents import ChatAgent
from bdc_agents.agents.providers import chat_model
from bdc_agents.config import AgentConfig, Budget, SearchConfig
from bdc_agents.sandbox import create_executor
from bdc_agents.sandbox.protocol import Executor, Job
from bdc_agents.search import asolve
from bdc_agents.testing import run_simulated
from bdc_agents.types import CallTest, Limits, Problem, TestResult, Trace, Verdict

RESULT = Path(__file__).parent / "results" / "budgets.json"
GRACE = 1.0
"""Seconds that a search may take longer than its budget."""
PROBLEM = Problem(
    id="double",
    statement="Double a number.",
    entry_point="double",
    public_tests=tuple(CallTest(call=f"double({n})", expected=(str(2 * n),)) for n in range(3)),
    limits=Limits(cpu_seconds=20, wall_seconds=60),
)
UNTESTED = PROBLEM.model_copy(update={"public_tests": ()})
PROGRAMS = (
    "return 2 * x",
    "return x + x",
    "return x << 1 if x else 0",
    "return x + {n}",
    "return {n}",
    "return 2 * x if x < 2 else {n}",
    "while True: pass",
    "import time; time.sleep(30)",
)
USAGES: tuple[Callable[[int, int], tuple[int, int] | None], ...] = (
    lambda prompt, written: (prompt, written),
    lambda prompt, written: (prompt, written),
    lambda prompt, _: (prompt, -(10**12)),
    lambda _, written: (10**30, written),
    lambda *_: (-1, -1),
    lambda *_: (0, 0),
    lambda *_: (10**30, 10**30),
    lambda *_: None,
)
"""What an endpoint says that it took; the truth twice as often."""


@dataclass
class Endpoint:
    """What one agent's endpoint does, and what it was asked in truth.

    Args:
        random: Decides each answer.
        answered: Requests that an LLM worked on.
        in_flight: Requests that have no answer yet.
        longest: The most that a reply had beyond its limit, in tokens.
    """

    random: Random
    mood: dict[str, float]
    answered: int = 0
    in_flight: int = 0
    lock: Lock = field(default_factory=Lock)

    def pick(self) -> str:
        """What happens to the next request."""
        return self.random.choices([*self.mood], [*self.mood.values()])[0]

    def text(self, prompt: str, schema: bool) -> str:
        """A reply of the kind that was asked for."""
        number = self.random.randrange(50)
        if "score" in prompt and schema:
            return json.dumps({"score": self.random.choice([0.3, "80%", 7, None])})
        if "Write 4 small tests" in prompt:
            return json.dumps({"tests": [{"call": f"double({n})", "expected": str(2 * n)} for n in range(3)]})
        if schema or "JSON" in prompt:
            ideas = [{"thought": f"idea {number} {n}", "reasonableness": 0.5} for n in range(3)]
            return json.dumps({"thoughts": ideas})
        program = self.random.choice(PROGRAMS).format(n=number)
        return f"```python\ndef double(x):\n    {program}\n```"


MOODS = ("fine", "empty", "busy", "down", "slow", "hang", "cut", "long", "endless", "key", "context")


def mood(random: Random) -> dict[str, float]:
    """How likely an endpoint does what; most do several things."""
    weights = {name: random.random() ** 3 for name in MOODS}
    return weights | {"fine": 1.0 + 2 * random.random(), "key": weights["key"] * 0.05}


def case(random: Random, longest_seconds: float) -> tuple[SearchConfig, Budget]:
    """Any settings, and one cap at least."""

    def maybe(value: Any, share: float = 0.5) -> Any:
        return value if random.random() < share else None

    preset = random.choice(["default", "default", "paper"])
    changes = {
        "leaves": random.choice([None, 1, 2, 8]),
        "width": random.randint(1, 3),
        "programs_per_agent": random.randint(1, 3),
        "expand": random.choice(["lazy", "eager"]),
        "merge": random.random() < 0.5,
        "judge": random.random() < 0.5,
        "self_tests": random.random() < 0.5,
        "refine": random.random() < 0.8,
        "prune": random.random() < 0.8,
        "learn_from": random.choice(["all", "part"]),
        "bandit": random.choice([None, 1, 2]),
        "confirm": random.choice([1, 2, 3]),
        "stop_when_solved": random.random() < 0.5,
        "resample": random.choice([0.0, 0.25, 1.0]),
        "widening": random.random() < 0.5,
        "priors": random.random() < 0.5,
        "answer_first": random.random() < 0.7,
        "temperature": random.choice([0.0, 0.7]),
        "rollouts": random.choice([None, 3, 30]) or (None if preset == "default" else 30),
        "seed": random.randrange(10**6),
    }
    caps = {
        "calls": maybe(random.randint(1, 40)),
        "tokens": maybe(random.randint(500, 60_000)),
        "money": maybe(random.uniform(0.002, 0.2), 0.3),
        "seconds": maybe(random.uniform(0.02, 1) * longest_seconds),
    }
    if not any(caps.values()):
        caps["calls"] = random.randint(1, 40)
    return SearchConfig.preset(preset, **changes), Budget(**caps)


def wrongs(trace: Trace, budget: Budget, endpoints: Sequence[Endpoint], seconds: float) -> list[str]:
    """What did not hold in one search."""
    solution, used = trace.solution, list(trace.solution.usage.values())
    calls, tokens = sum(u.calls for u in used), sum(u.tokens for u in used)
    money, excess = sum(u.cost or 0.0 for u in used), sum(u.excess for u in used)
    told = " ".join(solution.notes)
    answered = sum(endpoint.answered for endpoint in endpoints)
    found: list[str] = []
    if min(calls, tokens, money, excess) < 0:
        found.append(f"negative usage: {used}")
    if budget.calls is not None and max(calls, answered) > budget.calls:
        found.append(f"{calls} calls, {answered} answered, of {budget.calls}")
    for name, amount, cap in (("tokens", tokens, budget.tokens), ("money", money, budget.money)):
        if cap is None or amount <= cap * (1 + 1e-9):
            continue
        beyond = excess if name == "tokens" else excess * PRICE * 2 / 1e6
        if amount > cap * (1 + 1e-9) + beyond or "was passed by" not in told:
            found.append(f"{amount} {name} of {cap}, {excess} tokens beyond the limits, told: {told!r}")
    if excess and "beyond the limit" not in told:
        found.append(f"{excess} tokens beyond the limits are not told")
    if budget.seconds is not None and seconds > budget.seconds + GRACE:
        found.append(f"{seconds:.2f} s of {budget.seconds:.2f}")
    if any(endpoint.in_flight for endpoint in endpoints):
        found.append("requests are still in flight")
    return found


PRICE = 1000.0
"""US dollars for a million tokens, in and out: so that a cap on money matters in a few calls."""


def settings_of(random: Random) -> dict[str, Any]:
    """Of an agent, but for its endpoint."""
    return {
        "max_tokens": random.choice([None, None, 64, 1024]),
        "retries": random.choice([0, 1, 3]),
        "timeout": random.choice([0.5, 5.0]),
        "concurrency": random.choice([1, 8]),
        "price_input": PRICE,
        "price_output": PRICE,
    }


# --- simulated time ---------------------------------------------------------------------------------


class Status(Exception):
    """An error with an HTTP status, as SDKs raise it."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"status {status}")
        self.status_code = status
        self.response = type("Response", (), {"status_code": status, "headers": headers})()


class Model(BaseChatModel):
    """A chat model in simulated time."""

    endpoint: Any
    temperature: float | None = None
    max_tokens: int | None = None
    seed: int | None = None

    @property
    def _llm_type(self) -> str:
        return "unsteady"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        endpoint = self.endpoint
        endpoint.in_flight += 1
        try:
            return await self._answer(endpoint, messages)
        finally:
            endpoint.in_flight -= 1

    async def _answer(self, endpoint: Endpoint, messages: list[BaseMessage]) -> ChatResult:
        kind = endpoint.pick()
        await asyncio.sleep(endpoint.random.uniform(0, 0.4))
        match kind:
            case "busy":
                raise Status(429, **{"retry-after": endpoint.random.choice(["0.2", "61"])})
            case "down":
                raise Status(500)
            case "key":
                raise Status(401)
            case "context":
                raise Status(400)
        endpoint.answered += 1
        if kind in ("slow", "hang"):
            await asyncio.sleep(endpoint.random.uniform(1, 9) if kind == "slow" else 10**6)
        prompt = "".join(str(message.content) for message in messages)
        text, limit = endpoint.text(prompt, False), self.max_tokens or 1024
        text, written, reason = shaped(kind, text, limit, endpoint.random)
        told = endpoint.random.choice(USAGES)(len(prompt) // 3, written)
        message = AIMessage(text, response_metadata={"finish_reason": reason})
        if told:
            # As integrations do: what the endpoint says, as it says it.
            message.usage_metadata = {  # type: ignore[assignment]
                "input_tokens": told[0],
                "output_tokens": told[1],
                "total_tokens": told[0] + told[1],
            }
        return ChatResult(generations=[ChatGeneration(message=message)])


def shaped(kind: str, text: str, limit: int, random: Random) -> tuple[str, int, str]:
    """The reply as this kind of endpoint gives it: its text, its true tokens, why it ended."""
    match kind:
        case "empty":
            return "", 0, "stop"
        case "cut":
            return text[: len(text) // 2], limit, "length"
        case "long":  # does not keep the limit it was sent
            longer = text + "\n" + "word " * (2 * limit)
            return longer, len(longer) // 4, "stop"
        case "endless":
            return "<think>" + "hm " * random.randint(1, limit), limit, "length"
    return text, min(max(1, len(text) // 4), limit), "stop"


class SlowExecutor:
    """Programs take simulated seconds, some of them for ever; how many run is counted."""

    tier = "simulated"

    def __init__(self, random: Random) -> None:
        self.random, self.running = random, 0

    async def run(self, job: Job) -> Verdict:
        """A verdict by the program's text."""
        self.running += 1
        try:
            await asyncio.sleep(10**6 if "sleep" in job.code else self.random.uniform(0, 2))
        finally:
            self.running -= 1
        good = any(right in job.code for right in ("2 * x\n", "x + x", "x << 1"))
        results = [TestResult(outcome="passed" if good else "wrong", actual="1") for _ in job.tests]
        return Verdict(results=tuple(results), tier=self.tier)

    async def aclose(self) -> None:
        """Nothing to end."""


async def simulate(seed: int) -> tuple[list[str], str, float]:
    """One search in simulated time: what did not hold, what ended it, and by how much time was passed."""
    random = Random(seed)
    search, budget = case(random, 60.0)
    if budget.seconds is None and not (budget.calls or budget.tokens):
        budget = budget.model_copy(update={"seconds": 300.0})
    endpoints = [Endpoint(Random(random.random()), mood(random)) for _ in range(random.randint(1, 3))]
    agents = [
        ChatAgent(f"a{n}", Model(endpoint=e), AgentConfig(model="m", **settings_of(random)))
        for n, e in enumerate(endpoints)
    ]
    executor, loop = SlowExecutor(random), asyncio.get_running_loop()
    began = loop.time()
    problem = UNTESTED if search.self_tests and random.random() < 0.3 else PROBLEM
    try:
        async with asyncio.timeout(10**7):
            trace = await asolve(problem, agents, executor=executor, search=search, budget=budget)
    except Exception as error:
        if "no public test" in str(error):
            return [], "untested", 0.0
        raise
    seconds = loop.time() - began
    found = wrongs(trace, budget, endpoints, seconds)
    if executor.running:
        found.append("programs are still running")
    return found, trace.solution.stopped_by, seconds - budget.seconds if budget.seconds else 0.0


# --- real time --------------------------------------------------------------------------------------


class Server:
    """An OpenAI-compatible server on loopback, with an endpoint for each path."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.answer(self, outer.endpoints[self.path.split("/")[1]], body)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        Thread(target=self._server.serve_forever, daemon=True).start()

    def url(self, name: str) -> str:
        """The `base_url` of an endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}/v1"

    def answer(self, handler: BaseHTTPRequestHandler, endpoint: Endpoint, body: dict[str, Any]) -> None:
        """Answers one request as the endpoint is in the mood to."""
        with endpoint.lock:
            kind = endpoint.pick()
            status = {"busy": 429, "down": 500, "key": 401, "context": 400}.get(kind, 200)
            endpoint.answered += status == 200
            prompt = "".join(str(message["content"]) for message in body["messages"])
            text, limit = endpoint.text(prompt, "response_format" in body), body.get("max_tokens") or 1024
            text, written, reason = shaped(kind, text, limit, endpoint.random)
            told = endpoint.random.choice(USAGES)(len(prompt) // 3, written)
            delay = {"slow": endpoint.random.uniform(0.3, 2), "hang": 20.0}.get(kind, 0.01)
        time.sleep(delay)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        payload: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
        payload["choices"] = [choice]
        if told:
            counts = {"prompt_tokens": told[0], "completion_tokens": told[1]}
            payload["usage"] = counts | {"total_tokens": told[0] + told[1]}
        data = json.dumps(payload if status == 200 else {"error": {"message": kind}}).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        if kind == "busy":
            handler.send_header("Retry-After", endpoint.random.choice(["0.1", "61"]))
        handler.end_headers()
        handler.wfile.write(data)


async def try_out(seed: int, server: Server, executor: Executor) -> tuple[list[str], str, float]:
    """One search in real time: what did not hold, what ended it, and by how much time was passed."""
    random = Random(seed)
    search, budget = case(random, 4.0)
    if budget.seconds is None:
        budget = budget.model_copy(update={"seconds": random.uniform(1.0, 4.0)})
    endpoints = [Endpoint(Random(random.random()), mood(random)) for _ in range(random.randint(1, 3))]
    agents: list[ChatAgent] = []
    for number, endpoint in enumerate(endpoints):
        server.endpoints[f"{seed}-{number}"] = endpoint
        place = {"model": "m", "base_url": server.url(f"{seed}-{number}"), "api_key": "k"}
        config = AgentConfig.model_validate(place | settings_of(random))
        agents.append(ChatAgent(f"a{number}", chat_model("a", config), config))
    began = time.monotonic()
    trace = await asolve(PROBLEM, agents, executor=executor, search=search, budget=budget)
    seconds = time.monotonic() - began
    found = wrongs(trace, budget, endpoints, seconds)
    # Programs were killed: the only worker is free at once.
    probe = Job(code="x = 1", tests=(CallTest(call="x", expected=("1",)),))
    before = time.monotonic()
    await executor.run(probe)
    if (waited := time.monotonic() - before) > 2 * GRACE:
        found.append(f"the sandbox was still busy for {waited:.1f} s")
    for agent in agents:
        await agent.aclose()
    return found, trace.solution.stopped_by, seconds - (budget.seconds or seconds)


async def try_all(seeds: Sequence[int], tell: Callable[[tuple[list[str], str, float]], None]) -> None:
    """The searches in real time, one after the other."""
    from bdc_agents.config import SandboxConfig

    server, executor = Server(), create_executor(SandboxConfig(workers=1))
    try:
        for seed in seeds:
            tell(await try_out(seed, server, executor))
    finally:
        await executor.aclose()


# --- both -------------------------------------------------------------------------------------------


def report(kind: str, outcomes: Sequence[tuple[list[str], str, float]], seconds: float) -> dict[str, Any]:
    """The figures of one kind."""
    wrong = {number: found for number, (found, *_) in enumerate(outcomes) if found}
    late = sorted(over for _, ended, over in outcomes if ended == "seconds")
    return {
        "kind": kind,
        "searches": len(outcomes),
        "caps passed": sum(map(len, wrong.values())),
        "wrong": {str(number): found for number, found in list(wrong.items())[:20]},
        "stopped by": dict(Counter(ended for _, ended, _ in outcomes).most_common()),
        "most seconds over": round(late[-1], 3) if late else None,
        "median seconds over": round(late[len(late) // 2], 3) if late else None,
        "took seconds": round(seconds, 1),
        "python": platform.python_version(),
    }


def main() -> int:
    """Runs what was asked for; 1 where a cap was passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--simulated", type=int, default=0, help="searches in simulated time")
    parser.add_argument("--real", type=int, default=0, help="searches in real time")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = parser.parse_args()
    reports = json.loads(options.out.read_text()) if options.out.exists() else {}
    seeds = range(options.seed * 10**6, options.seed * 10**6 + 10**6)
    began, outcomes = time.monotonic(), list[tuple[list[str], str, float]]()

    def tell(kind: str, outcome: tuple[list[str], str, float]) -> None:
        outcomes.append(outcome)
        if outcome[0] or not len(outcomes) % 20:
            print(f"{kind} {len(outcomes)}: {outcome[0] or 'caps hold'}", file=sys.stderr, flush=True)
            # Now and then, so that a run that is cut off has its figures, too.
            reports[kind] = report(kind, outcomes, time.monotonic() - began)
            options.out.write_text(json.dumps(reports, indent=1) + "\n")

    for seed in seeds[: options.simulated]:
        tell("simulated", run_simulated(simulate(seed)))
    began, outcomes = time.monotonic(), []
    if options.real:
        asyncio.run(try_all(seeds[: options.real], lambda outcome: tell("real", outcome)))
    print(json.dumps(reports, indent=1))
    return int(any(one["caps passed"] for one in reports.values()))


if __name__ == "__main__":
    sys.exit(main())
