import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console

from bdc_agents.cli.collect import as_object, read_budget
from bdc_agents.cli.collect_progress import STOPPING, LiveCollectView, PlainCollectView, told, view_for
from bdc_agents.config import Budget
from bdc_agents.errors import ConfigError
from bdc_agents.runs.collect.endpoints import Load
from bdc_agents.runs.collect.progress import Progress
from bdc_agents.runs.collect.run import Collected
from bdc_agents.runs.jobs.table import Spent, Totals
from bdc_agents.types import Decision, Hidden, Trace, Usage

MakeTrace = Callable[..., Trace]
PROGRESS = Progress(
    totals=Totals(waiting=90, leased=10, done=100, solved=80, kept=70, calls=900, tokens=120_000),
    spent=Spent(calls=900, tokens=120_000, money=1.5),
    done_here=50,
    running=10,
    seconds=100.0,
    seconds_each=2.0,
    loads={
        "small": Load(slots=8, in_flight=8, waiting=3, busy=720.0, seconds=100.0, usage=Usage(calls=450)),
        "[large]": Load(slots=8, in_flight=2, busy=400.0, seconds=100.0, usage=Usage(calls=450, cached=9)),
    },
)


@pytest.fixture
def kept(make_trace: MakeTrace) -> Trace:
    decision = Decision(kept=True, hidden=Hidden(passed=3, total=3))
    return make_trace("mbpp:601").model_copy(update={"decision": decision})


def drawn(view: LiveCollectView, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(view.picture())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_time_left_is_that_of_the_open_problems_at_this_rate() -> None:
    assert PROGRESS.solve_rate == 0.8
    assert PROGRESS.seconds_left == 200.0
    assert PROGRESS.model_copy(update={"seconds_each": None}).seconds_left is None
    assert Progress(totals=Totals(), spent=Spent()).solve_rate is None


@pytest.mark.parametrize("width", [60, 120])
def test_the_live_picture_fits_and_shows_what_matters(kept: Trace, width: int) -> None:
    view = LiveCollectView(Console(file=io.StringIO()), "runs/one")
    assert "opening runs/one" in drawn(view, width)
    view.on_progress(PROGRESS)
    view.on_trace(kept)
    view.on_note("stopping: what runs is given up")
    picture = drawn(view, width)
    assert max(len(line) for line in picture.splitlines()) <= width
    for text in ("100/200", "solved 80 (80%)", "90%", "50%", "[large]", "8/8", "stopping", "mbpp:601"):
        assert text in picture
    if width == 120:
        assert "3:20 left" in picture
        assert "solved after 2 calls, hidden 3/3, kept" in picture


def test_plain_lines_tell_each_problem_and_what_is_open(kept: Trace) -> None:
    lines: list[str] = []
    with PlainCollectView(lines.append) as view:
        view.on_progress(PROGRESS)
        view.on_trace(kept)
        problem = kept.problem.model_copy(update={"id": "mbpp:602"})
        solution = kept.solution.model_copy(update={"problem_id": "mbpp:602"})
        view.on_trace(kept.model_copy(update={"problem": problem, "solution": solution}))
        view.on_trace(kept)  # In a later round of a budget that all share.
        view.on_note("a note\nin two lines")
        view.on_stop()
    assert lines.pop() == f"[0:00] {STOPPING}"
    assert lines == [
        "[0:00] mbpp:601: solved after 2 calls, hidden 3/3, kept [101 of 200 done, 3:20 left]",
        "[0:00] mbpp:602: solved after 2 calls, hidden 3/3, kept [102 of 200 done, 3:20 left]",
        "[0:00] mbpp:601: solved after 2 calls, hidden 3/3, kept [100 of 200 done, 3:20 left]",
        "[0:00] a note in two lines",
    ]


def test_a_trace_kept_for_a_program_that_was_not_handed_over_says_so(make_trace: MakeTrace) -> None:
    decision = Decision(kept=True, hidden=Hidden(passed=1, total=3), right=("k",))
    trace = make_trace("mbpp:601").model_copy(update={"decision": decision})
    assert "solved after 2 calls, hidden 1/3, kept for another of its programs" in told(trace)


def test_a_hostile_id_is_made_safe(make_trace: MakeTrace) -> None:
    assert "\x1b" not in told(make_trace("p:\x1b[31mred"))


def test_the_view_fits_where_it_is_written_to() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Console(file=Terminal(), force_terminal=True, _environ={"TERM": "xterm"})
    assert isinstance(view_for(terminal, "run", plain=False, silent=False), LiveCollectView)
    assert isinstance(view_for(terminal, "run", plain=True, silent=False), PlainCollectView)
    pipe = Console(file=io.StringIO())
    assert isinstance(view_for(pipe, "run", plain=False, silent=False), PlainCollectView)
    silent = view_for(terminal, "run", plain=False, silent=True)
    silent.on_note("nothing is written")
    assert terminal.file.getvalue() == ""  # type: ignore[attr-defined]


def test_the_object_for_machines_is_plain_and_complete(tmp_path: object) -> None:
    collected = Collected(folder="runs/one", ended="calls", progress=PROGRESS, failures={"p": "why"})  # type: ignore[arg-type]
    told_to_machines = json.loads(json.dumps(as_object(collected)))
    assert (told_to_machines["ended"], told_to_machines["done"]) == ("calls", 100)
    assert told_to_machines["endpoints"]["small"]["share"] == 0.9
    assert told_to_machines["failures"] == {"p": "why"}


def test_a_budget_is_read_from_its_parts() -> None:
    assert read_budget([]) == Budget()
    assert read_budget(["calls=10, money=2.5", "seconds=60"]) == Budget(calls=10, money=2.5, seconds=60)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("calls", "CAP=NUMBER"),
        ("call=3", "did you mean calls"),
        ("calls=few", "calls"),
        ("money=-1", "money"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_budget([text])
