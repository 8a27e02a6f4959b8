import io
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bdc_agents.config import Budget
from bdc_agents.errors import UsageError
from bdc_agents.types import Attempt, Node, Program, TestResult, Thought, Verdict
from bdc_agents.view import render_tree, summary, watch
from bdc_agents.view.board import Board
from bdc_agents.view.live import LiveView, PlainView
from bdc_agents.view.node import node_report
from bdc_agents.view.rows import AgentsView, TreeView, fold, footer
from bdc_agents.view.text import (
    UNCUT,
    called,
    clock,
    count,
    ending,
    money,
    one_line,
    pass_bar,
    printable,
    with_short_names,
)
from bdc_agents.view.tree import RunsView, tree_report, why_unsolved


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(renderable, width=80, height=24) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(renderable)
    return console.file.getvalue().splitlines()


def feed(view, run) -> None:
    for event in run[1]:
        view.on_event(event)
    view.on_state(run[2][-1])


# --- the live view ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(80, 24), (200, 60), (40, 10), (20, 5)])
@pytest.mark.parametrize("rollouts", [1, 40])
def test_every_picture_fits_its_terminal(make_run, size, rollouts):
    run = make_run(rollouts=rollouts)
    console = Console(file=Terminal(), width=size[0], height=size[1], force_terminal=True)
    view = LiveView(run[0].problem, console, rollouts)
    for number, event in enumerate(run[1]):
        view.on_event(event)
        if number % 37:
            continue
        drawn = console.render_lines(view)
        assert all(sum(segment.cell_length for segment in line) <= size[0] for line in drawn)
        if size[1] >= 10:
            assert len(drawn) < size[1]


def test_the_picture_shows_agents_tree_and_totals(run):
    console = Console(file=Terminal(), width=120, height=40, force_terminal=True)
    view = LiveView(run[0].problem, console, 6)
    feed(view, run)
    text = "\n".join("".join(s.text for s in line) for line in console.render_lines(view))
    assert "rollout 6/6" in text
    assert "small" in text
    assert "mini" in text
    assert f"{run[0].solution.usage['small'].calls}" in text
    assert "★" in text
    assert f"best {round(run[0].solution.reward * 5)}/5" in text


def test_a_leaf_that_is_worked_on_has_a_spinner_until_it_is_answered(run):
    clock_now = [0.0]
    board = Board(clock=lambda: clock_now[0])
    board.on_event(next(event for event in run[1] if event["type"] == "node"))
    asked = next(event for event in run[1] if event["type"] == "asked")
    answered = next(e for e in run[1] if e["type"] == "answered" and e["agent"] == asked["agent"])
    idle = lines_of(TreeView(board))
    board.on_event(asked)
    busy = {lines_of(TreeView(board, now=now))[1] for now in (0.0, 0.2, 0.4)}
    assert len(busy) == 3
    assert board.in_flight == 1
    clock_now[0] = 2.0
    board.on_event(answered)
    assert lines_of(TreeView(board)) == idle
    tokens = answered["usage"]["completion_tokens"]
    assert board.agents[asked["agent"]].speed(9.0) == pytest.approx(tokens / 2)


def test_replies_from_the_cache_have_no_speed():
    board = Board(["a"], clock=lambda: 0.0)
    event = {"type": "asked", "agent": "a", "node": "0", "purpose": "boost"}
    board.on_event(event)
    used = {"calls": 1, "cached": 1, "completion_tokens": 500}
    board.on_event(event | {"type": "answered", "usage": used, "error": ""})
    assert board.agents["a"].speed(1.0) is None
    assert board.agents["a"].usage.completion_tokens == 500


def test_the_live_view_names_what_the_search_waits_for_and_what_it_has_spent():
    now = [0.0]
    board = Board(["a"], clock=lambda: now[0])

    def shown() -> str:
        return lines_of(footer(board, Budget(calls=40, tokens=20_000)), width=200)[0]

    now[0] = 1.0
    board.on_event({"type": "asked", "agent": "a", "node": "0"})
    now[0] = 4.0
    assert "waits for agents, 1 call in flight (75 % of the time)" in shown()
    board.on_event({"type": "answered", "agent": "a", "node": "0", "usage": {"calls": 1, "prompt_tokens": 7}})
    assert "runs programs (25 % of the time)" in shown()
    assert "1 of 40 calls, 7 of 20.0k tokens" in shown()


