"""The experiment with real models: replies that arms share, its store, its rows, and what its report says."""

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from rich.console import Console
from rich.table import Table

from bdc_agents import prompts
from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import SearchConfig
from bdc_agents.errors import AgentError
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import (
    CallTest,
    HiddenTests,
    Problem,
    Program,
    Task,
    TestResult,
    Thought,
    Usage,
    Verdict,
)

BENCHMARKS = str(Path(__file__).parents[2] / "benchmarks")
PARTS = ("boost", "boost_arms", "boost_report", "boost_rows", "decks", "reply_parts")

DOUBLE = Problem(
    id="set:double",
    statement="Double a number.",
    entry_point="double",
    public_tests=(CallTest(call="double(2)", expected=("4",)),),
)
TASK = Task(problem=DOUBLE, hidden=HiddenTests([CallTest(call="double(3)", expected=("6",))]))
RIGHT, SQUARE, WRONG = (f"def double(x):\n    return {body}" for body in ("2 * x", "x * x", "None"))


@pytest.fixture(scope="module")
def boost() -> Iterator[Any]:
    sys.path.insert(0, BENCHMARKS)
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in PARTS})
    sys.path.remove(BENCHMARKS)


def reply(text: str, **usage: Any) -> Reply:
    return Reply(text=text, usage=Usage(calls=1, prompt_tokens=9, completion_tokens=3, **usage))


# --- decks ------------------------------------------------------------------------------------


def asked(boost: Any, agent: ScriptedAgent, *seeds: int, kind: str = "Deck") -> Any:
    return getattr(boost.decks, kind)(agent, 5), [
        Request(messages=prompts.write_program(DOUBLE, ()), seed=seed) for seed in seeds
    ]


async def test_solvers_with_other_seeds_draw_the_same_replies(boost: Any) -> None:
    agent = ScriptedAgent("a", lambda request: str(request.seed))
    drawn = list[list[str]]()
    for seeds in ((1, 2, 3), (70, 8, 9)):
        deck, requests = asked(boost, agent, *seeds)
        drawn.append([(await deck.reply(request)).text for request in requests])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 3


async def test_a_reply_that_was_cut_off_is_the_same_draw_with_more_room(boost: Any) -> None:
    agent = ScriptedAgent("a", lambda request: str(request.seed))
    deck, (request,) = asked(boost, agent, 4)
    first = await deck.reply(request)
    again = await deck.reply(request.model_copy(update={"max_tokens": 4096}))
    assert first.text == again.text
    assert [one.max_tokens for one in agent.requests] == [None, 4096]


async def test_each_prompt_has_draws_of_its_own(boost: Any) -> None:
    agent = ScriptedAgent("a", lambda request: str(request.seed))
    deck, (request,) = asked(boost, agent, 4)
    other = request.model_copy(
        update={"messages": prompts.write_program(DOUBLE, [Thought(text="Add.", agent="small")]), "seed": 6}
    )
    assert (await deck.reply(request)).text == (await deck.reply(other)).text


def failed() -> Program:
    results = (
        TestResult(outcome="wrong", shown="double(2)", expected="4", actual="'ODD'\n\n'NEXT'"),
        TestResult(outcome="error", shown="double(3)", expected="6", error="ZeroDivisionError", line=7),
    )
    return Program(
        code="def double(x):\n    return KEPT", agent="small", verdict=Verdict(results=results, tier="none")
    )


def showing() -> list[Sequence[BaseMessage]]:
    """Every prompt that shows what failed tests gave."""
    program, thoughts = failed(), [Thought(text="Add.", agent="small")]
    first = prompts.write_program(DOUBLE, ())
    return [
        prompts.repair_program(first, program, 6),
        prompts.mend_program(DOUBLE, thoughts, program, 6, code=True),
        prompts.mend_program(DOUBLE, thoughts, program, 6, code=False),
        prompts.propose_thoughts(DOUBLE, thoughts, program, 6, 3),
        prompts.refine_thought(DOUBLE, thoughts, program, 6),
    ]


