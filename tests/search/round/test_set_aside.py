"""One bad request does not end an agent; a refused key, or failing again and again, does."""

from collections.abc import Callable
from typing import Any

import pytest

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError, ModelError
from bdc_agents.search import asolve
from bdc_agents.search.nodes.notes import notes
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.search.round.set_aside import FAILURES_IN_A_ROW, failing, set_aside, silence
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, Solution, TreeStats, Usage

from ..conftest import answer as sound

MakeExecutor = Callable[..., ScriptedExecutor]


def answered(agent: str, error: str = "", reply: bool = False, lasting: bool = False) -> Answer:
    call = Call(agent=agent, purpose="boost", node="0", request=Request(messages=()))
    text = Reply(text="x", usage=Usage(calls=1)) if reply else None
    return Answer(call=call, reply=text, error=error, lasting=lasting)


def test_failures_count_by_rounds_and_a_reply_starts_over() -> None:
    row: dict[str, Any] = {}
    for rounds in (1, 2):
        row |= failing([answered("ann", "busy"), answered("ann", "down")], row)
        assert row == {"ann": {"rounds": rounds, "reason": "down"}}
        assert set_aside([], row) == {}
    row |= failing([answered("ann", "busy"), answered("ann", reply=True)], row)
    assert row == {"ann": {"rounds": 0, "reason": "busy"}}
    for _ in range(FAILURES_IN_A_ROW):
        row |= failing([answered("ann", "busy")], row)
    assert set_aside([], row) == {"ann": "busy (3 times in a row)"}


def test_what_the_search_had_no_time_for_is_nobodys_failure() -> None:
    assert failing([answered("ann")], {"ann": {"rounds": 2, "reason": "busy"}}) == {}


def test_a_lasting_failure_sets_an_agent_aside_at_once() -> None:
    answers = [answered("ann", "no key", lasting=True)]
    assert set_aside(answers, failing(answers, {})) == {"ann": "no key"}


class Failing(ScriptedAgent):
    """Fails at those of its requests, counted from 1, that a function names."""

    def __init__(self, name: str, fails: Callable[[int, Request], bool], **lasting: Any) -> None:
        super().__init__(name, lambda request: sound(name, request))
        self.fails, self.lasting = fails, lasting

    async def reply(self, request: Request) -> Reply:
        reply = await super().reply(request)
        if self.fails(len(self.requests), request):
            raise AgentError(self.name, "too long a prompt", Usage(calls=1, failed=1), **self.lasting)
        return reply


async def test_one_failed_request_ends_nobody(make_executor: MakeExecutor, problem: Problem) -> None:
    agent = Failing("ann", lambda number, _: number == 1)
    trace = await asolve(problem, [agent], executor=make_executor(), search=SearchConfig(rollouts=4))
    assert trace.solution.stopped_by == "rollouts"
    assert trace.solution.set_aside == {}
    assert trace.programs
    assert trace.solution.notes == ("ann: 1 request failed, the last one: too long a prompt",)


async def test_every_second_failure_ends_nobody(make_executor: MakeExecutor, problem: Problem) -> None:
    agent = Failing("ann", lambda number, _: bool(number % 2))
    trace = await asolve(problem, [agent], executor=make_executor(), budget=Budget(calls=60))
    assert trace.solution.stopped_by == "calls"
    assert trace.solution.usage["ann"].calls == 60


async def test_an_only_agent_that_always_fails_ends_the_search(
    make_executor: MakeExecutor, problem: Problem
) -> None:
    agent = Failing("ann", lambda *_: True)
    trace = await asolve(problem, [agent], executor=make_executor())
    assert trace.solution.stopped_by == "agents"
    assert trace.solution.set_aside == {"ann": "too long a prompt (3 times in a row)"}
    assert trace.solution.usage["ann"].calls == FAILURES_IN_A_ROW


async def test_a_refused_key_ends_an_agent_at_once(make_executor: MakeExecutor, problem: Problem) -> None:
    agents = [Failing("ann", lambda *_: True, lasting=True), Failing("bob", lambda *_: False)]
    trace = await asolve(problem, agents, executor=make_executor(), search=SearchConfig(rollouts=6))
    assert len(agents[0].requests) == 1
    assert set(trace.solution.set_aside) == {"ann"}
    assert trace.solution.stopped_by == "rollouts"


async def test_weights_that_cannot_be_had_end_an_agent_at_once(
    make_executor: MakeExecutor, problem: Problem
) -> None:
    class Missing(ScriptedAgent):
        async def reply(self, request: Request) -> Reply:
            raise ModelError("no weights")

    trace = await asolve(problem, [Missing("ann", str)], executor=make_executor())
    assert trace.solution.set_aside == {"ann": "no weights"}


@pytest.mark.parametrize("leaves", [1, 4])
async def test_a_prompt_that_no_agent_answers_does_not_hold_the_search_for_ever(
    leaves: int, make_executor: MakeExecutor, problem: Problem
) -> None:
    """The direct answer always fails; thoughts and their programs do not, so nobody is set aside."""

    def direct(_: int, request: Request) -> bool:
        return request.json_schema is None and "plan" not in str(request.messages)

    agents = [Failing(name, direct) for name in ("ann", "bob")]
    trace = await asolve(
        problem, agents, executor=make_executor(), search=SearchConfig(rollouts=12, leaves=leaves)
    )
    assert trace.solution.stopped_by == "rollouts"
    assert trace.solution.set_aside == {}
    assert trace.nodes[0].value == 0
    assert any(node.attempts for node in trace.nodes)


@pytest.mark.parametrize(("failed", "words"), [(1, "1 request was"), (2, "2 requests were")])
def test_requests_that_were_answered_in_the_end_are_no_failures(
    problem: Problem, failed: int, words: str
) -> None:
    state: Any = {
        "problem": problem.model_dump(mode="json"),
        "usage": {"ann": {"calls": 3, "failed": failed}},
    }
    assert notes(state, {}, None) == (f"ann: {words} made again, and answered",)
    state |= {"failing": {"ann": {"rounds": 1, "reason": "busy"}}}
    (told,) = notes(state, {}, None)
    assert told.endswith(" failed, the last one: busy")


def test_who_was_never_asked_is_not_silent() -> None:
    def told(**fields: Any) -> tuple[str, ...]:
        solution = Solution.model_validate(
            {
                "problem_id": "p",
                "solved": False,
                "code": "",
                "reward": 0.0,
                "stopped_by": "calls",
                "notes": ("a note",),
                "tree": dict.fromkeys(TreeStats.model_fields, 0),
            }
            | fields
        )
        return silence(solution)

    failed, heard = Usage(calls=1, failed=1, completion_tokens=3), Usage(calls=1, failed=1, malformed=1)
    grown = dict.fromkeys(TreeStats.model_fields, 0)
    assert told() == ()
    assert told(usage={"ann": failed, "bob": failed}) == ("a note",)
    assert told(usage={"ann": failed, "bob": heard}) == told(usage={"ann": Usage(calls=1)}) == ()
    assert told(usage={"ann": failed}, tree=grown | {"programs": 1}) == ()
    assert told(usage={"ann": failed}, tree=grown | {"nodes": 2}) == ()
    aside = {"set_aside": {"ann": "no key"}}
    assert told(usage={"ann": failed}, **aside) == ("ann: no key", "a note")
    assert told(stopped_by="agents", **aside) == ("ann: no key",)
