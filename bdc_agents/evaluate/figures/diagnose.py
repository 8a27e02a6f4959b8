"""Finds signs that a run does not work as it should, in words and numbers.

for finding in diagnose(read_traces("runs/one")):
    print(finding)
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from statistics import fmean

from bdc_agents.types import Frozen, Node, Program, Trace, Tree, Usage

SIMILAR_THOUGHTS = 0.6
"""Mean Jaccard similarity of different agents' thoughts, from which a finding says that they hardly differ.

This limit and the others here are a start, not measured: a finding points at something to look at, and
judges nothing.
"""
SAME_PROGRAMS = 0.5
"""Share of program pairs of different agents, for the same path, that are the same program."""
FLAT = 0.5
"""Share of unsolved searches whose second half found nothing better."""
MALFORMED = 0.05
"""Share of an agent's replies that could not be read."""
FAILED = 0.05
"""Share of an agent's calls that failed."""
TIMED_OUT = 0.1
"""Share of programs that ran out of time."""
FEW_PAIRS = 10
"""Pairs, programs or calls below which a share says nothing: one more would move it by a tenth."""
FEW_SOLVED = 5
"""Solved problems below which a finding about them says nothing."""
FEW_PROGRAMS = 6
"""Programs below which a search is too short to be called flat: three in each half."""

_WORD = re.compile(r"\w+")


class Finding(Frozen):
    """One sign that something does not work as it should.

    Args:
        kind: The measure, such as `same-programs`.
        value: The measured value.
        limit: The value from which it is a finding; None if any value is.
        text: The finding in words, with numbers.
        advice: What to do about it.
    """

    kind: str
    value: float
    limit: float | None = None
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.text} {self.advice}"


def diagnose(traces: Sequence[Trace]) -> tuple[Finding, ...]:
    """The findings about a run, the most telling first; none for a run without traces.

    Args:
        traces: The traces of one run, of searches or of solvers.
    """
    checks = (
        _no_aim,
        _unjudged,
        _agents_lost,
        _parse_failures,
        _failed_calls,
        _timeouts,
        _similar_thoughts,
        _same_programs,
        _idle_agents,
        _flat_searches,
    )
    return tuple(finding for check in checks for finding in check(traces))


# --- diversity -------------------------------------------------------------------------------


def thought_similarity(traces: Sequence[Trace]) -> tuple[float, int] | None:
    """How alike the thoughts are that different agents propose for the same step.

    Returns:
        The mean Jaccard similarity of their words, and the number of pairs; None without pairs.
    """
    pairs = [
        _jaccard(_words(one.thought.text), _words(other.thought.text))
        for trace in traces
        for children in _siblings(trace)
        for one, other in combinations(children, 2)
        if one.thought and other.thought and one.thought.agent != other.thought.agent
    ]
    return (fmean(pairs), len(pairs)) if pairs else None


def program_identity(traces: Sequence[Trace]) -> tuple[float, int] | None:
    """How often different agents write the same program for the same path.

    Programs that differ only in comments and layout are the same.

    Returns:
        The share of pairs, and their number; None without pairs.
    """
    pairs = [
        one.program == other.program
        for trace in traces
        for node in trace.nodes
        for one, other in combinations(node.attempts, 2)
        if one.agent != other.agent and one.refined == other.refined and one.program and other.program
    ]
    return (fmean(pairs), len(pairs)) if pairs else None


def _similar_thoughts(traces: Sequence[Trace]) -> Iterator[Finding]:
    measured = thought_similarity(traces)
    if measured and measured[1] >= FEW_PAIRS and measured[0] >= SIMILAR_THOUGHTS:
        yield Finding(
            kind="similar-thoughts",
            value=measured[0],
            limit=SIMILAR_THOUGHTS,
            text=f"Different agents think alike: their thoughts for the same step share "
            f"{measured[0]:.0%} of their words (mean over {measured[1]} pairs).",
            advice="Take agents of other model families, or raise the temperature.",
        )


