"""Where the search goes on: after each node that leads to more than one, from the state alone.

An edit of a state in its midst may leave a round with nothing to do: it then passes by, and the next
one picks leaves again.
"""

from typing import Literal

from bdc_agents.search.state import SearchState


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


def _writing(state: SearchState) -> bool:
    """Whether programs are written in this round."""
    moves = state.get("plan", {}).get("moves")
    return bool(state.get("evaluating") or state.get("refining") or moves)
