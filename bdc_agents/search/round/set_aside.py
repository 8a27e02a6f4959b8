"""Standing: an agent takes no further part when it can answer nothing, not when one request fails.

One prompt may be too long for its context, one minute's rate limit reached, one reply empty.
"""

from collections.abc import Mapping, Sequence

from bdc_agents.search.round.calls import Answer
from bdc_agents.search.state import Json
from bdc_agents.types import Solution
from bdc_agents.types.names import called, with_short_names

FAILURES_IN_A_ROW = 3
"""Rounds in which an agent answers nothing it is asked, until it is set aside: one may be the prompt's fault
and two an endpoint's that starts again; what fails longer costs calls and time that others could use."""


def failing(answers: Sequence[Answer], before: Mapping[str, Json]) -> dict[str, Json]:
    """Of each agent that failed, in how many rounds in a row, and why the last time.

    Args:
        answers: Of one round. Those that the search had no time for say nothing.
        before: What was known of the agents before it.
    """
    found: dict[str, Json] = {}
    for agent in dict.fromkeys(answer.call.agent for answer in answers):
        own = [answer for answer in answers if answer.call.agent == agent]
        reason = next((answer.error for answer in reversed(own) if answer.error), "")
        known = before.get(agent, {"rounds": 0})
        if any(answer.reply for answer in own):
            rounds = 0
        elif reason:
            rounds = known["rounds"] + 1
        else:
            continue
        if reason or known["rounds"]:
            found[agent] = {"rounds": rounds, "reason": reason or known["reason"]}
    return found


def set_aside(answers: Sequence[Answer], failing: Mapping[str, Json]) -> dict[str, str]:
    """The agents that take no further part, and why.

    Args:
        answers: Of one round.
        failing: What `failing` says after it.
    """
    aside = {
        agent: f"{row['reason']} ({row['rounds']} times in a row)"
        for agent, row in failing.items()
        if row["rounds"] >= FAILURES_IN_A_ROW
    }
    return aside | {answer.call.agent: answer.error for answer in answers if answer.lasting}


def silence(solution: Solution) -> tuple[str, ...]:
    """Why no agent answers, one reason for each agent; empty where one does.

    A small budget ends before an agent is set aside. Whoever answers leaves a program, a thought, or a reply
    that could not be read; an empty text is no answer, whatever tokens it is said to have.
    """
    # A reason names the address itself, so that the name need not.
    names = {*solution.usage, *solution.set_aside}
    aside = tuple(f"{called(name, names)}: {reason}" for name, reason in solution.set_aside.items())
    if solution.stopped_by == "agents":
        return aside
    used, tree = solution.usage.values(), solution.tree
    heard = tree.programs or tree.nodes > 1 or any(one.malformed for one in used)
    unheard = used and not heard and all(one.failed for one in used)
    notes = tuple(with_short_names(note, names) for note in solution.notes)
    return aside + notes if unheard else ()
