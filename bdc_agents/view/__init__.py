"""Views for people: a running search, finished trees in the terminal, and a run in one HTML file."""

from bdc_agents.view.html import render_html
from bdc_agents.view.live import watch
from bdc_agents.view.tree import render_tree, summary

__all__ = ["render_html", "render_tree", "summary", "watch"]
