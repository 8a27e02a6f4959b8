"""Shows a finished search in the terminal: its tree, its result and its usage."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from bdc_agents.types import CallRecord, Review, Solution, Trace, Verdict
from bdc_agents.view.board import Board
from bdc_agents.view.rows import WIDE, AgentsView, TreeView, footer, legend, spread_table
from bdc_agents.view.text import (
    called,
    colour_of,
    decision,
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
_NARROW_ID = 36
"""Columns of a problem's id in a narrow terminal: the reason why it was not solved gets as many."""
_UNREAD, _SAID = 3, 150
"""Unreadable replies that a terminal shows, and characters of each: two lines."""
_REVIEWS = 12
"""Decisions of a person that a terminal shows: half a screen."""
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
    why = (
        failing_test(solution.verdict)
        if not solution.solved
        else _UNCONFIRMED
        if solution.unconfirmed
        else ""
    )
    parts: list[RenderableType] = [result_line(solution), *filter(None, [Text(why)]), footer(board)]
    if trace.reviews:
        parts += [Text(line) for line in _reviews(trace.reviews)]
    parts += [Text(), AgentsView(board)]
    authors = [author for author in solution.matrix if author]
    if authors:
        parts += [Text(), matrix_table(solution)]
    if solution.notes:
        parts += [Text(), *_notes(solution)]
    unread = [call for call in trace.calls if call.unread]
    if unread:
        parts += [Text(), *unread_replies(unread)]
    return Group(*parts)


def _reviews(reviews: Sequence[Review]) -> Iterator[str]:
    """How often a person decided what, and each decision but for plain approvals of thoughts."""
    yield f"  a person decided: {decisions(reviews)}"
    told = [row for row in reviews if row.asked != "thoughts" or row.decision != "approve"]
    yield from (f"    after {plural(row.rollouts, 'rollout')}: {decision(row)}" for row in told[:_REVIEWS])
    if len(told) > _REVIEWS:
        yield f"    and {len(told) - _REVIEWS} more; bdc view --node tells those of a node"


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


def failing_test(verdict: Verdict | None) -> str:
    """The first test that a program fails: what it was given, what is right, and what came instead."""
    failed = verdict.failures if verdict else ()
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


def why_unsolved(solution: Solution) -> str:
    """Why a problem was not solved, in a line: what its best program got wrong, or that there is none."""
    if solution.solved:
        sure = "not compared" if solution.confirmed is None else ""
        return "not confirmed" if solution.unconfirmed else sure
    ended = why_ended(solution.stopped_by)
    failed = solution.verdict.failures if solution.verdict else ()
    if not failed:
        return "; ".join(filter(None, ("no program was read" if not solution.code else "", ended)))
    first = failed[0]
    wrong = f"{one_line(first.expected, 30)} expected, got {one_line(first.actual, 30)}"
    fault = one_line(first.error, 60) or (wrong if first.outcome == "wrong" else first.outcome)
    return f"{one_line(first.shown, 40)}: {fault}"


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


class RunsView:
    """One line a problem, for a run that holds several; a narrow terminal gets fewer columns."""

    def __init__(self, traces: Sequence[Trace]) -> None:
        self.traces = traces

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        table = spread_table(options)
        for name in ("problem", "result", "tests", *(("by",) if wide else ()), "calls"):
            justify = "right" if name in {"calls", "tests"} else "left"
            # `--problem` needs the end of the problem's id, so it is whole where it can be.
            width = 14 if name == "by" else _NARROW_ID if name == "problem" and not wide else None
            table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis", max_width=width)
        if wide:
            table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("why", ratio=1, no_wrap=True, overflow="ellipsis")
        for trace in self.traces:
            table.add_row(*self._cells(trace.solution, wide))
        yield table
        yield Text(plural(len(self.traces), "problem"), "dim")

    def _cells(self, solution: Solution, wide: bool) -> Iterator[Text | str]:
        passed, total = passes(solution.verdict)
        yield Text(one_line(solution.problem_id, 60))
        colour = "red" if not solution.solved else "yellow" if solution.unconfirmed else "green"
        yield Text("solved" if solution.solved else "not solved" if wide else "failed", colour)
        yield f"{passed}/{total}"
        if wide:
            yield Text(one_line(called(solution.agent or "-", solution.usage), 30))
        yield str(sum(used.calls for used in solution.usage.values()))
        if wide:
            yield f"{solution.seconds:.1f}"
        yield Text(why_unsolved(solution), "dim")
