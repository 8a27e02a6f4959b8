"""`render_html`: shows a run as one offline HTML page."""

from collections.abc import Sequence

from bdc_agents.page import asset, drawing_script, embed_json, render_page
from bdc_agents.types import Trace


def render_html(traces: Sequence[Trace], title: str = "") -> str:
    """One offline page with the search tree, programs, verdicts and usage of each problem.

    Args:
        traces: The traces of one run, in the order to list them.
        title: Heading of the page; the problem or their number by default.
    """
    if not title:
        title = traces[0].problem.id if len(traces) == 1 else f"{len(traces)} problems"
    return render_page(
        title,
        asset("bdc_agents.view", "page.html"),
        style=asset("bdc_agents.view", "page.css"),
        script=drawing_script("bdc_agents.view", "page.js"),
        parts={"data": embed_json([trace.model_dump(mode="json") for trace in traces])},
    )
