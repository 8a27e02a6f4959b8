"""A small run of `benchmarks/budgets.py`: caps hold over endpoints that fail and misreport in every way."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.testing import run_simulated

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "budgets.py"
SIMULATED, REAL = 60, 4


@pytest.fixture(scope="module")
def budgets() -> Any:
    spec = importlib.util.spec_from_file_location("budgets", BENCHMARK)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["budgets"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_caps_hold_in_simulated_time(budgets: Any) -> None:
    outcomes = [run_simulated(budgets.simulate(seed)) for seed in range(SIMULATED)]
    assert [found for found, *_ in outcomes if found] == []
    assert len({ended for _, ended, _ in outcomes}) >= 4


async def test_caps_hold_in_real_time(budgets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The suite runs beside others; the benchmark is what measures lateness.
    monkeypatch.setattr(budgets, "GRACE", 20.0)
    outcomes: list[Any] = []
    await budgets.try_all(range(REAL), outcomes.append)
    assert len(outcomes) == REAL
    assert [found for found, *_ in outcomes if found] == []
