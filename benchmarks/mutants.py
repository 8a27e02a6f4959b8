"""Do the tests notice mistakes? Small changes to the pure modules, drawn by a seed, and who sees them.

    python benchmarks/mutants.py cover --out FOLDER      once: which tests run which lines (needs `coverage`)
    python benchmarks/mutants.py run --out FOLDER        draws 400 mutants by a seed and runs them; goes on
                                                         where it was cut off
    python benchmarks/mutants.py report --out FOLDER     the share that was killed, and the survivors

Each mutant is written into a copy of the tree and meets the tests that run its line, up to the first that
fails: those whose file imports the module first, of these the cheapest; one that runs far longer than they do
without it counts as killed, too. Slow tests are among them where their file imports one of the modules.
Others, which come past these lines on their way, would take hours and could only kill more. Those that are
listed as equivalent meet none and count as alive. Nothing in the tree itself is changed.

`--minutes` ends a run early, `--only` takes modules whose path has a pattern, `--again` forgets what
survived, to try it on new tests. Results are lines of JSON in FOLDER; they hold for the sources they were
made with, so after a change to a module start with a fresh FOLDER.

Why not mutmut or cosmic-ray: neither draws a sample by a seed. mutmut 3 leaves out decorated functions
and all that stands outside of functions, such as the fields and limits of a model; cosmic-ray runs one
and the same command for every mutant, which here is minutes, and chooses no tests by coverage.
"""

import argparse
import compileall
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from mutants_live import Loaded, in_a_body, swap
from mutations import Mutant, first_lines, mutants

ROOT = Path(__file__).resolve().parent.parent
EQUIVALENT = Path(__file__).with_name("mutants_equivalent.json")

PURE = {
    "evaluate/figures/diagnose.py": "what a search's trace says about its parts",
    "evaluate/figures/groups.py": "how problems are grouped",
    "evaluate/figures/matching.py": "which answers are compared",
    "evaluate/figures/metrics.py": "pass@k, intervals, differences",
    "evaluate/figures/summary.py": "the figures of a table",
    "runs/export/rows.py": "which rows are trained on",
    "runs/export/matrix.py": "who solved what",
    "runs/export/overlap.py": "which texts are too much alike",
    "runs/collect/selection.py": "which problems a run takes",
    "search/choice/agreement.py": "which programs do the same",
    "search/nodes/attempts.py": "what became of programs, and whose credit that is",
    "search/policy/beliefs.py": "what a move is likely to give",
    "search/nodes/backpropagate.py": "values of the tree",
    "search/policy/bandit.py": "which agent is asked",
    "search/round/budget.py": "what may still be spent",
    "search/nodes/expand.py": "what thoughts are read from a reply",
    "search/nodes/finish.py": "which program is handed over",
    "search/choice/inputs.py": "which further inputs programs are compared on",
    "search/choice/llm_judge.py": "what a judge's reply says",
    "search/policy/moves.py": "which moves are planned",
    "search/nodes/notes.py": "what a result says beside its program",
    "search/choice/observed.py": "what a script test looks at",
    "search/resume/origin.py": "which search goes on",
    "search/nodes/path.py": "the way to a node",
    "search/round/plan.py": "which calls a round can afford",
    "search/policy/ratings.py": "which number an agent meant",
    "search/policy/reflect.py": "what is thought again",
    "search/round/round.py": "which sides and wants a round has",
    "search/routes.py": "where the graph goes on",
    "search/policy/p_ucb.py": "what a node is worth to a walk",
    "search/policy/select.py": "which node is next",
    "search/choice/self_tests.py": "which tests are read from a reply",
    "search/round/set_aside.py": "which agent takes no further part",
    "search/state.py": "how changes of the state are put together",
    "search/traces.py": "what is learned from a search",
    "sandbox/judge.py": "whether an output is the expected one",
    "distill/training/loss.py": "what is trained towards",
    "experts/mixture.py": "what a mixture of experts computes",
}
"""Modules whose results follow from their arguments, by what they decide. None starts anything, waits for
anything or asks for the time (`check_pure`); some read a file that they are given. What only draws or
writes (plots, pieces, breakdown, report, collection_report) is left out: it is looked at. So is what makes
up values by chance (variation, stdin_text): there one number is often as good as another."""
_EFFECTS = {"asyncio", "os", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "secrets"}

