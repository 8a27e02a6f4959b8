"""Whether a distilled model beats its base: trains the arms of system1.md, and lets them answer.

    python benchmarks/system1.py split --data DATA                          # writes system1_split.json
    python benchmarks/system1.py train ARM --data DATA --state FOLDER       # a library in FOLDER/ARM
    python benchmarks/system1.py eval base ARM --data DATA --state FOLDER   # one greedy answer a problem
    python benchmarks/system1.py report --state FOLDER

system1.md is the plan. Every step goes on where it was cut off. Rows are appended to
benchmarks/results/system1/ as they come: what is there is never answered again.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quality import append, rows

from bdc_agents import create_executor, load_agents, load_tasks
from bdc_agents.config import Budget, SearchConfig, Settings
from bdc_agents.distill.lessons import lessons_of
from bdc_agents.distill.recipe import RowsConfig, TrainConfig
from bdc_agents.evaluate.figures.metrics import paired
from bdc_agents.evaluate.library.held_out import known_solutions
from bdc_agents.evaluate.solvers.registry import Spec, Tools, create_solver
from bdc_agents.runs import read_traces
from bdc_agents.sandbox import job_for
from bdc_agents.types import Task

HERE = Path(__file__).parent
ROOT = HERE.parent
SPLIT = HERE / "system1_split.json"
RESULTS = HERE / "results" / "system1"
SEED = 2027
BASE, TEACHER = "local:qwen2.5-coder-0.5b", "local:qwen2.5-coder-1.5b"
DEVELOPMENT = {"Easy": 150, "Medium": 100}
"""Problems of LeetCode's training split that decide, by difficulty."""
REFERENCES = 200
"""Easy LeetCode problems whose known solutions an arm learns."""


DIRECT = RowsConfig(kinds=("direct",), per_problem=2)
BOTH = RowsConfig(kinds=("direct", "reference"), per_problem=2)


@dataclass(frozen=True)
class Arm:
    """One way to distil.

    Args:
        rate: The peak of the learning rate.
        rows: Which rows.
        references: Whether known solutions are rows too.
        teacher: Settings of a teacher; None for nobody.
        pairs: Settings of a second phase on pairs of programs; None for none.
        train: Further settings of the training.
    """

    rate: float
    rows: RowsConfig = DIRECT
    references: bool = False
    teacher: Mapping[str, Any] | None = None
    pairs: Mapping[str, Any] | None = None
    train: Mapping[str, Any] = field(default_factory=dict)


ARMS = {
    "direct-2e-4": Arm(2e-4),
    "direct-1e-4": Arm(1e-4),
    "references": Arm(2e-4, rows=BOTH, references=True),
    "teacher": Arm(2e-4, teacher={"model": TEACHER}),
    "pairs": Arm(2e-4, pairs={"pairs": "programs", "max_length": 768}),
}


def split(data: Path) -> dict[str, list[str]]:
    """Draws the development part of LeetCode's training split, by difficulty."""
    tasks = list(load_tasks("leetcode", data=data, split="train"))
    found = {}
    for difficulty, count in DEVELOPMENT.items():
        fitting = sorted(
            task.problem.id
            for task in tasks
            if task.problem.difficulty == difficulty and task.problem.public_tests
        )
        found[f"development, {difficulty.lower()}"] = sorted(random.Random(SEED).sample(fitting, count))
    return found


def tasks_of(part: str, data: Path) -> list[Task]:
    """The problems of a part: `development` or `report`."""
    if part == "report":
        return [
            *load_tasks("mbpp", data=data, split="test"),
            *load_tasks("humaneval+", data=data),
        ]
    chosen: list[str] = json.loads(SPLIT.read_text(encoding="utf-8"))["development, easy"]
    ids = [one.removeprefix("leetcode:") for one in chosen]
    return [
        *load_tasks("mbpp", data=data, split="validation"),
        *load_tasks("leetcode", data=data, split="train", ids=ids),
    ]


def known(data: Path) -> list[Task]:
    """The problems whose known solutions an arm learns."""
    held = {one for ids in json.loads(SPLIT.read_text(encoding="utf-8")).values() for one in ids}
    easy = [
        task
        for task in load_tasks("leetcode", data=data, split="train")
        if task.problem.difficulty == "Easy" and task.problem.id not in held
    ]
    return [
        *load_tasks("mbpp", data=data, split="train"),
        *random.Random(SEED).sample(easy, REFERENCES),
    ]


