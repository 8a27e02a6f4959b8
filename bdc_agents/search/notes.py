"""Notes: what a result says beside its program, so that nobody takes a search for smoother than it was."""

from collections.abc import Iterator, Mapping

from bdc_agents.config import Budget
from bdc_agents.search.budget import Amount, caps_on_calls
from bdc_agents.search.inputs import further_inputs
from bdc_agents.search.state import SearchState
from bdc_agents.types import Problem, Program, Usage


def notes(state: SearchState, programs: Mapping[str, Program], budget: Budget | None) -> tuple[str, ...]:
    """One sentence for each thing worth knowing.

    Args:
        state: Of a search that has ended.
        programs: What was written.
        budget: Its caps, where they are known.
    """
    usage = {name: Usage.model_validate(used) for name, used in state.get("usage", {}).items()}
    found = [note for name, used in usage.items() for note in _of_agent(name, used, state)]
    unrun = sum(program.verdict is None for program in programs.values())
    if unrun:
        found.append(f"the time was up before {_count(unrun, 'program')} had run to the end")
    if state.get("passing") and not further_inputs(Problem.model_validate(state.get("problem"))):
        found.append(
            "no further input could be made from the public tests, so agreement tells nothing here: the "
            "program is as sure as these tests alone"
        )
    spent = sum(usage.values(), Usage())
    found += [*_passed(spent, budget or Budget()), *_too_small(spent, state, budget or Budget())]
    return tuple(found)


def _of_agent(name: str, used: Usage, state: SearchState) -> Iterator[str]:
    if used.failed and name not in state.get("set_aside", {}):
        reason = state.get("failing", {}).get(name, {}).get("reason")
        why = f", the last one: {reason}" if reason else ""
        yield f"{name}: {_count(used.failed, 'request')} failed{why}"
    if used.truncated:
        yield (
            f"{name}: {_count(used.truncated, 'reply', 'replies')} cut off at the token limit; a larger "
            "max_tokens leaves more room"
        )
    if used.misreported:
        yield (
            f"{name}: the endpoint told token counts that cannot be for "
            f"{_count(used.misreported, 'reply', 'replies')}; they were corrected"
        )
    if used.excess:
        yield f"{name}: the endpoint wrote {_count(used.excess, 'token')} beyond the limit it was sent"


def _passed(used: Usage, budget: Budget) -> Iterator[str]:
    """What is above a cap: only an endpoint that does not keep the limit it is sent can cause it."""
    spent = Amount.of(used)._asdict()
    for name, cap in caps_on_calls(budget).items():
        # Sums of fractions of a dollar can come out a hair above.
        if spent[name] > cap * (1 + 1e-9):
            yield f"the budget of {cap:,g} {_UNITS[name]} was passed by {spent[name] - cap:,.6g}"


def _too_small(used: Usage, state: SearchState, budget: Budget) -> Iterator[str]:
    """A cap that no call fits under ends a search before anything has happened."""
    name = state.get("stopped_by")
    cap = caps_on_calls(budget).get(name or "")
    if cap is not None and not used.calls and not used.failed:
        yield (
            f"the budget of {cap:,g} {_UNITS[name or '']} is below what one call may take, so none was made: "
            "raise it, or lower the agents' max_tokens"
        )


_UNITS = {"calls": "calls", "tokens": "tokens", "money": "dollars"}


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
