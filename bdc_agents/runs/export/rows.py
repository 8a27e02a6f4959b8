"""Exports a run's traces as files that training tools load as they are.

| kind | a row | loads in |
|---|---|---|
| sft | `prompt` and `completion`, lists of chat messages | `datasets`, TRL's SFTTrainer |
| dpo | `prompt`, `chosen` and `rejected`, lists of chat messages: steps | `datasets`, TRL's DPOTrainer |
| pairs | the same of programs, a right one against a wrong one | `datasets`, TRL's DPOTrainer |
| matrix | how programs of a coder did on thoughts of an author | `datasets` |
| traces | a trace; in Parquet a summary of it with the whole as JSON | `bdc view`, `bdc export` |

Only `sft`, `dpo` and `pairs` are training data. They leave out traces that `decide` refuses, problems that
came before, and problems that overlap a named evaluation set.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

from bdc_agents.errors import UsageError, unknown
from bdc_agents.runs.export.matrix import Matrix
from bdc_agents.runs.export.overlap import EvaluationSet, Overlap, Problems
from bdc_agents.runs.export.row_files import writing_rows
from bdc_agents.runs.folder import trace_file
from bdc_agents.runs.store import SPECIAL_CASES, Damage, decide, scan_traces
from bdc_agents.search.traces import Row, all_rows, learned_programs, program_pairs
from bdc_agents.types import Frozen, Trace, content_hash

Kind = Literal["sft", "dpo", "pairs", "matrix", "traces"]
KINDS: tuple[str, ...] = get_args(Kind)
SFT_ROWS = ("p2t", "t2s", "direct", "repair")
TRAINING: tuple[str, ...] = ("sft", "dpo", "pairs")
"""The kinds that are training data."""
_NAMES = ("kind", "problem_id")
"""Columns that say where a row comes from."""


class Report(Frozen):
    """What an export took, what it left out and why.

    Args:
        traces: Traces read: the last one of each problem of a run.
        kept: Traces whose rows were written.
        rejected: Traces by reason of `REASONS`; a trace may have several.
        duplicates: Problems left out, each with the earlier problem that says the same.
        contaminated: Problems left out because they overlap an evaluation set.
        repeated: Rows left out because an equal one was written.
        rows: Rows written, by kind.
        damaged: Lines that are no traces.
    """

    traces: int = 0
    kept: int = 0
    rejected: dict[str, int] = {}
    duplicates: tuple[tuple[str, str], ...] = ()
    contaminated: tuple[Overlap, ...] = ()
    repeated: int = 0
    rows: dict[str, int] = {}
    damaged: tuple[Damage, ...] = ()


class _Tally:
    """Counts while rows stream by."""

    def __init__(self) -> None:
        self.traces = self.kept = self.repeated = 0
        self.rejected: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.duplicates: list[tuple[str, str]] = []
        self.contaminated: list[Overlap] = []
        self.damaged: list[Damage] = []

    def report(self) -> Report:
        return Report.model_validate({**vars(self)})


def export(
    runs: Sequence[Path | str],
    out: Path | str,
    kind: str,
    *,
    rows: Sequence[str] = SFT_ROWS,
    against: EvaluationSet | None = None,
    unscored: bool = False,
    duplicates: bool = False,
) -> Report:
    """Writes rows of some runs to a file. The file appears whole or not at all.

    Args:
        runs: Run folders or files of traces.
        out: JSON Lines; `.gz` compresses it, `.parquet` makes it Parquet.
        kind: One of `KINDS`.
        rows: Which rows of `sft`: `p2t` problem to thoughts, one at a time; `t2s` problem and
            thoughts to program; `direct` problem to program.
        against: Problems that must not be trained on.
        unscored: Whether to take solved problems without hidden tests too.
        duplicates: Whether to take problems that say nearly the same as an earlier one too.

    Raises:
        UsageError: If a run does not exist, a name is unknown, nothing can be exported, or the
            file cannot be written.
    """
    check(kind, rows)
    tally, out = _Tally(), Path(out)
    if out.resolve() in {trace_file(run).resolve() for run in runs}:
        raise UsageError(f"{str(out)!r} holds the traces to export; write to another file")
    traces = _traces(runs, tally)
    if kind in TRAINING:
        chosen = _trainable(traces, tally, against, unscored, Problems() if not duplicates else None)
        shaped = _training_rows(chosen, kind, rows, tally)
    elif kind == "traces":
        shaped = _trace_rows(traces, tally, flat=out.suffix == ".parquet")
    else:
        shaped = Matrix.of(_counted(traces, tally)).rows()
    with writing_rows(out) as write:
        for row in shaped:
            write(row)
            tally.rows[str(row.get("kind", kind))] += 1
        if not tally.rows:
            raise UsageError(_nothing(tally.report(), kind))
    return tally.report()


def check(kind: str, rows: Sequence[str] = SFT_ROWS) -> None:
    """Refuses an unknown kind of export or of row.

    Raises:
        UsageError: Names the known kinds.
    """
    if kind not in KINDS:
        raise UsageError(unknown("kind of export", kind, KINDS))
    for row in rows:
        if row not in SFT_ROWS:
            raise UsageError(unknown("kind of row", row, SFT_ROWS))


def _traces(runs: Iterable[Path | str], tally: _Tally) -> Iterator[Trace]:
    # A list, so that a run which is not there is told before a package which is not there.
    return chain.from_iterable([scan_traces(run, tally.damaged.append) for run in runs])


def _counted(traces: Iterable[Trace], tally: _Tally) -> Iterator[Trace]:
    for trace in traces:
        tally.traces += 1
        tally.kept += 1
        yield trace


# --- what may be trained on ----------------------------------------------------------------------


def refusals(trace: Trace, *, unscored: bool = False) -> tuple[str, ...]:
    """Why a stored trace may not be trained on; empty where it may.

    Judges the trace again from the stored results of its hidden tests, so that a stricter detector
    applies to old stores. Other reasons of the time stay. A program that passes every hidden test
    is no cheat, even where an older version said so.
    """
    stored = trace.decision
    hidden, right = (stored.hidden, stored.right) if stored else (None, ())
    judged = decide(trace, hidden, right, public_suffices=unscored).reasons
    anew = {"no-hidden-tests", *([SPECIAL_CASES] if hidden and hidden.all_passed else [])}
    before = [name for name in stored.reasons if name not in anew] if stored else []
    return tuple(dict.fromkeys((*judged, *before)))


def _trainable(
    traces: Iterable[Trace],
    tally: _Tally,
    against: EvaluationSet | None,
    unscored: bool,
    seen: Problems | None,
) -> Iterator[Trace]:
    for trace in traces:
        tally.traces += 1
        reasons = refusals(trace, unscored=unscored)
        tally.rejected.update(reasons)
        if reasons:
            continue
        codes = (code for code, _ in learned_programs(trace))
        overlap = against.overlap(trace.problem, *codes) if against else None
        if overlap:
            tally.contaminated.append(overlap)
            continue
        earlier = seen.duplicate_of(trace.problem) if seen else None
        if earlier:
            tally.duplicates.append((trace.problem.id, earlier))
            continue
        tally.kept += 1
        yield trace


# --- shapes --------------------------------------------------------------------------------------


def _training_rows(
    traces: Iterable[Trace], kind: str, rows: Sequence[str], tally: _Tally
) -> Iterator[dict[str, Any]]:
    wanted = {"dpo": {"dpo"}, "pairs": {"pair"}}.get(kind, {*rows})
    written: set[str] = set()
    for trace in traces:
        for row in program_pairs(trace) if kind == "pairs" else all_rows(trace):
            if row.kind not in wanted:
                continue
            shaped = _shaped(row)
            key = content_hash(json.dumps([shaped[name] for name in shaped if name not in _NAMES]))
            if key in written:
                tally.repeated += 1
                continue
            written.add(key)
            yield shaped


def _shaped(row: Row) -> dict[str, Any]:
    """A row in TRL's conversational format: prompt and completion, or preference."""
    prompt = [{"role": message["role"], "content": _text(message["content"])} for message in row.prompt]
    named = {"kind": row.kind, "problem_id": row.problem_id}
    if row.rejected is not None:
        return {
            "prompt": prompt,
            "chosen": _reply(row.completion),
            "rejected": _reply(row.rejected),
        } | named
    return {"prompt": prompt, "completion": _reply(row.completion)} | named


