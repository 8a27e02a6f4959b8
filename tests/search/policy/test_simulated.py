"""The simulated world of `benchmarks/allocation.py`, and that its agents know the prompts."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

import pytest

from bdc_agents import prompts
from bdc_agents.agents.protocol import Request
from bdc_agents.sandbox.protocol import job_for
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.types import Program, Thought

BENCHMARKS = str(Path(__file__).parents[3] / "benchmarks")


@pytest.fixture(scope="module")
def imported() -> Iterator[Callable[[str], Any]]:
    sys.path.insert(0, BENCHMARKS)
    yield importlib.import_module
    sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def simulated(imported: Callable[[str], Any]) -> Any:
    return imported("simulated")


@pytest.fixture(scope="module")
def agents(imported: Callable[[str], Any]) -> Any:
    return imported("simulated_agents")


def moves(world: Any, order: Random) -> dict[Any, Any]:
    """What some moves gave, made in an order."""
    one, other = world.setting.agents
    asked = [(kind, agent) for kind in ("answer", "think") for agent in (one, other) for _ in range(6)]
    order.shuffle(asked)
    found: dict[Any, Any] = {}
    for kind, agent in asked:
        place = sum(key[:2] == (kind, agent) for key in found)
        found[kind, agent, place] = getattr(world, kind)(agent)
    return found


@pytest.mark.parametrize("family", ["repair", "small models", "different problems"])
def test_what_comes_of_moves_depends_on_the_seed_and_not_on_their_order(simulated: Any, family: str) -> None:
    setting = simulated.setting_of(family, "dev", 0)
    first, again, other = (simulated.world_of(setting, family, "dev", 0, name) for name in "aab")
    assert moves(first, Random(1)) == moves(again, Random(2))
    assert moves(first, Random(1)) != moves(other, Random(1))


def test_families_are_drawn_by_the_seed(simulated: Any) -> None:
    for family in simulated.FAMILIES:
        assert simulated.setting_of(family, "dev", 1) == simulated.setting_of(family, "dev", 1)
        assert simulated.setting_of(family, "dev", 1) != simulated.setting_of(family, "report", 1)


def test_answers_pass_as_often_as_the_agent_s_mean_says(simulated: Any) -> None:
    for mean, spread in ((0.05, 1.5), (0.3, 3.5), (0.45, 4.5)):
        setting = simulated.Setting({"one": simulated.Traits(answer=mean, spread=spread)})
        answers = [
            simulated.World(setting, Random(seed).getrandbits(63)).answer("one") for seed in range(3000)
        ]
        assert fmean(answer.passes for answer in answers) == pytest.approx(mean, abs=0.05)


def test_a_program_that_needs_two_repairs_shows_no_progress_after_one(simulated: Any) -> None:
    traits = simulated.Traits(answer=0, error=0, part=0, mend=(1, 1, 1), reach=1.0)
    world = simulated.World(simulated.Setting({"one": traits}, two=1.0), 1)
    failed = world.answer("one")
    _, second = world.repair("one", failed)
    assert (failed.outcome, second.outcome) == ("wrong", "wrong")
    assert world.repair("one", second)[1].passes


async def test_agents_know_each_prompt_and_the_executor_the_program(simulated: Any, agents: Any) -> None:
    setting = simulated.setting_of("repair", "dev", 0)
    world = simulated.world_of(setting, "repair", "dev", 0, "1")
    crowd = agents.Crowd([*setting.agents])
    problem = crowd.ask_about("1", world)
    [name, *_] = setting.agents
    failed = next(one for one in (world.answer(name) for _ in range(99)) if one.outcome == "wrong")
    code = agents._code(failed).removeprefix("```python\n").removesuffix("```")
    verdict = await crowd.run(job_for(problem, code, problem.public_tests))
    program = Program(code=code, agent=name, verdict=verdict)
    assert not verdict.passed
    assert program_key(code) == program_key(f"# a comment\n{code}")

    idea = world.think(name)[0]
    path = [Thought(text=agents._worded(idea, 2), agent=name)]
    schema = prompts.thoughts_schema(5)

    def asked(messages: Any, **more: Any) -> tuple[Any, ...]:
        return tuple(agents.asked_for(Request(messages=messages, **more)))

    number, ideas = failed.number, (idea.number,)
    assert asked(prompts.write_program(problem, [])) == ("answer", "1", None, ())
    assert asked(prompts.write_program(problem, path)) == ("write", "1", None, ideas)
    thinking = prompts.propose_thoughts(problem, path, program, 6, 5)
    assert asked(thinking, json_schema=schema) == ("think", "1", number, ideas)
    repair = prompts.repair_program(prompts.write_program(problem, path), program, 6)
    assert asked(repair) == ("repair", "1", number, ideas)


async def test_a_question_which_output_is_right_is_a_call_of_the_world(simulated: Any, agents: Any) -> None:
    setting = simulated.setting_of("repair", "dev", 0)
    world = simulated.world_of(setting, "repair", "dev", 0, "1")
    crowd = agents.Crowd([*setting.agents])
    problem = crowd.ask_about("1", world)
    answers = (world.answer(name) for _ in range(99) for name in setting.agents)
    right = next(one for one in answers if one.passes and not one.behaviour)
    calls, knows = world.calls.total(), 0
    for number in range(60):
        asked = prompts.expect_output(problem, f"f({number})")
        reply = await crowd.agents[0].reply(Request(messages=asked, json_schema=prompts.expected_schema()))
        knows += agents.json.loads(reply.text)["expected"] == agents._elsewhere(right, f"f({number})")
    assert world.calls.total() == calls + 60
    assert 24 <= knows <= 48
