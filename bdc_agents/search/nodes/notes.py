"""Notes: what a result says beside its program, so that nobody takes a search for smoother than it was."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from bdc_agents.config import Budget
from bdc_agents.sandbox.modules import missed_by, remedy
from bdc_agents.sandbox.own_checker import FAULT
from bdc_agents.search.choice.inputs import checker_decides, further_inputs
from bdc_agents.search.choice.split import split_of
from bdc_agents.search.review.questions import vetoed
from bdc_agents.search.round.budget import Amount, caps_on_calls
from bdc_agents.search.round.calls import TIME_IS_UP
from bdc_agents.search.state import SearchState
from bdc_agents.syntax import language_of, parse
from bdc_agents.types import Problem, Program, Usage

_NAMED = 3
"""Modules and languages at most: models make names of modules up, and a list of them helps nobody."""


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
    problem = Problem.model_validate(state.get("problem"))
    if state.get("passing") and not further_inputs(problem):
        why = (
            "several answers may be right where the problem's own checker decides"
            if checker_decides(problem)
            else "no further input could be made from the public tests"
        )
        found.append(f"{why}, so agreement tells nothing here: the program is as sure as these tests alone")
    found += [*_of_vetoes(state), *_of_split(state)]
    found += _of_programs(programs.values())
    spent = sum(usage.values(), Usage())
    found += [*_passed(spent, budget or Budget()), *_too_small(spent, state, budget or Budget())]
    return tuple(found)


def _of_agent(name: str, used: Usage, state: SearchState) -> Iterator[str]:
    cut = _cut_off(name, state)
    if cut:
        yield f"{name}: {_count(cut, 'request')} cut off when the time was up"
    failed = used.failed - cut
    if failed > 0 and name not in state.get("set_aside", {}):
        reason = state.get("failing", {}).get(name, {}).get("reason")
        # Without a reason each was answered in the end, such as one with a parameter that was refused.
        again = "was" if failed == 1 else "were"
        what = f"failed, the last one: {reason}" if reason else f"{again} made again, and answered"
        yield f"{name}: {_count(failed, 'request')} {what}"
    if used.malformed:
        yield (
            f"{name}: {_count(used.malformed, 'reply', 'replies')} of {used.calls} held no program or "
            "thought that could be read"
        )
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


def _of_vetoes(state: SearchState) -> Iterator[str]:
    """That a search had nothing left to try since a person refused what there was."""
    refused = len(vetoed(state))
    if refused and state.get("stopped_by") == "exhausted":
        yield f"a person refused {_count(refused, 'thought')}, and nothing else was left to try"


def _of_split(state: SearchState) -> Iterator[str]:
    """What was asked where programs that pass differ, and what was said."""
    split = split_of(state)
    if split is None:
        return
    said = "told no output"
    if split.expected:
        giving, programs = len(split.answers.get(split.fits, ())), sum(map(len, split.answers.values()))
        said = f"expects {split.expected:.80}, as {giving or 'none'} of {programs} give"
    yield f"programs that pass differ on {' '.join(split.input.split()):.120}: {split.agent} {said}"


def _cut_off(name: str, state: SearchState) -> int:
    """How many requests of an agent were under way when the time was up; others were not made any more."""
    calls = (call for call in state.get("calls", {}).values() if call.get("agent") == name)
    return sum(call.get("error") == TIME_IS_UP and "prompt_tokens" in call for call in calls)


def _of_programs(programs: Iterable[Program]) -> Iterator[str]:
    """Troubles of many programs that one person can end."""
    ran = [(program.code, program.verdict) for program in programs if program.verdict]
    missed = Counter(name for code, verdict in ran if (name := missed_by(code, verdict)))
    for name, number in missed.most_common(_NAMED):
        yield (
            f"{_count(number, 'program')} failed for want of the module {name}, which the sandbox does not "
            f"have: where programs may use it, {remedy([name])}"
        )
    foreign = Counter(
        language
        for code, verdict in ran
        if not verdict.passed and parse(code) is None and (language := language_of(code))
    )
    for language, number in foreign.most_common(_NAMED):
        yield f"{_count(number, 'program')} looked like {language}; only Python runs here, so ask for Python"
    broken = sum(any(one.error.startswith(FAULT) for one in verdict.results) for _, verdict in ran)
    if broken:
        yield (
            f"the problem's checker failed on the output of {_count(broken, 'program')}, which counts as not "
            "passed: let it return False, or a sentence, for output of any form"
        )


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
