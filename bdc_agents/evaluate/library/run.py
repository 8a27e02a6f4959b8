"""A comparison from its configuration to a folder with results, figures and a report.

compare.json      the configuration
losses.jsonl      one line for each method; held-out.json says what the rows are
replies.jsonl     one line for each method and problem: what was written, and when
results.jsonl     one line for each method and problem: which tests its program passes; traces/ beside it
router-*.safetensors, work/   what was trained for the comparison, and its checkpoints
summary.json      the figures
report.html       the figures for people, in one file
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bdc_agents.agents import Reply, Request
from bdc_agents.config import Budget
from bdc_agents.distill.training.loop import Report as Step
from bdc_agents.embed.encoder import Encoder
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.evaluate.config import difference
from bdc_agents.evaluate.library.bench import Bench
from bdc_agents.evaluate.library.config import CompareConfig, write_config
from bdc_agents.evaluate.library.held_out import HeldOut, eval_config, hold_out
from bdc_agents.evaluate.library.journal import Journal
from bdc_agents.evaluate.library.losses import Losses, left_out, method_names, unmixed
from bdc_agents.evaluate.library.replies import ReplyLine, open_replies, write_replies
from bdc_agents.evaluate.library.report import write_report
from bdc_agents.evaluate.library.summary import CompareSummary, write_summary
from bdc_agents.evaluate.results import EVAL_FILE, Results, Row, read_record
from bdc_agents.evaluate.run import evaluate, lineage
from bdc_agents.evaluate.solvers.baselines import BestOf
from bdc_agents.evaluate.solvers.protocol import Answer
from bdc_agents.experts.base import Base
from bdc_agents.locks import one_process
from bdc_agents.runs.collect.left_out import LeftOut
from bdc_agents.sandbox.protocol import Executor
from bdc_agents.sync import run_sync
from bdc_agents.types import Problem, Usage


@dataclass(frozen=True)
class Watch:
    """Who is told of what, while a comparison runs.

    Args:
        say: Of each stage, in words.
        plan: Of all methods and how many problems each has, and what is there already.
        reply: Of each reply that was written.
        row: Of each program that was run.
        step: Of every step of a router's training.
        left_out: Of each problem whose row cannot be used.
    """

    say: Callable[[str], None] = lambda _: None
    plan: Callable[[Sequence[str], int, Iterable[ReplyLine], Iterable[Row]], None] = lambda *_: None
    reply: Callable[[ReplyLine], None] = lambda _: None
    row: Callable[[Any], None] = lambda _: None
    step: Callable[[Step], None] = lambda _: None
    left_out: Callable[[LeftOut], object] = lambda _: None


def compare(
    config: CompareConfig,
    out: Path | str,
    executor: Executor | Callable[[], Executor],
    *,
    data: Path | None = None,
    watch: Watch | None = None,
    base: Base | None = None,
    encoder: Encoder | None = None,
) -> CompareSummary:
    """Compares the ways to use a library's experts, or goes on with the comparison in `out`.

    Nothing that was finished is computed again, however the process ended. Blocks; in async code
    call it in a thread.

    Args:
        config: What is compared on what.
        out: The folder of the results.
        executor: Runs the programs; or makes what does, which is freed at the end.
        data: Folder of the data sets; None takes the one that `BDC_DATA` names.
        watch: Told of everything; None for nobody.
        base, encoder: The library's, where they are loaded already.

    Raises:
        ModelError: If the library, its base or a method cannot be had.
        ProblemError: If a data set is not there.
        UsageError: If the folder holds another comparison, or no problem is held out.
        SandboxError: If programs cannot be run.
    """
    out, watch = Path(out), watch or Watch()
    bench = Bench(config, watch.say, base, encoder)
    held = hold_out(config, bench.seen, data, watch.left_out)
    _tell(bench, held, watch)
    if not method_names(bench):
        raise ModelError("none of the methods can be had without traces; name them with --traces RUN")
    _make_folder(out)
    with one_process(out / "lock", f"another process compares into {str(out)!r}; wait for it to end"):
        return _visit(bench, held, out, executor, watch)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to {str(out)!r}: {error.strerror}; name another --out") from None


def _visit(
    bench: Bench, held: HeldOut, out: Path, executor: Executor | Callable[[], Executor], watch: Watch
) -> CompareSummary:
    config, record = bench.config, _record(bench)
    _check_same(out, record | {"lineage": _lineage(bench, held, record)})
    with Results(out, record, _lineage(bench, held, record)) as results:
        write_config(out, config)
        names = method_names(bench)
        losses, replies = Losses(bench, out, held.tasks, watch.step), open_replies(out)
        watch.plan(names, len(held.tasks), replies.lines.values(), results.rows)
        if losses.missing(names):
            losses.run(names)
        if any((name, task.problem.id) not in replies.lines for name in names for task in held.tasks):
            losses.load_routers(names)
            run_sync(
                write_replies(bench, names, held.tasks, losses.routers, out, replies, watch.reply),
            )
        if any((t.problem.id, name, 0) not in results.done for name in names for t in held.tasks):
            watch.say("running the programs")
            run_sync(_score(bench, held, names, replies, results, executor, watch))
        summary = write_summary(bench, losses, held.tasks, out)
    write_report(out, config, summary)
    return summary


def _tell(bench: Bench, held: HeldOut, watch: Watch) -> None:
    if held.seen:
        watch.say(f"left out: {len(held.seen)} problems that the library was made from")
    if alone := unmixed(bench):
        watch.say(f"left out: {', '.join(alone)}: the library has one expert, and nothing to mix it with")
    if bench.clusters is None and not bench.config.traces:
        watch.say(
            "the library does not say which problems it was made from: name its traces with --traces RUN, so "
            "that none of them is among those it is measured on"
        )
    if missing := left_out(bench):
        watch.say(
            f"left out: {', '.join(missing)}, which are trained on the traces that the library was made "
            "from; name these with --traces RUN"
        )


# --- the folder ---------------------------------------------------------------------------------


def _record(bench: Bench) -> dict[str, Any]:
    """What all rows of the folder share, as an evaluation's folder keeps it."""
    return {"eval": eval_config(bench.config).model_dump(mode="json"), "compare": bench.config.fixed()}


