"""The router: where it starts, what its weights sum to, and that it is stored exactly."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.router import RouterConfig
from bdc_agents.errors import ConfigError, ModelError
from bdc_agents.experts.clusters import Clusters
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.router import ROUTER, Router, RouterFacts, RouterShape, ownership

Make = Callable[..., ExpertLibrary]
SHAPES = [
    RouterShape(granularity=granularity, scope=scope)
    for granularity in ("rank", "expert")
    for scope in ("layer", "embedded", "model")
]


def vectors(count: int = 7, seed: int = 0) -> Any:
    found = np.random.default_rng(seed).normal(size=(count, 6)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def stir(router: Router, seed: int = 5) -> Router:
    """Gives all layers of a router random weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in router.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return router


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [0.05, 0.7, 10.0])
def test_an_untrained_router_places_problems_as_the_clusters_do(
    shape: RouterShape, temperature: float, make_library: Make, toy_clusters: Callable[..., Clusters]
) -> None:
    clusters = toy_clusters(3, temperature)
    library = make_library((0, 1, 2, -1), clusters)
    weights = Router.start(library, shape).weights(vectors())
    expected = torch.from_numpy(clusters.place(vectors()))
    assert len(weights) == 4
    for own in weights.values():
        assert own.shape == (7, 3, 4)
        assert torch.allclose(own, expected[:, :, None].expand(-1, -1, 4), atol=1e-4)


def test_the_papers_scaling_is_one_softmax_without_the_factor(make_library: Make) -> None:
    library = make_library()
    router = stir(Router.start(library, RouterShape(scaling="paper", start="random")))
    for own in router.weights(vectors()).values():
        scaled = own * router.facts.scale
        assert torch.allclose(scaled.sum((1, 2)), torch.ones(7), atol=1e-5)
    plain = Router.start(library, RouterShape(scaling="paper"))
    default = Router.start(library)
    for name, own in plain.weights(vectors()).items():
        assert torch.allclose(own * router.facts.scale * 4, default.weights(vectors())[name], atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), top_k=st.sampled_from([None, 1, 2, 3]), temperature=st.floats(0.2, 5))
def test_weights_are_shares_of_each_rank(
    shape: RouterShape, seed: int, top_k: int | None, temperature: float, library_once: ExpertLibrary
) -> None:
    changed = shape.model_copy(update={"top_k": top_k, "temperature": temperature})
    weights = stir(Router.start(library_once, changed), seed).weights(vectors(5, seed))
    for own in weights.values():
        assert (own >= 0).all()
        assert torch.allclose(own.sum(1), torch.ones(5, 4), atol=1e-5)
        assert ((own > 0).any(2).sum(1) <= (top_k or 3)).all()
        if shape.granularity == "expert":
            assert torch.equal(own, own[:, :, :1].expand_as(own))
    if shape.scope == "model":
        first, *others = weights.values()
        assert all(torch.equal(first, other) for other in others)


@pytest.fixture
def library_once(make_library: Make) -> ExpertLibrary:
    return make_library()


@pytest.mark.parametrize("shape", SHAPES)
def test_routing_alone_equals_routing_in_a_batch(shape: RouterShape, make_library: Make) -> None:
    router = stir(Router.start(make_library(), shape))
    together = router.weights(vectors())
    for n, vector in enumerate(vectors()):
        for name, own in router.weights(vector).items():
            assert torch.allclose(own[0], together[name][n], atol=1e-6)


def test_the_batched_network_is_an_mlp_for_each_layer(make_library: Make) -> None:
    router = stir(Router.start(make_library(), RouterShape(start="random", hidden=5)))
    x = torch.from_numpy(vectors())
    centroids = torch.nn.functional.normalize(router.centroids, dim=1)
    z = torch.cat([x, x @ centroids.T], 1)
    for n, own in enumerate(router.weights(x).values()):
        columns = slice(5 * n, 5 * n + 5)
        hidden = torch.relu(z @ router.w1[:, columns] + router.b1[columns])
        scores = (hidden @ router.w2[n] + router.b2[n]).view(7, 3, 4)
        assert torch.allclose(own, scores.softmax(1), atol=1e-5)