TESTS = ("tests/cli/", "tests/evaluate/", "tests/runs/", "tests/search/")
"""Where every quick test is run. The other folders have none: of theirs, see `about`."""
SKIPPED = ("tests/runs/ray/*", "*/test_real*.py", "*/test_llamacpp.py", "*/test_vllm_real.py")
"""Tests of a cluster and of real models take minutes and run hardly any of these modules' lines."""
FILE_SECONDS = 150.0
"""CPU time after which the rest of a file of tests is left out of `cover`, which would else take an hour."""
MUTANT_SECONDS = 20.0
"""A mutant meets no further test once those before take this CPU time without it: survivors meet them all,
and what the closest tests do not notice hardly any other does."""
HEAVY = "pytest hypothesis pydantic langgraph.graph langchain_core.messages openai httpx"
TORCH = "numpy torch peft"
"""Loaded once, before a process for each mutant is forked."""
SPARE_SECONDS = 60.0
"""On top of four times what the tests took: a machine that does other work is slow."""
SPARE_CPU = 10.0
"""On top of five times the CPU time that a test took: a mutant that runs on for ever is ended soon."""


@dataclass(frozen=True)
class Job:
    """A mutant of a module, and which of several that read the same within a function."""

    module: str
    mutant: Mutant
    number: int = 1

    @property
    def id(self) -> str:
        """The same for the same change to the same source."""
        text = f"{self.module}:{self.mutant.start}:{self.mutant.stop}:{self.mutant.after}"
        return sha256(text.encode()).hexdigest()[:16]

    @property
    def name(self) -> str:
        """The same also where lines have moved, for the list of equivalent ones."""
        change = " ".join(f"{self.mutant.before} -> {self.mutant.after}".split())
        return f"{self.module} {self.mutant.inside} {self.number}: {change}"


def check_pure() -> None:
    """Makes sure that the list says what it says."""
    for module in PURE:
        text = (ROOT / "bdc_agents" / module).read_text()
        used = set(re.findall(r"^(?:from|import) (\w+)", text, re.M)) & _EFFECTS
        if used or re.search(r"^\s*async def", text, re.M):
            sys.exit(f"{module} is not pure: {', '.join(sorted(used)) or 'it is asynchronous'}")


def drawn(count: int, seed: int, only: str = "") -> list[Job]:
    """A sample of all mutants of the modules."""
    jobs: list[Job] = []
    met: Counter[tuple[str, str, str, str]] = Counter()
    for module in (module for module in PURE if re.search(only, module)):
        for mutant in mutants((ROOT / "bdc_agents" / module).read_text()):
            same = (module, mutant.inside, mutant.before, mutant.after)
            met[same] += 1
            jobs.append(Job(module, mutant, met[same]))
    return random.Random(seed).sample(jobs, min(count, len(jobs)))


# --- a process for each -----------------------------------------------------------------------------------