def _lineage(bench: Bench, held: HeldOut, record: Mapping[str, Any]) -> dict[str, Any]:
    experts = {path: file.sha256 for path, file in bench.library.manifest.files.items() if "adapter" in path}
    return lineage(record, held.tasks) | {"experts": experts}


def _check_same(out: Path, wanted: Mapping[str, Any]) -> None:
    """Refuses a folder of another comparison.

    Raises:
        UsageError: If it is one; says what differs.
    """
    if not (out / EVAL_FILE).is_file():
        return
    found = read_record(out)
    if lines := difference(found.config | {"lineage": found.lineage}, wanted):
        shown = "\n".join(f"  {line}" for line in lines[:12])
        raise UsageError(f"{str(out)!r} holds another comparison:\n{shown}\nname another --out")


# --- running the programs -----------------------------------------------------------------------


class _Written:
    """An agent that gives the reply which was written before.

    Args:
        line: The reply.
    """

    def __init__(self, line: ReplyLine) -> None:
        self.name = line.method
        self._line = line

    def bound(self, request: Request) -> Usage:
        """What the reply took."""
        del request
        line = self._line
        return Usage(
            calls=1,
            prompt_tokens=line.prompt_tokens,
            completion_tokens=line.completion_tokens,
            seconds=line.ended - line.began,
        )

    async def reply(self, request: Request) -> Reply:
        """The reply."""
        truncated = self._line.finish == "length"
        return Reply(text=self._line.text, usage=self.bound(request), truncated=truncated)

    async def aclose(self) -> None:
        """Holds nothing."""


class _Method:
    """One method as a solver: its program is run on the public tests, and handed over."""

    repeats = True

    def __init__(self, name: str, replies: Journal[ReplyLine], executor: Executor) -> None:
        self.name, self._replies, self._executor = name, replies, executor

    async def solve(self, problem: Problem, seed: int) -> Answer:
        """The answer, from the reply that was written."""
        agent = _Written(self._replies.lines[self.name, problem.id])
        return await BestOf(self.name, [agent], 1, 0.0, self._executor, Budget()).solve(problem, seed)


async def _score(
    bench: Bench,
    held: HeldOut,
    names: Sequence[str],
    replies: Journal[ReplyLine],
    results: Results,
    executor: Executor | Callable[[], Executor],
    watch: Watch,
) -> None:
    made = executor() if callable(executor) else None
    running = made or cast(Executor, executor)
    try:
        solvers = [_Method(name, replies, running) for name in names]
        await evaluate(eval_config(bench.config), held.tasks, solvers, running, results, watch.row)
    finally:
        if made is not None:
            await made.aclose()
