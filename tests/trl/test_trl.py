"""Exports of a run, loaded by `datasets` and trained on by TRL for two steps.

    python -m venv /tmp/trl && /tmp/trl/bin/pip install torch trl datasets
    BDC_TEST_TRL=/tmp/trl/bin/python python -m pytest tests/trl

BDC_TEST_TRL names a Python that has `trl` and `datasets`. BDC_TEST_TRL_RUN may name a run folder
to export, instead of one that is made here.
"""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from bdc_agents.agents.protocol import Request
from bdc_agents.config import SearchConfig
from bdc_agents.runs import decide, open_run, write_trace
from bdc_agents.runs.export.rows import export
from bdc_agents.search import asolve
from bdc_agents.testing import ScriptedAgent, ScriptedExecutor
from bdc_agents.types import CallTest, Hidden, Problem

PYTHON = os.environ.get("BDC_TEST_TRL", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="BDC_TEST_TRL is not set")

SCRIPT = Path(__file__).with_name("train_two_steps.py")

STORIES = (
    "A baker sells loaves in pairs. Write twice(x), which returns how many loaves x pairs are.",
    "Every guest gets two cups. Given the number of guests, twice(x) says how many cups to wash.",
    "Bicycles in a shed are counted by their wheels: write twice(x) for a shed of x bicycles.",
)


def respond(request: Request) -> str:
    """A first idea that fails, and a better one, by the seed; programs follow the plan."""
    asked = str(request.messages[-1].content)
    if "reasonableness" in asked:
        ideas = [{"thought": f"{word} the number", "reasonableness": 0.5} for word in ("halve", "double")]
        return json.dumps({"thoughts": ideas})
    factor = "2 *" if "double the number" in asked else "0 *" if "halve the number" in asked else "1 *"
    return f"```python\ndef twice(x):\n    return {factor} x\n```"


async def make_run(folder: Path) -> Path:
    """A run of a few problems, whose direct answers fail and whose second thought helps."""
    run = open_run(folder)
    executor = ScriptedExecutor(lambda job: {"2": 1.0, "0": 0.0}.get(job.code.split("return ")[1][0], 0.4))
    for number in range(3):
        problem = Problem(
            id=f"made:{number}",
            statement=STORIES[number],
            entry_point="twice",
            public_tests=tuple(CallTest(call=f"twice({x})", expected=(f"{2 * x}",)) for x in range(3, 8)),
        )
        config = SearchConfig(rollouts=6, stop_when_solved=False, refine=False)
        trace = await asolve(problem, [ScriptedAgent("one", respond)], executor=executor, search=config)
        hidden = Hidden(passed=3, total=3)
        write_trace(run, trace.model_copy(update={"decision": decide(trace, hidden)}))
    return run


def test_sft_and_dpo_trainers_take_the_exports_unchanged(tmp_path: Path) -> None:
    given = os.environ.get("BDC_TEST_TRL_RUN")
    run = Path(given) if given else asyncio.run(make_run(tmp_path / "run"))
    files = [tmp_path / "sft.jsonl", tmp_path / "dpo.jsonl"]
    counts = [export([run], file, file.stem, unscored=bool(given)).rows for file in files]
    ended = subprocess.run(
        [PYTHON, str(SCRIPT), *map(str, files), str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["sft"]["rows"] == sum(counts[0].values())
    assert report["dpo"]["rows"] == counts[1]["dpo"]
    assert len(report["sft"]["losses"]) == len(report["dpo"]["losses"]) == 2
    assert report["dpo"]["losses"][0] == pytest.approx(0.693, abs=0.01)
