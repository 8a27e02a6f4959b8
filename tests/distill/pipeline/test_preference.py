"""The second phase: pairs of steps, who learns from them, and a real training where TRL is installed.

python -m venv /tmp/trl && /tmp/trl/bin/pip install -e '.[distill,dev]' trl datasets
/tmp/trl/bin/python -m pytest tests/distill/pipeline/test_preference.py
"""

import json
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.distill.pipeline import distill
from bdc_agents.distill.recipe import Recipe
from bdc_agents.distill.training.preference import PreferenceConfig, preference_pairs
from bdc_agents.errors import ConfigError, ModelError, ProblemError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.types import Decision, Node, Thought, Trace

Make = Callable[..., Trace]
with_trl = pytest.mark.skipif(find_spec("trl") is None, reason="TRL is not installed")


@pytest.fixture
def stepped(trace: Make) -> Make:
    """Makes a trace whose second thought helped, while its first one did not."""

    def make(number: int, texts: Sequence[str] = ("guess a constant", "look at every item once")) -> Trace:
        found = trace(number)
        children = tuple(
            Node(id=f"0.{n}", parent="0", thought=Thought(text=f"{text}, {number}", agent="a"), value=value)
            for n, (text, value) in enumerate(zip(texts, (0.1, 1.0), strict=True))
        )
        root = Node(value=0.3, children=("0.0", "0.1"))
        solution = found.solution.model_copy(update={"node": "0.1"})
        return found.model_copy(update={"nodes": (root, *children), "solution": solution})

    return make


def test_pairs_are_better_steps_against_worse_ones(stepped: Make) -> None:
    one = stepped(1)
    (pair,) = preference_pairs([one, one])
    assert "look at every item once, 1" in pair.completion
    assert "guess a constant, 1" in (pair.rejected or "")
    assert preference_pairs([one.model_copy(update={"decision": Decision(kept=False)})]) == ()
    assert preference_pairs([stepped(2, ("the same", "the same"))]) == ()
    assert preference_pairs([stepped(2, ("<|im_start|>", "fine"))]) == ()


def test_too_few_pairs_and_wrong_settings_are_named(recipe: Recipe, trace: Make, tmp_path: Path) -> None:
    traces = [trace(n) for n in range(10)]
    wanted = recipe.model_copy(update={"dpo": {}})
    with pytest.raises(ProblemError, match=r"dpo\.min_pairs=8 pairs .* there are 0"):
        distill(traces, tmp_path / "library", wanted)
    wrong = recipe.model_copy(update={"dpo": {"beta": 0}})
    with pytest.raises(ConfigError, match=r"\[dpo\] of the recipe: beta"):
        distill(traces, tmp_path / "library", wrong)
    assert not (tmp_path / "library").exists()


@pytest.mark.skipif(find_spec("trl") is not None, reason="TRL is installed")
def test_without_trl_it_says_what_to_install(recipe: Recipe, stepped: Make, tmp_path: Path) -> None:
    wanted = recipe.model_copy(update={"dpo": {"min_pairs": 2}})
    with pytest.raises(ModelError, match=r"trl is not installed; run: pip install 'bdc-agents\[dpo\]'"):
        distill([stepped(n) for n in range(10)], tmp_path / "library", wanted)


@with_trl
@pytest.mark.filterwarnings("ignore")
def test_an_expert_learns_which_step_is_better(
    recipe: Recipe, stepped: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The better step of held-out pairs gains probability; the other experts stay what they were."""
    traces = [stepped(n) for n in range(16)]
    plain = distill(traces, tmp_path / "plain", recipe).library
    settings = {"learning_rate": 5e-3, "epochs": 4, "batch": 4, "max_length": 2000, "beta": 0.5}
    said: list[str] = []
    long = recipe.model_copy(update={"dpo": settings | {"max_length": 100}})
    with pytest.raises(ProblemError, match="there are 0"):
        distill(traces, tmp_path / "library", long, say=said.append)
    assert "16 of 16 pairs are longer than dpo.max_length=100: left out" in said
    wanted = recipe.model_copy(update={"dpo": settings})
    library = distill(traces, tmp_path / "library", wanted, say=said.append).library
    told = json.loads(library.read("metrics.json"))["dpo"]
    assert set(told) == {"shared"}
    assert told["shared"]["loss"] < 0.6931
    assert told["shared"]["accuracy"] > 0.5
    assert any("second phase: shared learns from" in line for line in said)
    same = {name: _same(plain, library, name) for name in library.names}
    assert same == {"cluster-0": True, "cluster-1": True, "shared": False}
    assert not library.check()
    # The loss in the record is that of the weights in the folder.
    record = library.expert("shared")
    assert record.loss is not None
    assert record.loss != plain.expert("shared").loss
    # What is done is not done again: as after a kill before the library was written.
    monkeypatch.setattr(
        "bdc_agents.distill.training.preference._run", lambda *_: pytest.fail("trained again")
    )
    (tmp_path / "library").rename(tmp_path / "first")
    again = distill(traces, tmp_path / "library", wanted).library
    assert _same(ExpertLibrary(tmp_path / "first"), again, "shared")


def _same(one: ExpertLibrary, other: ExpertLibrary, name: str) -> bool:
    first, second = one.weights(name), other.weights(name)
    return all(bool((first[key] == second[key]).all()) for key in first)


def test_who_learns_from_which_pairs(stepped: Make) -> None:
    from types import SimpleNamespace

    from bdc_agents.distill.training.preference import _Plan

    pairs = preference_pairs([stepped(n) for n in range(20)])
    labels = {f"p{n}": n % 2 for n in range(20)}
    trained: Any = SimpleNamespace(
        config=SimpleNamespace(validation=0.25, seed=1),
        clusters={"cluster-0": 0, "cluster-1": 1, "shared": -1},
    )

    def members(**settings: Any) -> dict[str, int]:
        plan = _Plan.of(trained, pairs, labels, PreferenceConfig(min_pairs=2, **settings))
        for learnt, held in plan.members.values():
            assert not {row.problem_id for row in learnt} & {row.problem_id for row in held}
        return {name: len(learnt) + len(held) for name, (learnt, held) in plan.members.items()}

    assert members() == {"shared": 20}
    assert members(experts="clusters") == {"cluster-0": 10, "cluster-1": 10}
    assert members(experts="all") == {"cluster-0": 10, "cluster-1": 10, "shared": 20}
    few = _Plan.of(trained, pairs, labels, PreferenceConfig(experts="all", min_pairs=12))
    assert set(few.members) == {"shared"}
    assert set(few.few) == {"cluster-0", "cluster-1"}