def test_events_of_later_versions_are_left_alone():
    board = Board()
    board.on_event({"type": "something new"})
    board.on_event({})
    assert not board.nodes


def test_an_event_costs_the_same_in_a_large_tree():
    def cost(size: int) -> float:
        board = Board()
        root = Node(children=tuple(f"0.{i}" for i in range(size)))
        board.add_node(root)
        for i in range(size):
            board.add_node(Node(id=f"0.{i}", parent="0", thought=Thought(text="t", agent="a")))
        event = {"type": "node", "node": board.nodes["0.1"].model_dump(mode="json")}
        best = float("inf")
        for _ in range(5):
            start = time.thread_time()
            for _ in range(200):
                board.on_event(event)
            best = min(best, time.thread_time() - start)
        return best

    assert cost(5000) < 20 * cost(50)


# --- folding ----------------------------------------------------------------------------------


@given(
    parents=st.lists(st.integers(min_value=0, max_value=10_000), max_size=60),
    room=st.integers(min_value=1, max_value=40),
    best=st.integers(min_value=0, max_value=60),
)
def test_a_folded_tree_fits_and_accounts_for_every_child(parents, room, best):
    ids, children = ["0"], {"0": []}
    for choice in parents:
        parent = ids[choice % len(ids)]
        child = f"{parent}.{len(children[parent])}"
        children[parent].append(child)
        ids.append(child)
        children[child] = []
    board = Board()
    for node_id in ids:
        parent = node_id.rpartition(".")[0] or None
        board.add_node(Node(id=node_id, parent=parent, children=tuple(children[node_id])))
    board.best_node = ids[best % len(ids)]
    lines = fold(board, room)
    shown = [line.node.id for line in lines]
    assert len(shown) == len(set(shown)) == min(len(shown), len(ids))
    assert len(shown) <= max(room, 1)
    if len(ids) <= room:
        assert set(shown) == set(ids)
    for line in lines:
        assert line.hidden == sum(child not in shown for child in line.node.children)
        assert line.node.parent is None or line.node.parent in shown
    if board.best_node.count(".") < room:
        assert board.best_node in shown


def test_many_agents_fit_too():
    board = Board(f"agent-{i}" for i in range(30))
    lines = lines_of(AgentsView(board, 8))
    assert len(lines) == 8
    assert "and 24 more agents" in lines[-1]


# --- finished searches --------------------------------------------------------------------------


def test_the_tree_of_a_trace_has_a_line_for_each_node(run):
    assert len(lines_of(render_tree(run[0]))) == len(run[0].nodes) + 1
    assert len(lines_of(render_tree(run[0], 4))) == 4


def test_the_summary_tells_result_usage_and_who_helped_whom(run):
    text = "\n".join(lines_of(summary(run[0]), width=120))
    solution = run[0].solution
    assert "not solved" in text
    assert f"{round(solution.reward * 5)}/5 public tests" in text
    assert "the search had done its rollouts" in text
    assert f"by {solution.agent} at node {solution.node}" in text
    helped = [reward for author, coders in solution.matrix.items() if author for reward in coders.values()]
    assert helped
    assert all(f"{reward:.2f}" in text for reward in helped)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"outcome": "wrong", "shown": "f(1)", "expected": "2", "actual": "3"}, "expected: 2; got: 3"),
        (
            {"outcome": "error", "shown": "f(1)", "expected": "2", "error": "KeyError: 1", "line": 4},
            "expected: 2; error: KeyError: 1 (line 4)",
        ),
        ({"outcome": "memory", "shown": "f(1)", "expected": "2"}, "expected: 2; ended: memory"),
        ({"outcome": "wrong", "shown": "f(1)\n" * 900, "actual": "\x1b[2J" * 900}, "got: "),
    ],
)
def test_what_is_not_solved_shows_its_first_failing_test(run, result, told):
    results = [TestResult(outcome="passed"), TestResult.model_validate(result), TestResult(outcome="wrong")]
    verdict = Verdict(results=tuple(results), tier="none")
    trace = run[0].model_copy(update={"solution": run[0].solution.model_copy(update={"verdict": verdict})})
    lines = lines_of(summary(trace), width=90)
    place = next(number for number, line in enumerate(lines) if line.startswith("  fails: f(1)"))
    assert told in "\n".join(lines[place : place + 4])
    assert "\x1b" not in "\n".join(lines)
    assert len(lines) < 25


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"stopped_by": "calls"}, True),
        ({"stopped_by": "calls", "confirmed": False}, True),
        ({"stopped_by": "calls", "confirmed": True}, False),
        ({"stopped_by": "solved"}, False),  # no further input could be made
        ({"stopped_by": "calls", "solved": False}, False),
    ],
)
def test_what_is_solved_and_was_not_confirmed_says_so(run, changes, told):
    solution = run[0].solution.model_copy(update={"solved": True, "confirmed": None} | changes)
    shown = "\n".join(lines_of(summary(run[0].model_copy(update={"solution": solution})), width=120))
    assert ("not confirmed: the search ended before" in shown) is told
    assert ending(solution, 3).startswith("solved after 3 calls, not confirmed; the search had") is told