def _same_programs(traces: Sequence[Trace]) -> Iterator[Finding]:
    measured = program_identity(traces)
    if measured and measured[1] >= FEW_PAIRS and measured[0] >= SAME_PROGRAMS:
        yield Finding(
            kind="same-programs",
            value=measured[0],
            limit=SAME_PROGRAMS,
            text=f"Different agents write the same program for the same path in {measured[0]:.0%} of "
            f"{measured[1]} pairs.",
            advice="One agent would do as well: take agents of other families, or raise the temperature.",
        )


def _siblings(trace: Trace) -> Iterator[list[Node]]:
    by_id = {node.id: node for node in trace.nodes}
    for node in trace.nodes:
        yield [by_id[child] for child in node.children if child in by_id]


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower()))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    union = len(one | other)
    return len(one & other) / union if union else 1.0


# --- agents ----------------------------------------------------------------------------------


def contributions(traces: Sequence[Trace]) -> dict[str, int]:
    """In how many solutions each agent has a part: it wrote the program, or a thought it follows."""
    counts: Counter[str] = Counter(
        {name: 0 for trace in traces for name, used in trace.solution.usage.items() if used.calls}
    )
    for trace in traces:
        if trace.solution.solved:
            counts.update(_contributors(trace))
    return dict(counts)


def _contributors(trace: Trace) -> set[str]:
    solution = trace.solution
    names = {solution.agent} if solution.agent else set[str]()
    if solution.node is not None:
        tree = Tree(patched={node.id: node for node in trace.nodes})
        names |= {node.thought.agent for node in tree.path(solution.node) if node.thought}
    return names


def _idle_agents(traces: Sequence[Trace]) -> Iterator[Finding]:
    solved = sum(trace.solution.solved for trace in traces)
    counts = contributions(traces)
    if solved < FEW_SOLVED or len(counts) < 2:
        return
    for name, count in sorted(counts.items()):
        if count == 0:
            used = _usage(traces)[name]
            yield Finding(
                kind="idle-agent",
                value=0.0,
                text=f"Agent {name} has no part in any of the {solved} solutions, and took "
                f"{used.calls} calls and {used.tokens} tokens.",
                advice="Leave it out, or give the bandit better skills to start from: skills under [search].",
            )


def _agents_lost(traces: Sequence[Trace]) -> Iterator[Finding]:
    lost: dict[str, list[str]] = defaultdict(list)
    for trace in traces:
        for name, reason in trace.solution.set_aside.items():
            lost[name].append(reason)
    for name, reasons in sorted(lost.items()):
        yield Finding(
            kind="agent-lost",
            value=len(reasons) / len(traces),
            text=f"Agent {name} stopped answering in {_of(len(reasons), len(traces), 'problem')}; "
            f"last: {reasons[-1][:200]}.",
            advice="These problems had fewer agents than the others: see its endpoint, timeout and retries.",
        )


def _usage(traces: Iterable[Trace]) -> dict[str, Usage]:
    used: dict[str, Usage] = defaultdict(Usage)
    for trace in traces:
        for name, usage in trace.solution.usage.items():
            used[name] += usage
    return used


def _parse_failures(traces: Sequence[Trace]) -> Iterator[Finding]:
    for name, used in sorted(_usage(traces).items()):
        rate = used.malformed / used.calls if used.calls else 0.0
        if used.calls >= FEW_PAIRS and rate >= MALFORMED:
            yield Finding(
                kind="malformed",
                value=rate,
                limit=MALFORMED,
                text=f"{rate:.0%} of agent {name}'s {used.calls} replies could not be read "
                f"({used.malformed} without a program or valid JSON).",
                advice="Replies may be cut off: raise max_tokens; or set structured = 'json_schema' if the "
                "endpoint has it.",
            )


