"""Searches to look at: one in which a repair finds the answer, and a tree of any size."""

import json
from typing import Any

from bdc_agents.agents.protocol import Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.sandbox.protocol import Job
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import (
    Attempt,
    CallRecord,
    CallTest,
    Node,
    Problem,
    Program,
    Solution,
    TestResult,
    Thought,
    Trace,
    TreeStats,
    Usage,
    Verdict,
)

FIRST = """def longest(days):
    best = 0
    run = 0
    for day in days:
        if day > 0:
            run += 1
        best = max(best, run)
    return best
"""
MENDED = FIRST.replace("            run += 1\n", "            run += 1\n        else:\n            run = 0\n")
OTHER = "def longest(days):\n    return len(days)\n"
CALLS = ("longest([1, 2, 0, 3])", "longest([])", "longest([0, 0])", "longest([4, 0, 5, 6, 7])")
RIGHT = ("2", "0", "0", "3")
THOUGHTS = (
    "Walk through the days once and count how many in a row are dry.",
    "Split the list at rainy days and take the longest piece.",
    "Keep two numbers: the run that goes on, and the best run so far.",
)


class Judge:
    """Runs nothing: it knows what each of the programs gives."""

    tier = "scripted"

    async def run(self, job: Job) -> Verdict:
        gives = {
            MENDED.strip(): RIGHT,
            FIRST.strip(): ("3", "0", "0", "4"),
            OTHER.strip(): ("4", "0", "2", "5"),
        }
        known = gives.get(job.code.strip())
        return Verdict(results=tuple(self._result(test, known) for test in job.tests), tier=self.tier)

    def _result(self, test: Any, known: tuple[str, ...] | None) -> TestResult:
        if test.call not in CALLS:
            # On further inputs programs are told apart by what they are.
            return TestResult(outcome="wrong", shown=test.call, actual=str(known))
        if known is None:
            return TestResult(
                outcome="error",
                shown=test.call,
                expected=test.expected[0],
                error="NameError: name 'dry'",
                line=2,
            )
        number = CALLS.index(test.call)
        passed = known[number] == RIGHT[number]
        return TestResult(
            outcome="passed" if passed else "wrong",
            shown=test.call,
            expected=RIGHT[number],
            actual=known[number],
        )

    async def aclose(self) -> None:
        """Nothing to end."""


def _ann(request: Request) -> str:
    if request.json_schema:
        return json.dumps({"thoughts": [{"thought": text, "reasonableness": 0.6} for text in THOUGHTS]})
    return f"```python\n{FIRST}```"


def _bob(request: Request) -> str:
    text = str(request.messages[-1].content)
    if request.json_schema:
        return json.dumps({"thoughts": [{"thought": "Sort the days first.", "reasonableness": 0.2}]})
    if "run += 1" in text:
        return f"The run is never set back to 0 on a rainy day.\n\n```python\n{MENDED}```"
    return f"```python\n{OTHER}```"


def problem() -> Problem:
    tests = tuple(CallTest(call=call, expected=(right,)) for call, right in zip(CALLS, RIGHT, strict=True))
    statement = "Given how much the sun shone each day, return the longest run of days with any sun at all."
    return Problem(
        id="demo:sunny-run", statement=statement, entry_point="longest", public_tests=tests, tags=("lists",)
    )


async def story() -> Trace:
    """A search of two agents: direct answers fail, and a repair of ann's program by bob passes."""
    agents = [ScriptedAgent("ann", _ann, price=0.0004), ScriptedAgent("bob", _bob, price=0.001)]
    search = SearchConfig(rollouts=12, confirm=2)
    return await asolve(problem(), agents, executor=Judge(), search=search, budget=Budget(calls=14))


CODE = """def f(x):
    # {number}
    total = 0
    for step in range(x):
        total += step * {number}
    return total
"""
WIDTH = 4
"""Children of each inner node of a grown tree."""


def grown(size: int, agents: tuple[str, ...] = ("ann", "bob", "cat"), idle: int = 3) -> Trace:
    """A tree of `size` evaluated nodes, each with a program of its own, and as many calls.

    Args:
        idle: Of each node's children, how many more were never evaluated.
    """
    ids, queue = ["0"], ["0"]
    while len(ids) < size:
        parent = queue.pop(0)
        for number in range(min(WIDTH, size - len(ids))):
            ids.append(f"{parent}.{number}")
            queue.append(ids[-1])
    kids: dict[str, list[str]] = {node_id: [] for node_id in ids}
    for node_id in ids[1:]:
        kids[node_id.rpartition(".")[0]].append(node_id)
    nodes, programs, calls = [], {}, []
    for number, node_id in enumerate(ids):
        agent = agents[number % len(agents)]
        passed = 4 if number == size - 1 else number * 7919 % 4
        results = tuple(
            TestResult(
                outcome="passed" if place < passed else "wrong",
                shown=f"f({place})",
                expected=str(place),
                actual="-1",
            )
            for place in range(4)
        )
        code = CODE.format(number=number)
        programs[f"p{number}"] = Program(
            code=code, agent=agent, verdict=Verdict(results=results, tier="scripted")
        )
        rest = [f"{node_id}.{len(kids[node_id]) + place}" for place in range(idle if kids[node_id] else 0)]
        nodes.append(
            Node(
                id=node_id,
                parent=node_id.rpartition(".")[0] or None,
                children=(*kids[node_id], *rest),
                thought=Thought(
                    text=f"Thought {number}: look at the sums of neighbours before step {number % 17}.",
                    agent=agent,
                    prior=0.5,
                )
                if number
                else None,
                value=passed / 4,
                written=1,
                evaluations=1,
                returns=1,
                best_return=passed / 4,
                attempts=(
                    Attempt(
                        program=f"p{number}", agent=agent, author=agent if number else "", reward=passed / 4
                    ),
                ),
                pruned=number % 23 == 22,
            )
        )
        nodes += [
            Node(id=one, parent=node_id, thought=Thought(text=f"Left alone, {one}.", agent=agent, prior=0.1))
            for one in rest
        ]
        calls.append(
            CallRecord(
                order=number,
                agent=agent,
                purpose="boost",
                node=node_id,
                prompt="0",
                seed=1,
                prompt_tokens=90,
                completion_tokens=40,
            )
        )
    nodes.sort(key=lambda node: [int(step) for step in node.id.split(".")])
    last = ids[-1]
    usage = {
        agent: Usage(calls=size // len(agents), prompt_tokens=90, completion_tokens=40, cost=0.01)
        for agent in agents
    }
    solution = Solution(
        problem_id="grown",
        solved=True,
        code=programs[f"p{size - 1}"].code,
        reward=1.0,
        agent=agents[(size - 1) % len(agents)],
        node=last,
        verdict=programs[f"p{size - 1}"].verdict,
        confirmed=True,
        stopped_by="solved",
        usage=usage,
        tree=TreeStats(
            nodes=len(nodes), evaluated=size, pruned=0, refined=0, depth=6, programs=size, rollouts=size
        ),
        tier="scripted",
        seconds=12.0,
    )
    return Trace(
        problem=problem().model_copy(update={"id": "grown"}),
        solution=solution,
        nodes=tuple(nodes),
        programs=programs,
        calls=tuple(calls),
    )