@pytest.mark.parametrize("number", range(5))
async def test_without_facts_an_agent_reads_the_rest_of_each_prompt(boost: Any, number: int) -> None:
    messages = showing()[number]
    told = "".join(str(message.content) for message in messages)
    agent = ScriptedAgent("a", lambda _: "")
    await boost.decks.Blind(agent).reply(Request(messages=tuple(messages)))
    read = "".join(str(message.content) for message in agent.requests[0].messages)
    for fact in ("ODD", "NEXT", "ZeroDivisionError", "(line 7)", "expected: 4"):
        assert fact in told
        assert fact not in read
    assert ("KEPT" in read) == ("KEPT" in told)
    assert "fails its tests." in read
    assert str(messages[-1].content).rpartition("\n\n")[2] in read
    assert "double(2) == 4" in read


# --- the store of replies ---------------------------------------------------------------------


async def test_packed_replies_come_back_whole(boost: Any, tmp_path: Path) -> None:
    cache, replies = ReplyCache(tmp_path / "one"), tmp_path / "replies"
    kept = {"k1": reply("naïve\n\0 text", seconds=1.26), "k2": Reply(text="", usage=Usage(), truncated=True)}
    for key, one in kept.items():
        await cache.put(key, one)
    assert boost.reply_parts.pack(cache, replies)
    other = ReplyCache(tmp_path / "two")
    assert await boost.reply_parts.unpack(replies, other) == 2
    for key, one in kept.items():
        found = await other.get(key)
        assert found is not None
        assert (found.text, found.truncated) == (one.text, one.truncated)
        assert found.usage.cached == one.usage.calls
        assert found.usage.completion_tokens == one.usage.completion_tokens


async def test_a_part_has_only_what_earlier_parts_have_not(boost: Any, tmp_path: Path) -> None:
    cache, replies = ReplyCache(tmp_path), tmp_path / "replies"
    await cache.put("k1", reply("first"))
    first = boost.reply_parts.pack(cache, replies)
    before = first.read_bytes()
    assert boost.reply_parts.pack(cache, replies) is None
    await cache.put("k2", reply("second"))
    second = boost.reply_parts.pack(cache, replies)
    assert second != first
    assert first.read_bytes() == before
    assert [key for key, _ in boost.reply_parts.replies(replies)] == ["k1", "k2"]


async def test_a_run_goes_on_where_another_machine_stopped(boost: Any, tmp_path: Path) -> None:
    here, there, results = tmp_path / "here", tmp_path / "there", tmp_path / "results"
    await ReplyCache(here).put("k", reply("x"))
    row = {"arm": "search", "problem": "p", "version": "1"}
    boost.boost.append(here / "rows", row)
    boost.boost.pack(here, results)
    boost.boost.pack(here, results)
    await boost.boost.unpack(there, results)
    await boost.boost.unpack(there, results)
    assert [*boost.boost.rows(there / "rows")] == [row]
    assert await ReplyCache(there).get("k")


# --- the order of work ------------------------------------------------------------------------


def test_all_arms_solve_a_block_before_the_next_and_no_row_twice(boost: Any) -> None:
    ids = {"a": [f"a:{n}" for n in range(12)], "b": ["b:0"]}
    arms = boost.boost_arms.BASELINES[:2]
    one, other = (arm.name for arm in arms)
    todo = [(arm.name, problem) for arm, problem in boost.boost.order(ids, arms, {(one, "a:0")})]
    assert todo[:10] == [*((one, f"a:{n}") for n in range(1, 10)), (one, "b:0")]
    assert todo[10:21] == [*((other, f"a:{n}") for n in range(10)), (other, "b:0")]
    assert todo[21:] == [(arm, f"a:{n}") for arm in (one, other) for n in (10, 11)]


