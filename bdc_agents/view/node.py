"""One node of a finished search in the terminal: how it came to be, and its programs."""

from collections.abc import Iterator, Sequence
from difflib import unified_diff

from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.text import Text

from bdc_agents.errors import UsageError, unknown
from bdc_agents.types import Attempt, CallRecord, Node, Program, Trace, Tree
from bdc_agents.view.text import (
    called,
    colour_of,
    count,
    decision,
    one_line,
    plural,
    printable,
    share,
    value_colour,
)
from bdc_agents.view.tree import failing_test

_MOVES = {
    "answer": "a program for the problem alone",
    "think": "the next thoughts",
    "write": "a program for the thoughts",
    "repair": "a repair of a failed program",
    "rethink": "a fresh start from a failed program's facts",
    "split": "the output on the input that divides programs",
}


def node_report(trace: Trace, node_id: str) -> RenderableType:
    """A node: the path of thoughts to it, its values, the calls made there, and its programs.

    A program that mends another is shown as the difference to it.

    Raises:
        UsageError: If there is no such node.
    """
    nodes = {node.id: node for node in trace.nodes}
    if node_id not in nodes:
        raise UsageError(unknown("node", node_id, nodes) + f"; {trace.problem.id} has {len(nodes)}")
    node, names = nodes[node_id], list(trace.solution.usage)
    path = Tree(patched=nodes).path(node_id)
    parts: list[RenderableType] = [*_path(path, names), _values(node)]
    decided = [decision(row) for row in trace.reviews if row.node == node_id]
    parts += [Text(f"a person decided: {one}") for one in decided]
    calls = [call for call in trace.calls if call.node == node_id]
    if calls:
        parts += [Text(), *_calls(calls, names)]
    for number, attempt in enumerate(node.attempts, 1):
        parts += [Text(), *_attempt(trace, node, attempt, f"program {number} of {len(node.attempts)}", names)]
    if not node.attempts:
        parts += [Text(), Text("no program was written for this node", "dim")]
    return Group(*parts)


def _path(path: Sequence[Node], names: Sequence[str]) -> Iterator[Text]:
    yield Text("node 0, the problem itself" if len(path) == 1 else f"node {path[-1].id}", "bold")
    for node in path:
        if node.thought:
            yield _by(f"  {node.id}, by ", node.thought.agent, names, ":")
            yield Text(_indented(node.thought.text, "    "))


def _values(node: Node) -> Text:
    best = node.best_return if node.returns else None
    parts = [
        f"V {share(node.value)}",
        f"Q {share(best)}",
        f"N {node.visits}",
        "refined" if node.refined else "",
        "pruned" if node.pruned else "closed" if node.closed else "",
        plural(len(node.children), "child", "children") if node.children else "",
    ]
    return Text("  ".join(filter(None, parts)), "dim")


def _calls(calls: Sequence[CallRecord], names: Sequence[str]) -> Iterator[Text]:
    yield Text("asked from here:", "bold")
    for call in calls:
        what = _MOVES.get(call.move.kind, call.purpose) if call.move else call.purpose
        told = [
            f" for {what}",
            f"believed gain {call.move.gain:.2f}" if call.move else "",
            f"{count(call.prompt_tokens + call.completion_tokens)} tokens",
            "from the cache" if call.cached else f"{call.seconds:.1f} s",
            f"failed: {one_line(call.error, 120)}" if call.error else "",
            f"unread: {one_line(call.unread, 120)}" if call.unread else "",
        ]
        yield _by(f"  {call.order + 1}. ", call.agent, names, "; ".join(filter(None, told)))


def _attempt(
    trace: Trace, node: Node, attempt: Attempt, title: str, names: Sequence[str]
) -> Iterator[RenderableType]:
    program = trace.programs.get(attempt.program)
    answer = " (the answer)" if program and program.code == trace.solution.code else ""
    yield _by(f"{title}{answer}, by ", attempt.agent, names, f": reward {attempt.reward:.2f}", "bold")
    if program is None:
        yield Text("  no code in the reply", "dim")
        return
    if why := failing_test(program.verdict):
        yield Text(why, value_colour(attempt.reward))
    mended = trace.programs.get(node.mends)
    yield from _code(program, mended)


def _code(program: Program, mended: Program | None) -> Iterator[RenderableType]:
    if mended is None or mended.code == program.code:
        yield Syntax(printable(program.code), "python", background_color="default", word_wrap=True)
        return
    lines = unified_diff(
        mended.code.splitlines(), program.code.splitlines(), "mended", "program", lineterm=""
    )
    yield Syntax(printable("\n".join(lines)), "diff", background_color="default", word_wrap=True)


def _by(before: str, agent: str, names: Sequence[str], after: str, style: str = "") -> Text:
    shown = (one_line(called(agent, names), 60), colour_of(agent, names))
    return Text.assemble((before, style), shown, (after, style))


def _indented(text: str, by: str) -> str:
    return "\n".join(by + line for line in printable(text).splitlines())