def test_the_best_program_is_the_one_the_search_chose(run):
    board = Board.of(run[0])
    assert board.best_node == run[0].solution.node
    assert f"best {round(run[0].solution.reward * 5)}/5" in "\n".join(lines_of(summary(run[0])))


def test_reports_fit_80_columns(run, hostile):
    for trace in (run[0], hostile[0]):
        for renderable in (tree_report(trace), summary(trace), RunsView([trace, trace])):
            assert max(map(len, lines_of(renderable))) <= 80


def test_what_is_no_terminal_gets_whole_lines_without_padding(run):
    trace = run[0]
    thought = Thought(text="word " * 39, agent="a")
    nodes = tuple(
        node.model_copy(update={"thought": thought}) if node.thought else node for node in trace.nodes
    )
    changed = trace.model_copy(update={"nodes": nodes})
    lines = lines_of(tree_report(changed), width=UNCUT)
    assert any(thought.text.strip() in line for line in lines)
    assert max(map(len, lines)) < 320


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ({"outcome": "wrong", "shown": "f(1)", "expected": "2", "actual": "3"}, "f(1): 2 expected, got 3"),
        ({"outcome": "error", "shown": "f(1)", "error": "KeyError: 1"}, "f(1): KeyError: 1"),
        ({"outcome": "memory", "shown": "f(1)"}, "f(1): memory"),
    ],
)
def test_a_run_says_of_each_problem_why_it_was_not_solved(run, result, why):
    verdict = Verdict(results=(TestResult.model_validate(result),), tier="t")
    solution = run[0].solution.model_copy(
        update={"solved": False, "verdict": verdict, "stopped_by": "calls", "code": "x"}
    )
    assert why_unsolved(solution) == why
    unread = solution.model_copy(update={"verdict": None, "code": ""})
    assert why_unsolved(unread) == "no program was read; the search had used its calls"
    trace = run[0].model_copy(update={"solution": solution})
    for width in (80, 120, UNCUT):
        shown = "\n".join(lines_of(RunsView([trace, trace]), width=width))
        assert why.partition(":")[0] in shown


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"confirmed": True, "stopped_by": "solved"}, ""),
        ({"confirmed": False, "stopped_by": "calls"}, "not confirmed"),
        ({"confirmed": None, "stopped_by": "calls"}, "not confirmed"),
        ({"confirmed": False, "stopped_by": "solved"}, "not confirmed"),  # a chat whose tests were changed
        ({"confirmed": None, "stopped_by": "solved"}, "not compared"),
    ],
)
def test_a_run_marks_what_is_solved_and_not_confirmed(run, changes, why):
    solution = run[0].solution.model_copy(update={"solved": True, **changes})
    assert why_unsolved(solution) == why
    trace = run[0].model_copy(update={"solution": solution})
    for width in (80, 120, UNCUT):
        shown = "\n".join(lines_of(RunsView([trace, trace]), width=width))
        assert shown.count("not confirmed") == 2 * (why == "not confirmed")


# --- one node -----------------------------------------------------------------------------------