def test_layers_that_are_not_routed_are_the_bases(make_library: Make) -> None:
    router = Router.start(make_library(), RouterShape(layers=(1,)))
    for name, own in router.weights(vectors()).items():
        assert own.shape == (7, 3, 4)
        assert bool(own.any()) == (".1." in name)
    with pytest.raises(ModelError, match=r"layers = \[7\].*these have: 0, 1"):
        Router.start(make_library(name="other"), RouterShape(layers=(7,)))


def test_clusters_without_an_expert_fall_to_the_one_of_all_rows(
    make_library: Make, toy_clusters: Callable[..., Clusters]
) -> None:
    clusters = toy_clusters(3)
    library = make_library((0, 2, -1), clusters)
    router = Router.start(library)
    assert router.experts == ("cluster-0", "cluster-2", "shared")
    place = torch.from_numpy(clusters.place(vectors()))
    for own in router.weights(vectors()).values():
        assert torch.allclose(own[:, :, 0], place[:, [0, 2, 1]], atol=1e-4)
    with pytest.raises(ModelError, match="cluster 1 has no expert"):
        Router.start(make_library((0, 2), clusters, name="lonely"))
    with pytest.raises(ModelError, match="two or more"):
        Router.start(make_library((-1,), clusters, name="single"))


def test_the_shared_expert_takes_its_share_from_the_start(make_library: Make) -> None:
    library = make_library()
    names, shares = ownership(library, 3, shared=0.25)
    assert names == ("cluster-0", "cluster-1", "cluster-2", "shared")
    assert torch.equal(shares[1], torch.tensor([0, 0.75, 0, 0.25]))
    own = next(iter(Router.start(library, RouterShape(shared=0.25)).weights(vectors()).values()))
    assert torch.allclose(own[:, 3], torch.full((7, 4), 0.25), atol=1e-4)


@pytest.mark.parametrize("scope", ["layer", "embedded", "model"])
def test_a_residual_router_starts_with_the_expert_of_all_rows_alone(scope: Any, make_library: Make) -> None:
    router = Router.start(make_library(), RouterShape(scaling="residual", scope=scope))
    assert router.experts == ("cluster-0", "cluster-1", "cluster-2", "shared")
    for own in router.weights(vectors()).values():
        assert torch.equal(own, torch.tensor([0.0, 0, 0, 1])[None, :, None].expand(7, 4, 4))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    top_k=st.sampled_from([None, 1, 2, 3]),
    scope=st.sampled_from(["layer", "embedded"]),
)
def test_residual_gates_are_bounded_and_what_they_take_is_the_shared_experts(
    seed: int, top_k: int | None, scope: Any, library_once: ExpertLibrary
) -> None:
    shape = RouterShape(scaling="residual", scope=scope, top_k=top_k)
    for own in stir(Router.start(library_once, shape), seed).weights(vectors(5, seed)).values():
        assert torch.allclose(own.sum(1), torch.ones(5, 4), atol=1e-5)
        assert (own[:, :3].abs() <= 2).all()
        assert ((own[:, :3] != 0).any(2).sum(1) <= (top_k or 3)).all()


def test_a_residual_router_needs_the_expert_of_all_rows(make_library: Make) -> None:
    with pytest.raises(ModelError, match="scaling = 'residual', and no expert was trained on all rows"):
        Router.start(make_library((0, 1, 2)), RouterShape(scaling="residual"))


def test_layers_of_an_embedded_router_differ_by_their_vectors_alone(make_library: Make) -> None:
    router = stir(Router.start(make_library(), RouterShape(scope="embedded", start="random", hidden=5)))
    x = torch.from_numpy(vectors())
    z = torch.cat([x, x @ torch.nn.functional.normalize(router.centroids, dim=1).T], 1)
    for n, own in enumerate(router.weights(x).values()):
        hidden = torch.relu(z @ router.w1 + router.b1 + router.layer[n])
        scores = (hidden @ router.w2[0] + router.b2[0]).view(7, 3, 4)
        assert torch.allclose(own, scores.softmax(1), atol=1e-5)


def test_an_embedded_router_is_small() -> None:
    """For Qwen2.5-Coder-0.5B with five experts of rank 8: 168 layers, vectors of 384 numbers."""
    layers = tuple(f"model.layers.{n}.{name}" for n in range(24) for name in "abcdefg")
    experts = {f"cluster-{n}": "" for n in range(5)}

    def size(scope: Any) -> int:
        shape = RouterShape(scope=scope)
        facts = RouterFacts(
            shape=shape, layers=layers, experts=experts, rank=8, scale=2.0, clusters=5, size=384
        )
        return sum(parameter.numel() for parameter in Router(facts).parameters())

    assert size("embedded") < 50_000 < 4_000_000 < size("layer")


