"""`render_html`: shows a run as one offline HTML page, or a search that is going on as a live one.

The page's script and style are built from `frontend/`; its README says how.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bdc_agents.page import asset, embed_json, render_page
from bdc_agents.types import Trace


def render_html(traces: Sequence[Trace], title: str = "", live: Mapping[str, Any] | None = None) -> str:
    """One page with the answer, search tree, programs, verdicts and usage of each problem.

    Args:
        traces: The traces of one run, in the order to list them; of a live page the present one, or none.
        title: Heading of the page; the problem or their number by default.
        live: For a page that a server keeps up to date: `thread`, `checkpoint`, `status`, `agents`, and by
            what they are for `urls` of the page's own origin, None for what cannot be done. None for an
            offline page, which asks nothing of anybody.
    """
    if not title:
        title = traces[0].problem.id if len(traces) == 1 else f"{len(traces)} problems"
    data = {
        "title": title,
        "traces": [trace.model_dump(mode="json") for trace in traces],
        "live": None if live is None else dict(live),
    }
    return render_page(
        title,
        asset("bdc_agents.view", "page.html"),
        style=asset("bdc_agents.view", "page.css"),
        script=asset("bdc_agents.view", "page.js"),
        parts={"data": embed_json(data)},
        live=live is not None,
    )