def test_a_node_shows_its_path_calls_and_programs(run):
    trace = run[0]
    node = next(node for node in trace.nodes if node.attempts and node.thought)
    shown = "\n".join(lines_of(node_report(trace, node.id), width=UNCUT))
    assert node.thought is not None
    assert node.thought.text.splitlines()[0] in shown
    for attempt in node.attempts:
        if attempt.program:
            assert trace.programs[attempt.program].code.splitlines()[0] in shown
    assert f"program {len(node.attempts)} of {len(node.attempts)}" in shown


def test_a_repair_is_shown_as_the_difference_to_the_program_it_mends(run):
    trace = run[0]
    old = Program(code="def f(x):\n    return x", agent="a")
    new = Program(code="def f(x):\n    return x + 1", agent="b")
    node = Node(
        id="0.0",
        parent="0",
        thought=Thought(text="One is missing.", agent="b"),
        mends="old",
        attempts=(Attempt(program="new", agent="b", reward=1.0),),
    )
    mended = trace.model_copy(
        update={"nodes": (Node(children=("0.0",)), node), "programs": {"old": old, "new": new}}
    )
    shown = [line.rstrip() for line in lines_of(node_report(mended, "0.0"), width=UNCUT)]
    assert "-    return x" in shown
    assert "+    return x + 1" in shown
    assert " def f(x):" in shown


def test_an_unknown_node_is_refused_with_the_nearest(run):
    with pytest.raises(UsageError, match=r"unknown node '0\.99'.* has \d+"):
        node_report(run[0], "0.99")


def test_nothing_of_a_node_reaches_the_terminal_as_a_command(hostile):
    trace = hostile[0]
    for node in trace.nodes:
        shown = "\n".join(lines_of(node_report(trace, node.id), width=UNCUT))
        assert "\x1b" not in shown
        assert "\u202e" not in shown


# --- plain lines --------------------------------------------------------------------------------


def plain(run) -> list[str]:
    lines: list[str] = []
    feed(PlainView(run[0].problem, lines.append, 6), run)
    return lines


def test_plain_lines_tell_what_happened_once(run):
    lines = plain(run)
    text = "\n".join(lines)
    trace = run[0]
    assert len([line for line in lines if " programs (" in line]) == sum(len(n.attempts) for n in trace.nodes)
    refined = sum(node.refined is not None for node in trace.nodes)
    assert text.count(" refines (") == refined
    assert text.count(" thinks (") == len(trace.nodes) - 1
    assert text.count("pruned ") == sum(node.pruned for node in trace.nodes)
    calls = sum(used.calls for used in trace.solution.usage.values())
    assert f"not solved after {calls} calls; the search had done its rollouts" in lines[-1]


def test_failed_agents_are_told():
    lines: list[str] = []
    view = PlainView(Board, lines.append, 1)  # pyright: ignore[reportArgumentType]
    view.on_event({"type": "set_aside", "agent": "mini", "reason": "key rejected\nby the endpoint"})
    assert lines == ["[0:00] mini takes no further part: key rejected by the endpoint"]
    assert view.board.agents["mini"].set_aside


def test_what_is_no_terminal_gets_plain_lines_without_escape_codes(run, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(file=io.StringIO())
    with watch(run[0].problem, console, rollouts=6) as view:
        feed(view, run)
    assert isinstance(view, PlainView)
    assert "searching with small, mini" in console.file.getvalue()
    assert "\x1b" not in console.file.getvalue()


def test_a_terminal_gets_the_live_view_unless_plain_is_wanted(run):
    console = Console(file=Terminal(), force_terminal=True, width=80, height=24)
    assert isinstance(watch(run[0].problem, console, rollouts=6), LiveView)
    assert isinstance(watch(run[0].problem, console, rollouts=6, plain=True), PlainView)
    dumb = Console(file=Terminal(), force_terminal=True, _environ={"TERM": "dumb"})
    assert isinstance(watch(run[0].problem, dumb, rollouts=6), PlainView)


def test_the_live_view_draws_itself_and_leaves_no_trace(run):
    console = Console(file=Terminal(), force_terminal=True, width=80, height=24)
    with watch(run[0].problem, console, rollouts=6) as view:
        feed(view, run)
        time.sleep(0.3)
    assert "rollout 6/6" in console.file.getvalue()


# --- hostile texts --------------------------------------------------------------------------------

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def test_nothing_an_agent_wrote_reaches_the_terminal_as_a_command(hostile):
    shown = [*plain(hostile), *lines_of(tree_report(hostile[0]), 200)]
    console = Console(file=Terminal(), width=200, height=60)
    view = LiveView(hostile[0].problem, console, 6)
    feed(view, hostile)
    shown += ["".join(s.text for s in line) for line in console.render_lines(view)]
    assert not CONTROL.search("".join(shown))
    assert "[bold]" in printable("[bold]not markup[/bold]")


@given(st.text())
def test_printable_text_holds_no_command_and_keeps_what_is_harmless(text):
    assert not CONTROL.search(printable(text))
    assert len(printable(text)) == len(text)
    if text.isprintable():
        assert printable(text) == text


@given(st.text(), st.integers(min_value=1, max_value=50))
def test_one_line_is_one_short_line(text, limit):
    line = one_line(text, limit)
    assert len(line.splitlines()) <= 1
    assert len(line) <= limit + 3


def test_a_terminal_without_unicode_gets_ascii(run):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=100)
    console.print(TreeView(Board.of(run[0])))


