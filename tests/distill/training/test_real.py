"""One training of a real, small model; takes a minute or two: BDC_REAL_TRAINING=1 python -m pytest ..."""

import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from bdc_agents.distill.recipe import load_recipe
from bdc_agents.distill.save import save_library
from bdc_agents.distill.training.experts import train_experts
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import load_base
from bdc_agents.search.traces import Row

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft's use
    pytest.mark.skipif(not os.environ.get("BDC_REAL_TRAINING"), reason="set BDC_REAL_TRAINING=1 to run it"),
]


def test_smollm2_learns_two_kinds_of_answers_and_plain_peft_serves_them(tmp_path: Path) -> None:
    try:
        base = load_base("local:smollm2-135m", dtype="float32")
    except ModelError as error:
        pytest.skip(f"the model cannot be had: {error}")
    rows = [
        Row(
            kind="direct",
            problem_id=f"p{n}",
            prompt=({"role": "user", "content": f"Write a program that adds {n}."},),
            completion=f"def f(x):\n    return x + {n}" if n % 2 else f"print(int(input()) + {n})",
        )
        for n in range(12)
    ]
    config = load_recipe("tiny", max_steps=4, batch=4, learning_rate=2e-3, min_rows=2).train
    trained = train_experts(rows, [n % 2 for n in range(12)], base, tmp_path / "work", config)
    losses = trained.metrics["losses"]
    for name in ("cluster-0", "cluster-1"):
        assert losses[name][name] < losses["base"][name] - 0.1
    library = save_library(tmp_path / "library", trained)
    assert library.check() == ()
    ids = torch.arange(40)[None]
    with torch.no_grad():
        before = base.model(input_ids=ids).logits
        served = PeftModel.from_pretrained(base.model, str(library.adapter_folder("cluster-0")))
        assert not torch.allclose(served(input_ids=ids).logits, before, atol=1e-2)
