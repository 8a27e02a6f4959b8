"""The tables of terminal views: the tree, folded to a height, and the agents."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from bdc_agents.config import Budget
from bdc_agents.types import Node, Usage
from bdc_agents.view.board import BRIEF_SECONDS, AgentRow, Board
from bdc_agents.view.text import (
    UNCUT,
    called,
    clock,
    colour_of,
    count,
    money,
    one_line,
    pass_bar,
    plural,
    share,
    value_colour,
)

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
GUIDES = ("│  ", "├─ ", "└─ ")
MARKS = {"best": "★", "refined": "↻", "pruned": "✗", "closed": "■"}
ASCII_SPINNER = "|/-\\"
ASCII_GUIDES = ("|  ", "|- ", "`- ")
ASCII_MARKS = {"best": "*", "refined": "r", "pruned": "x", "closed": "#"}
WIDE = 100
"""Columns of a terminal that shows priors and node ids too: with fewer the thoughts would be cut short."""


@dataclass(frozen=True)
class Line:
    """A node of the folded tree, with its indentation and the number of its hidden children."""

    node: Node
    guides: tuple[bool, ...]
    hidden: int


def fold(board: Board, room: int | None) -> list[Line]:
    """The nodes that fit into `room` lines, parents first.

    The path to the best program has precedence, then nodes that are being worked on, then those that
    changed last; None shows all. The cost depends on the room, not on the tree.
    """
    if "0" not in board.nodes:
        return []
    everything = room is None or len(board.nodes) <= room
    shown = set(board.nodes) if everything else _choose(board, max(room or 1, 1))
    return _lines(board, shown)


def _choose(board: Board, room: int) -> set[str]:
    shown = {"0"}
    wanted = [*([board.best_node] if board.best_node else []), *board.waiting]
    for node_id in wanted:
        _show(board, node_id, shown, room)
    for node_id in reversed(board.recent):
        if len(shown) >= room:
            break
        _show(board, node_id, shown, room)
    return shown


def _show(board: Board, node_id: str, shown: set[str], room: int) -> None:
    """Shows a node with its path, if all of it fits."""
    steps = node_id.split(".")
    path = {".".join(steps[: i + 1]) for i in range(len(steps))}
    if len(shown | path) <= room and path <= board.nodes.keys():
        shown |= path


def _lines(board: Board, shown: set[str]) -> list[Line]:
    lines: list[Line] = []
    stack: list[tuple[str, tuple[bool, ...]]] = [("0", ())]
    while stack:
        node_id, guides = stack.pop()
        node = board.nodes[node_id]
        children = [child for child in node.children if child in shown]
        lines.append(Line(node, guides, len(node.children) - len(children)))
        for place, child in reversed(list(enumerate(children, 1))):
            stack.append((child, (*guides, place == len(children))))
    return lines


class TreeView:
    """A search tree as a table, one line a node.

    Args:
        board: The search.
        height: Lines at most, the heading included; None shows every node.
        now: Seconds that turn the spinner.
    """

    def __init__(self, board: Board, height: int | None = None, now: float = 0.0) -> None:
        self.board = board
        self.height = height
        self.now = now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.max_width >= WIDE
        table = spread_table(options)
        # Numbers have fixed widths and names are cut short, so that the thoughts get the rest of the line.
        table.add_column("thought", ratio=1, no_wrap=True, overflow="ellipsis")
        table.add_column("by", no_wrap=True, overflow="ellipsis", max_width=24 if wide else 10)
        if wide:
            table.add_column("node", no_wrap=True, overflow="ellipsis", max_width=12, style="dim")
            table.add_column("P", no_wrap=True, justify="right", min_width=4)
        for name, width in (("V", 4), ("Q", 4), ("N", 2)):
            table.add_column(name, no_wrap=True, justify="right", min_width=width)
        table.add_column("tests", no_wrap=True, overflow="ellipsis", min_width=9)
        room = None if self.height is None else max(self.height - 1, 1)
        for line in fold(self.board, room):
            table.add_row(*self._cells(line, wide, options.ascii_only))
        yield table

    def _cells(self, line: Line, wide: bool, ascii_only: bool) -> list[Text]:
        node = line.node
        author = node.thought.agent if node.thought else ""
        cells = [
            self._thought(line, ascii_only),
            Text(one_line(called(author, self._names), 40), colour_of(author, self._names)),
        ]
        if wide:
            prior = f"{node.thought.prior:.2f}" if node.thought else ""
            cells += [Text(node.id), Text(prior, "dim")]
        returned = node.best_return if node.returns else None
        style = "dim" if node.pruned else ""
        return [
            *cells,
            Text(share(node.value), value_colour(node.value)),
            Text(share(returned), value_colour(returned)),
            Text(str(node.visits), style),
            pass_bar(*self.board.passed(node), ascii_only),
        ]

    @property
    def _names(self) -> Sequence[str]:
        return list(self.board.agents)

    def _thought(self, line: Line, ascii_only: bool) -> Text:
        node = line.node
        best = node.id == self.board.best_node
        style = "bold" if best else "dim strike" if node.pruned else "dim" if node.closed else ""
        text = node.thought.text if node.thought else "(the problem itself)"
        parts = [
            (_guides(line.guides, ascii_only), "dim"),
            (self._marks(node, best, ascii_only), "bold green" if best else "yellow"),
            (one_line(text, 200), style),
        ]
        if line.hidden:
            parts.insert(2, (f"[+{line.hidden}] ", "dim"))
        return Text.assemble(*parts)

    def _marks(self, node: Node, best: bool, ascii_only: bool) -> str:
        marks = ASCII_MARKS if ascii_only else MARKS
        spinner = ASCII_SPINNER if ascii_only else SPINNER
        shown = spinner[int(self.now * 8) % len(spinner)] if self.board.waiting.get(node.id) else ""
        shown += marks["best"] if best else ""
        shown += marks["refined"] if node.refined else ""
        shown += marks["pruned"] if node.pruned else marks["closed"] if node.closed else ""
        return f"{shown} " if shown else ""


def _guides(guides: tuple[bool, ...], ascii_only: bool) -> str:
    if not guides:
        return ""
    bar, branch, last = ASCII_GUIDES if ascii_only else GUIDES
    return "".join("   " if end else bar for end in guides[:-1]) + (last if guides[-1] else branch)


def legend(ascii_only: bool = False) -> Text:
    """The meaning of the marks before a thought."""
    marks = ASCII_MARKS if ascii_only else MARKS
    return Text("   ".join(f"{mark} {name}" for name, mark in marks.items()), "dim")


def spread_table(options: ConsoleOptions) -> Table:
    """A table as wide as the terminal; in a file as wide as what it holds, so that no line is padded."""
    spread = options.max_width < UNCUT
    return Table(box=None, expand=spread, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")


class AgentsView:
    """What each agent did: calls, tokens, speed, cost and failures.

    Args:
        board: The search.
        height: Lines at most, the heading included; None shows every agent.
    """

    def __init__(self, board: Board, height: int | None = None) -> None:
        self.board = board
        self.height = height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        live = self.board.ended is None
        table = spread_table(options)
        table.add_column("agent", ratio=1, no_wrap=True, overflow="ellipsis")
        for name in ("calls", *(["open"] if live else []), "tokens", "tok/s", "cost", "unread"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("state", ratio=1, no_wrap=True, overflow="ellipsis")
        rows = list(self.board.agents.items())
        room = len(rows) if self.height is None else max(self.height - 1, 1)
        for name, row in rows[: room if len(rows) <= room else room - 1]:
            table.add_row(*_agent_cells(name, row, self.board, live))
        if len(rows) > room:
            table.add_row(Text(f"and {plural(len(rows) - room + 1, 'more agent')}", "dim"))
        yield table


def _agent_cells(name: str, row: AgentRow, board: Board, live: bool) -> list[Text]:
    used = row.usage
    speed = row.speed(board.clock()) if live else _finished_speed(row)
    numbers = [count(used.calls)]
    if live:
        numbers.append(str(row.in_flight or ""))
    numbers += [count(used.tokens), f"{speed:.0f}" if speed else "-", money(used.cost)]
    numbers.append(str(used.malformed or ""))
    return [
        Text(one_line(called(name, board.agents), 60), colour_of(name, list(board.agents))),
        *(Text(number) for number in numbers),
        _agent_state(row),
    ]


def _finished_speed(row: AgentRow) -> float | None:
    used = row.usage
    return used.completion_tokens / used.seconds if used.seconds > BRIEF_SECONDS and not used.cached else None


def _agent_state(row: AgentRow) -> Text:
    if row.set_aside:
        return Text(f"set aside: {one_line(row.set_aside, 200)}", "red")
    parts = [f"{row.usage.cached} from cache" if row.usage.cached else ""]
    parts.append(f"{row.usage.failed} failed" if row.usage.failed else "")
    if row.usage.truncated or row.cut_at:
        cut = row.usage.truncated or 1
        raising = ", raise max_tokens" if row.short else ""
        parts.append(f"{cut} cut off" + (f" at {row.cut_at} tokens{raising}" if row.cut_at else ""))
    parts.append(f"{row.usage.misreported} misreported" if row.usage.misreported else "")
    return Text(", ".join(part for part in parts if part), "dim")


def footer(board: Board, budget: Budget | None = None) -> Text:
    """Time, the best program so far, what the search waits for, and what it has spent, on one line.

    Args:
        budget: What it may spend; None for what no view was told.
    """
    parts = [(clock(board.seconds), "bold"), _best(board)]
    if board.ended is None:
        parts.append((_waits_for(board), ""))
    parts.append((_spent(board.usage, budget or Budget()), ""))
    return Text("  ·  ", "dim", no_wrap=True, overflow="ellipsis").join(Text(*part) for part in parts)


def _waits_for(board: Board) -> str:
    """The bottleneck of the moment, and for how much of the time it was the agents or the sandbox."""
    agents = round(100 * board.waited / board.seconds) if board.seconds >= BRIEF_SECONDS else 0
    if board.in_flight:
        return f"waits for agents, {plural(board.in_flight, 'call')} in flight ({agents} % of the time)"
    return f"runs programs ({100 - agents} % of the time)"


def _spent(used: Usage, budget: Budget) -> str:
    """Calls, tokens and money, each with its cap where there is one."""
    calls = f"{used.calls} of {plural(budget.calls, 'call')}" if budget.calls else plural(used.calls, "call")
    tokens = f"{count(used.tokens)}{f' of {count(budget.tokens)}' if budget.tokens else ''} tokens"
    dollars = f"{money(used.cost)}{f' of {money(budget.money)}' if budget.money else ''}"
    return f"{calls}, {tokens}, {dollars}"


def _best(board: Board) -> tuple[str, str]:
    best = board.best
    if best is None:
        return "no program has run yet", "dim"
    passed, total = board.passes.get(best.program, (0, 0))
    if not total:
        return "no program has run to its end yet", "dim"
    author = one_line(called(best.agent, board.agents), 30)
    return f"best {passed}/{total} by {author}", value_colour(best.reward)