def copied(folder: Path) -> Path:
    """A copy of the tree to change, with bytecode, so that only the mutant is compiled anew."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    left_out = shutil.ignore_patterns("__pycache__", ".pytest_cache", ".hypothesis")
    for part in sorted(ROOT.iterdir()):
        if part.name in (".git", ".venv", "runs") or part.resolve() in folder.resolve().parents:
            continue
        if part.is_dir():
            shutil.copytree(part, folder / part.name, ignore=left_out)
        elif part.is_file():
            shutil.copy2(part, folder / part.name)
    compileall.compile_dir(folder / "bdc_agents", quiet=1)
    return folder


def preload(paths: Iterable[str]) -> None:
    """Loads what is slow to load, never changes, and is used by modules or tests at these paths."""
    torch = bool(find_spec("torch")) and any(re.search("distill/|serve/", path) for path in paths)
    for name in [*HEAVY.split(), *(TORCH.split() if torch else ())]:
        with suppress(ModuleNotFoundError):
            import_module(name)
    if torch:
        import_module("torch").set_num_threads(1)


def forked(tree: Path, log: Path, work: Any) -> int:
    """Starts a process in a tree, in a group of its own; gives its id."""
    sys.stdout.flush()
    if (child := os.fork()) != 0:
        return child
    status = 70
    try:
        os.setsid()
        os.chdir(tree)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
        scratch = tempfile.mkdtemp(prefix="mutant-")
        os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ |= {"HYPOTHESIS_STORAGE_DIRECTORY": scratch, "TMPDIR": scratch}
        tempfile.tempdir = scratch
        sys.dont_write_bytecode = True
        sys.path[:] = [str(tree), *(place for place in sys.path if Path(place).resolve() != ROOT)]
        status = work()
        shutil.rmtree(scratch, ignore_errors=True)
    except BaseException as error:  # Whatever a mutant does, the next one has its turn.
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        sys.stdout.flush()
        os._exit(status)


def pytest_arguments(*more: str) -> list[str]:
    """The same for every run: no state from run to run, and chance that repeats itself."""
    from hypothesis import Phase, settings

    # The first example that fails is enough, however large, and a machine that does other work is slow.
    settings.register_profile("mutants", phases=(Phase.explicit, Phase.generate), deadline=None)
    early = "-Wignore::pytest.PytestAssertRewriteWarning"  # As plugins are loaded before the fork.
    chance = ["--hypothesis-seed=0", "--hypothesis-profile=mutants"]
    return ["-p", "no:cacheprovider", "-p", "no:xdist", early, *chance, "--tb=line", *more]


def killed(child: int) -> None:
    """Ends a process and all that it started."""
    for ending in (lambda: os.killpg(child, signal.SIGKILL), lambda: os.kill(child, signal.SIGKILL)):
        with suppress(ProcessLookupError):
            ending()


# --- which tests run which lines --------------------------------------------------------------------------


class Contexts:
    """A plugin of pytest that names each test to coverage, and notes how long it took."""

    def __init__(self, coverage: Any) -> None:
        self._coverage = coverage
        self._end = cpu_time() + FILE_SECONDS
        self._began = 0.0
        self.session: Any = None
        self.seconds: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self.failed: set[str] = set()

    def _named(self, phase: str) -> Any:
        import pytest

        @pytest.hookimpl(tryfirst=True)
        def hook(item: Any) -> None:
            self._coverage.switch_context(f"{item.nodeid}|{phase}")

        return hook

    def pytest_runtest_logstart(self) -> None:
        self._began = cpu_time()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.costs[nodeid] = cpu_time() - self._began
        if cpu_time() > self._end and self.session is not None:
            self.session.shouldstop = f"{FILE_SECONDS:.0f} s are over"

    def pytest_sessionstart(self, session: Any) -> None:
        self.session = session

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed or report.skipped:
            self.failed.add(report.nodeid)


def cpu_time() -> float:
    """Of this process and of those that it has waited for: other work on the machine does not count."""
    return sum(os.times()[:4])


@cache
def about(file: str) -> frozenset[str]:
    """The modules that a file of tests imports, of those that are tested in its folder or by slow tests."""
    text = re.sub(r"\(\s+([^)]*)\)", lambda found: " ".join(found[1].split()), (ROOT / file).read_text())
    imported = re.findall(r"^\s*from bdc_agents\.([\w.]+) import (.*)$", text, re.M)
    found: set[str] = set()
    for module in PURE:
        floor = module.split("/")[0]
        room, _, name = module.removesuffix(".py").replace("/", ".").rpartition(".")
        quick = f"tests/{floor}/" in TESTS
        if quick and not file.startswith(f"tests/{floor}/"):
            continue
        for source, names in imported:
            if source == f"{room}.{name}" or (source == room and name in re.findall(r"\w+", names)):
                found.add(module)
    return frozenset(found)


def covered_by(file: str, into: Path) -> int:
    """Runs a file of tests under coverage: all of it if it is about a module, or what is quick."""
    import coverage  # pyright: ignore[reportMissingImports]
    import pytest

    modules = {module: str(Path.cwd() / "bdc_agents" / module) for module in PURE}
    measure = coverage.Coverage(data_file=None, include=list(modules.values()), config_file=False)
    plugin = Contexts(measure)
    for phase in ("setup", "call", "teardown"):
        setattr(plugin, f"pytest_runtest_{phase}", plugin._named(phase))
    measure.start()
    chosen = [file] if about(file) else ["-m", "not slow", file]
    pytest.main(pytest_arguments(*chosen), plugins=[plugin])
    measure.stop()
    data = measure.get_data()
    lines: dict[str, dict[str, list[str]]] = {}
    for module, path in modules.items():
        contexts = data.contexts_by_lineno(path)
        lines[module] = {str(line): sorted(found) for line, found in contexts.items()}
    passed = {test: seconds for test, seconds in plugin.seconds.items() if test not in plugin.failed}
    costs = {test: plugin.costs[test] for test in passed}
    into.write_text(json.dumps({"file": file, "seconds": passed, "costs": costs, "lines": lines}))
    return 0


def cover(out: Path, minutes: float, only: str, workers: int) -> None:
    """Runs each file of tests once, and keeps what it runs."""
    kept = out / "cover"
    kept.mkdir(parents=True, exist_ok=True)
    found = sorted(str(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py"))
    every = [file for file in found if file.startswith(TESTS) or about(file)]
    into_of = {file: kept / f"{file.replace('/', '+')}.json" for file in every if re.search(only, file)}
    files = [file for file, into in into_of.items() if not into.exists()]
    files = [file for file in files if not any(fnmatch(file, pattern) for pattern in SKIPPED)]
    if not files:
        return
    preload(files)
    tree, end = copied(out / "copy-cover"), time.monotonic() + minutes * 60
    running: dict[int, tuple[str, float]] = {}
    while running or (files and time.monotonic() < end):
        while files and len(running) < workers and time.monotonic() < end:
            file = files.pop(0)
            into = into_of[file]
            work = partial(covered_by, file, into)
            running[forked(tree, into.with_suffix(".log"), work)] = file, time.monotonic()
        child, _ = os.wait()
        killed(child)
        file, began = running.pop(child)
        told = "" if into_of[file].exists() else ", FAILED"
        print(f"{file}: {time.monotonic() - began:.0f} s{told}", flush=True)
    if files:
        sys.exit("time is up; the same command goes on")


class Cover:
    """Which tests run which lines, how long each takes, and how much CPU time."""

    def __init__(self, folder: Path) -> None:
        self.seconds: dict[str, float] = {}
        self.costs: dict[str, float] = {}
        self._at: dict[tuple[str, int], set[str]] = {}
        self._of: dict[str, set[str]] = {}
        self._first = {m: first_lines((ROOT / "bdc_agents" / m).read_text()) for m in PURE}
        for file in sorted(folder.glob("*.json")):
            told = json.loads(file.read_text())
            self.seconds |= told["seconds"]
            self.costs |= told["costs"]
            for module, lines in told["lines"].items():
                for line, contexts in lines.items():
                    self._add(module, int(line), contexts, set(told["seconds"]))

    @staticmethod
    def _close(job: Job, test: str) -> bool:
        return job.module in about(test.partition("::")[0])

    def limit(self, test: str) -> float:
        """The CPU time after which a test is ended: a mutant is caught by it."""
        return SPARE_CPU + 5 * self.costs[test]

    def _add(self, module: str, line: int, contexts: list[str], in_file: set[str]) -> None:
        for context in contexts:
            test, _, phase = context.partition("|")
            # What a fixture runs may be for every test of the file, though the first one paid for it.
            tests = in_file if phase == "setup" else {test} & in_file
            self._at.setdefault((module, line), set()).update(tests)
            if phase:
                self._of.setdefault(module, set()).update(tests)

    def tests(self, job: Job) -> list[str]:
        """Those that run the changed line, the closest first; of what runs at import, all of the module."""
        lines = range(job.mutant.line, job.mutant.end + 1)
        lines = {*lines, self._first[job.module].get(job.mutant.line, job.mutant.line)}
        found = set().union(*(self._at.get((job.module, line), set()) for line in lines))
        if not found or not in_body(job):  # Whichever test is the first to import the module says little.
            # A test of a table may run no line of the module: it reads what was made at import.
            found = self._of.get(job.module, set()) | {test for test in self.costs if self._close(job, test)}

        def far(test: str) -> tuple[bool, float, str]:
            return not self._close(job, test), self.costs[test], test

        closest = sorted(found, key=far)
        before = accumulate((self.costs[test] for test in closest), initial=0.0)
        return [test for test, spent in zip(closest, before, strict=False) if spent < MUTANT_SECONDS]


# --- mutants meet tests -----------------------------------------------------------------------------------


ALIVE = "alive"
"""A mutant that no test noticed in a process that has all loaded, and which is to be loaded anew."""


@dataclass
class Running:
    """A mutant in its process."""

    job: Job
    child: int
    tree: Path
    log: Path
    tests: list[str]
    began: float
    limit: float


def run(out: Path, jobs: list[Job], minutes: float, workers: int) -> None:
    """Runs what has no result yet: first in processes that have all tests loaded, then what lives anew."""
    results, equal = out / "results.jsonl", known_equivalent()
    end = time.monotonic() + minutes * 60
    cover_of = Cover(out / "cover")
    met = {line["id"] for line in read(results)}
    for job in jobs:
        if job.name in equal and job.id not in met:
            record(results, job, "survived", "listed as equivalent", 0, 0.0)
    met = {line["id"] for line in read(results)}
    if waiting := [job for job in jobs if job.id not in met and in_body(job) and cover_of.tests(job)]:
        print(f"{len(jobs)} mutants, {len(waiting)} to meet tests that are loaded", flush=True)
        loader = forked(
            copied(out / "copy-live"), out / "live.log", partial(live, waiting, out, end, workers)
        )
        _, status = os.waitpid(loader, 0)
        if status:
            sys.exit(f"{out}/live.log says why the tests could not be run")
    met = {line["id"] for line in read(results)}
    done = {line["id"] for line in read(results) if line["status"] != ALIVE}
    waiting = [job for job in jobs if job.id not in done]
    waiting.sort(key=lambda job: job.id in met)  # Few of those that live in a loaded module are caught anew.
    preload(job.module for job in waiting)
    trees = [copied(out / f"copy-{n}") for n in range(workers)]
    running: list[Running] = []
    print(f"{len(jobs)} mutants, {len(waiting)} to run anew", flush=True)
    for job in [job for job in waiting if cover_of.tests(job)][:1]:
        control(job, trees[0], cover_of)
    while running or (waiting and time.monotonic() < end):
        while waiting and len(running) < workers and time.monotonic() < end:
            tree = next(tree for tree in trees if all(one.tree != tree for one in running))
            if started := start(waiting.pop(0), tree, cover_of, results):
                running.append(started)
        for one in tuple(running):
            if (status := ended(one)) is None:
                continue
            running.remove(one)
            restore(one)
            note(results, one, status)
        time.sleep(0.05)
    if waiting:
        sys.exit(f"time is up, {len(waiting)} are left; the same command goes on")


def in_body(job: Job) -> bool:
    """Whether a mutant can be put into a loaded module."""
    return in_a_body(job.mutant, (ROOT / "bdc_agents" / job.module).read_text())


def live(jobs: list[Job], out: Path, end: float, workers: int) -> int:
    """Loads all tests of some mutants, and forks a process for each of these."""
    import pytest

    cover_of, tree = Cover(out / "cover"), Path.cwd()
    files = sorted({test.partition("::")[0] for job in jobs for test in cover_of.tests(job)})
    preload([*files, *(job.module for job in jobs)])
    results = out / "results.jsonl"

    def meet(job: Job, tests: list[str], loaded: Loaded) -> int:
        if not swap(tree / "bdc_agents" / job.module, job.mutant, loaded.functions):
            return 0
        found = loaded.failing(tests, cover_of.limit)
        print("", *(f"FAILED {test}" for test in found), sep="\n", flush=True)  # After the dots.
        return len(found)

    def work(loaded: Loaded) -> None:
        waiting, running, logs = [*jobs], list[Running](), [out / f"live-{n}.log" for n in range(workers)]
        while running or (waiting and time.monotonic() < end):
            while waiting and len(running) < workers and time.monotonic() < end:
                job, log = waiting.pop(0), next(one for one in logs if all(one != r.log for r in running))
                tests = cover_of.tests(job)
                limit = SPARE_SECONDS + 4 * sum(cover_of.seconds[test] for test in tests)
                child = forked(tree, log, partial(meet, job, tests, loaded))
                running.append(Running(job, child, tree, log, tests, time.monotonic(), limit))
            for one in tuple(running):
                if (status := ended(one)) is not None:
                    running.remove(one)
                    note(results, one, ALIVE if status == "survived" else status)
            time.sleep(0.02)
        # What kills a mutant passes without one.
        killers = sorted({line["by"] for line in read(results)} & cover_of.seconds.keys())
        if found := loaded.failing(killers, cover_of.limit, first=False):
            print("These fail without a mutant:", *found, sep="\n", flush=True)
            os._exit(1)

    return int(pytest.main(pytest_arguments("-s", *files), plugins=[Loaded(work)]))


def control(job: Job, tree: Path, cover_of: Cover) -> None:
    """Makes sure that tests which then kill a mutant pass without one."""
    tests = cover_of.tests(job)
    work = partial(tested, tests, sum(map(cover_of.limit, tests)))
    _, status = os.waitpid(forked(tree, tree.with_suffix(".log"), work), 0)
    if status:
        sys.exit(f"{tree}.log: tests fail without a mutant; run `cover` again in a fresh folder")


class Chosen:
    """A plugin of pytest that runs some tests, in their order, as far as they are there.

    The name of one may hold a number that is changed: that it is gone is no sign that anybody noticed.
    """

    def __init__(self, tests: list[str]) -> None:
        self._tests = tests

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        found = {item.nodeid: item for item in items}
        items[:] = [found[test] for test in self._tests if test in found]


def tested(tests: list[str], cpu_seconds: float) -> int:
    """Runs some tests up to the first that fails; 0 where none does."""
    import pytest

    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    ending = pytest.main(pytest_arguments("-x", *files), plugins=[Chosen(tests)])
    return 0 if ending == pytest.ExitCode.NO_TESTS_COLLECTED else int(ending)


def start(job: Job, tree: Path, cover_of: Cover, results: Path) -> Running | None:
    """Writes the mutant and lets its tests at it; one whose line no test runs has survived already."""
    tests = cover_of.tests(job)
    if not tests:
        record(results, job, "survived", "no test runs the line", 0, 0.0)
        return None
    file = tree / "bdc_agents" / job.module
    changed = job.mutant.applied((ROOT / "bdc_agents" / job.module).read_bytes())
    try:
        compile(changed, job.module, "exec")
    except SyntaxError:
        record(results, job, "invalid", "it does not compile", 0, 0.0)
        return None
    file.write_bytes(changed)
    for cached in file.parent.glob(f"__pycache__/{file.stem}.*.pyc"):
        cached.unlink()
    log = tree.with_suffix(".log")
    usual = sum(cover_of.seconds[test] for test in tests)
    limit = SPARE_SECONDS + 4 * usual
    work = partial(tested, tests, sum(map(cover_of.limit, tests)))
    return Running(job, forked(tree, log, work), tree, log, tests, time.monotonic(), limit)


def ended(one: Running) -> str | None:
    """How it ended; None while it runs."""
    child, status = os.waitpid(one.child, os.WNOHANG)
    if child == 0:
        if time.monotonic() - one.began < one.limit:
            return None
        killed(one.child)
        os.waitpid(one.child, 0)
        return "timeout"
    killed(one.child)
    ending = os.waitstatus_to_exitcode(status)
    return "survived" if ending == 0 else "timeout" if ending == -signal.SIGPROF else "killed"


def restore(one: Running) -> None:
    """Puts the module back as it was."""
    shutil.copy2(ROOT / "bdc_agents" / one.job.module, one.tree / "bdc_agents" / one.job.module)


def note(results: Path, one: Running, status: str) -> None:
    """Keeps a result."""
    said = one.log.read_text(errors="replace") if one.log.exists() else ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", said, re.M)
    by = failed[1] if failed else "" if status in ("survived", ALIVE) else said.strip()[-200:]
    record(results, one.job, status, by, len(one.tests), time.monotonic() - one.began)


def record(results: Path, job: Job, status: str, by: str, tests: int, seconds: float) -> None:
    """Writes a result down."""
    told = {"id": job.id, "module": job.module, **asdict(job.mutant), "name": job.name}
    told |= {"status": status, "by": by, "tests": tests, "seconds": round(seconds, 1)}
    with results.open("a") as file:
        file.write(json.dumps(told) + "\n")
    print(
        f"{status:9} {job.module}:{job.mutant.line} {job.name.partition(': ')[2][:90]!r} {by[:90]}",
        flush=True,
    )


def read(results: Path) -> Iterator[dict[str, Any]]:
    """Results so far."""
    if results.exists():
        yield from map(json.loads, results.read_text().splitlines())


# --- what came of it --------------------------------------------------------------------------------------


def known_equivalent() -> dict[str, str]:
    """Mutants that no test can tell, or need not, each with its reason."""
    return json.loads(EQUIVALENT.read_text()) if EQUIVALENT.exists() else {}


def report(out: Path, jobs: list[Job]) -> None:
    """Prints the share that was killed, for each module, and every survivor with its reason."""
    results = {line["id"]: line for line in read(out / "results.jsonl")}
    reasons = known_equivalent()
    told = [results[job.id] for job in jobs if job.id in results]
    told = [line for line in told if line["status"] != "invalid"]
    alive = [line for line in told if line["status"] in ("survived", ALIVE)]
    for module in sorted({line["module"] for line in told}):
        mine = [line for line in told if line["module"] == module]
        dead = sum(line not in alive for line in mine)
        print(f"{module:28} {dead:4} of {len(mine):4} killed")
    dead = len(told) - len(alive)
    print(f"{'all':28} {dead:4} of {len(told):4} killed: {100 * dead / max(1, len(told)):.1f} %")
    print(f"{len(jobs)} drawn, {len(told)} run; {sum(one['status'] == 'timeout' for one in told)} by time")
    for line in alive:
        reason = reasons.get(line["name"], line["by"] or "no reason is known: a test is missing")
        print(f"\n{line['module']}:{line['line']} in {line['inside']} ({line['operator']})")
        for sign, side in (("  ", "before"), ("->", "after")):
            print(f"  {sign} {' '.join(line[side].split())[:150]}")
        print(f"     {reason}")


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("cover", "run", "report"))
    parser.add_argument("--out", type=Path, required=True, help="folder for results and copies of the tree")
    parser.add_argument("--mutants", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--only", default="", help="modules whose path holds this text; draws from them alone"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="end early; the same command goes on")
    parser.add_argument("--workers", type=int, choices=range(1, 17), default=2, help="mutants at a time")
    parser.add_argument("--again", action="store_true", help="run those once more that survived")
    given = parser.parse_args()
    check_pure()
    out = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    if given.what == "cover":
        cover(out, given.minutes, given.only, given.workers)
        return
    jobs = drawn(given.mutants, given.seed, given.only)
    if given.again:
        kept = [line for line in read(out / "results.jsonl") if line["status"] not in ("survived", ALIVE)]
        (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))
    if given.what == "run":
        run(out, jobs, given.minutes, given.workers)
    report(out, jobs)


if __name__ == "__main__":
    main()
