from collections.abc import Callable

import pytest

from bdc_agents.config import Budget, SearchConfig
from bdc_agents.errors import AgentError, ConfigError
from bdc_agents.evaluate.config import EvalConfig
from bdc_agents.evaluate.setup import agent_names, specs, with_endpoints
from bdc_agents.evaluate.solvers.protocol import Answer, Solver
from bdc_agents.evaluate.solvers.registry import (
    Spec,
    Tools,
    create_solver,
    register_solver,
    solver_kinds,
)
from bdc_agents.evaluate.solvers.search import search_config
from bdc_agents.testing import ScriptedAgent
from bdc_agents.types import Problem, Task

Agent = Callable[..., ScriptedAgent]
Make = Callable[..., Tools]


def solver(text: str, tools: Tools) -> Solver:
    return create_solver(Spec.parse(text), tools)


def fails(reason: str) -> Callable[..., str]:
    def respond(_: object) -> str:
        raise AgentError("ann", reason)

    return respond


# --- names -----------------------------------------------------------------------------------


def test_a_name_is_kind_argument_and_options() -> None:
    spec = Spec.parse("best-of:8, agents=a+b ,temperature=0.5")
    assert (spec.kind, spec.argument, spec.text) == ("best-of", "8", "best-of:8,agents=a+b,temperature=0.5")
    assert spec.agents() == ("a", "b")
    assert spec.number("temperature", 1.0, float) == 0.5
    assert Spec.parse("single:local:qwen2.5-coder-0.5b").agents() == ("local:qwen2.5-coder-0.5b",)
    assert Spec.parse("search").agents() == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("serch", "did you mean search"),
        ("best-of", "the number of programs must be a number such as 8"),
        ("best-of:many", "must be a number such as 8, not 'many'"),
        ("best-of:0", "at least 1"),
        ("repair:-2", "at least 1"),
        ("single:ann,temprature=0", "did you mean temperature"),
        ("single:ann,temperature=hot", "must be a number such as 0.7, not 'hot'"),
        ("single:ann,greedy", "write key=value"),
        ("search:papre", "did you mean paper"),
        ("search,rolouts=3", "did you mean rollouts"),
        ("search,rollouts=0", "rollouts"),
        ("search,seed=3", "unknown option 'seed'"),
        ("single", "say which: single:ann or single:bob"),
    ],
)
def test_a_name_that_cannot_be_used_says_what_would_be_right(
    text: str, message: str, make_agent: Agent, make_tools: Make, right: str
) -> None:
    tools = make_tools(make_agent(right), make_agent(right, name="bob"))
    with pytest.raises(ConfigError, match=message):
        solver(text, tools)


def test_search_settings_come_from_preset_or_configuration_with_changes() -> None:
    base = SearchConfig(rollouts=3)
    assert search_config(Spec.parse("search"), base, None) == base
    paper = search_config(Spec.parse("search:paper,rollouts=5,max_depth=4"), base, None)
    assert paper == SearchConfig.preset("paper", rollouts=5, max_depth=4)
    assert search_config(Spec.parse("search,max_depth=none"), base, 0.2).max_depth is None
    assert search_config(Spec.parse("search"), base, 0.2).temperature == 0.2
    assert search_config(Spec.parse("search,temperature=0.9"), base, 0.2).temperature == 0.9


def test_only_agents_that_take_part_are_loaded() -> None:
    named = specs(EvalConfig(solvers=("single:c", "best-of:2,agents=a+b")))
    assert agent_names(named, ["x", "y"]) == ["c", "a", "b"]
    assert agent_names([*named, Spec.parse("search")], ["x", "a"]) == ["x", "a", "c", "b"]
    with pytest.raises(ConfigError, match="no solver"):
        specs(EvalConfig())


def test_any_openai_compatible_url_is_an_agent() -> None:
    from bdc_agents.config import Settings

    name = "qwen@http://localhost:8000/v1"
    made = with_endpoints(Settings(), [name, "local:x"]).agents
    assert {key: (agent.model, agent.base_url) for key, agent in made.items()} == {
        name: ("qwen", "http://localhost:8000/v1")
    }


