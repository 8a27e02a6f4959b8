"""A cap below one call ends a search before anything has happened, which the result says."""

import pytest

from bdc_agents.config import Budget
from bdc_agents.search.nodes.notes import notes


@pytest.mark.parametrize(
    ("stopped_by", "budget", "used", "said"),
    [
        ("money", Budget(money=0.0001), {}, "the budget of 0.0001 dollars is below what one call may take"),
        ("tokens", Budget(tokens=10), {"a": {}}, "the budget of 10 tokens is below"),
        ("money", Budget(money=0.0001), {"a": {"calls": 1}}, None),
        ("seconds", Budget(seconds=1), {}, None),
        ("solved", Budget(money=0.0001), {}, None),
    ],
)
def test_it_is_told(stopped_by, budget, used, said):
    state = {"stopped_by": stopped_by, "usage": used, "problem": {"id": "p", "statement": "Add."}}
    told = [note for note in notes(state, {}, budget) if "below" in note]
    assert [note[: len(said or "")] for note in told] == ([said] if said else [])