def _failed_calls(traces: Sequence[Trace]) -> Iterator[Finding]:
    for name, used in sorted(_usage(traces).items()):
        rate = used.failed / (used.calls + used.failed) if used.calls + used.failed else 0.0
        if used.calls >= FEW_PAIRS and rate >= FAILED:
            yield Finding(
                kind="failed-calls",
                value=rate,
                limit=FAILED,
                text=f"{used.failed} of agent {name}'s {used.calls + used.failed} requests failed and were "
                "tried again.",
                advice="Lower its concurrency, or set requests_per_second to what the endpoint allows.",
            )


# --- searches and programs -------------------------------------------------------------------


def is_flat(trace: Trace) -> bool | None:
    """Whether the second half of an unsolved search found nothing better than the first.

    Returns:
        None for a search that solved its problem, or is too short to tell.
    """
    rewards = [program.reward for program in trace.programs.values()]
    if trace.solution.solved or len(rewards) < FEW_PROGRAMS:
        return None
    half = len(rewards) // 2
    return max(rewards[:half]) >= max(rewards[half:])


def _flat_searches(traces: Sequence[Trace]) -> Iterator[Finding]:
    told = [flat for trace in traces if (flat := is_flat(trace)) is not None]
    if len(told) >= FEW_SOLVED and (rate := fmean(told)) >= FLAT:
        yield Finding(
            kind="flat",
            value=rate,
            limit=FLAT,
            text=f"{_of(sum(told), len(told), 'unsolved search', 'unsolved searches')} found nothing better "
            "with the second half of their programs.",
            advice="More of the same does not help these: half the budget would do, or other agents, "
            "a higher temperature, widening.",
        )


def _timeouts(traces: Sequence[Trace]) -> Iterator[Finding]:
    programs = [program for trace in traces for program in trace.programs.values() if program.verdict]
    late = sum(_hit(program, "timeout") for program in programs)
    big = sum(_hit(program, "memory") for program in programs)
    for kind, count, what, advice in (
        ("timeouts", late, "ran out of time", "the problem's limits.cpu_seconds, and whether the machine"),
        ("memory", big, "ran out of memory", "the problem's limits.memory_mb, and whether the machine"),
    ):
        rate = count / len(programs) if programs else 0.0
        if len(programs) >= FEW_PAIRS and rate >= TIMED_OUT:
            yield Finding(
                kind=kind,
                value=rate,
                limit=TIMED_OUT,
                text=f"{_of(count, len(programs), 'program')} {what} in the sandbox.",
                advice=f"Slow programs, or a busy machine: see {advice} is overloaded (sandbox workers).",
            )


def _hit(program: Program, outcome: str) -> bool:
    results = program.verdict.results if program.verdict else ()
    return any(result.outcome == outcome for result in results)


def _unjudged(traces: Sequence[Trace]) -> Iterator[Finding]:
    unclear = [t for t in traces if t.problem.unjudged]
    if unclear:
        yield Finding(
            kind="unjudged",
            value=len(unclear) / len(traces),
            text=f"Several answers are right: {_of(len(unclear), len(traces), 'problem')}; a test compares "
            "with one of them, so a right program may count as wrong there. What passes is right.",
            advice="Read the share solved as a lower bound, or name the problems without these.",
        )


def _no_aim(traces: Sequence[Trace]) -> Iterator[Finding]:
    left = [
        t
        for t in traces
        if not t.problem.public_tests and not any(u.calls for u in t.solution.usage.values())
    ]
    if left:
        yield Finding(
            kind="no-public-tests",
            value=len(left) / len(traces),
            text=f"Without a public test: {_of(len(left), len(traces), 'problem')}; a search has nothing to "
            "aim at there and leaves them unsolved.",
            advice="Leave these out with --public-only, or let the agents write tests: self_tests = true.",
        )


def _of(part: int, whole: int, noun: str, nouns: str = "") -> str:
    return f"{part} of {whole} {noun if whole == 1 else nouns or noun + 's'} ({part / whole:.0%})"