def test_a_kind_can_be_added_by_name(make_agent: Agent, make_tools: Make, right: str) -> None:
    class Fixed:
        repeats = True

        def __init__(self, name: str) -> None:
            self.name = name

        async def solve(self, problem: Problem, seed: int) -> Answer:
            raise NotImplementedError

    register_solver("library", lambda spec, _: Fixed(spec.text), "library:FOLDER")
    made = solver("library:experts", make_tools(make_agent(right)))
    assert isinstance(made, Solver)
    assert made.name == "library:experts"
    assert solver_kinds()["library"] == "library:FOLDER"


# --- one agent, best-of-N --------------------------------------------------------------------


async def test_a_single_agent_writes_one_program(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str
) -> None:
    agent = make_agent(right)
    answer = await solver("single:ann,temperature=0", make_tools(agent)).solve(make_task().problem, 1)
    solution = answer.trace.solution
    assert solution.solved
    assert solution.usage["ann"].calls == 1
    assert [request.temperature for request in agent.requests] == [0.0]
    assert [c.after.calls for c in answer.candidates] == [1]
    assert answer.trace.programs[answer.candidates[-1].program].code == solution.code


async def test_greedy_samples_repeat_and_others_do_not(
    make_agent: Agent, make_tools: Make, right: str
) -> None:
    tools = make_tools(make_agent(right))
    assert solver("single:ann,temperature=0", tools).repeats
    assert not solver("single:ann", tools).repeats
    assert not solver("best-of:2,temperature=0", tools).repeats  # Seeds may still differ at an endpoint.
    assert not solver("search", tools).repeats


async def test_samples_ask_with_seeds_of_their_own(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str
) -> None:
    agent = make_agent(right)
    one = solver("best-of:3", make_tools(agent))
    await one.solve(make_task().problem, 1)
    await one.solve(make_task().problem, 2)
    assert len({request.seed for request in agent.requests}) == 6


async def test_best_of_takes_turns_and_chooses_by_the_public_tests(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str, wrong: str
) -> None:
    ann, bob = make_agent(wrong), make_agent(right, name="bob")
    answer = await solver("best-of:5", make_tools(ann, bob)).solve(make_task().problem, 1)
    assert (len(ann.requests), len(bob.requests)) == (3, 2)
    assert answer.trace.solution.agent == "bob"
    assert [c.after.calls for c in answer.candidates] == [1, 2]
    assert answer.trace.solution.usage["ann"].calls == 3


async def test_among_equals_the_most_frequent_program_is_chosen(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], wrong: str
) -> None:
    other = "```python\ndef double(x):\n    return x + 0\n```"
    agent = make_agent(other, wrong, wrong)
    answer = await solver("best-of:3", make_tools(agent)).solve(make_task(public=0).problem, 1)
    assert "return x\n" in answer.trace.solution.code + "\n"
    assert answer.trace.programs[answer.candidates[-1].program].code == answer.trace.solution.code


async def test_a_reply_without_a_program_is_counted_and_leaves_no_answer(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task]
) -> None:
    answer = await solver("single:ann", make_tools(make_agent("I cannot."))).solve(make_task().problem, 1)
    solution = answer.trace.solution
    assert (solution.code, solution.solved, solution.stopped_by) == ("", False, "rollouts")
    assert solution.usage["ann"].malformed == 1
    assert answer.candidates == ()


@pytest.mark.parametrize("text", ["best-of:9", "repair:8"])
@pytest.mark.parametrize("caps", [{"calls": 3}, {"tokens": 4000}])
async def test_budgets_are_never_passed(
    text: str,
    caps: dict[str, int],
    make_agent: Agent,
    make_tools: Make,
    make_task: Callable[..., Task],
    wrong: str,
) -> None:
    agent = make_agent(wrong)
    answer = await solver(text, make_tools(agent, budget=Budget(**caps))).solve(make_task().problem, 1)
    used = answer.trace.solution.usage["ann"]
    assert 1 <= used.calls == len(agent.requests) <= caps.get("calls", 9)
    assert used.tokens <= caps.get("tokens", 10**6)
    assert answer.trace.solution.stopped_by in caps


