"""What a row of boost.py keeps of a solver's answer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from bdc_agents.evaluate.solvers.protocol import Answer
from bdc_agents.sandbox import Executor, job_for
from bdc_agents.types import Attempt, Node, Task, Trace

Row = dict[str, Any]


async def row_of(task: Task, answer: Answer, executor: Executor) -> Row:
    """The row of an answer; hidden tests judge the handed-over program, and all that pass the public ones.

    `passing` and `right` count distinct programs that pass the public tests, and the hidden ones as well: a
    perfect choice would solve each problem with a right one.
    """
    trace, tests = answer.trace, task.hidden.reveal()
    solution = trace.solution
    passing = {
        program.code for program in trace.programs.values() if program.verdict and program.verdict.passed
    }
    if solution.solved:
        passing.add(solution.code)
    right = {
        code for code in sorted(passing) if (await executor.run(job_for(task.problem, code, tests))).passed
    }
    used = solution.usage.values()
    return {
        "problem": task.problem.id,
        "public": solution.solved,
        "hidden": solution.solved and solution.code in right,
        "passing": len(passing),
        "right": len(right),
        "calls": sum(usage.calls for usage in used),
        "kept": sum(usage.cached for usage in used),
        "failed": sum(usage.failed for usage in used),
        "tokens": sum(usage.tokens for usage in used),
        "seconds": round(solution.seconds, 1),
        "answered_at": answer.candidates[-1].after.calls if answer.candidates else 0,
        "stopped_by": solution.stopped_by,
        "depth": solution.tree.depth,
        "programs": solution.tree.programs,
        "agent": solution.agent or "",
        **parents(trace),
        "moves": dict(sorted(moves(trace).items())),
    }


def parents(trace: Trace) -> Row:
    """Who wrote what the handed-over program began from, and who took part on its path.

    `parent` wrote the thought it follows or the program it mends, and is empty for a direct answer; `line`
    names the authors of all thoughts and mended programs on its path.
    """
    nodes = {node.id: node for node in trace.nodes}
    node = nodes.get(trace.solution.node or "")
    line = [*_line(node, nodes)] if node else []
    return {"parent": line[0] if line else "", "line": sorted(set(line))}


def _line(node: Node | None, nodes: Mapping[str, Node]) -> Iterator[str]:
    while node is not None and node.parent is not None:
        above = nodes[node.parent]
        mended = next((one.agent for one in above.attempts if node.mends and one.program == node.mends), "")
        if mended or node.thought:
            yield mended or (node.thought.agent if node.thought else "")
        node = above


def moves(trace: Trace) -> dict[str, list[int]]:
    """Calls of each move by each agent, and how many of them gave a program that passes the public tests.

    A move that makes thoughts gives no program. Corrections of self-repair are repairs, all but the first.
    """
    made, passed = Counter[str](), Counter[str]()
    for call in trace.calls:
        if call.purpose in ("expand", "merge", "refine", "judge", "tests"):
            made[f"{call.purpose}/{call.agent}"] += 1
    for kind, attempt in _attempts(trace):
        made[f"{kind}/{attempt.agent}"] += 1
        passed[f"{kind}/{attempt.agent}"] += attempt.reward >= 1
    return {name: [count, passed[name]] for name, count in made.items()}


def _attempts(trace: Trace) -> Iterator[tuple[str, Attempt]]:
    corrects = str(trace.settings.get("solver", "")).startswith("repair:")
    for node in trace.nodes:
        for number, attempt in enumerate(node.attempts):
            if node.parent is not None:
                yield _kind(node, number), attempt
            else:
                yield "repair" if corrects and number else "answer", attempt


def _kind(node: Node, number: int) -> str:
    """A repair's node is made with its program; further ones of the node are written for its diagnosis."""
    return node.kind if node.kind and number == 0 else "write"