def test_the_problems_are_those_of_the_plan(boost: Any) -> None:
    ids = json.loads(boost.boost.PROBLEMS.read_text())
    assert {name: len(of_set) for name, of_set in ids.items()} == {
        name: count for name, (_, count, _) in boost.boost.SETS.items()
    }
    developed = {
        row["problem"]
        for out in (boost.boost.HERE / "results" / "quality").glob("*.jsonl")
        for row in boost.boost.rows(out)
    }
    assert len(developed) >= 120
    chosen = [one for of_set in ids.values() for one in of_set]
    assert len({*chosen} - developed) == len(chosen) == 150


# --- rows -------------------------------------------------------------------------------------


def grade(job: Any) -> float:
    """The share of a job's tests that a program passes, which is run here: it is this file's own."""
    namespace: dict[str, Any] = {}
    exec(job.code, namespace)
    return sum(eval(test.call, namespace) == int(test.expected[0]) for test in job.tests) / len(job.tests)


async def row(boost: Any, arm: str, small: Any, large: Any) -> dict[str, Any]:
    agents = [ScriptedAgent("small", small), ScriptedAgent("large", large)]
    executor = ScriptedExecutor(grade)
    solver = boost.boost_arms.ARMS[arm].solve(agents, executor, SearchConfig())
    return await boost.boost_rows.row_of(TASK, await solver.solve(DOUBLE, 1), executor)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


async def test_best_of_16_asks_both_and_hidden_tests_judge_all_that_pass(boost: Any) -> None:
    found = await row(boost, "best of 16", lambda _: fenced(SQUARE), lambda _: fenced(RIGHT))
    assert (found["calls"], found["passing"], found["right"]) == (16, 2, 1)
    assert found["public"] is True
    assert found["hidden"] is False
    assert found["moves"] == {"answer/large": [8, 8], "answer/small": [8, 8]}


async def test_self_repair_counts_its_repairs(boost: Any) -> None:
    def large(request: Request) -> str:
        return fenced(RIGHT if "Find the mistake" in str(request.messages[-1].content) else WRONG)

    found = await row(boost, "self-repair, large", lambda _: "", large)
    assert found["hidden"] is True
    assert found["moves"] == {"answer/large": [1, 0], "repair/large": [1, 1]}
    assert (found["calls"], found["answered_at"]) == (2, 2)


async def test_a_solution_that_mends_anothers_program_names_its_author(boost: Any) -> None:
    def small(request: Request) -> str:
        return fenced(WRONG)

    def large(request: Request) -> str:
        mends = "A colleague's program is wrong" in str(request.messages[-1].content)
        return f"It must be doubled.\n{fenced(RIGHT)}" if mends else "no program"

    found = await row(boost, "search", small, large)
    assert (found["hidden"], found["agent"], found["parent"], found["line"]) == (
        True,
        "large",
        "small",
        ["small"],
    )
    assert found["depth"] >= 1
    made = sum(
        count for name, (count, _) in found["moves"].items() if name.split("/")[0] in ("repair", "rethink")
    )
    assert made >= 1


async def test_the_counterfactual_without_repair_makes_none(boost: Any) -> None:
    found = await row(boost, "search without repair", lambda _: fenced(WRONG), lambda _: fenced(WRONG))
    assert not any(name.startswith(("repair", "rethink")) for name in found["moves"])
    assert found["calls"] <= boost.boost_arms.CALLS


async def test_the_old_default_walks(boost: Any) -> None:
    found = await row(boost, "old default", lambda _: fenced(WRONG), lambda _: fenced(WRONG))
    assert found["moves"].keys() <= {
        f"{kind}/{agent}" for kind in ("answer", "expand", "write", "refine") for agent in ("small", "large")
    }


