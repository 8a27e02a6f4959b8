"""A distilled library, new problems, and a whole comparison on them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe
from bdc_agents.evaluate.library import CompareConfig, compare
from bdc_agents.runs import open_run, write_trace
from bdc_agents.sandbox import create_executor
from bdc_agents.types import Trace

PROBLEMS = 5


def problem(number: int) -> dict[str, Any]:
    """The hidden test of problem 0 fails its reference."""
    return {
        "id": f"new{number}",
        "statement": f"Write g{number}(s), which reverses the string s and adds {number} times an x.",
        "public_tests": [f"assert g{number}('') == 'x' * {number}"],
        "hidden_tests": [f"assert g{number}('ab') == 'ba' + 'x' * {number or 9}"],
        "reference": f"def g{number}(s):\n    return s[::-1] + 'x' * {number}\n",
    }


@pytest.fixture(scope="session")
def place(recipe: Recipe, trace: Callable[..., Trace], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a library, the run that it was made from, and problems that are new to it."""
    place = tmp_path_factory.mktemp("compare")
    traces = [trace(number) for number in range(14)]
    run = open_run(place / "run")
    for one in traces:
        write_trace(run, one)
    distill(traces, place / "library", recipe)
    lines = "".join(json.dumps(problem(number)) + "\n" for number in range(PROBLEMS))
    (place / "new.jsonl").write_text(lines)
    return place


def make_config(place: Path, **changes: Any) -> CompareConfig:
    values: dict[str, Any] = {
        "library": str(place / "library"),
        "problems": (str(place / "new.jsonl"),),
        "traces": (str(place / "run"),),
        "max_tokens": 6,
        "batch": 3,
        "dtype": "float32",
    }
    return CompareConfig(**values | changes)


@pytest.fixture(scope="session")
def config() -> Callable[..., CompareConfig]:
    """Makes the settings of a comparison, some of them changed, for the folder of `place`."""
    return make_config


@pytest.fixture(scope="session")
def out(place: Path) -> Path:
    """The folder of a whole comparison."""
    before = {p: p.read_bytes() for p in (place / "library").rglob("*") if p.is_file()}
    compare(make_config(place), place / "out", create_executor)
    assert before == {p: p.read_bytes() for p in (place / "library").rglob("*") if p.is_file()}
    return place / "out"
