"""Shows a finished search in the terminal: its tree, its result and its usage."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from bdc_agents.types import CallRecord, Solution, Trace
from bdc_agents.view.board import Board
from bdc_agents.view.rows import TreeView, agents_table, footer, legend
from bdc_agents.view.text import (
    called,
    colour_of,
    decisions,
    one_line,
    outcome,
    passes,
    plural,
    value_colour,
    why_ended,
    with_short_names,
)

_SHOWN = 75
"""Characters of a value: two of them fit into two lines of a terminal."""
_UNREAD, _SAID = 3, 150
"""Unreadable replies that a terminal shows, and characters of each: two lines."""
_UNCONFIRMED = (
    "  not confirmed: the search ended before a second program that does the same on further inputs was found"
)


def render_tree(trace: Trace, height: int | None = None) -> RenderableType:
    """The search tree, one line a node.

    Args:
        trace: A finished or interrupted search.
        height: Lines at most; a larger tree is folded to the best path and what changed last.
    """
    return TreeView(Board.of(trace), height)


def summary(trace: Trace) -> RenderableType:
    """A search's result, its usage by agent, and which agent helped which."""
    board, solution = Board.of(trace), trace.solution
    why = failing_test(solution) if not solution.solved else _UNCONFIRMED if solution.unconfirmed else ""
    parts: list[RenderableType] = [result_line(solution), *filter(None, [Text(why)]), footer(board)]
    if trace.reviews:
        parts.append(Text(f"  a person decided: {decisions(trace.reviews)}"))
    parts += [Text(), agents_table(board)]
    authors = [author for author in solution.matrix if author]
    if authors:
        parts += [Text(), matrix_table(solution)]
    if solution.notes:
        parts += [Text(), *_notes(solution)]
    unread = [call for call in trace.calls if call.unread]
    if unread:
        parts += [Text(), *unread_replies(unread)]
    return Group(*parts)


def _notes(solution: Solution) -> Iterator[Text]:
    for note in solution.notes:
        yield Text(f"note: {one_line(with_short_names(note, solution.usage))}", "yellow")


def unread_replies(calls: Sequence[CallRecord]) -> list[Text]:
    """The first replies in which nothing was found: whose, where, why, and how each begins."""
    names = [call.agent for call in calls]
    lines = [Text(f"{plural(len(calls), 'reply', 'replies')} held nothing that could be read:", "yellow")]
    for call in calls[:_UNREAD]:
        agent = one_line(called(call.agent, names), 24)
        told = f"  {agent}, {call.purpose} at node {one_line(call.node, 24)}: "
        lines.append(Text.assemble((told, colour_of(call.agent, names)), one_line(call.unread, 160)))
        lines.append(Text(f"    {one_line(call.said, _SAID) or '(nothing)'}", "dim"))
    if len(calls) > _UNREAD:
        lines.append(Text(f"  and {len(calls) - _UNREAD} more; bdc view --html shows them", "dim"))
    return lines


def result_line(solution: Solution) -> Text:
    """Says whether the problem was solved, by whom and where, and what ended the search."""
    passed, total = passes(solution.verdict)
    calls = sum(used.calls for used in solution.usage.values())
    colour = "yellow" if solution.unconfirmed else "green" if solution.solved else "red"
    verdict = (outcome(solution, calls), f"bold {colour}")
    parts = [
        (f"{one_line(solution.problem_id, 80)}: ", "bold"),
        verdict,
        f"  {passed}/{total} public tests" if total else "  no program has run",
    ]
    if solution.agent is not None:
        where = f" at node {solution.node}" if solution.node else ""
        parts.append(f", by {one_line(called(solution.agent, solution.usage), 40)}{where}")
    more = (why_ended(solution.stopped_by), f"sandbox: {one_line(solution.tier, 40) or 'none'}")
    parts.append((f"  ({'; '.join(filter(None, more))})", "dim"))
    return Text.assemble(*parts)


def failing_test(solution: Solution) -> str:
    """The first test that the program fails: what it was given, what is right, and what came instead."""
    failed = solution.verdict.failures if solution.verdict else ()
    if not failed:
        return ""
    first = failed[0]
    line = f" (line {first.line})" if first.line else ""
    # A wrong value needs no name; an error without words is told by how the test ended.
    told = {
        "expected": one_line(first.expected, _SHOWN),
        "got": one_line(first.actual, _SHOWN),
        "error": f"{one_line(first.error, 2 * _SHOWN)}{line}" if first.error else "",
        "ended": first.outcome if not (first.error or first.outcome == "wrong") else "",
    }
    what = "; ".join(f"{name}: {text}" for name, text in told.items() if text)
    return f"  fails: {one_line(first.shown, 2 * _SHOWN)}\n  {what}".rstrip()


def matrix_table(solution: Solution) -> Table:
    """Mean reward by the author of the last thought and by the coder."""
    coders = [name for name in solution.usage if any(name in row for row in solution.matrix.values())]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("thought by \\ program by")
    names = list(solution.usage)
    for coder in coders:
        head = Text(one_line(called(coder, names), 24), colour_of(coder, names))
        table.add_column(head, justify="right")
    for author, row in solution.matrix.items():
        cells = (_reward(row.get(coder)) for coder in coders)
        shown = one_line(called(author, names), 24) or "(no thought)"
        table.add_row(Text(shown, "" if author else "dim"), *cells)
    return table


def _reward(value: float | None) -> Text:
    return Text("-" if value is None else f"{value:.2f}", value_colour(value))


def tree_report(trace: Trace, height: int | None = None) -> RenderableType:
    """Tree, legend and summary of one problem."""
    return Group(render_tree(trace, height), legend(), Text(), summary(trace))


def runs_table(traces: Sequence[Trace]) -> Table:
    """One line a problem, for a run that holds several."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in ("problem", "result", "tests", "by", "calls", "seconds", "stopped by"):
        justify = "right" if name in {"calls", "seconds", "tests"} else "left"
        # `--problem` needs the problem's whole id, so the agent's name is cut short.
        width = 14 if name == "by" else None
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
    for trace in traces:
        solution = trace.solution
        passed, total = passes(solution.verdict)
        table.add_row(
            Text(one_line(solution.problem_id, 60)),
            Text("solved", "green") if solution.solved else Text("not solved", "red"),
            f"{passed}/{total}",
            Text(one_line(called(solution.agent or "-", solution.usage), 30)),
            str(sum(used.calls for used in solution.usage.values())),
            f"{solution.seconds:.1f}",
            solution.stopped_by,
        )
    table.caption = plural(len(traces), "problem")
    return table
