"""The simulated world behind the real interfaces: agents and an executor for the search graph itself.

A program carries its number as a value that it returns, which survives when code is normalised, and so do
the facts of its failing tests. So an agent sees in a prompt what it was asked to mend, and a thought carries
the number of its idea. Nothing waits: a search takes as long as the graph's own work.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from zlib import crc32

from simulated import Idea, Program, World

from bdc_agents.agents.protocol import Request
from bdc_agents.sandbox.protocol import Job
from bdc_agents.search.choice.inputs import UNMATCHED
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import CallTest, Problem, TestCase, TestResult, Verdict

Kind = Literal["answer", "think", "write", "repair", "rethink"]


class Asked(NamedTuple):
    """What a prompt asks for.

    Args:
        problem: Its id.
        program: Number of the program whose code or facts are shown; None without one.
        ideas: Numbers of the ideas of the path, first one first.
    """

    kind: Kind
    problem: str
    program: int | None
    ideas: tuple[int, ...]


def asked_for(request: Request) -> Asked:
    """The move that a request is: the one place that knows the prompts."""
    text = "\n".join(str(message.content) for message in request.messages)
    text = re.sub(r"^- tried: .*$", "", text, flags=re.MULTILINE)  # ideas that are not on the path
    code, facts = re.findall(r"return 'program (\d+)'", text), re.findall(r"program (\d+)", text)
    ideas = tuple(dict.fromkeys(int(number) for number in re.findall(r"[Ii]dea (\d+)", text)))
    kind: Kind = "answer"
    if request.json_schema is not None:
        kind = "think"
    elif code or facts:
        kind = "repair" if code else "rethink"
    elif ideas:
        kind = "write"
    found = re.search(r"problem <([^>]+)>", text)
    assert found, text
    shown = (code or facts)[-1:]
    return Asked(kind, found[1], int(shown[0]) if shown else None, ideas)


class Crowd:
    """The agents of a setting and an executor, for the problems that are added one after the other.

    Args:
        names: Of the agents.
    """

    tier = "simulated"

    def __init__(self, names: Sequence[str]) -> None:
        self.world: World | None = None
        self.agents = [ScriptedAgent(name, lambda r, name=name: self._reply(name, r)) for name in names]

    def ask_about(self, name: str, world: World) -> Problem:
        """The problem that stands for a world, about which the agents are asked from now on."""
        self.world = world
        for agent in self.agents:
            agent.requests.clear()
        tests = tuple(CallTest(call=f"f({7 * n})", expected=(str(n),)) for n in range(world.setting.tests))
        return Problem(
            id=name, statement=f"Write f(x), problem <{name}>.", entry_point="f", public_tests=tests
        )

    def handed_over(self, code: str) -> Program | None:
        """The program of some code; None if there is none."""
        found = re.search(r"program (\d+)", code)
        return self._world.programs[int(found[1])] if found else None

    @property
    def _world(self) -> World:
        assert self.world
        return self.world

    def _reply(self, agent: str, request: Request) -> str:
        if request.json_schema and "expected" in request.json_schema["properties"]:
            self._world.calls["split"] += 1
            return _expected(agent, str(request.messages[-1].content))
        world, asked = self._world, asked_for(request)
        path = [world.ideas[number] for number in asked.ideas]
        failed = None if asked.program is None else world.programs[asked.program]
        match asked.kind:
            case "answer":
                return _code(world.answer(agent))
            case "write":
                return _code(world.write(agent, path))
            case "think":
                assert request.json_schema
                return _thoughts(world.think(agent, path), request.json_schema)
            case _ if failed:
                idea, made = getattr(world, asked.kind)(agent, failed)
                return f"{_worded(idea, 0)}\n\n{_code(made)}"
        raise AssertionError(asked)

    async def run(self, job: Job) -> Verdict:
        """The verdict that the world knows."""
        program = self.handed_over(job.code)
        results = [_result(program, number, test, len(job.tests)) for number, test in enumerate(job.tests)]
        return Verdict(results=tuple(results), tier=self.tier)

    async def aclose(self) -> None:
        """Nothing to end."""


def _expected(agent: str, text: str) -> str:
    """An agent's word on what a right program gives for the call at the end of a question: right in 60 %."""
    call = re.findall(r"^f\(.*\)$", text, re.MULTILINE)[-1]
    value = crc32(call.encode()) % 1000
    knows = crc32(f"{agent} {call}".encode()) % 10 < 6
    return json.dumps({"steps": "", "expected": str(value if knows else value + 1)})


def _code(program: Program) -> str:
    return f"```python\ndef f(x):\n    return 'program {program.number}'\n```"


def _worded(idea: Idea, wording: int) -> str:
    return f"Idea {idea.number}, in wording number {wording} of it."


def _thoughts(ideas: Sequence[Idea], schema: Any) -> str:
    """The ideas as the schema wants them, each in a wording of its own."""
    properties = schema["properties"]
    if "thoughts" not in properties:  # a judge's score, or tests
        return json.dumps({"score": 0.5})
    wanted = ideas[: properties["thoughts"].get("maxItems", len(ideas))]
    thoughts = [
        {"thought": _worded(idea, wording), "reasonableness": idea.rating}
        for wording, idea in enumerate(wanted)
    ]
    return json.dumps({"thoughts": thoughts})


def _result(program: Program | None, number: int, test: TestCase, tests: int) -> TestResult:
    """A test's result; on a further input, what programs of this behaviour give."""
    assert isinstance(test, CallTest)
    if program is None:
        return TestResult(outcome="error", shown=test.call, error="NameError: f")
    if test.expected == (UNMATCHED,):
        return TestResult(outcome="wrong", shown=test.call, actual=_elsewhere(program, test.call))
    if number < round(program.reward * tests):
        return TestResult(outcome="passed", shown=test.call)
    if program.outcome == "error":
        return TestResult(
            outcome="error", shown=test.call, error=f"ValueError: program {program.number}", line=2
        )
    actual = f"'program {program.number}'"
    return TestResult(outcome="wrong", shown=test.call, expected=test.expected[0], actual=actual)


def _elsewhere(program: Program, call: str) -> str:
    """What a program gives on a further input.

    Wrong behaviours differ from the right one on 40 % of inputs. A fifth of programs have their own way with
    a tenth of inputs, which the problem excludes: two right programs agree on all of them in some two thirds
    of pairs.
    """
    value = crc32(call.encode())
    if program.behaviour and crc32(f"{program.behaviour} {call}".encode()) % 10 < 4:
        return str(value % 1000 + program.behaviour)
    odd = program.number % 5 == 0 and value % 10 == 0
    return str(value % 1000 - 1) if odd else str(value % 1000)
