"""The loop alone: whatever is trained, one that is cut off anywhere ends as one that was not."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bdc_agents.distill.training.checkpoint import CHECKPOINT_FILE, LOSSES_FILE
from bdc_agents.distill.training.loop import (
    Loop,
    NotANumber,
    Position,
    Report,
    Taken,
    TrainingStopped,
    silent,
)
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.experts.devices import Processes

ROW = EncodedRow(key="k", problem_id="p", ids=(1, 2), start=1)
Stages = list[list[int]]


class Sum:
    """Adds random numbers; `stages` holds the steps of each epoch of each stage."""

    def __init__(self, stages: Stages, bad: int = -1) -> None:
        self.stages, self.bad = stages, bad
        self.stage, self.total, self.means = 0, 0.0, list[float]()

    def begin(self) -> dict[str, float]:
        self.total = 1.0
        return {"sum": self.total}

    def plan(self, at: Position) -> list[int]:
        epochs = self.stages[self.stage]
        return [*range(epochs[at.epoch])] if at.epoch < len(epochs) else []

    def left(self, at: Position) -> int:
        return (
            sum(self.stages[self.stage][at.epoch :]) - at.done + sum(map(sum, self.stages[self.stage + 1 :]))
        )

    def step(self, step: int, at: Position) -> Taken:
        if at.count == self.bad:
            raise NotANumber("the sum", [ROW] * 7)
        assert step == at.done
        drawn = float(torch.rand(1, dtype=torch.float64))
        self.total += drawn
        return Taken(losses={"sum": drawn}, rates={"sum": 1.0}, norms={"sum": 0.0}, tokens=2)

    def end_epoch(self, at: Position, means: Mapping[str, float]) -> dict[str, float]:
        self.means.append(means["sum"])
        return {"sum": self.total} if at.epoch % 2 else {}

    def next_stage(self) -> bool:
        if self.stage + 1 == len(self.stages):
            return False
        self.stage += 1
        return True

    def state(self) -> dict[str, Any]:
        return {"stage": self.stage, "total": self.total, "means": self.means}

    def load(self, state: Mapping[str, Any]) -> None:
        self.stage, self.total, self.means = state["stage"], state["total"], list(state["means"])


class Killed(Exception):
    pass


def config(checkpoint_steps: int = 1) -> Any:
    return SimpleNamespace(seed=3, learning_rate=0.1, checkpoint_steps=checkpoint_steps)


def train(stages: Stages, work: Path | None, every: int, kill: int | None = None) -> tuple[Sum, Position]:
    def watch(report: Report) -> None:
        assert report.steps == sum(map(sum, stages))
        if report.step == kill and report.losses:
            raise Killed

    trained = Sum(stages)
    return trained, Loop(trained, work, "mark", config(every), Processes(), watch).run(resume=True)


@settings(deadline=None, max_examples=25)  # Each one trains and writes files several times.
@given(
    stages=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=1, max_size=3),
    every=st.integers(1, 5),
    kills=st.lists(st.integers(1, 12), max_size=3),
)
def test_one_that_is_cut_off_anywhere_ends_as_one_that_was_not(
    stages: Stages, every: int, kills: list[int]
) -> None:
    whole, end = train(stages, None, every)
    assert end.count == sum(map(sum, stages))
    assert end.tokens == 2 * end.count
    with TemporaryDirectory() as folder:
        work = Path(folder)
        for kill in kills:
            with suppress(Killed):  # It may be beyond that step already, or never come to it.
                train(stages, work, every, kill)
        resumed, again = train(stages, work, every)
        assert again == end
        assert resumed.state() == whole.state()
        lines = [json.loads(line) for line in (work / LOSSES_FILE).read_text().splitlines()]
        assert [line["step"] for line in lines if "losses" in line] == [*range(1, end.count + 1)]


def test_what_is_not_a_number_names_its_rows_and_keeps_what_was_learnt(tmp_path: Path) -> None:
    loop = Loop(Sum([[4]], bad=2), tmp_path, "mark", config(), Processes(), silent)
    told = (
        r"the sum is not a number in step 3 \(epoch 1\), rows (k \(p\), ){4}k \(p\) and 2 more\. The weights"
    )
    with pytest.raises(TrainingStopped, match=told):
        loop.run(resume=True)
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["state"]
    assert (state["count"], state["done"]) == (2, 2)
