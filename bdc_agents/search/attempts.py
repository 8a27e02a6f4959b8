"""Attempts: what became of the programs of a round, and whose credit that is."""

from collections.abc import Mapping, Sequence

from bdc_agents.search.boost import Draft
from bdc_agents.search.step import Step
from bdc_agents.types import Attempt, Program


def attempts_of(
    run: Step, drafts: Sequence[Draft], keys: Sequence[str], fresh: Mapping[str, Program]
) -> tuple[list[tuple[str, Attempt]], list[str]]:
    """The attempts by node, but for programs that there was no time to run, and which programs passed.

    What an agent writes again at temperature 0 it has not found a second time.
    """
    attempts: list[tuple[str, Attempt]] = []
    passed: list[str] = []
    for key, draft in zip(keys, drafts, strict=True):
        if key and run.known([key], fresh)[key].verdict is None:
            continue
        attempt = _attempt(run, draft, key, fresh)
        before = [*run.tree[draft.node].attempts, *(one for node, one in attempts if node == draft.node)]
        if attempt.reward >= 1 and (draft.sampled or attempt not in before):
            passed.append(key)
        attempts.append((draft.node, attempt))
    return attempts, passed


def _attempt(run: Step, draft: Draft, key: str, fresh: Mapping[str, Program]) -> Attempt:
    node = run.tree[draft.node]
    author = node.thought.agent if node.thought else ""
    refined = node.refined is not None
    if not key:
        return Attempt(program="", agent=draft.agent, author=author, reward=0.0, refined=refined)
    program = run.known([key], fresh)[key]
    return Attempt(program=key, agent=draft.agent, author=author, reward=program.reward, refined=refined)


def credited(run: Step, attempts: Sequence[tuple[str, Attempt]]) -> dict[str, dict[str, list[float]]]:
    """The credit with these attempts added."""
    credit = {author: dict(coders) for author, coders in run.state.get("credit", {}).items()}
    for node_id, attempt in attempts:
        parent = run.tree[node_id].parent
        before = (run.tree[parent].value or 0.0) if parent else 0.0
        row = credit.setdefault(attempt.author, {}).get(attempt.agent, [0.0, 0.0, 0.0])
        better = float(attempt.reward > before)
        credit[attempt.author][attempt.agent] = [row[0] + 1, row[1] + attempt.reward, row[2] + better]
    return credit
