"""Attempts: what became of the programs of a round, and whose credit that is."""

from collections.abc import Mapping, Sequence

from bdc_agents.search.nodes.boost import Draft
from bdc_agents.search.nodes.execute import outcome_of
from bdc_agents.search.policy.beliefs import NOTHING, Told
from bdc_agents.search.round.step import Step
from bdc_agents.types import Attempt, Move, Node, Program, Tree


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
        again = not draft.sampled and (
            (draft.node, attempt) in attempts or attempt in run.tree[draft.node].attempts
        )
        if attempt.reward >= 1 and not again:
            passed.append(key)
        attempts.append((draft.node, attempt))
    return attempts, passed


def _attempt(run: Step, draft: Draft, key: str, fresh: Mapping[str, Program]) -> Attempt:
    node = run.tree[draft.node]
    author = node.thought.agent if node.thought else ""
    refined = node.refined is not None
    if not key:
        return Attempt(
            program="", agent=draft.agent, author=author, reward=0.0, refined=refined, outcome="error"
        )
    program = run.known([key], fresh)[key]
    return Attempt(
        program=key,
        agent=draft.agent,
        author=author,
        reward=program.reward,
        refined=refined,
        outcome=outcome_of(program),
    )


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


def with_repairs(tree: Tree, drafts: Sequence[Draft], keys: Sequence[str]) -> tuple[Tree, list[Draft]]:
    """Adds a child for each repair, to which its program belongs.

    A repair that gives a program which a sibling holds is no other state, nor is one that gives what it began
    from: it is another attempt there, so that the tree does not fill with copies.

    Returns:
        The tree, and the drafts at their nodes.
    """
    placed: list[Draft] = []
    born: dict[tuple[str, str], str] = {}
    for key, draft in zip(keys, drafts, strict=True):
        if draft.thought is None or draft.move is None:
            placed.append(draft)
            continue
        holder = born.get((draft.node, key)) or _holder(tree, draft.node, key)
        if holder is None:
            tree, holder = _with_child(tree, draft, draft.move)
            born[draft.node, key] = holder
        placed.append(draft.model_copy(update={"node": holder}))
    return tree, placed


def _holder(tree: Tree, node_id: str, key: str) -> str | None:
    """The node or child that holds a program, to which one without any code belongs as well."""
    node = tree[node_id]
    for one in (*map(tree.__getitem__, node.children), node):
        if key and any(attempt.program == key for attempt in one.attempts):
            return one.id
    return None if key else node_id


def _with_child(tree: Tree, draft: Draft, move: Move) -> tuple[Tree, str]:
    node = tree[draft.node]
    child = Node(
        id=f"{node.id}.{len(node.children)}",
        parent=node.id,
        thought=draft.thought,
        kind="repair" if move.kind == "repair" else "rethink",
        mends=move.program,
    )
    return tree.with_nodes(child).change(node.id, children=(*node.children, child.id)), child.id


def told(
    run: Step, drafts: Sequence[Draft], keys: Sequence[str], fresh: Mapping[str, Program]
) -> dict[str, dict[str, list[float]]]:
    """What moves gave in this search, with those of this round, as the fields of `Beliefs`."""
    beliefs = before = run.told
    for key, draft in zip(keys, drafts, strict=True):
        program = run.known([key], fresh)[key] if key else None
        if draft.move is None or (program and program.verdict is None):
            continue
        move = draft.move
        tries = beliefs.times(move.kind, move.before, draft.agent)
        beliefs = beliefs.tell([Told(move.kind, draft.agent, move.before, outcome_of(program), tries)])
    if asked(run) and run.split:
        # How often an agent's answers are what some program gives tells most of how often they are right.
        outcome = "pass" if run.split.fits else "wrong" if run.split.expected else "error"
        beliefs = beliefs.tell([Told("split", run.split.agent, NOTHING, outcome)])
    return run.state.get("told", {}) if beliefs is before else beliefs.model_dump(mode="json")


def asked(run: Step) -> bool:
    """Whether an agent was asked in this round which output is right."""
    return any(move.kind == "split" for move in run.plan.moves) and run.split is not None


def in_vain(run: Step, drafts: Sequence[Draft]) -> list[Move]:
    """Moves of the round's plan for which no reply came."""
    made = [draft.move for draft in drafts]
    return [move for move in run.plan.moves if move not in made and move.kind != "split"]


def unanswered(run: Step, missing: Sequence[Move]) -> dict[str, int]:
    """How often each move was asked for in vain, with those of this round."""
    found = dict(run.state.get("unanswered", {}))
    for move in missing:
        key = f"{move.kind}/{move.before}/{move.agent}"
        found[key] = found.get(key, 0) + 1
    return found
