"""Training whole: alone or together, resumed or not, the experts are the same."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bdc_agents.distill.recipe import TrainConfig, load_recipe
from bdc_agents.distill.training import memory
from bdc_agents.distill.training.batches import cut_passes, epoch_batches, merge, plan_step
from bdc_agents.distill.training.checkpoint import CHECKPOINT_FILE, read_checkpoint
from bdc_agents.distill.training.cross_losses import verdict
from bdc_agents.distill.training.experts import Trained, train_experts
from bdc_agents.distill.training.learner import learning_rate
from bdc_agents.distill.training.loop import Report, TrainingStopped
from bdc_agents.distill.training.rows import EncodedRow, Row
from bdc_agents.errors import ConfigError, ModelError, ProblemError
from bdc_agents.experts.base import Base

Rows = list[Row]


def same(one: Trained, other: Trained, *, exact: bool = True) -> bool:
    close = torch.equal if exact else (lambda a, b: torch.allclose(a, b, atol=1e-5))
    return all(
        close(value, other.adapters[name][key])
        for name in other.adapters
        for key, value in one.adapters[name].items()
    )


def change(config: TrainConfig, **changes: Any) -> TrainConfig:
    return config.model_copy(update=changes)


def test_an_expert_trained_with_others_is_the_one_trained_alone(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    together = train_experts(rows, clusters, base, tmp_path / "all", change(quick, start="scratch"))
    assert list(together.adapters) == ["cluster-0", "cluster-1", "shared"]
    for cluster in (0, 1):
        own = [(row, c) for row, c in zip(rows, clusters, strict=True) if c == cluster]
        alone = train_experts(
            [row for row, _ in own],
            [c for _, c in own],
            base,
            tmp_path / str(cluster),
            change(quick, shared=False),
        )
        assert same(together, alone, exact=False)
    assert not torch.equal(*(next(iter(together.adapters[f"cluster-{n}"].values())) for n in (0, 1)))
    shared = train_experts(rows, [-1] * len(rows), base, tmp_path / "shared", quick)
    assert same(together, shared, exact=False)


def test_experts_start_from_the_best_weights_of_the_one_trained_on_all_rows(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    together = train_experts(rows, clusters, base, tmp_path / "all", quick)
    shared = train_experts(rows, [-1] * len(rows), base, tmp_path / "shared", quick)
    names = {"cluster-0": 0, "cluster-1": 1, "shared": -1}
    apart = train_experts(
        rows,
        clusters,
        base,
        tmp_path / "apart",
        quick,
        experts=names,
        start=dict.fromkeys(names, shared.adapters["shared"]),
        learn=["cluster-0", "cluster-1"],
    )
    assert together.clusters == names
    assert same(together, apart, exact=False)
    assert not torch.equal(*(next(iter(together.adapters[f"cluster-{n}"].values())) for n in (0, 1)))
    facts = together.metrics["experts"]
    assert [epoch["epoch"] for epoch in facts["shared"]["epochs"]] == [1, 2]
    assert [epoch["epoch"] for epoch in facts["cluster-0"]["epochs"]] == [0, 1, 2]
    assert together.metrics["steps"] == facts["shared"]["steps"] + facts["cluster-0"]["steps"]


def test_which_experts_are_the_shared_one_is_seen_from_their_weights(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    """Whoever changed the shared one since, such as an update or preferences."""
    names = {"cluster-0": 0, "cluster-1": 1, "shared": -1}
    first = train_experts(rows, [-1] * len(rows), base, tmp_path / "one", quick).adapters["shared"]
    changed = {key: value + 1 for key, value in first.items()}
    found = []
    for shared in (first, changed):
        start = {"cluster-0": first, "cluster-1": changed, "shared": shared}
        measured = train_experts(
            rows, clusters, base, tmp_path / "none", quick, experts=names, start=start, learn=(), resume=False
        )
        found.append(measured.metrics["same_as_shared"])
    assert found == [["cluster-0"], ["cluster-1"]]


def test_an_expert_whose_cluster_does_not_improve_it_is_the_shared_one(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    seen: list[Report] = []

    def poison(report: Report) -> None:
        """The cluster's own steps would ruin what it starts with."""
        seen.append(report)
        if "cluster-0" in report.losses:
            with torch.no_grad():
                for name, weights in base.model.named_parameters():
                    if name.endswith(".b") and weights.dim() == 3:
                        weights[0] = 30.0

    trained = train_experts(rows, clusters, base, tmp_path, quick, watch=poison)
    assert trained.metrics["experts"]["cluster-0"]["best_epoch"] == 0
    assert trained.metrics["same_as_shared"] == ["cluster-0"]
    tokens = {name: facts["tokens"] for name, facts in trained.metrics["experts"].items()}
    said = verdict(trained.metrics["losses"], tokens, same=["cluster-0"])
    assert said[0].startswith("cluster-0: still the same as shared: its ")
    assert not any("cluster-0" in sentence for sentence in said[1:])
    first, shared = (trained.adapters[name] for name in ("cluster-0", "shared"))
    assert all(torch.equal(value, shared[key]) for key, value in first.items())
    assert not all(torch.equal(value, shared[key]) for key, value in trained.adapters["cluster-1"].items())
    assert any(report.validation.get("cluster-0", 0) for report in seen)


