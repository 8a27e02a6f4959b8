"""Traces: a finished search as data, and the training rows that a kept one gives.

A trace is kept for training when its program passes all hidden tests too; that is decided where
hidden tests can be read, not here.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from bdc_agents.agents.protocol import Reply, Request
from bdc_agents.config import SearchConfig
from bdc_agents.prompts import mend_program, propose_thoughts, write_program
from bdc_agents.search.choice.split import split_of
from bdc_agents.search.events import Purpose
from bdc_agents.search.nodes.boost import read_draft
from bdc_agents.search.nodes.execute import program_key
from bdc_agents.search.nodes.expand import read_thoughts
from bdc_agents.search.nodes.finish import assemble, written_at
from bdc_agents.search.round.calls import Answer, Call
from bdc_agents.search.state import SearchState
from bdc_agents.types import (
    CallRecord,
    Frozen,
    Node,
    Problem,
    Program,
    Solution,
    Thought,
    Trace,
    Tree,
    Usage,
    content_hash,
)

FAILURES_SHOWN = SearchConfig().failures_shown
"""Failing tests in the prompt of a repair: as many in the rows of all runs, whatever each of them showed,
and for the solver that only repairs."""
MOST = 4
"""Programs of one problem that are learned from, at most."""


class Row(Frozen):
    """One training example, as chat messages.

    Args:
        kind: `p2t` problem and the thoughts before to the next thought, `t2s` problem and thoughts
            to program, `direct` problem to program, `repair` the facts of a failed program to a
            diagnosis and a program, `dpo` a step that helped against one that did not, `pair` a right
            program against a wrong one, `reference` problem to a known solution that no agent wrote.
        prompt: Messages as `{"role", "content"}`.
        completion: The reply to learn, which the search reads as that thought or program; the
            chosen one of two.
        rejected: The other reply of a `dpo` or `pair`; None in rows to imitate.
    """

    kind: Literal["p2t", "t2s", "direct", "repair", "reference", "dpo", "pair"]
    problem_id: str
    prompt: tuple[dict[str, str], ...]
    completion: str
    rejected: str | None = None


def row_key(row: Row) -> str:
    """A name for a row to imitate that depends on its text alone."""
    return content_hash(json.dumps([row.prompt, row.completion], sort_keys=True))


def trace_of(state: SearchState, settings: Mapping[str, Any] | None = None) -> Trace:
    """The trace of a search, finished or interrupted.

    Args:
        state: The graph's output, or any state of it after `start`.
        settings: What produced it: search settings, agents, budget.
    """
    solution = state.get("solution")
    return Trace(
        problem=Problem.model_validate(state.get("problem")),
        solution=Solution.model_validate(solution) if solution else assemble(state),
        nodes=Tree(state.get("tree")).nodes(),
        programs={key: Program.model_validate(value) for key, value in state.get("programs", {}).items()},
        calls=_in_order(state.get("calls", {})),
        beliefs=state.get("told", {}),  # pyright: ignore[reportArgumentType]
        split=split_of(state),
        reviews=state.get("reviews", ()),  # pyright: ignore[reportArgumentType]
        settings=dict(settings or {}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        package=version("bdc-agents"),
    )


def _in_order(calls: Mapping[str, Any]) -> tuple[CallRecord, ...]:
    """The calls as they were planned; two steps that ran side by side count on from the same number."""
    found = sorted(
        map(CallRecord.model_validate, calls.values()), key=lambda call: (call.order, call.purpose)
    )
    return tuple(call.model_copy(update={"order": order}) for order, call in enumerate(found))


def extract_traces(trace: Trace) -> tuple[Row, ...]:
    """The training rows of a solved problem; none where no program may be learned from.

    Args:
        trace: Its decision names the programs that pass the hidden tests too; one without a decision
            is taken to be right where it passes the public tests.

    Returns:
        Problem to thoughts, one at a time, and thoughts to program, or problem to program where no
        thought was needed, for each program up to `MOST`; then a pair for each step that was better
        than its parent and than a sibling. What no reply could be read as is left out.
    """
    tree = Tree(patched={node.id: node for node in trace.nodes})
    learned = learned_programs(trace)
    rows = [row for code, node in learned for row in _sft_rows(trace, tree, code, node)]
    # Where other answers are right too, a step that fails its tests may be none the worse.
    pairs = _pairs(trace, tree) if trace.solution.solved and not trace.problem.unjudged else ()
    return (*(row for number, row in enumerate(rows) if row not in rows[:number]), *pairs)


def all_rows(trace: Trace) -> tuple[Row, ...]:
    """The rows of `extract_traces`, and for each program to learn from one from the problem alone.

    A search that needed a thought or a repair found a program that is the answer all the same.
    """
    found = extract_traces(trace)
    known = {row.completion for row in found if row.kind == "direct"}
    replies = (reply_with_program(code, trace.problem) for code, _ in learned_programs(trace))
    return (*found, *(direct_row(trace.problem, reply) for reply in replies if reply and reply not in known))


def learned_programs(trace: Trace) -> Iterator[tuple[str, str]]:
    """The programs to learn from, and where they were written first."""
    solution = trace.solution
    if trace.decision is None or not trace.decision.right:
        if solution.solved and solution.node is not None:
            yield solution.code, solution.node
        return
    for key in trace.decision.right[:MOST]:
        yield trace.programs[key].code, written_at(trace.nodes, key) or "0"


def program_pairs(trace: Trace) -> tuple[Row, ...]:
    """Right programs of a problem, each against a wrong one for the same prompt; none where none is wrong.

    Each right program, up to `MOST`, meets the wrong ones in turn, so that no program is in more pairs than
    it has to be. Of the wrong ones those come first that pass most tests: they tell the most.
    """
    # Where other answers are right too, a program that fails its tests may be none the worse.
    if trace.problem.unjudged:
        return ()
    right = [code for code, _ in learned_programs(trace)]
    wrong = [program.code for program in _wrong(trace) if program.code not in right]
    ask, found = _messages(write_program(trace.problem, ())), list[Row]()
    for number, code in enumerate(wrong[: MOST * len(right)]):
        chosen = reply_with_program(right[number % len(right)], trace.problem)
        rejected = reply_with_program(code, trace.problem)
        if chosen and rejected:
            pair = Row(
                kind="pair",
                problem_id=trace.problem.id,
                prompt=ask,
                completion=chosen,
                rejected=rejected,
            )
            found.append(pair)
    return tuple(found)


def _wrong(trace: Trace) -> list[Program]:
    """Programs that are known to be wrong, the one with the highest reward first."""
    decided = set(trace.decision.right) if trace.decision else set[str]()

    def is_wrong(key: str, program: Program) -> bool:
        if program.verdict is None:
            return False
        # Where any program was tested on hidden tests besides the handed-over one, all that passed were.
        return not program.verdict.passed or (bool(decided) and key not in decided)

    found = [program for key, program in trace.programs.items() if is_wrong(key, program)]
    return sorted(found, key=lambda program: -program.reward)


def direct_row(problem: Problem, completion: str, kind: Literal["direct", "reference"] = "direct") -> Row:
    """From the problem alone to a reply with a program.

    Args:
        kind: `reference` for a program that no agent wrote.
    """
    ask = _messages(write_program(problem, ()))
    return Row(kind=kind, problem_id=problem.id, prompt=ask, completion=completion)


def _sft_rows(trace: Trace, tree: Tree, program: str, node_id: str) -> Iterator[Row]:
    problem, path = trace.problem, tree.path(node_id)
    thoughts = tuple(node.thought for node in path if node.thought)
    if any(node.mends for node in path):
        # A diagnosis says what is wrong with another program: without that one it is no plan.
        if code := reply_with_program(program, problem):
            yield direct_row(problem, code)
            yield from _repair_row(trace, path, code)
        return
    for number, thought in enumerate(thoughts):
        if reply := reply_with_thought(thought):
            ask = _ask_for_thought(problem, thoughts[:number])
            yield Row(kind="p2t", problem_id=problem.id, prompt=ask, completion=reply)
    code = reply_with_program(program, problem)
    if code and thoughts:
        ask = _messages(write_program(problem, thoughts))
        yield Row(kind="t2s", problem_id=problem.id, prompt=ask, completion=code)
    elif code:
        yield direct_row(problem, code)


def _repair_row(trace: Trace, path: Sequence[Node], code: str) -> Iterator[Row]:
    """From the facts of a failed program to the diagnosis and the program that a repair gave."""
    node = path[-1]
    failed = trace.programs.get(node.mends)
    if node.thought is None or failed is None:
        return
    before = tuple(one.thought for one in path[:-1] if one.thought)
    ask = mend_program(trace.problem, before, failed, FAILURES_SHOWN, code=node.kind == "repair")
    completion = f"{node.thought.text.strip()}\n\n{code}"
    yield Row(kind="repair", problem_id=trace.problem.id, prompt=_messages(ask), completion=completion)


def _pairs(trace: Trace, tree: Tree) -> Iterator[Row]:
    """Children better than their parent, each against its siblings that are worse than it."""
    for parent in trace.nodes:
        path = tuple(node.thought for node in tree.path(parent.id) if node.thought)
        # Diagnoses of other programs are no steps that the same prompt could have given.
        children = [tree[key] for key in parent.children if tree[key].value is not None]
        children = [child for child in children if not child.mends]
        for child in children:
            if _value(child) <= _value(parent):
                continue
            for worse in (other for other in children if _value(other) < _value(child)):
                if child.thought and worse.thought and child.thought.text != worse.thought.text:
                    yield from _pair(trace.problem, path, child.thought, worse.thought)


def _pair(problem: Problem, path: Sequence[Thought], better: Thought, worse: Thought) -> Iterator[Row]:
    chosen, rejected = reply_with_thought(better), reply_with_thought(worse)
    if chosen and rejected:
        yield Row(
            kind="dpo",
            problem_id=problem.id,
            prompt=_ask_for_thought(problem, path),
            completion=chosen,
            rejected=rejected,
        )


def _value(node: Node) -> float:
    return node.value or 0.0


def _ask_for_thought(problem: Problem, before: Sequence[Thought]) -> tuple[dict[str, str], ...]:
    return _messages(propose_thoughts(problem, before, None, 0, 1))


def _messages(messages: Any) -> tuple[dict[str, str], ...]:
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    return tuple({"role": roles[message.type], "content": message.content} for message in messages)


# --- replies as the search reads them ------------------------------------------------------------


def reply_with_thought(thought: Thought) -> str:
    """The reply that the search reads as this thought; empty where it reads none as it."""
    thought = thought.model_copy(update={"text": thought.text.strip()})
    step = {"thought": thought.text, "reasonableness": thought.prior}
    reply = json.dumps({"thoughts": [step]}, ensure_ascii=False)
    return reply if read_thoughts(_answer(reply, "expand", thought.agent), 1) == (thought,) else ""


def reply_with_program(program: str, problem: Problem) -> str:
    """The reply that the search reads as this program; empty where it reads none as it."""
    longest = max(map(len, re.findall("`+", program)), default=0)
    fence = "`" * max(3, longest + 1)  # One that the program itself, as in a docstring, does not close.
    reply = f"{fence}python\n{program.strip()}\n{fence}"
    draft = read_draft(_answer(reply, "boost", ""), problem)
    same = draft is not None and program_key(draft.code) == program_key(program)
    return reply if program.strip() and same else ""


def _answer(text: str, purpose: Purpose, agent: str) -> Answer:
    call = Call(agent=agent, purpose=purpose, node="0", request=Request(messages=()))
    return Answer(call=call, reply=Reply(text=text, usage=Usage()))
