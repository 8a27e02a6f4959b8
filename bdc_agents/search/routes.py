"""Where the search goes on: after each node that leads to more than one, from the state alone.

An edit of a state in its midst may leave a round with nothing to do: it then passes by, and the next
one picks leaves again.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from bdc_agents.search.review.questions import awaits
from bdc_agents.search.state import SearchState
from bdc_agents.types import AskedFor


def after_select(state: SearchState) -> list[Literal["expand", "boost", "finish"]]:
    """Thoughts and programs side by side, as the leaves want them; the end where something ends it."""
    if state.get("stopped_by"):
        return ["finish"]
    if not state.get("expanding"):
        return ["boost"]
    return ["expand", "boost"] if _writing(state) else ["expand"]


def after_expand(state: SearchState) -> Literal["execute", "select"]:
    """Beside `boost` on to the programs' run; alone back to a walk into the new children."""
    return "execute" if _writing(state) else "select"


def after_backpropagate(state: SearchState) -> Literal["boost", "select"]:
    """Straight on to `boost` where those to refine leave no room for other leaves."""
    return "boost" if state.get("full") else "select"


def after_review(state: SearchState) -> Literal["finish", "select"]:
    """On with the search, unless what was decided ends it."""
    return "finish" if state.get("stopped_by") else "select"


def reviewing(
    follow: Callable[[SearchState], Any], kinds: Sequence[AskedFor]
) -> Callable[[SearchState], Any]:
    """A route that leads to a person first, where there is something to ask them.

    Args:
        follow: Where the search goes on without one.
        kinds: What they are asked about.
    """

    def followed(state: SearchState) -> Any:
        leads = follow(state)
        onward = leads == "select" or leads == ["finish"]
        return "review" if onward and awaits(state, kinds) else leads

    followed.__name__ = follow.__name__
    return followed


def _writing(state: SearchState) -> bool:
    """Whether programs are written in this round."""
    moves = state.get("plan", {}).get("moves")
    return bool(state.get("evaluating") or state.get("refining") or moves)
