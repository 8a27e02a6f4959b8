import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from bdc_agents.agents.protocol import Request
from bdc_agents.config import SearchConfig
from bdc_agents.errors import AgentError, ConfigError, ModelError, ProblemError
from bdc_agents.search import asolve, create_search_graph, extract_traces, solve
from bdc_agents.search.nodes.nodes import MOVES_AT_ONCE
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import Problem, StdinTest, Trace

from .variants import VARIANTS, config_of, replay

GOLDEN = Path(__file__).parent / "golden"
MakeAgent = Callable[..., ScriptedAgent]
MakeExecutor = Callable[..., ScriptedExecutor]


@pytest.mark.parametrize("name", VARIANTS)
async def test_whole_searches_replay_their_golden_trees(
    name: str, pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=make_executor(), search=config_of(name))
    file = GOLDEN / f"{name}.json"
    if os.environ.get("BDC_UPDATE_GOLDEN"):
        file.write_text(json.dumps(replay(trace), indent=1) + "\n")
    assert file.stat().st_size < 50_000
    assert replay(trace) == json.loads(file.read_text())


@pytest.mark.parametrize("name", VARIANTS)
async def test_the_shape_of_every_tree_holds_together(
    name: str, pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    config = config_of(name, rollouts=12)
    trace = await asolve(problem, pair, executor=make_executor(), search=config)
    nodes = {node.id: node for node in trace.nodes}
    for node in nodes.values():
        assert node.parent is None or node.id in nodes[node.parent].children
        assert all(nodes[child].parent == node.id for child in node.children)
        assert not node.pruned or len(nodes[node.parent or "0"].children) > 1
        assert all(a.program in trace.programs for a in node.attempts if a.program)
        below = sum(nodes[child].returns for child in node.children)
        assert node.visits - 1 >= below
        thoughts = [nodes[child] for child in node.children if not nodes[child].mends]
        texts = [child.thought for child in thoughts if child.refined is None]
        for child in map(nodes.__getitem__, node.children):
            assert not child.mends or child.mends in {attempt.program for attempt in node.attempts}
        assert len({t.text.casefold() for t in texts if t}) == len(texts)
    assert trace.solution.tree.rollouts <= config.rollouts
    assert trace.solution.reward == max(p.reward for p in trace.programs.values())


async def test_the_paper_preset_costs_98_calls_with_two_agents_besides_refinements(
    pair: list[ScriptedAgent], problem: Problem
) -> None:
    search = SearchConfig.preset("paper", refine=False)
    trace = await asolve(problem, pair, executor=ScriptedExecutor(lambda job: 0.25), search=search)
    assert sum(usage.calls for usage in trace.solution.usage.values()) == 98
    assert trace.solution.tree.rollouts == 16
    assert trace.solution.stopped_by == "rollouts"
    programs_asked = [r for agent in pair for r in agent.requests if r.json_schema is None]
    assert len(programs_asked) == 16 * 2 * 2


async def test_an_easy_problem_costs_one_direct_answer_of_each_agent(
    pair: list[ScriptedAgent], problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=ScriptedExecutor(lambda job: 1.0))
    assert trace.solution.solved
    assert trace.solution.stopped_by == "solved"
    assert {name: usage.calls for name, usage in trace.solution.usage.items()} == {"ann": 1, "bob": 1}


async def test_every_agent_writes_programs_whoever_wrote_the_thoughts(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    trace = await asolve(
        problem,
        pair,
        executor=make_executor(),
        search=config_of("default", rollouts=12, bandit=None, resample=0),
    )
    for author in ("", "ann", "bob"):
        assert set(trace.solution.matrix[author]) == {"ann", "bob"}


async def test_the_same_program_runs_once(make_agent: MakeAgent, problem: Problem) -> None:
    variants = iter(["return x+x", "return x + x  # twice", "return  x+x"])

    def respond(_: Request) -> str:
        return f"```python\ndef double(x):\n    {next(variants)}\n```"

    executor = ScriptedExecutor(lambda job: 1.0)
    agents = [make_agent(name, respond) for name in "abc"]
    trace = await asolve(problem, agents, executor=executor)
    public, further = executor.jobs
    assert public.tests == problem.public_tests
    assert not set(further.tests) & set(public.tests)
    assert len(trace.nodes[0].attempts) == 3


@pytest.mark.parametrize(("leaves", "rollouts"), [(1, 8), (4, 8), (None, 40)])
async def test_the_tree_does_not_depend_on_who_answers_first(
    leaves: int | None, rollouts: int, make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    class Slow(ScriptedAgent):
        async def reply(self, request: Request) -> Any:
            await asyncio.sleep(request.seed % 7 / 1000)
            return await super().reply(request)

    config = config_of("default", leaves=leaves, rollouts=rollouts)
    at_once = [make_agent("ann"), make_agent("bob")]
    late = [Slow(agent.name, agent.respond) for agent in at_once]
    runs = [await asolve(problem, team, executor=make_executor(), search=config) for team in (at_once, late)]
    assert replay(runs[0]) == replay(runs[1])


async def test_a_round_makes_several_moves_at_once(
    make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    class Watched(ScriptedAgent):
        busy = most = 0

        async def reply(self, request: Request) -> Any:
            self.busy += 1
            self.most = max(self.most, self.busy)
            await asyncio.sleep(0)
            self.busy -= 1
            return await super().reply(request)

    async def search(**changes: Any) -> tuple[Trace, int]:
        agent = Watched("ann", make_agent("ann").respond)
        config = SearchConfig(**changes)
        return await asolve(problem, [agent], executor=make_executor(), search=config), agent.most

    short, most = await search(rollouts=16)
    assert short.solution.tree.rollouts == 16
    assert most == MOVES_AT_ONCE
    _, most = await search(rollouts=16, leaves=1)
    assert most == 1
    _, most = await search(rollouts=16, leaves=8)
    assert most > MOVES_AT_ONCE


@pytest.mark.parametrize("kind", [AgentError, ModelError])
async def test_an_agent_that_fails_is_set_aside_and_the_others_go_on(
    kind: type[Exception], make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    def fail(_: Request) -> str:
        raise kind(*["bad", "no answer from http://localhost:1"][-1 if kind is ModelError else 0 :])

    events: list[dict[str, Any]] = []
    agents = [make_agent("bad", fail), make_agent("ann")]
    trace = await asolve(
        problem, agents, executor=make_executor(), search=config_of("default"), on_event=events.append
    )
    assert set(trace.solution.set_aside) == {"bad"}
    assert trace.solution.set_aside["bad"].startswith("no answer from http://localhost:1")
    assert trace.solution.stopped_by == "rollouts"
    rounds = 1 if kind is ModelError else 3
    assert trace.solution.usage["bad"].failed == trace.solution.usage["bad"].calls == rounds
    assert [e["agent"] for e in events if e["type"] == "set_aside"] == ["bad"]


async def test_when_all_agents_fail_what_was_computed_is_kept(
    make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    agent = make_agent("ann")

    def tire(request: Request) -> str:
        if len(agent.requests) > 4:
            raise AgentError("ann", "gone")
        return make_agent("ann").respond(request)

    agent.respond = tire
    trace = await asolve(problem, [agent], executor=make_executor())
    assert trace.solution.stopped_by == "agents"
    assert trace.programs
    assert trace.solution.code


@pytest.mark.parametrize("text", ["", "I cannot.", "{]", '{"thoughts": 3}', "```python\nx = (\n```"])
async def test_replies_that_cannot_be_read_are_counted(
    text: str, make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    agents = [make_agent("mute", lambda _: text), make_agent("ann")]
    search = config_of("default", bandit=None)
    trace = await asolve(problem, agents, executor=make_executor(), search=search)
    assert trace.solution.usage["mute"].malformed > 0
    assert all(node.thought is None or node.thought.text for node in trace.nodes)


@pytest.mark.parametrize(("resample", "stopped_by"), [(0.0, "exhausted"), (0.5, "rollouts")])
async def test_a_search_in_which_nobody_says_anything_useful_ends(
    resample: float, stopped_by: str, make_agent: MakeAgent, make_executor: MakeExecutor, problem: Problem
) -> None:
    search, mute = SearchConfig(resample=resample), make_agent("mute", lambda _: "")
    trace = await asolve(problem, [mute], executor=make_executor(), search=search)
    assert trace.solution.stopped_by == stopped_by
    assert trace.solution.code == ""
    assert not trace.solution.solved


async def test_a_problem_without_public_tests_is_refused(pair: list[ScriptedAgent]) -> None:
    with pytest.raises(ProblemError, match="self_tests"):
        await asolve(Problem(id="bare", statement="?"), pair, executor=ScriptedExecutor(lambda job: 1.0))


async def test_agents_may_write_the_tests_where_this_is_wanted(make_agent: MakeAgent) -> None:
    def respond(request: Request) -> str:
        if request.json_schema:
            return '{"tests": [{"stdin": "2", "expected": "4"}, {"stdin": "3"}, "x"]}'
        return "```python\nprint(2 * int(input()))\n```"

    executor = ScriptedExecutor(lambda job: 1.0)
    bare = Problem(id="bare", statement="Double a number.")
    search = SearchConfig(self_tests=True)
    trace = await asolve(bare, [make_agent("ann", respond)], executor=executor, search=search)
    assert trace.problem.public_tests == (StdinTest(stdin="2", expected=("4",)),)
    assert trace.solution.solved


def test_it_runs_without_an_event_loop(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=config_of("default")).compile()
    out = graph.invoke({"problem": problem.model_dump()})
    assert out["solution"] == solve(
        problem, pair, executor=make_executor(), search=config_of("default")
    ).solution.model_dump(mode="json") | {"seconds": out["solution"]["seconds"]}


async def test_a_thread_searches_again_from_a_fresh_tree(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=config_of("default"))
    app = graph.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t"}}
    outs = [await app.ainvoke({"problem": problem.model_dump(mode="json")}, config) for _ in range(2)]
    first, second = ({k: v for k, v in out["solution"].items() if k != "seconds"} for out in outs)
    assert first == second


async def test_context_changes_settings_and_picks_agents(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    app = create_search_graph(pair, executor=make_executor()).compile()
    context: Any = {"search": {"preset": "paper", "rollouts": 2}, "budget": {"calls": 9}, "agents": ["bob"]}
    out = await app.ainvoke({"problem": problem.model_dump()}, context=context)
    assert set(out["solution"]["usage"]) == {"bob"}
    assert out["solution"]["tree"]["rollouts"] <= 2
    for wrong in ({"agents": ["bo"]}, {"search": {"rollout": 2}}, {"search": {"preset": "papre"}}):
        with pytest.raises(ConfigError, match=r"bob|rollouts|paper"):
            await app.ainvoke({"problem": problem.model_dump()}, context=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [None, "text", {"statement": ""}, {"statement": "x", "nonsense": 1}])
async def test_input_that_is_no_problem_is_refused(value: Any, pair: list[ScriptedAgent]) -> None:
    app = create_search_graph(pair, executor=ScriptedExecutor(lambda job: 1.0)).compile()
    with pytest.raises(ProblemError):
        await app.ainvoke({"problem": value})


async def test_a_solved_trace_gives_training_rows(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    search = config_of("default", rollouts=40, seed=2)
    trace = await asolve(problem, pair, executor=make_executor(4), search=search)
    assert trace.solution.solved
    rows = extract_traces(trace)
    kinds = {row.kind for row in rows}
    assert kinds >= {"p2t", "t2s"} or kinds == {"direct"}
    assert all(row.rejected and row.rejected != row.completion for row in rows if row.kind == "dpo")
    several = trace.problem.model_copy(update={"tags": ("any-answer",)})
    kept = extract_traces(trace.model_copy(update={"problem": several}))
    assert kept == tuple(row for row in rows if row.kind != "dpo"), (
        "a failed test does not show what is worse"
    )
    unsolved = await asolve(problem, pair, executor=make_executor(1), search=config_of("default"))
    assert extract_traces(unsolved) == ()


async def test_a_trace_survives_the_way_through_json(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, problem: Problem
) -> None:
    trace = await asolve(problem, pair, executor=make_executor(), search=config_of("leaves"))
    assert Trace.model_validate_json(trace.model_dump_json()) == trace


@pytest.mark.parametrize("state", [{}, {"problem": None}, {"statement": "Double a number."}])
async def test_an_input_without_a_problem_says_how_to_write_one(
    pair: list[ScriptedAgent], make_executor: MakeExecutor, state: dict[str, Any]
) -> None:
    app: Any = create_search_graph(pair, executor=make_executor()).compile()
    with pytest.raises(ProblemError, match=r'the input names no problem; write \{"problem": ...\}'):
        await app.ainvoke(state)
