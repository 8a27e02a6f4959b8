"""Traces: a finished search as data, and the training rows that a kept one gives.

A trace is kept for training when its program passes all hidden tests too; that is decided where
hidden tests can be read, not here.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Literal

from bdc_agents.prompts import propose_thoughts, write_program
from bdc_agents.search.finish import assemble, written_at
from bdc_agents.search.state import SearchState
from bdc_agents.types import Frozen, Node, Problem, Program, Solution, Trace, Tree

MOST = 4
"""Programs of one problem that are learned from, at most."""


class Row(Frozen):
    """One training example, as chat messages.

    Args:
        kind: `p2t` problem to thoughts, `t2s` problem and thoughts to program, `direct` problem
            to program, `dpo` a step that helped against one that did not.
        prompt: Messages as `{"role", "content"}`.
        completion: The reply to learn; the chosen one of a pair.
        rejected: The other reply of a `dpo` pair.
    """

    kind: Literal["p2t", "t2s", "direct", "dpo"]
    problem_id: str
    prompt: tuple[dict[str, str], ...]
    completion: str
    rejected: str | None = None


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
        settings=dict(settings or {}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        package=version("bdc-agents"),
    )


def extract_traces(trace: Trace) -> tuple[Row, ...]:
    """The training rows of a solved problem; none where no program may be learned from.

    Args:
        trace: Its decision names the programs that pass the hidden tests too; one without a decision
            is taken to be right where it passes the public tests.

    Returns:
        Problem to thoughts and thoughts to program, or problem to program where no thought was
        needed, for each program up to `MOST`; then a pair for each step that was better than its
        parent and than a sibling.
    """
    tree = Tree(patched={node.id: node for node in trace.nodes})
    learned = learned_programs(trace)
    rows = [row for code, node in learned for row in _sft_rows(trace.problem, tree, code, node)]
    # Where other answers are right too, a step that fails its tests may be none the worse.
    pairs = _pairs(trace, tree) if trace.solution.solved and not trace.problem.unjudged else ()
    return (*(row for number, row in enumerate(rows) if row not in rows[:number]), *pairs)


def learned_programs(trace: Trace) -> Iterator[tuple[str, str]]:
    """The programs to learn from, and where they were written first."""
    solution = trace.solution
    if trace.decision is None or not trace.decision.right:
        if solution.solved and solution.node is not None:
            yield solution.code, solution.node
        return
    for key in trace.decision.right[:MOST]:
        yield trace.programs[key].code, written_at(trace.nodes, key) or "0"


def direct_row(problem: Problem, completion: str) -> Row:
    """From the problem alone to a reply with a program."""
    ask = _messages(write_program(problem, ()))
    return Row(kind="direct", problem_id=problem.id, prompt=ask, completion=completion)


def _sft_rows(problem: Problem, tree: Tree, program: str, node_id: str) -> Iterator[Row]:
    code = _fenced(program)
    thoughts = tuple(node.thought for node in tree.path(node_id) if node.thought)
    if not thoughts:
        yield direct_row(problem, code)
        return
    ask = _messages(write_program(problem, thoughts))
    plan = "\n".join(f"{number}. {thought.text}" for number, thought in enumerate(thoughts, 1))
    think = _messages(propose_thoughts(problem, (), None, 0, 1))
    yield Row(kind="p2t", problem_id=problem.id, prompt=think, completion=plan)
    yield Row(kind="t2s", problem_id=problem.id, prompt=ask, completion=code)


def _pairs(trace: Trace, tree: Tree) -> Iterator[Row]:
    """Children better than their parent, each against its siblings that are worse than it."""
    for parent in trace.nodes:
        children = [tree[key] for key in parent.children if tree[key].value is not None]
        for child in children:
            if _value(child) <= _value(parent):
                continue
            for worse in (other for other in children if _value(other) < _value(child)):
                yield _pair(trace, tree, parent, child, worse)


def _pair(trace: Trace, tree: Tree, parent: Node, child: Node, worse: Node) -> Row:
    path = tuple(node.thought for node in tree.path(parent.id) if node.thought)
    return Row(
        kind="dpo",
        problem_id=trace.problem.id,
        prompt=_messages(propose_thoughts(trace.problem, path, None, 0, 1)),
        completion=child.thought.text if child.thought else "",
        rejected=worse.thought.text if worse.thought else "",
    )


def _value(node: Node) -> float:
    return node.value or 0.0


def _fenced(code: str) -> str:
    return f"```python\n{code.strip()}\n```"


def _messages(messages: Any) -> tuple[dict[str, str], ...]:
    roles = {"system": "system", "human": "user", "ai": "assistant"}
    return tuple({"role": roles[message.type], "content": message.content} for message in messages)