def train(name: str, data: Path, state: Path) -> None:
    """Trains one adapter on all rows of an arm."""
    from bdc_agents.distill.save import save_library
    from bdc_agents.distill.training.curves import live_losses
    from bdc_agents.distill.training.experts import train_experts
    from bdc_agents.distill.training.preference import PreferenceConfig, prefer, preference_pairs
    from bdc_agents.distill.training.teacher import Teacher, TeacherConfig
    from bdc_agents.experts.base import load_base
    from bdc_agents.experts.devices import use_idle_cores

    arm = ARMS[name]
    traces = [
        trace
        for file in sorted((ROOT / "experts" / "traces").glob("*.jsonl.gz"))
        for trace in read_traces(file)
    ]
    lessons = lessons_of(traces, arm.rows, known_solutions(known(data)) if arm.references else ())
    print(f"{name}: {len(lessons.rows)} rows of {lessons.solved} problems", flush=True)
    config = TrainConfig(
        learning_rate=arm.rate,
        epochs=1,
        patience=None,
        rank=8,
        alpha=16,
        targets="all-linear",
        batch=16,
        tokens_per_pass=2048,
        validation=0.1,
        checkpoint_steps=2,
        **arm.train,
    )
    use_idle_cores()
    base, work = load_base(BASE), state / f"{name}.work"
    teacher = None
    if arm.teacher:
        teacher = Teacher(TeacherConfig(**arm.teacher), lambda: load_base(TEACHER), work, base, print)
    # The same training of arms that differ in what follows is made once.
    place = state / "direct-2e-4.work" if arm.pairs is not None else work
    with live_losses() as watch:
        trained = train_experts(lessons.rows, {}, base, place, config, teacher=teacher, watch=watch)
    if arm.pairs is not None:
        settings = PreferenceConfig(**arm.pairs)
        pairs = preference_pairs(lessons.traces, settings.pairs)
        print(f"{name}: {len(pairs)} pairs", flush=True)
        trained = prefer(trained, pairs, lessons.rows, {}, base, work, settings, say=print)
    save_library(state / name, trained)


def agent_of(name: str, state: Path) -> dict[str, Any]:
    """The settings of a model: `base`, or an arm's library."""
    if name == "base":
        return {"model": BASE, "options": {"slots": 4, "context": 8192}, "concurrency": 4}
    options = {"model": "shared", "options": {"backend": "llama.cpp"}}
    return {"model": f"bdc:{state / name}", "options": options, "concurrency": 4}


async def evaluate(names: Sequence[str], part: str, data: Path, state: Path) -> None:
    """Lets models answer each problem once, greedily, and appends a row for each answer."""
    tasks = tasks_of(part, data)
    RESULTS.mkdir(parents=True, exist_ok=True)
    executor = create_executor()
    for name in names:
        out = RESULTS / f"{part}-{name}"
        done = {row["problem"] for row in rows(out)}
        settings = Settings.model_validate({"agents": {name: agent_of(name, state) | {"max_tokens": 512}}})
        (agent,) = load_agents(settings)
        tools = Tools(
            agents={name: agent},
            team=(name,),
            executor=executor,
            search=SearchConfig(),
            budget=Budget(calls=1),
            temperature=0.0,
        )
        solver = create_solver(Spec.parse(f"single:{name}"), tools)
        queue = iter([task for task in tasks if task.problem.id not in done])

        async def work(solver: Any = solver, queue: Iterator[Task] = queue, out: Path = out) -> None:
            for task in queue:
                answer = await solver.solve(task.problem, SEED)
                solution = answer.trace.solution
                if any(usage.failed for usage in solution.usage.values()):
                    raise RuntimeError(f"no answer to {task.problem.id}: {solution.set_aside}")
                right = solution.solved and await passes(task, solution.code, executor)
                tokens = sum(usage.tokens for usage in solution.usage.values())
                row = {"problem": task.problem.id, "public": solution.solved, "solved": right}
                append(out, row | {"tokens": tokens, "code": solution.code})

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(work())
        await agent.aclose()
        print(f"{name}: {sum(row['solved'] for row in rows(out))} of {len([*rows(out)])}", flush=True)
    await executor.aclose()


async def passes(task: Task, code: str, executor: Any) -> bool:
    """Whether a program passes the hidden tests."""
    if not len(task.hidden):
        return True
    return (await executor.run(job_for(task.problem, code, task.hidden.reveal()))).passed


def report() -> None:
    """Prints every model's share of solved problems and its difference to the base."""
    for part in ("development", "report"):
        known = {
            file.name.removeprefix(f"{part}-").removesuffix(".jsonl"): {
                row["problem"]: bool(row["solved"]) for row in rows(file.with_suffix(""))
            }
            for file in sorted(RESULTS.glob(f"{part}-*"))
        }
        base = known.get("base", {})
        for name, solved in known.items():
            both = [one for one in solved if one in base]
            told = f"{part} {name}: {sum(solved.values())} of {len(solved)}"
            if name != "base" and both:
                told += f"; {paired([solved[one] for one in both], [base[one] for one in both])}"
            print(told)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=["split", "train", "eval", "report"])
    parser.add_argument("names", nargs="*", help=f"base, or of {', '.join(ARMS)}")
    parser.add_argument("--data", type=Path, help="folder of the problem sets")
    parser.add_argument("--state", type=Path, help="folder of libraries")
    parser.add_argument("--part", choices=["development", "report"], default="development")
    options = parser.parse_args()
    if options.command == "split":
        SPLIT.write_text(json.dumps(split(options.data), indent=1) + "\n", encoding="utf-8")
    elif options.command == "train":
        for name in options.names:
            train(name, options.data, options.state)
    elif options.command == "eval":
        asyncio.run(evaluate(options.names, options.part, options.data, options.state))
    else:
        report()


if __name__ == "__main__":
    main()
