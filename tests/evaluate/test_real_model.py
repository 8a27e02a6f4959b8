"""The whole command with a real, small model and the real sandbox, and again without asking it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
pytest.importorskip("xllamacpp", reason="the extra [local] is not installed")

Bdc = Callable[..., subprocess.CompletedProcess[str]]


def test_a_small_model_is_evaluated_and_its_replies_are_cached(workplace: Path, bdc: Bdc) -> None:
    from bdc_agents.agents.local import find, locate

    weights = locate(find("smollm2-135m"), Path.home() / ".cache" / "bdc-agents" / "models")
    if weights is None:
        pytest.skip("the model is not on this machine")
    (workplace / "bdc.toml").write_text(
        f'[agents.tiny]\nmodel = "local:smollm2-135m"\npath = "{weights}"\nmax_tokens = 96\n'
    )
    task = {
        "id": "add",
        "statement": "Write a function add(a, b) that returns the sum of a and b.",
        "entry_point": "add",
        "public_tests": [{"call": "add(1, 2)", "expected": "3"}],
        "hidden_tests": [{"call": "add(-4, 4)", "expected": "0"}],
    }
    (workplace / "set.jsonl").write_text(json.dumps(task) + "\n")
    words = ("eval", "set.jsonl", "--solver", "single:tiny,temperature=0", "--solver", "best-of:2", "--json")
    first = bdc(*words, "--out", "one")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert all(one["tokens"] > 0 and one["cached"] == 0 for one in told["solvers"])
    again = json.loads(bdc(*words, "--out", "two").stdout)
    assert all(one["cached"] == 1 for one in again["solvers"])
    rows = [(workplace / name / "results.jsonl").read_text().splitlines() for name in ("one", "two")]
    codes = [{(r["solver"], r["code"]) for r in map(json.loads, lines)} for lines in rows]
    assert codes[0] == codes[1]
