"""What a person is asked in a step of a search, and what follows from what they decided."""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, cast

from bdc_agents.prompts import with_remark
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.search.choice.agreement import confirmed
from bdc_agents.search.choice.inputs import further_inputs
from bdc_agents.search.choice.split import votes
from bdc_agents.search.events import Reviewed
from bdc_agents.search.nodes.execute import evaluate, execute, outcome_of, program_key
from bdc_agents.search.nodes.finish import assemble
from bdc_agents.search.resume.origin import with_statement
from bdc_agents.search.review.questions import (
    PERSON,
    Ask,
    Decided,
    about_budget,
    about_program,
    about_thoughts,
    awaits,
    caps_after,
    refused,
    reviewed,
)
from bdc_agents.search.round.budget import used_of
from bdc_agents.search.round.step import Step
from bdc_agents.search.state import Json, SearchState
from bdc_agents.types import AskedFor, Attempt, Program, Review


def asks_of(run: Step, kinds: Sequence[AskedFor]) -> list[Ask]:
    """What a person is asked about now; nothing where the search goes on, or ends, by itself."""
    kind = awaits(run.state, kinds)
    if kind == "thoughts":
        return about_thoughts(run.state)
    if kind == "accept":
        solution = assemble(run.state, run.config.skills, run.budget)
        return about_program(program_key(solution.code), solution) if solution.code else []
    return about_budget(run.state, used_of(run.state)) if kind else []


def caps_in_force(run: Step, stop: str) -> dict[str, float]:
    """The caps, by name. A bound on rollouts that nobody has set is one where it has ended the search."""
    caps: dict[str, float] = run.budget.model_dump(exclude_none=True)
    if run.rollouts is not None and (run.config.rollouts is not None or stop == "rollouts"):
        caps["rollouts"] = run.rollouts
    return caps


async def what_follows(run: Step, decided: Sequence[Decided], executor: Executor) -> Json:
    """What changes in the state, which keeps the decisions.

    Args:
        run: The step in which they were made.
        decided: For each of its questions.
        executor: Runs a program of the person.
    """
    one, kind = decided[0], decided[0].ask.kind
    if kind == "thoughts":
        records = [recorded(run.state, each) for each in decided]
        changes: Json = {"tree": run.grown(reviewed(run.tree, decided))}
    elif kind == "budget":
        caps = caps_after(one, used_of(run.state))
        records = [recorded(run.state, one, caps=caps)]
        changes = {"accepted": ""} if one.type == "reject" else {"caps": caps, "stopped_by": None}
    elif one.type == "edit":
        record, changes = await _own_program(run, one, executor)
        records = [record]
    else:
        record, changes = _on_program(run, one)
        records = [record]
    reviews = with_records(run.state, records)
    for row in reviews[-len(records) :]:
        run.emit(cast("Reviewed", {"type": "reviewed", **row}))
    return {**changes, "reviews": reviews}


def with_records(state: SearchState, records: Sequence[Review]) -> list[Json]:
    """The decisions of a search with some more, as the state keeps them."""
    rows = [{**each.model_dump(mode="json", exclude_defaults=True), "by": each.by} for each in records]
    return [*state.get("reviews", []), *rows]


def recorded(state: SearchState, one: Decided, **more: Any) -> Review:
    """The decision as a trace keeps it; a program of the person is kept among the programs."""
    return Review(
        asked=one.ask.kind,
        decision=one.type,
        node=one.ask.node,
        program=one.ask.program,
        text="" if one.ask.kind == "accept" and one.type == "edit" else one.text,
        rollouts=state.get("rollouts", 0),
        **more,
    )


def _on_program(run: Step, one: Decided) -> tuple[Review, Json]:
    """What follows where a program is the answer, is none, or is answered with a remark."""
    key, state = one.ask.program, run.state
    if one.type == "approve":
        return recorded(run.state, one, accepts=key), _accepted(key)
    if one.type == "reject":
        return recorded(run.state, one, refuses=(key,)), _refused(run, {key})
    # Tests may not tell whether a program does as is wished, so that only later ones count.
    no = {key, *state.get("passing", {})}
    statement = with_remark(run.problem.statement, one.text)
    problem = run.problem.model_copy(update={"statement": statement})
    changes = {
        **_refused(run, no),
        "problem": problem.model_dump(mode="json"),
        "origin": with_statement(state.get("origin", {}), statement),
    }
    return recorded(run.state, one, refuses=tuple(sorted(no))), changes


async def _own_program(run: Step, one: Decided, executor: Executor) -> tuple[Review, Json]:
    """What follows from a program of the person: the answer if it passes, else one more that failed."""
    key, own = one.ask.program, program_key(one.text)
    written = {own: Program(code=one.text, agent=PERSON)}
    # No deadline: the time may be what ended the search.
    fresh = await execute(written, run.programs, run.problem, executor)
    for name, new in fresh.items():
        run.emit({"type": "program", "key": name, "program": new.model_dump(mode="json")})
    program, node = run.known([own], fresh)[own], run.tree[one.ask.node]
    attempt = Attempt(
        program=own,
        agent=PERSON,
        author=node.thought.agent if node.thought else "",
        reward=program.reward,
        outcome=outcome_of(program),
    )
    stored = {name: new.model_dump(mode="json") for name, new in fresh.items()}
    changes: Json = {"tree": run.grown(evaluate(run.tree, node.id, [attempt], {})), "programs": stored}
    if program.verdict and program.verdict.passed:
        passing = Counter(run.state.get("passing", {})) + Counter([own])
        no = () if own == key else (key,)
        return recorded(run.state, one, accepts=own, refuses=no), {
            **changes,
            **_accepted(own),
            "passing": dict(passing),
        }
    return recorded(run.state, one, refuses=(key,)), {**changes, **_refused(run, {key})}


def _accepted(key: str) -> Json:
    return {"accepted": key, "stopped_by": "solved"}


def _refused(run: Step, keys: Collection[str]) -> Json:
    """What changes where programs are no answers any more: the search goes on with the others."""
    no = refused(run.state).union(keys)
    passing = {key: times for key, times in run.state.get("passing", {}).items() if key not in no}
    known = run.known(passing, {})
    agreed = confirmed(known, passing, run.config.confirm, votes(run.split, known))
    others = run.known(run.programs.keys() - no, {}).values()
    return {
        "passing": passing,
        "confirmed": bool(passing) and (agreed or not further_inputs(run.problem)),
        "best": max((program.reward for program in others), default=0.0),
        "stopped_by": None,
    }
