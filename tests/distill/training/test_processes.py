"""Training spread over processes; takes half a minute: BDC_REAL_TRAINING=1 python -m pytest ..."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.experts.base import Base, load_base
from bdc_agents.search.traces import Row

pytestmark = pytest.mark.skipif(
    not os.environ.get("BDC_REAL_TRAINING"), reason="set BDC_REAL_TRAINING=1 to run it"
)
WORKER = """
import json, sys, torch
from pathlib import Path
from bdc_agents.distill import load_base, read_rows, train_experts, TrainConfig
from bdc_agents.experts.devices import Processes
torch.set_num_threads(1)
folder = Path(sys.argv[1])
config = TrainConfig.model_validate_json((folder / "config.json").read_text())
base = load_base(str(folder / "base"), dtype="float32", folder=folder)
rows = read_rows(folder / "rows.jsonl")
trained = train_experts(rows, [n % 2 for n in range(len(rows))], base, folder / "many", config)
if Processes().main:
    torch.save((Processes().count, trained.adapters, trained.metrics["losses"]), folder / "many.pt")
torch.distributed.destroy_process_group()
"""


def test_two_processes_train_the_experts_that_one_trains(
    base: Base, rows: list[Row], clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    config = quick.model_copy(update={"tokens_per_pass": 96})
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    (tmp_path / "config.json").write_text(config.model_dump_json())
    (tmp_path / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows))
    (tmp_path / "worker.py").write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run([*launch, str(tmp_path / "worker.py"), str(tmp_path)], check=True, timeout=500)
    one = load_base(str(tmp_path / "base"), dtype="float32", device="cpu", folder=tmp_path)
    alone = train_experts(rows, clusters, one, tmp_path / "one", config)
    count, adapters, losses = torch.load(tmp_path / "many.pt", weights_only=True)
    assert count == 2
    for name, state in alone.adapters.items():
        for key, value in state.items():
            assert torch.allclose(adapters[name][key], value, atol=1e-5), key
    for name, values in alone.metrics["losses"].items():
        assert losses[name] == pytest.approx(values, rel=1e-4)