async def test_a_failed_call_makes_no_row_and_others_go_on(
    boost: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def large(request: Request) -> str:
        if "Halve" in str(request.messages[-1].content):
            raise AgentError("large", "out of memory")
        return fenced(RIGHT)

    halve = DOUBLE.model_copy(update={"id": "set:halve", "statement": "Halve a number."})
    tasks = {"set:halve": Task(problem=halve, hidden=TASK.hidden), "set:double": TASK}
    agents = [ScriptedAgent("small", large), ScriptedAgent("large", large)]
    out = tmp_path / "rows"
    run = boost.boost.Run(agents, ScriptedExecutor(grade), SearchConfig(), tasks, out, "v1")
    await run.all([(boost.boost_arms.ARMS["best of 16"], one) for one in tasks], at_once=1)
    assert [(one["problem"], one["hidden"]) for one in boost.boost.rows(out)] == [("set:double", True)]
    assert "set:halve: RuntimeError: 16 calls failed" in capsys.readouterr().err


@pytest.mark.parametrize("minutes", [0.0001, None])
async def test_a_run_ends_when_its_time_is_up_or_a_signal_comes(
    boost: Any, minutes: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        if minutes is None:
            os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()

    await asyncio.wait_for(boost.boost.until(work(), minutes), 10)
    assert "all else is kept" in capsys.readouterr().out


# --- the report -------------------------------------------------------------------------------


def made(arm: str, problem: str, hidden: bool, **changes: Any) -> dict[str, Any]:
    return {
        "arm": arm,
        "set": "a",
        "version": "v1",
        "problem": problem,
        "public": True,
        "hidden": hidden,
        "passing": 2,
        "right": 1,
        "calls": 8 if arm.startswith("search") else 16,
        "kept": 4,
        "failed": 0,
        "tokens": 100,
        "depth": 1,
        "agent": "large",
        "parent": "small",
        "line": ["small"],
        "moves": {"answer/large": [8, 2]},
    } | changes


PLANNED = {f"p{n}": "a" for n in range(4)}


def text(*parts: Any) -> str:
    console = Console(width=300)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def test_a_difference_is_over_the_problems_that_both_have(boost: Any) -> None:
    rows = [made("search", "p0", True), made("search", "p1", True), made("best of 16", "p1", False)]
    arms = boost.boost_report.newest(rows, PLANNED)
    found = boost.boost_report.compare(arms["search"], arms["best of 16"])
    assert (found.solved.problems, found.solved.value, found.calls) == (1, 1.0, 0.5)
    table: Table = boost.boost_report.differences(arms)
    assert table.row_count == 1


def test_a_search_is_told_by_its_last_version_alone(boost: Any) -> None:
    old = [made("search", f"p{n}", False) for n in range(4)]
    arms = boost.boost_report.newest([*old, made("search", "p0", True, version="v2")], PLANNED)
    assert [*arms["search"]] == ["p0"]


def test_rows_of_other_problems_are_left_out(boost: Any) -> None:
    assert boost.boost_report.newest([made("search", "other", True)], PLANNED) == {}


def test_the_report_says_what_is_missing(boost: Any, capsys: pytest.CaptureFixture[str]) -> None:
    boost.boost_report.show([made("search", "p0", True), made("best of 16", "p0", True)], PLANNED)
    told = capsys.readouterr().out
    assert "search: 3 of 4 problems are missing" in told
    assert "self-repair, large: 4 of 4 problems are missing" in told
    assert "search, pooled: cannot be run yet" in told
    assert "met so far, on 1 of 4 problems" in told
    assert "old default has no rows" in told


@pytest.mark.parametrize(
    ("calls", "hidden", "met"), [(8, True, "met"), (9, True, "missed"), (8, False, "missed")]
)
def test_the_unpooled_target_needs_both_parts(boost: Any, calls: int, hidden: bool, met: str) -> None:
    rows = [made("best of 16", one, True) for one in PLANNED]
    rows += [made("search", one, hidden, calls=calls) for one in PLANNED]
    told = boost.boost_report.targets(boost.boost_report.newest(rows, PLANNED), 4)
    assert told[1].endswith(f": {met}")


def test_choice_counts_the_problems_with_a_right_program(boost: Any) -> None:
    rows = {
        "p0": made("search", "p0", True),
        "p1": made("search", "p1", False),
        "p2": made("search", "p2", False, right=0),
    }
    assert boost.boost_report.choice(rows) == (2, 1)
    assert "1" in text(boost.boost_report.choices({"search": rows}))