@pytest.mark.parametrize(
    "shape",
    [
        *SHAPES,
        RouterShape(top_k=2, layers=(0,)),
        RouterShape(scaling="paper"),
        RouterShape(scaling="residual", scope="embedded"),
    ],
)
def test_a_router_is_stored_exactly(shape: RouterShape, make_library: Make) -> None:
    library = make_library()
    router = stir(Router.start(library, shape))
    router.fit_inputs(torch.from_numpy(vectors(20)))
    router.save(library)
    again = Router.load(ExpertLibrary(library.folder))
    assert again.facts == router.facts
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in router.state_dict().items())
    for name, own in router.weights(vectors()).items():
        assert torch.equal(own, again.weights(vectors())[name])
    assert library.check() == ()


def test_what_is_wrong_with_a_stored_router_is_said(make_library: Make) -> None:
    library = make_library()
    with pytest.raises(ModelError, match="has no router"):
        Router.load(library)
    Router.start(library).save(library)
    expert = library.folder / "experts/cluster-1/adapter_model.safetensors"
    library.put("experts/cluster-1/adapter_model.safetensors", expert.read_bytes()[:-1] + b"\0")
    with pytest.raises(ModelError, match=r"'cluster-1' is not the one that the router was trained for"):
        Router.load(library)
    for garbage in (b"", b"\xff" * 40, b"\2\0\0\0\0\0\0\0{}", json.dumps({"a": 1}).encode()):
        library.put(ROUTER, garbage)
        with pytest.raises(ModelError, match="not a router"):
            Router.load(library)
    (library.folder / ROUTER).write_bytes(b"changed")
    with pytest.raises(ModelError, match=r"router\.safetensors: damaged"):
        Router.load(library)


def test_a_router_keeps_at_most_so_many_experts(make_library: Make) -> None:
    library, vectors = make_library(), np.ones((1, 6), np.float32)
    for top_k, kept in ((1, 1), (2, 2), (4, 3), (None, 3)):
        for weights in Router.start(library, RouterShape(top_k=top_k)).weights(vectors).values():
            assert int((weights > 0).any(2).sum()) == kept


def test_wrong_vectors_and_settings_are_refused(make_library: Make) -> None:
    library = make_library()
    with pytest.raises(ModelError, match=r"vectors of 5 numbers, and the router reads 6.*'toy'"):
        Router.start(library).weights(np.zeros((1, 5), np.float32))
    with pytest.raises(ConfigError, match="router preset 'papr'; did you mean paper"):
        RouterConfig.preset("papr")
    with pytest.raises(ConfigError, match="temperature"):
        RouterConfig.preset(temperature=0)
    assert RouterConfig.preset("paper").shape().scaling == "paper"


def test_settings_that_see_rows_as_the_experts_training_did() -> None:
    train = TrainConfig(validation=0.3, seed=7, max_length=99, learning_rate=1.0, epochs=9)
    config = RouterConfig.like(train, preset="paper", epochs=2)
    assert (config.validation, config.seed, config.max_length) == (0.3, 7, 99)
    assert (config.scaling, config.epochs) == ("paper", 2)
    assert config.learning_rate == RouterConfig().learning_rate


def test_a_router_that_is_to_learn_starts_with_some_of_every_expert(
    make_library: Make, toy_clusters: Callable[..., Clusters]
) -> None:
    library = make_library((0, 1, 2, -1), toy_clusters(3, temperature=1e-4))
    for own in Router.start(library, RouterConfig().shape()).weights(vectors()).values():
        assert 0.009 < own.min() < 0.011
        assert torch.allclose(own.sum(1), torch.ones(7, 4))


def test_inputs_are_scaled_by_the_problems_of_training(make_library: Make) -> None:
    router = Router.start(make_library())
    before = router.weights(vectors())
    router.fit_inputs(torch.from_numpy(vectors(50)))
    assert router.spread[:6].unique().numel() == router.spread[6:].unique().numel() == 1
    for name, own in router.weights(vectors()).items():  # The start does not depend on it.
        assert torch.equal(own, before[name])
    router.fit_inputs(torch.from_numpy(vectors(1)))
    assert router.spread.min() > 0
