"""Training the router: it finds mixtures that are known, and a resumed one ends where a whole one does."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdc_agents.distill.training.checkpoint import read_losses
from bdc_agents.distill.training.crossfit import Folds
from bdc_agents.distill.training.loop import Position, Report, TrainingStopped
from bdc_agents.distill.training.loss import RowLoss, row_sums
from bdc_agents.distill.training.router import METRICS, RouterConfig, RouterTraining, imbalance, train_router
from bdc_agents.distill.training.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import Base, check_base
from bdc_agents.experts.clusters import Clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import attach_experts, load_experts
from bdc_agents.experts.router import Router
from bdc_agents.search.traces import Row

Make = Callable[..., ExpertLibrary]
TARGETS = ("q_proj", "up_proj", "down_proj")
QUICK = RouterConfig(learning_rate=0.1, epochs=3, batch=8, tokens_per_pass=128, hidden=8, seed=3)


@pytest.fixture
def library(make_library: Make, toy_clusters: Callable[..., Clusters]) -> ExpertLibrary:
    """Two experts, whose clusters say next to nothing about a problem."""
    return make_library((0, 1), toy_clusters(2, temperature=100.0), strength=0.1, targets=TARGETS)


@pytest.fixture
def toy(library: ExpertLibrary, base: Base) -> tuple[Encoded, torch.Tensor]:
    return written_by(library, base)


def written_by(library: ExpertLibrary, base: Base) -> tuple[Encoded, torch.Tensor]:
    """Rows whose completions one of the first two experts wrote, and vectors that tell which one."""
    adapters = load_experts(library, base.model)
    rows, vectors, generator = [], [], torch.Generator().manual_seed(0)
    for n in range(40):
        ids = torch.randint(0, 300, (1, 5), generator=generator)
        with adapters.route(rows=torch.tensor([n % 2])), torch.no_grad():
            for _ in range(8):
                ids = torch.cat([ids, base.model(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
        row = EncodedRow(key=f"r{n}", problem_id=f"p{n}", ids=tuple(ids[0].tolist()), start=5, cluster=n % 2)
        rows.append(row)
        noise = torch.randn(6, generator=generator) * 0.1
        vectors.append(torch.nn.functional.normalize(noise + torch.eye(6)[n % 2], dim=0))
    adapters.detach()
    return Encoded(train=tuple(rows[:32]), validation=tuple(rows[32:])), torch.stack(vectors)


def best_losses(library: ExpertLibrary, base: Base, encoded: Encoded) -> float:
    """The loss on the validation rows under the expert that wrote each."""
    adapters = load_experts(library, base.model)
    try:
        pairs = [(n, row.cluster) for n, row in enumerate(encoded.validation)]
        sums = row_sums(RowLoss(adapters, encoded.validation), pairs, 128)
    finally:
        adapters.detach()
    return float(sums.sum()) / sum(row.target_tokens for row in encoded.validation)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"granularity": "expert", "scope": "model"},
        {"start": "random"},
        {"scope": "embedded", "hidden": 32},
    ],
)
def test_training_finds_the_expert_that_wrote_each_completion(
    changes: dict[str, Any], library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor]
) -> None:
    encoded, vectors = toy
    config = QUICK.model_copy(update={"epochs": 8, "patience": None} | changes)
    training = RouterTraining(library, encoded, vectors, base, config)
    trained = training.run(resume=False)
    training.close()
    history = [epoch["validation"] for epoch in trained.metrics["epochs"]]
    best = best_losses(library, base, encoded)
    assert min(history) - best < 0.2 * (history[0] - best)
    assert trained.metrics["loss"] == min(history) == history[trained.metrics["best_epoch"]]
    shares = torch.stack([own.mean(2) for own in trained.router.weights(vectors[32:]).values()]).mean(0)
    right = shares[torch.arange(8), torch.tensor([row.cluster for row in encoded.validation])]
    assert right.min() > 0.6
    assert not any(module for module in base.model.modules() if type(module).__name__ == "StackedLinear")


def test_the_gradient_is_that_of_the_loss(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor]
) -> None:
    """In two passes and through a detached copy of the weights, it is that of plain autograd."""
    encoded, vectors = toy
    config = QUICK.model_copy(update={"tokens_per_pass": 52, "balance": 0.3})
    training = RouterTraining(library, encoded, vectors, base, config)
    with torch.no_grad():
        for parameter in training.router.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    members, router = list(range(8)), training.router
    captured: dict[str, torch.Tensor] = {}
    training.optimizer.step = lambda: captured.update(  # type: ignore[method-assign]
        {name: p.grad.clone() for name, p in router.named_parameters() if p.grad is not None}
    )
    config_clip = training.config.clip
    training.step(members, Position())
    router.zero_grad()
    weights = router(vectors[members])
    ids = torch.tensor([encoded.train[n].ids for n in members])
    with training.adapters.route(weights=router.by_layer(weights)):
        logits = base.model(input_ids=ids).logits[:, 4:-1]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 5:].flatten())
    (loss + 0.3 * imbalance(weights)).backward()
    assert config_clip is not None
    torch.nn.utils.clip_grad_norm_(router.parameters(), config_clip)
    for name, parameter in router.named_parameters():
        assert parameter.grad is not None
        assert torch.allclose(captured[name], parameter.grad, atol=1e-5), name
    assert training.adapters.layers["model.layers.0.self_attn.q_proj"].a.grad is None or not (
        training.adapters.grads.any()
    )
    training.close()


def test_a_residual_router_adds_the_expert_that_wrote_each_completion(
    make_library: Make, toy_clusters: Callable[..., Clusters], base: Base
) -> None:
    """From the expert of all rows alone, whose gates are all that is learnt."""
    clusters = toy_clusters(2, temperature=100.0)
    library = make_library((0, 1, -1), clusters, strength=0.1, targets=TARGETS)
    encoded, vectors = written_by(library, base)
    config = QUICK.model_copy(update={"epochs": 8, "patience": None, "scaling": "residual"})
    training = RouterTraining(library, encoded, vectors, base, config)
    trained = training.run(resume=False)
    training.close()
    history = [epoch["validation"] for epoch in trained.metrics["epochs"]]
    best = best_losses(library, base, encoded)
    assert min(history) - best < 0.25 * (history[0] - best)
    assert not any("of its weight" in warning for warning in trained.metrics["warnings"])


def test_rows_in_training_meet_experts_that_have_not_seen_them(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor]
) -> None:
    """A training row has the loss of its fold's experts, a held-out one that of the library's."""
    encoded, vectors = toy
    made = [{name: library.weights(name) for name in library.names} for _ in range(2)]
    for fold, experts in enumerate(made):
        for state in experts.values():
            for tensor in state.values():
                tensor.mul_(0.5 + fold)  # Unlike each other and unlike the library's.
    folds = Folds(lambda problem_id: int(problem_id[1:]) % 3 % 2, (*made,))
    training = RouterTraining(library, encoded, vectors, base, QUICK, folds=folds)
    mixtures = training.router.weights(vectors)
    numbers = [0, 1, 2, 35]
    found = row_sums(training.loss, [(n, 0) for n in numbers], 128)
    training.close()
    for n, loss in zip(numbers, found.tolist(), strict=True):
        row = training.rows[n]
        one = made[folds.of(row.problem_id)] if n < len(encoded.train) else None
        states = one or {name: library.weights(name) for name in library.names}
        adapters = attach_experts(base.model, library.shape, [states])
        weights = {name: own[[n]] for name, own in mixtures.items()}
        with adapters.route(weights=weights), torch.no_grad():
            logits = base.model(input_ids=torch.tensor([row.ids])).logits[0, 4:-1]
        adapters.detach()
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(row.ids[5:]), reduction="sum")
        assert loss == pytest.approx(float(expected), rel=1e-4)


def test_a_cross_fitted_router_resumes_and_differs_from_one_that_is_not(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor], tmp_path: Path
) -> None:
    encoded, vectors = toy
    other = {name: {key: 0.5 * own for key, own in library.weights(name).items()} for name in library.names}
    folds = Folds(lambda problem_id: int(problem_id[1:]) % 2, (other, other))

    def trained(given: Folds | None, epochs: int, resume: bool = False) -> Router:
        config = QUICK.model_copy(update={"epochs": epochs, "patience": None})
        training = RouterTraining(library, encoded, vectors, base, config, tmp_path, folds=given)
        try:
            return training.run(resume).router
        finally:
            training.close()

    once = trained(folds, 2)
    again = trained(folds, 2, resume=True)
    plain = trained(None, 2, resume=True)  # The checkpoint of other experts is not gone on from.

    def same(other: Router) -> bool:
        return all(torch.equal(*pair) for pair in zip(once.parameters(), other.parameters(), strict=True))

    assert same(again)
    assert not same(plain)


def test_imbalance_is_zero_where_experts_are_used_alike() -> None:
    assert imbalance(torch.full((3, 4, 2, 5), 0.5)).item() == pytest.approx(0, abs=1e-6)
    one = torch.zeros(3, 4, 2, 5)
    one[:, :, 0] = 1
    assert imbalance(one).item() == pytest.approx(1)


def test_the_untrained_router_is_kept_where_training_does_not_help(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor]
) -> None:
    encoded, vectors = toy
    # Completions of the other expert: what is learnt is wrong on the held-out rows.
    wrong = Encoded(train=encoded.train, validation=encoded.validation)
    flipped = vectors.clone()
    flipped[32:] = vectors[32:, [1, 0, 2, 3, 4, 5]]
    config = QUICK.model_copy(update={"epochs": 6, "patience": 2})
    training = RouterTraining(library, wrong, flipped, base, config)
    trained = training.run(resume=False)
    training.close()
    assert trained.metrics["best_epoch"] == 0
    assert len(trained.metrics["epochs"]) == 3
    assert "did not lower" in trained.metrics["warnings"][-1]
    start = Router.start(library, config.shape(), seed=config.seed)
    for name, own in trained.router.weights(vectors).items():
        assert torch.allclose(own, start.weights(vectors)[name], atol=1e-5)


@pytest.mark.parametrize("after", [2, 4, 6])
def test_a_training_that_was_cut_off_ends_as_if_it_had_not_been(
    after: int, library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor], tmp_path: Path
) -> None:
    encoded, vectors = toy
    config = QUICK.model_copy(update={"epochs": 2, "checkpoint_steps": 1})

    def train(work: Path, stop: int | None = None) -> Any:
        def watch(report: Report) -> None:
            if report.step == stop and report.losses:
                raise KeyboardInterrupt

        training = RouterTraining(library, encoded, vectors, base, config, work, watch)
        try:
            return training.run(resume=True)
        finally:
            training.close()

    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "losses.jsonl").write_text('{"epoch": 0, "step": 0}\n')  # Of another training.
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", after)
    resumed = train(tmp_path / "cut")
    assert resumed.metrics == whole.metrics
    for name, value in whole.router.state_dict().items():
        assert torch.equal(value, resumed.router.state_dict()[name])
    lines = [read_losses(tmp_path / part / "losses.jsonl") for part in ("whole", "cut")]
    assert [{k: v for k, v in line.items() if k != "seconds"} for line in lines[0]] == [
        {k: v for k, v in line.items() if k != "seconds"} for line in lines[1]
    ]
    assert all(a["step"] <= b["step"] for a, b in pairwise(line for line in lines[0] if "step" in line))


def test_passes_change_no_result(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor]
) -> None:
    encoded, vectors = toy
    found = []
    for tokens, checkpointing in ((4096, False), (30, True)):
        changes = {"epochs": 1, "tokens_per_pass": tokens, "gradient_checkpointing": checkpointing}
        training = RouterTraining(library, encoded, vectors, base, QUICK.model_copy(update=changes))
        found.append(training.run(resume=False).metrics["epochs"])
        training.close()
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, rel=1e-4)
    assert not base.model.training


@pytest.fixture
def text_rows() -> list[Row]:
    return [
        Row(
            kind="direct",
            problem_id=f"p{n}",
            prompt=({"role": "user", "content": f"{'Print' if n % 2 else 'Add'} {n}."},),
            completion=f"print({n})" if n % 2 else f"return x + {n}",
        )
        for n in range(20)
    ]


def test_a_router_is_trained_from_rows_saved_and_loaded(
    make_library: Make, base: Base, encoder: Any, text_rows: list[Row], tmp_path: Path
) -> None:
    library = make_library((0, 1, -1))
    config = QUICK.model_copy(update={"epochs": 2, "validation": 0.2})
    seen: list[Report] = []
    trained = train_router(
        library, text_rows, base, encoder, config, work=tmp_path / "work", watch=seen.append
    )
    trained.save(library)
    again = Router.load(ExpertLibrary(library.folder))
    vectors = encoder.embed(["Print 100."])
    for name, own in again.weights(vectors).items():
        assert torch.equal(own, trained.router.weights(vectors)[name])
    facts = json.loads(library.read(METRICS))
    assert facts == json.loads(json.dumps(trained.metrics))
    assert facts["rows"] + facts["validation_rows"] == 20
    assert sum(facts["shares"].values()) == pytest.approx(1)
    assert [report.validation for report in seen if report.validation]
    assert library.check() == ()


def test_what_does_not_fit_is_refused_and_the_base_given_back(
    make_library: Make, base: Base, encoder: Any, text_rows: list[Row]
) -> None:
    library = make_library((0, 1, -1))
    other = Base(base.model, base.tokenizer, base.identity.model_copy(update={"parameters": 2}))
    with pytest.raises(ModelError, match=r"adapts 'tiny/llama' \(parameters 1\)"):
        check_base(library, other)
    with pytest.raises(ModelError, match="adapts"):
        train_router(library, text_rows, other, encoder, QUICK)

    class Narrow:
        name = "narrow"

        def embed(self, texts: Any) -> Any:
            return np.ones((len(texts), 1), np.float32)

    with pytest.raises(ModelError, match="vectors of 1 numbers"):
        train_router(library, text_rows, base, Narrow(), QUICK)
    (library.folder / "experts/cluster-0/adapter_model.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"cluster-0/adapter_model\.safetensors: damaged"):
        train_router(library, text_rows, base, encoder, QUICK)
    assert not any(type(module).__name__ == "StackedLinear" for module in base.model.modules())


def test_a_loss_that_is_not_a_number_stops_training(
    library: ExpertLibrary, base: Base, toy: tuple[Encoded, torch.Tensor], tmp_path: Path
) -> None:
    encoded, vectors = toy
    vectors = vectors.clone()
    vectors[3] = float("nan")
    training = RouterTraining(library, encoded, vectors, base, QUICK, tmp_path)
    training.router.mean.zero_()
    training.router.spread.fill_(1)
    with pytest.raises(TrainingStopped, match="not a number"):
        training.run(resume=False)
    training.close()
