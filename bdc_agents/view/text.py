"""Makes texts and numbers safe and short for people's screens."""

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from bdc_agents.types import Review, Solution, Verdict
from bdc_agents.types.names import called as called
from bdc_agents.types.names import with_short_names as with_short_names

AGENT_COLOURS = ("cyan", "magenta", "yellow", "blue", "green", "bright_red", "bright_cyan", "bright_magenta")
UNCUT = 500
"""Columns of what is no terminal: no line of a report is longer, so a pipe or a file gets all of each."""
BAR_CELLS = 5
"""Cells of a bar: a fifth of the tests each, in a narrow column."""


def printable(text: str) -> str:
    """`text` without control characters and direction marks, which a terminal would obey.

    Newlines and tabs stay; other unprintable characters become replacement marks.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else _stand_in(c) for c in text)


def _stand_in(character: str) -> str:
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def one_line(text: str, limit: int = 400) -> str:
    """The text on one line, safe to print, cut after `limit` characters.

    Callers pass what suits their line: 24 to 60 for a name in a table, 160 to 200 for a sentence.
    """
    line = " ".join(printable(text[: 2 * limit]).split())
    return line if len(line) <= limit and len(text) <= 2 * limit else line[:limit].rstrip() + "..."


def colour_of(agent: str, agents: Sequence[str]) -> str:
    """The colour that stands for an agent, the same everywhere."""
    return AGENT_COLOURS[list(agents).index(agent) % len(AGENT_COLOURS)] if agent in agents else "white"


def value_colour(value: float | None) -> str:
    """Red, yellow or green for a share in [0, 1]; dim where there is none.

    Yellow begins at 0.4, a little below half: a program that passes two of five tests is on its way.
    """
    if value is None:
        return "dim"
    return "green" if value >= 1 else "yellow" if value >= 0.4 else "red"


def share(value: float | None) -> str:
    """A number in [0, 1] in four cells, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def count(number: int) -> str:
    """A count in at most six cells: 950, 8.1k, 2.3M."""
    if number < 10_000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def money(dollars: float | None) -> str:
    """US dollars, or a dash if no price is known."""
    if dollars is None:
        return "-"
    if 0 < dollars < 0.0001:
        return "<$0.0001"
    return f"${dollars:.2f}" if dollars >= 1 or dollars == 0 else f"${dollars:.4f}"


def clock(seconds: float) -> str:
    """A duration as minutes and seconds, with hours if there are any."""
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def plural(number: int, noun: str, many: str = "") -> str:
    """The number with its noun: 1 call, 2 calls; `many` for nouns such as reply, replies."""
    return f"{number} {noun}" if number == 1 else f"{number} {many or noun + 's'}"


_DECIDED = {"approve": "approved", "edit": "edited", "reject": "refused", "respond": "answered"}
_ABOUT = {"thoughts": "thought", "accept": "program", "budget": "budget"}


def decisions(reviews: Sequence[Review]) -> str:
    """What a person decided, in a line: 2 thoughts approved, 1 program refused; empty if nothing."""
    found = Counter((row.asked, row.decision) for row in reviews)
    return ", ".join(
        f"{plural(times, _ABOUT[asked])} {_DECIDED[decision]}" for (asked, decision), times in found.items()
    )


def decision(row: Review) -> str:
    """One decision of a person in a line: about what, which, and in what words."""
    text = one_line(row.text, 160)
    if row.asked == "budget":
        units = {"money": "dollars"}
        caps = ", ".join(f"{cap:,} {units.get(name, name)}" for name, cap in row.caps.items())
        return "no more budget" if row.decision == "reject" else f"the budget is {caps} in all"
    what = f"the program of node {row.node}" if row.asked == "accept" else f"the thought of node {row.node}"
    if row.asked == "accept" and row.decision == "edit":
        text = "one of their own, which passes" if row.accepts else "one of their own, which does not pass"
    return f"{what} {_DECIDED[row.decision]}" + (f": {text}" if text else "")


_ENDED = {
    "rollouts": "had done its rollouts",
    "calls": "had used its calls",
    "tokens": "had used its tokens",
    "money": "had used its money",
    "seconds": "had used its time",
    "exhausted": "had nothing left to try",
    "agents": "had no agent left that answers",
    "interrupted": "was interrupted",
}


def ending(solution: Solution, calls: int) -> str:
    """How a search ended, in words: solved after 14 calls.

    Args:
        solution: What came of it.
        calls: Calls of all agents.
    """
    return "; ".join(filter(None, (outcome(solution, calls), why_ended(solution.stopped_by))))


def outcome(solution: Solution, calls: int) -> str:
    """Says whether the problem was solved, after how many calls, and whether the search was cut off."""
    solved = "solved" if solution.solved else "not solved"
    return f"{solved} after {plural(calls, 'call')}{', not confirmed' if solution.unconfirmed else ''}"


def why_ended(stopped_by: str) -> str:
    """Why a search ended, in words; empty if it was solved."""
    why = _ENDED.get(stopped_by)
    return f"the search {why}" if why else ""


def passes(verdict: Verdict | None) -> tuple[int, int]:
    """The tests that passed, and all tests."""
    if verdict is None:
        return 0, 0
    return sum(result.outcome == "passed" for result in verdict.results), len(verdict.results)


def pass_bar(passed: int, total: int, ascii_only: bool = False) -> Text:
    """A bar and the numbers, such as `███░░ 3/5`; empty if nothing has run."""
    if not total:
        return Text("")
    full = BAR_CELLS * passed // total
    on, off = ("#", ".") if ascii_only else ("\N{FULL BLOCK}", "\N{LIGHT SHADE}")
    return Text.assemble(
        (on * full + off * (BAR_CELLS - full), value_colour(passed / total)), f" {passed}/{total}"
    )