def test_numbers_are_short():
    assert [count(n) for n in (0, 9999, 12_345, 2_300_000)] == ["0", "9999", "12.3k", "2.3M"]
    assert [money(m) for m in (None, 0.0, 0.00001, 0.0123, 12.5)] == [
        "-",
        "$0.00",
        "<$0.0001",
        "$0.0123",
        "$12.50",
    ]
    assert [clock(s) for s in (0, 61.9, 3725)] == ["0:00", "1:01", "1:02:05"]
    assert pass_bar(3, 5).plain == "███░░ 3/5"
    assert pass_bar(1, 3, ascii_only=True).plain == "#.... 1/3"
    assert pass_bar(0, 0).plain == ""


def test_the_mean_of_a_node_may_be_of_attempts_without_program():
    board = Board()
    board.add_node(Node(attempts=(Attempt(program="", agent="a", reward=0.0),), value=0.0))
    assert "0.00" in "\n".join(lines_of(TreeView(board)))


def test_a_program_that_did_not_run_has_no_counts():
    board = Board()
    board.add_program("key", Program(code="x = 1", agent="one"))
    board.add_node(Node(attempts=(Attempt(program="key", agent="one", reward=0.0),)))
    assert "no program has run to its end yet" in footer(board).plain
    assert "0/0" not in footer(board).plain


def test_the_summary_shows_what_could_not_be_read(run, hostile):
    text = hostile[0].nodes[-1].thought.text
    unread = {"unread": "it has no code block", "said": text}
    calls = tuple(call.model_copy(update=unread) for call in run[0].calls)
    shown = "\n".join(lines_of(summary(run[0].model_copy(update={"calls": calls}))))
    assert f"{len(calls)} replies held nothing that could be read" in shown
    assert "it has no code block" in shown
    assert "script" in shown
    assert f"and {len(calls) - 3} more" in shown
    assert not CONTROL.search(shown)


def test_an_agent_at_an_address_is_shown_by_its_model():
    one, two, three = "m@http://a:1/v1", "m@http://b:2/v1", "m@http://b:2/v2"
    assert called(one) == called(one, ["x", "mm@http://a:1/v1"]) == "m"
    assert called(one, [one, two]) == called(one, [one, two, three]) == "m@a:1"
    assert called(two, [one, two, three]) == two
    assert called("m", ["m", one]) == "m"
    assert called(one, ["m", one]) == "m@a:1"
    assert called("openai:gpt@2024") == "openai:gpt@2024"
    note = f"{one}: 2 requests failed at http://a:1/v1"
    assert with_short_names(note, [one, two]) == "m@a:1: 2 requests failed at http://a:1/v1"


def test_tables_show_no_addresses(make_run):
    first, second = "m@http://127.0.0.1:18901/v1", "n@http://127.0.0.1:18901/v1"
    trace, *_ = run = make_run(names=(first, second))
    told = [line for line in plain(run) if " thinks " not in line]  # these thoughts say the name themselves
    shown = "\n".join([*lines_of(summary(trace)), *lines_of(RunsView([trace, trace])), *told])
    assert "18901" not in shown
    assert list(trace.solution.usage) == [first, second]
