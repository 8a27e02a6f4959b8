"""Writes an evaluation as logs of inspect_ai, for its viewer and its data frames.

One log for each solver, in version 2 of the log's JSON format. Nothing of inspect_ai is needed to
write them; to look at them: `pip install inspect-ai`, then `inspect view --log-dir OUT/inspect`.
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bdc_agents.evaluate.figures.groups import by_problem, rows_by_solver
from bdc_agents.evaluate.figures.metrics import Interval, mean_interval
from bdc_agents.evaluate.results import Record, Row, read_record, trace_folder
from bdc_agents.prompts import write_program
from bdc_agents.runs import write_text
from bdc_agents.types import Problem, Usage, content_hash

FOLDER = "inspect"
SCORERS: dict[str, tuple[str, Callable[[Row], str | float]]] = {
    "tests": ("accuracy", lambda row: "C" if row.passed else "I"),
    "share": ("mean", lambda row: row.share),
}
"""Each score of a sample, and the metric of inspect_ai that makes the figure of all of them again."""


def write_logs(folder: Path, problems: Sequence[Problem]) -> list[Path]:
    """Writes one log to `inspect/` for each solver of an evaluation.

    Args:
        folder: The folder of the evaluation.
        problems: Its problems, whose statements are the input of the samples.

    Returns:
        The files.

    Raises:
        UsageError: If the folder holds no evaluation, or cannot be written to.
    """
    record = read_record(folder)
    rows = rows_by_solver(folder)
    (folder / FOLDER).mkdir(exist_ok=True)
    files: list[Path] = []
    for solver, some in rows.items():
        file = folder / FOLDER / f"{_file_name(record, solver)}.json"
        write_text(file, json.dumps(as_log(record, solver, some, problems), indent=1) + "\n")
        files.append(file)
    return files


def _file_name(record: Record, solver: str) -> str:
    """Time, task and solver. inspect_ai takes a file for a log only if its name begins with a time."""
    # 40 characters tell data sets apart; a list of problems would be too long for a file's name.
    task = re.sub(r"[^\w.-]+", "-", ",".join(record.config["eval"]["datasets"]), flags=re.ASCII)[:40]
    parts = (record.created.replace(":", "-"), task, trace_folder(Path(), solver).name)
    return "_".join(part.replace("_", "-") for part in parts)


def as_log(record: Record, solver: str, rows: Sequence[Row], problems: Sequence[Problem]) -> dict[str, Any]:
    """The log of one solver, as plain data.

    Args:
        record: The record in `eval.json`.
        solver: The solver's name.
        rows: Its rows; each is a sample, and the number of the try is its epoch.
        problems: The problems of the evaluation.
    """
    by_id = {problem.id: problem for problem in problems}
    models = _models(record, rows)
    wanted = len(problems) * (max(row.sample for row in rows) + 1)
    section = record.config["eval"]
    return {
        "version": 2,
        "status": "success" if len(rows) >= wanted else "cancelled",
        "eval": _spec(record, solver, problems, " + ".join(dict.fromkeys(models.values()))),
        "plan": {"name": "plan", "steps": [{"solver": solver, "params": {}}], "config": {}},
        "results": {
            "total_samples": wanted,
            "completed_samples": len(rows),
            "scores": _scores(rows),
        },
        "stats": {
            "started_at": record.created,
            "completed_at": record.created,
            "model_usage": _by_model(rows, models),
        },
        "samples": [_sample(row, by_id[row.problem], models) for row in rows if row.problem in by_id],
        "metadata": {"bdc_agents": record.lineage | {"temperature": section.get("temperature")}},
    }


def _spec(record: Record, solver: str, problems: Sequence[Problem], model: str) -> dict[str, Any]:
    section = record.config["eval"]
    name = ",".join(section["datasets"])
    number = content_hash(f"{record.created}{json.dumps(record.config, sort_keys=True)}{solver}")
    return {
        "eval_id": number,
        "run_id": content_hash(record.created + name),
        "created": record.created,
        "task": name,
        "task_id": f"{name}@{content_hash(name)}",
        "task_version": 0,
        "task_args": {},
        "solver": solver,
        "dataset": {
            "name": name,
            "samples": len(problems),
            "sample_ids": [problem.id for problem in problems],
            "shuffled": section.get("shuffle_seed") is not None,
        },
        "model": model or "none",
        "config": {"epochs": section["samples"], "epochs_reducer": ["mean"], "limit": section["limit"]},
        "packages": {"bdc-agents": record.package},
        "scorers": [{"name": name, "metrics": [{"name": metric}]} for name, (metric, _) in SCORERS.items()],
    }


def _models(record: Record, rows: Sequence[Row]) -> dict[str, str]:
    """The model behind each agent that these rows asked."""
    agents = record.config.get("agents", {})
    names = dict.fromkeys(name for row in rows for name in row.usage)
    return {name: str(agents.get(name, {}).get("model", name)) for name in names}


def _by_model(rows: Sequence[Row], models: Mapping[str, str]) -> dict[str, Any]:
    """The usage of each model in all rows."""
    used: dict[str, Usage] = defaultdict(Usage)
    for row in rows:
        for name, usage in row.usage.items():
            used[models[name]] += usage
    return {model: _usage(usage) for model, usage in used.items()}


def _scores(rows: Sequence[Row]) -> list[dict[str, Any]]:
    values: dict[str, Interval] = {
        "tests": mean_interval([*by_problem(rows, lambda row: float(row.passed)).values()]),
        "share": mean_interval([*by_problem(rows, lambda row: row.share).values()]),
    }
    return [
        {
            "name": name,
            "scorer": name,
            "reducer": "mean",
            "scored_samples": len(by_problem(rows, lambda row: row.share)),
            "unscored_samples": 0,
            "params": {},
            "metrics": {metric: _metric(metric, values[name])},
        }
        for name, (metric, _) in SCORERS.items()
    ]


def _metric(name: str, interval: Interval) -> dict[str, Any]:
    bounds = {"low_95": interval.low, "high_95": interval.high}
    return {"name": name, "value": interval.value, "params": {}, "metadata": bounds}


def _sample(row: Row, problem: Problem, models: Mapping[str, str]) -> dict[str, Any]:
    asked = [
        {"role": "system" if message.type == "system" else "user", "content": str(message.content)}
        for message in write_program(problem, ())
    ]
    reply = {"role": "assistant", "content": f"```python\n{row.code.strip()}\n```" if row.code else ""}
    model = " + ".join(dict.fromkeys(models.get(name, name) for name in row.usage)) or "none"
    labels = {"difficulty": row.difficulty, "tags": list(row.tags), "stopped_by": row.stopped_by}
    return {
        "id": row.problem,
        "epoch": row.sample + 1,
        "input": asked,
        "target": "",
        "messages": [*asked, reply],
        "output": {
            "model": model,
            "choices": [{"message": reply, "stop_reason": "stop"}],
            "usage": _usage(row.used),
            "time": row.seconds,
        },
        "scores": {name: _score(row, value(row)) for name, (_, value) in SCORERS.items()},
        "metadata": labels | {"calls": row.used.calls, "points": [p.model_dump() for p in row.points]},
        "model_usage": _by_model([row], models),
        "total_time": row.seconds,
    }


def _score(row: Row, value: str | float) -> dict[str, Any]:
    hidden = f", {row.hidden.passed} of {row.hidden.total} hidden" if row.hidden else ""
    return {
        "value": value,
        "answer": row.code,
        "explanation": f"{row.public.passed} of {row.public.total} public{hidden} tests pass",
        "metadata": {"every_test": row.solved},
    }


def _usage(used: Usage) -> dict[str, Any]:
    counts = {"input_tokens": used.prompt_tokens, "output_tokens": used.completion_tokens}
    cost = {} if used.cost is None else {"total_cost": used.cost}
    return counts | {"total_tokens": used.tokens} | cost