def _reply(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": _text(text)}]


def _text(text: str) -> str:
    """The text with question marks for lone surrogates, which no reader of Arrow accepts."""
    return text.encode("utf-8", "replace").decode()


def _trace_rows(traces: Iterable[Trace], tally: _Tally, *, flat: bool) -> Iterator[Mapping[str, Any]]:
    for trace in _counted(traces, tally):
        yield _summary(trace) if flat else trace.model_dump(mode="json")


def _summary(trace: Trace) -> dict[str, Any]:
    """A trace as columns to query; the last column holds all of it as JSON."""
    solution, decision, lineage = trace.solution, trace.decision, trace.lineage
    used = list(solution.usage.values())
    return {
        "problem_id": trace.problem.id,
        "difficulty": trace.problem.difficulty or "",
        "dataset": lineage.dataset if lineage else "",
        "seed": lineage.seed if lineage else 0,
        "kept": bool(decision and decision.kept),
        "reasons": list(decision.reasons) if decision else [""][:0],
        "solved": solution.solved,
        "reward": float(solution.reward),
        "hidden_passed": decision.hidden.passed if decision and decision.hidden else 0,
        "hidden_total": decision.hidden.total if decision and decision.hidden else 0,
        "stopped_by": solution.stopped_by,
        "calls": sum(usage.calls for usage in used),
        "tokens": sum(usage.tokens for usage in used),
        "cost": float(sum(usage.cost or 0 for usage in used)),
        "seconds": float(solution.seconds),
        "code": solution.code,
        "trace": json.dumps(trace.model_dump(mode="json")),
    }


def _nothing(report: Report, kind: str) -> str:
    """Says why there is no row, and what to do."""
    reasons = ", ".join(f"{name} {count}" for name, count in sorted(report.rejected.items()))
    if not report.traces and not report.damaged:
        return f"nothing to export as {kind}: no finished search is there yet"
    said = [f"nothing to export as {kind}: traces read: {report.traces}"]
    said += [f"refused for {reasons}"] if reasons else []
    said += [f"{len(report.contaminated)} overlap an evaluation set"] if report.contaminated else []
    said += (
        [f"lines that are no traces: {len(report.damaged)}, first {report.damaged[0]}"]
        if report.damaged
        else []
    )
    if "no-hidden-tests" in report.rejected:
        said.append(
            "no hidden test was run where a problem has none or a search was cut off: --unscored also takes "
            "what is solved by the public tests alone, or search it with hidden_tests in its file"
        )
    if report.kept and kind == "dpo":
        said.append(
            f"of {report.kept} that can be trained on, no step was better than its parent and a sibling"
        )
    if report.kept and kind == "pairs":
        said.append(f"of {report.kept} that can be trained on, none has a wrong program beside a right one")
    return "; ".join(said)
