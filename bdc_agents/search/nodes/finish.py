"""The answer of a search: the program with the highest public reward."""

from collections import Counter
from collections.abc import Mapping

from bdc_agents.config import Budget
from bdc_agents.search.choice.agreement import support, weighed
from bdc_agents.search.choice.split import split_of, votes
from bdc_agents.search.nodes.notes import notes
from bdc_agents.search.review.questions import refused
from bdc_agents.search.state import SearchState
from bdc_agents.types import Node, Problem, Program, Solution, Tree, TreeStats, Usage


def assemble(
    state: SearchState, skills: Mapping[str, float] | None = None, budget: Budget | None = None
) -> Solution:
    """The solution of a finished search.

    Of programs with equal reward it is the one that those that pass agree with most, by an attempt
    at least, where attempts of several agents count more; of these that of the more skilled agent, the
    one that was written most often, the first. A person who was asked decides before all that: what they
    accepted is handed over, and what they refused is not.

    Args:
        state: Of the graph.
        skills: By agent; one that is left out counts as one half.
        budget: Its caps, to tell where one was passed.
    """
    nodes = Tree(state.get("tree")).nodes()
    programs = {key: Program.model_validate(value) for key, value in state.get("programs", {}).items()}
    written = Counter(attempt.program for node in nodes for attempt in node.attempts)
    passing = {key: programs[key] for key in state.get("passing", {}) if key in programs}
    attempts = weighed(_writers(nodes, {key: state.get("passing", {})[key] for key in passing}))
    agreed = support(programs, attempts, votes(split_of(state), passing))
    no_answer = refused(state)
    key = state.get("accepted") or max(
        (key for key in programs if key not in no_answer),
        key=lambda name: (
            programs[name].reward,
            # Of those that pass nothing, one that there was no time to run may still be right.
            programs[name].verdict is None,
            round(agreed.get(name, 0.0)),
            (skills or {}).get(programs[name].agent, 0.5),
            agreed.get(name, 0.0),
            written[name],
        ),
        default=None,
    )
    best = programs.get(key) if key else None
    return Solution(
        problem_id=Problem.model_validate(state.get("problem")).id,
        solved=bool(best and best.verdict and best.verdict.passed),
        code=best.code if best else "",
        reward=best.reward if best else 0.0,
        agent=best.agent if best else None,
        node=written_at(nodes, key),
        verdict=best.verdict if best else None,
        confirmed=_confirmed(state, programs),
        stopped_by=state.get("stopped_by") or "interrupted",  # pyright: ignore[reportArgumentType]
        usage={name: Usage.model_validate(used) for name, used in state.get("usage", {}).items()},
        set_aside=state.get("set_aside", {}),
        tree=_stats(nodes, len(programs), state.get("rollouts", 0)),
        notes=notes(state, programs, budget),
        matrix=_matrix(state),
        tier=state.get("tier", ""),
        seconds=round(state.get("seconds", 0.0), 3),
    )


def _confirmed(state: SearchState, programs: Mapping[str, Program]) -> bool | None:
    """Whether attempts agree; None where those that pass were not compared."""
    compared = any(programs[key].behaviour for key in state.get("passing", {}))
    return state.get("confirmed", False) if compared else None


def _writers(nodes: tuple[Node, ...], passing: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """How often each agent wrote each program that passes, as often as `passing` counts it."""
    found: dict[str, Counter[str]] = {key: Counter() for key in passing}
    for attempt in (attempt for node in nodes for attempt in node.attempts):
        if attempt.program in found:
            found[attempt.program][attempt.agent] += 1
    return {
        key: {agent: count * passing[key] / row.total() for agent, count in row.items()}
        for key, row in found.items()
    }


def written_at(nodes: tuple[Node, ...], key: str | None) -> str | None:
    """The node for which a program was written first."""
    return next((node.id for node in nodes for attempt in node.attempts if attempt.program == key), None)


def _stats(nodes: tuple[Node, ...], programs: int, rollouts: int) -> TreeStats:
    return TreeStats(
        nodes=len(nodes),
        evaluated=sum(node.value is not None for node in nodes),
        pruned=sum(node.pruned for node in nodes),
        refined=sum(node.refined is not None for node in nodes),
        depth=max((node.depth for node in nodes), default=0),
        programs=programs,
        rollouts=rollouts,
    )


def _matrix(state: SearchState) -> dict[str, dict[str, float]]:
    """Mean reward by author and coder."""
    credit = state.get("credit", {})
    return {
        author: {coder: row[1] / row[0] for coder, row in coders.items()} for author, coders in credit.items()
    }
