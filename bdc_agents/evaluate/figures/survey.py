"""The figures of a collection, from its traces alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from bdc_agents.evaluate.figures.diagnose import Finding, contributions, diagnose
from bdc_agents.evaluate.figures.metrics import Interval, wilson
from bdc_agents.evaluate.figures.moves import Moves, moves_of
from bdc_agents.evaluate.figures.summary import Figures, figures_of, weak_tests
from bdc_agents.evaluate.results import Point, Row
from bdc_agents.runs.export.matrix import Matrix
from bdc_agents.runs.store import Damage, scan_traces
from bdc_agents.types import Frozen, Hidden, Trace, Usage

SEARCH = "search"
"""The name under which a collection's searches stand in place of a solver."""
ENOUGH = 20
"""Programs below which an agent's skill is not told: a share of 20 has a standard error of up to 0.11.
Chosen, not measured."""


class AgentFigures(Frozen):
    """The figures of one agent in a collection.

    Args:
        name: The agent's name in the configuration.
        model: Its model; empty if it is not known.
        calls, tokens: Calls and tokens that it took.
        programs: Programs that it wrote, each counted once for each path of thoughts.
        passing: Share of its programs that pass every public test; None without programs.
        part: Solutions in which it has a part: it wrote the program, or a thought that the program follows.
    """

    name: str
    model: str = ""
    calls: int
    tokens: int
    programs: int
    passing: Interval | None
    part: int


class Cell(Frozen):
    """The programs of one coder on the thoughts of one author.

    Args:
        author: The agent of the last thought; empty for a direct answer.
        coder: The agent of the programs.
        programs: Number of programs.
        passed: Share of programs that pass every public test.
        helped: Share of programs that are better than the mean of the step before.
    """

    author: str
    coder: str
    programs: int
    passed: Interval
    helped: float


class Survey(Frozen):
    """The figures of a collection.

    Args:
        name: The folder's name.
        datasets: The data sets of its problems.
        package: The versions of this package that searched it.
        problems: Problems with a trace.
        solved: Problems whose program passes every public test.
        hidden: Problems whose program passes every hidden test.
        with_hidden: Problems that have hidden tests.
        kept: Traces that may be trained on.
        reasons: Why the others may not, with counts; a trace may have several reasons.
        figures: Figures of the searches, as an evaluation has them.
        rows: One row for each problem, likewise.
        agents: Figures of each agent, in the order of names.
        matrix: Figures by author and coder.
        moves: What moves gave and how trees grew; None where the traces do not tell.
        skills: By agent, the share of its programs for a path of thoughts that were better than the step
            before, if there are enough: a value for `skills` under `[search]`.
        findings: Signs that something does not work as it should.
    """

    name: str
    datasets: tuple[str, ...]
    package: str
    problems: int
    solved: int
    hidden: int
    with_hidden: int
    kept: int
    reasons: dict[str, int]
    figures: Figures
    rows: tuple[Row, ...]
    agents: tuple[AgentFigures, ...]
    matrix: tuple[Cell, ...]
    moves: Moves | None = None
    skills: dict[str, float] = {}
    findings: tuple[Finding, ...]


def survey(run: Path | str) -> Survey | None:
    """The figures of a run folder, or of a file of traces; None while it has no trace.

    Lines that are no traces are left out.

    Raises:
        UsageError: If there is no such store.
    """
    damages: list[Damage] = []
    traces = list(scan_traces(run, damages.append))
    return survey_of(Path(run).resolve().name, traces) if traces else None


def survey_of(name: str, traces: Sequence[Trace]) -> Survey:
    """The figures of some traces, one at least.

    Args:
        name: A name for all of them.
        traces: One trace for each problem.
    """
    rows = tuple(map(row_of, traces))
    decisions = [trace.decision for trace in traces if trace.decision]
    weak = weak_tests(rows)
    matrix = tuple(map(_cell, Matrix.of(traces).rows()))
    return Survey(
        name=name,
        datasets=_known(trace.lineage.dataset for trace in traces if trace.lineage),
        package=", ".join(_known(trace.package for trace in traces)),
        problems=len(traces),
        solved=sum(trace.solution.solved for trace in traces),
        hidden=sum(decision.hidden.all_passed for decision in decisions if decision.hidden),
        with_hidden=sum(decision.hidden is not None for decision in decisions),
        kept=sum(decision.kept for decision in decisions),
        reasons=dict(Counter(reason for d in decisions for reason in d.reasons).most_common()),
        figures=figures_of(SEARCH, rows, ()),
        rows=rows,
        agents=tuple(_agents(traces)),
        matrix=matrix,
        moves=moves_of(traces),
        skills=_skills(matrix),
        findings=(*diagnose(traces), *([weak] if weak else [])),
    )


def row_of(trace: Trace) -> Row:
    """A trace as a row of an evaluation: its program as it was handed over at the end of the search."""
    solution, decision = trace.solution, trace.decision
    hidden = decision.hidden if decision else None
    results = solution.verdict.results if solution.verdict and trace.problem.public_tests else ()
    public = Hidden(passed=sum(r.outcome == "passed" for r in results), total=len(trace.problem.public_tests))
    used = sum(solution.usage.values(), Usage())
    row = Row(
        problem=trace.problem.id,
        difficulty=trace.problem.difficulty,
        tags=trace.problem.tags,
        solver=SEARCH,
        code=solution.code,
        public=public,
        hidden=hidden,
        usage=solution.usage,
        seconds=solution.seconds,
        stopped_by=solution.stopped_by,
    )
    end = Point(
        calls=used.calls, tokens=used.tokens, seconds=solution.seconds, cost=used.cost, solved=row.solved
    )
    return row.model_copy(update={"points": (end,)})


def _agents(traces: Sequence[Trace]) -> Iterable[AgentFigures]:
    used: dict[str, Usage] = defaultdict(Usage)
    models: dict[str, str] = {}
    for trace in traces:
        models |= trace.lineage.models if trace.lineage else {}
        for name, usage in trace.solution.usage.items():
            used[name] += usage
    rewards: dict[str, list[bool]] = defaultdict(list)
    for trace in traces:
        for node in trace.nodes:
            for attempt in node.attempts:
                rewards[attempt.agent].append(attempt.reward == 1.0)
    parts = contributions(traces)
    for name in sorted(used):
        written = rewards[name]
        yield AgentFigures(
            name=name,
            model=models.get(name, ""),
            calls=used[name].calls,
            tokens=used[name].tokens,
            programs=len(written),
            passing=wilson(sum(written), len(written)) if written else None,
            part=parts.get(name, 0),
        )


def _cell(row: dict[str, float | str]) -> Cell:
    programs = int(row["programs"])
    return Cell(
        author=str(row["author"]),
        coder=str(row["coder"]),
        programs=programs,
        passed=wilson(round(float(row["passed"]) * programs), programs),
        helped=float(row["helped"]),
    )


def _skills(matrix: Sequence[Cell]) -> dict[str, float]:
    """How often programs help after a thought: direct answers say little of the problems they fail."""
    skills: dict[str, float] = {}
    for coder in sorted({cell.coder for cell in matrix}):
        cells = [cell for cell in matrix if cell.coder == coder and cell.author]
        programs = sum(cell.programs for cell in cells)
        if programs >= ENOUGH:
            skills[coder] = round(sum(cell.helped * cell.programs for cell in cells) / programs, 2)
    return skills


def _known(values: Iterable[str]) -> tuple[str, ...]:
    """The values that are not empty, each once."""
    return tuple(dict.fromkeys(value for value in values if value))
