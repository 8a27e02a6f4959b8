"""What stops a search: a solution that is confirmed, no agent left, enough rollouts, or a cap of the budget.

That nothing is left to try is found where a round is planned: `nodes/nodes.py`, `select`.
"""

from bdc_agents.search.round.budget import passed
from bdc_agents.search.round.step import Step


def stop_of(run: Step) -> str | None:
    """What ends the search here, None while it goes on."""
    state = run.state
    if run.config.stop_when_solved and state.get("confirmed", False):
        return "solved"
    if not run.agents:
        return "agents"
    if run.rollouts is not None and state.get("rollouts", 0) >= run.rollouts:
        return "rollouts"
    return passed(run.budget, run.used) or ("seconds" if run.late else None)