def test_training_lowers_the_loss_and_the_record_says_so(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    seen: list[Report] = []
    before = {name: p.clone() for name, p in base.model.named_parameters()}
    trained = train_experts(rows, clusters, base, tmp_path, quick, watch=seen.append)
    losses = trained.metrics["losses"]
    assert losses["cluster-0"]["cluster-0"] < losses["base"]["cluster-0"]
    assert losses["shared"]["all"] < losses["base"]["all"]
    assert seen[-1].step == seen[-1].steps == trained.metrics["steps"]
    assert {report.steps for report in seen} == {trained.metrics["steps"]}
    lines = [json.loads(line) for line in trained.losses.read_text().splitlines()]
    assert len(lines) == len(seen)
    assert [line["losses"] for line in lines if "losses" in line] == [r.losses for r in seen if r.losses]
    after = dict(base.model.named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize(("dropout", "start"), [(0.0, "scratch"), (0.3, "scratch"), (0.3, "shared")])
def test_a_training_cut_off_anywhere_ends_as_one_that_was_not(
    dropout: float,
    start: str,
    base: Base,
    rows: Rows,
    clusters: list[int],
    quick: TrainConfig,
    tmp_path: Path,
) -> None:
    config = change(quick, dropout=dropout, patience=None, start=start)
    whole = train_experts(rows, clusters, base, tmp_path / "whole", config)

    class Killed(Exception):
        pass

    def kill_at(step: int) -> Callable[[Report], None]:
        def watch(report: Report) -> None:
            if report.step == step and report.losses:
                raise Killed

        return watch

    for step in (2, 5, 6, 10) if start == "shared" else (2, 5, 6):  # The shared expert takes the first 8.
        with pytest.raises(Killed):
            train_experts(rows, clusters, base, tmp_path / "cut", config, watch=kill_at(step))
    resumed = train_experts(rows, clusters, base, tmp_path / "cut", config)
    assert same(whole, resumed)
    facts = [{k: v for k, v in t.metrics.items() if k != "memory"} for t in (whole, resumed)]
    assert facts[0] == facts[1]
    steps = [[json.loads(x)["step"] for x in t.losses.read_text().splitlines()] for t in (whole, resumed)]
    assert steps[0] == steps[1]


def test_memory_settings_may_change_on_resume_and_others_start_anew(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    trained = train_experts(rows, clusters, base, tmp_path, quick)
    steps: list[Report] = []
    by_problem = {row.problem_id: cluster for row, cluster in zip(rows, clusters, strict=True)}
    smaller = change(quick, tokens_per_pass=64)
    again = train_experts(rows, by_problem, base, tmp_path, smaller, watch=steps.append)
    assert not steps
    assert same(trained, again)
    train_experts(rows, clusters, base, tmp_path, change(quick, seed=1), watch=steps.append)
    assert steps


def test_weights_of_another_shape_are_refused_and_the_base_is_as_before(
    base: Base, rows: Rows, quick: TrainConfig, tmp_path: Path
) -> None:
    start = {"shared": {"base_model.model.lm_head.lora_A.weight": torch.ones(1, 1)}}
    with pytest.raises(ModelError, match="adapter weights"):
        train_experts(
            rows, [-1] * len(rows), base, tmp_path, quick, experts={"shared": -1}, start=start, learn=()
        )
    assert not any("Stacked" in type(module).__name__ for module in base.model.modules())


def test_a_limit_of_steps_leaves_every_expert_the_same_share_of_its_rows(
    base: Base, rows: Rows, quick: TrainConfig, tmp_path: Path
) -> None:
    clusters = [int(n >= 14) for n in range(20)]
    limited = change(quick, batch=1, max_steps=8, validation=0.0, epochs=1)
    trained = train_experts(rows, clusters, base, tmp_path, limited)
    steps = {name: facts["steps"] for name, facts in trained.metrics["experts"].items()}
    assert steps == {"cluster-0": 6, "cluster-1": 3, "shared": 8}
    assert trained.metrics["losses"] == {}


def test_a_damaged_checkpoint_is_not_used(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"PK\x03\x04 nonsense")
    assert read_checkpoint(tmp_path, "f") is None


def test_a_loss_that_is_not_a_number_stops_and_says_where(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    def poison(report: Report) -> None:
        if report.step == 3:
            with torch.no_grad():
                base.model.model.embed_tokens.weight.fill_(float("nan"))

    with pytest.raises(TrainingStopped, match=r"expert 'shared' .* step 4 .*rows \w{16} \(p\d+\)"):
        train_experts(rows, clusters, base, tmp_path, quick, watch=poison)
    state = torch.load(tmp_path / CHECKPOINT_FILE, weights_only=True)["state"]
    assert state["count"] == 3
    assert state["weights"].isfinite().all()


def test_an_expert_that_no_longer_improves_stops_and_keeps_its_best_epoch(
    base: Base, rows: Rows, clusters: list[int], quick: TrainConfig, tmp_path: Path
) -> None:
    config = change(quick, learning_rate=1.0, epochs=4, patience=1, clip=None)
    trained = train_experts(rows, clusters, base, tmp_path, config)
    for facts in trained.metrics["experts"].values():
        best = min(facts["epochs"], key=lambda epoch: epoch["validation"])
        assert facts["best_epoch"] == best["epoch"]
    assert any(len(facts["epochs"]) < 4 for facts in trained.metrics["experts"].values())


def test_too_few_rows_are_counted_or_train_the_shared_expert(
    base: Base, rows: Rows, quick: TrainConfig, tmp_path: Path
) -> None:
    clusters = [1 if n == 0 else 0 for n in range(20)]
    with pytest.raises(ProblemError, match=r"min_rows=2 training rows; cluster 1 has 1"):
        train_experts(rows, clusters, base, tmp_path, quick)
    few = change(quick, small="shared", epochs=1, max_steps=1)
    trained = train_experts(rows, clusters, base, tmp_path, few)
    assert trained.clusters == {"cluster-0": 0, "shared": -1}
    assert trained.metrics["experts"]["shared"]["steps"] == 1
    with pytest.raises(ProblemError, match="an expert needs min_rows=100"):
        train_experts(rows, clusters, base, tmp_path, change(few, min_rows=100))


def test_memory_is_estimated_before_it_starts_and_what_to_lower_is_named(
    base: Base,
    rows: Rows,
    clusters: list[int],
    quick: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda device: 1_000_000)
    steps: list[Report] = []
    with pytest.raises(
        ModelError, match=r"0\.0 GB are free .*lower tokens_per_pass .*gradient_checkpointing"
    ):
        train_experts(rows, clusters, base, tmp_path, quick, watch=steps.append)
    assert not steps
    assert not any("Stacked" in type(module).__name__ for module in base.model.modules())


# --- the plan -------------------------------------------------------------------------------------

sizes = st.dictionaries(st.integers(0, 5), st.integers(1, 40), min_size=1)


@given(sizes=sizes, batch=st.integers(1, 9))
def test_the_merge_keeps_every_experts_batches_in_order(sizes: dict[int, int], batch: int) -> None:
    own = {k: epoch_batches(range(n), f"e{k}", batch=batch, epoch=0, seed=1) for k, n in sizes.items()}
    steps = list(merge(own))
    assert len(steps) == max(len(batches) for batches in own.values())
    for expert, batches in own.items():
        assert [step[expert] for step in steps if expert in step] == batches
        assert sorted(n for one in batches for n in one) == list(range(sizes[expert]))
        held = [expert in step for step in steps]
        for start in range(len(held) + 1):  # Spread evenly: never more than one ahead of its share.
            assert abs(sum(held[:start]) - start * len(batches) / len(steps)) <= 1


@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=30), tokens=st.integers(16, 200))
def test_passes_hold_every_row_once_within_the_bound(lengths: list[int], tokens: int) -> None:
    rows = [
        EncodedRow(key=str(n), problem_id="p", ids=(1,) * length, start=1) for n, length in enumerate(lengths)
    ]
    step = plan_step({0: list(range(len(rows)))}, rows, tokens)
    assert sorted(item.row for items in step.passes for item in items) == list(range(len(rows)))
    for items in step.passes:
        width = max(len(rows[item.row].ids) for item in items)
        assert width * len(items) <= tokens or len(items) == 1
    weights = sum(item.weight * rows[item.row].target_tokens for items in step.passes for item in items)
    assert weights == pytest.approx(1)
    assert cut_passes([], rows, tokens) == ()


@given(total=st.integers(1, 500), warmup=st.floats(0, 1))
def test_the_learning_rate_rises_then_falls_and_stays_positive(total: int, warmup: float) -> None:
    config = TrainConfig(learning_rate=1.0, warmup=warmup)
    rates = [learning_rate(step, total, config) for step in range(total)]
    top = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


# --- recipes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny", "qwen-0.5b", "qwen-7b", "paper"])
def test_every_recipe_is_valid(name: str) -> None:
    assert load_recipe(name, seed=7).train.seed == 7


def test_the_paper_recipe_has_the_published_constants() -> None:
    train = load_recipe("paper").train
    assert (train.rank, train.alpha, train.dropout, train.targets) == (8, 16, 0.05, ("q_proj", "v_proj"))
    assert (train.learning_rate, train.batch, train.seed, train.dtype) == (1e-3, 64, 42, "bfloat16")


def test_a_wrong_recipe_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean tiny"):
        load_recipe("tinny")
    file = tmp_path / "my.toml"
    file.write_text("[train]\nrnak = 4\n")
    with pytest.raises(ConfigError, match=r"unknown key 'train.rnak'; did you mean train.rank"):
        load_recipe(file)