@pytest.mark.parametrize("text", ["single:ann", "best-of:2", "repair:2", "search"])
async def test_a_cap_on_money_needs_prices(
    text: str, make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str
) -> None:
    agent = make_agent(right, price=None)
    with pytest.raises(ConfigError, match="price of every agent"):
        await solver(text, make_tools(agent, budget=Budget(money=1.0))).solve(make_task().problem, 1)
    assert agent.requests == []


async def test_an_agent_that_does_not_answer_leaves_no_row_to_count(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task]
) -> None:
    for text in ("single:ann", "best-of:2", "repair:2", "search"):
        agent = make_agent(fails("no such key"))
        answer = await solver(text, make_tools(agent)).solve(make_task().problem, 1)
        assert answer.trace.solution.stopped_by == "agents", text
        assert "no such key" in answer.trace.solution.set_aside["ann"]


# --- repair ----------------------------------------------------------------------------------


async def test_repair_shows_what_failed_and_stops_when_nothing_does(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str, wrong: str
) -> None:
    agent = make_agent(wrong, wrong, right)
    answer = await solver("repair:4", make_tools(agent)).solve(make_task().problem, 1)
    assert len(agent.requests) == 3
    last = [str(message.content) for message in agent.requests[-1].messages]
    assert "return x" in last[2]
    assert "double(1)" in last[3]
    assert "expected: 2" in last[3]
    assert "got: 1" in last[3]
    assert answer.trace.solution.solved
    assert [c.after.calls for c in answer.candidates] == [1, 3]


async def test_repair_ends_after_its_rounds_and_without_public_tests_at_once(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], wrong: str
) -> None:
    agent = make_agent(wrong)
    await solver("repair:2", make_tools(agent)).solve(make_task().problem, 1)
    assert len(agent.requests) == 3
    await solver("repair:2", make_tools(agent)).solve(make_task(public=0).problem, 1)
    assert len(agent.requests) == 4


async def test_repair_never_hands_over_a_worse_program_than_it_had(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task]
) -> None:
    half = "```python\ndef double(x):\n    return 2\n```"
    none = "```python\ndef double(x):\n    return None\n```"
    answer = await solver("repair:1", make_tools(make_agent(half, none))).solve(make_task().problem, 1)
    assert answer.trace.solution.reward == 0.5


# --- the search ------------------------------------------------------------------------------


async def test_the_course_of_a_search_ends_with_its_solution(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str, wrong: str
) -> None:
    def respond(request: object) -> str:
        if getattr(request, "json_schema", None):
            return '{"thoughts": [{"thought": "twice it is", "reasonableness": 0.9}]}'
        written.append(1)
        return wrong if len(written) < 3 else right

    written: list[int] = []
    agent = make_agent(respond)
    answer = await solver("search,rollouts=6,refine=false,confirm=1,leaves=1", make_tools(agent)).solve(
        make_task().problem, 1
    )
    assert answer.trace.solution.solved
    codes = [answer.trace.programs[c.program].code for c in answer.candidates]
    assert codes[-1] == answer.trace.solution.code
    assert [c.after.calls for c in answer.candidates] == sorted(c.after.calls for c in answer.candidates)
    assert answer.candidates[-1].after.calls == len(agent.requests)


async def test_a_search_leaves_a_problem_without_public_tests_alone(
    make_agent: Agent, make_tools: Make, make_task: Callable[..., Task], right: str
) -> None:
    agent = make_agent(right)
    answer = await solver("search", make_tools(agent)).solve(make_task(public=0).problem, 1)
    assert agent.requests == []
    assert answer.trace.solution.code == ""
    assert answer.candidates == ()


@pytest.mark.parametrize("text", ["single:ann", "best-of:2", "repair:2", "search"])
async def test_a_function_under_another_name_counts_alike_for_every_solver(
    text: str, make_agent: Agent, make_task: Callable[..., Task], make_tools: Make
) -> None:
    agent = make_agent("```python\ndef twice(x):\n    return 2 * x\n```")
    tools, problem = make_tools(agent), make_task().problem
    answer = await solver(text, tools).solve(problem, seed=1)
    assert answer.trace.solution.solved
    assert "double = twice" in answer.trace.solution.code, "what is handed over is what was judged"
    assert {found.program for found in answer.candidates} <= set(answer.trace.programs)
