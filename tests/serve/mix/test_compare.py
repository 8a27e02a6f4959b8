"""The comparison: every method scores what a plain run of it scores, and the base comes back whole."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.utils.merge_utils import ties

from bdc_agents.distill.training.router import RouterConfig
from bdc_agents.distill.training.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.evaluate.library.methods import compare
from bdc_agents.evaluate.library.peers import plain_sums, xlora
from bdc_agents.experts.merging import Method, added, combine
from bdc_agents.experts.mixture import Mixture
from bdc_agents.experts.router import Router, RouterShape

Make = Callable[..., Any]
CONFIG = RouterConfig(epochs=1, batch=4, tokens_per_pass=64, learning_rate=0.01)
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use


@pytest.fixture
def encoded() -> Encoded:
    rng = random.Random(0)
    rows = [
        EncodedRow(
            key=f"r{n}",
            problem_id=f"p{n}",
            ids=tuple(rng.randrange(300) for _ in range(rng.randrange(8, 20))),
            start=rng.randrange(1, 7),
            cluster=n % 3,
        )
        for n in range(14)
    ]
    return Encoded(train=tuple(rows[:8]), validation=tuple(rows[8:]))


def vectors() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)), dim=1)


def test_every_method_scores_what_it_scores_alone(
    llama: Make, make_library: Make, as_base: Make, encoded: Encoded
) -> None:
    model = llama()
    library = make_library(llama())
    routers = {name: Router.start(library, RouterShape(scaling=name)) for name in ("default", "paper")}
    before = {name: p.clone() for name, p in model.named_parameters()}
    modules, attributes = dict(model.named_modules()), set(vars(model))
    said: list[str] = []
    found = compare(library, as_base(model), encoded, vectors(), routers, config=CONFIG, say=said.append)
    rows, numbers = encoded.validation, range(6)

    def alone(model: Any) -> torch.Tensor:
        return plain_sums(model, rows, list(numbers), 4096)

    def scored(name: str) -> torch.Tensor:
        return torch.tensor(found.method(name).rows)

    assert torch.allclose(scored("base"), alone(llama()), rtol=1e-4)
    for name in library.names:
        expert = PeftModel.from_pretrained(llama(), str(library.adapter_folder(name))).eval()
        assert torch.allclose(scored(name), alone(expert), rtol=1e-4)
    own = llama()
    mixture = Mixture.attach(own, library, routers["default"].experts)
    mixtures = {name: router.weights(vectors()) for name, router in routers.items()}
    mixtures["uniform"] = dict.fromkeys(mixture.layers, torch.full((6, 3, 1), 1 / 3))
    mixtures["membership"] = mixtures["default"]
    for name, weights in mixtures.items():
        for n in numbers:
            with mixture.use({layer: part[n : n + 1] for layer, part in weights.items()}):
                assert torch.allclose(scored(name)[n], plain_sums(own, rows, [n], 4096), rtol=1e-3), name
    nearest = mixtures["membership"][mixture.layers[0]][:, :, 0].argmax(1)
    for n in numbers:
        assert torch.allclose(scored("nearest")[n], scored(f"cluster-{nearest[n]}")[n], rtol=1e-4)
    methods: tuple[Method, ...] = ("ties", "dare")
    for how in methods:
        states = [library.weights(expert) for expert in routers["default"].experts]
        with added(plain := llama(), combine(states, 4.0, how, seed=CONFIG.seed)):
            assert torch.allclose(scored(how), alone(plain), rtol=1e-4)
    names = {*library.names, *mixtures, "base", "nearest", "ties", "dare", "arrow", "xlora"}
    assert {method.name for method in found.methods} == names
    losses = [line["loss"] for line in found.table()]
    assert losses == sorted(losses)
    assert found.method("base").parameters == 0 < found.method("shared").parameters
    assert found.method("default").parameters > 3 * found.method("shared").parameters
    assert "training X-LoRA" in said
    # The base is as it was.
    assert dict(model.named_modules()) == modules
    assert set(vars(model)) == attributes
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])
        assert parameter.requires_grad


# --- experts combined once and for all -----------------------------------------------------------


def delta_of(state: Any, layer: str, scale: float) -> torch.Tensor:
    """What an adapter adds to a layer's weight."""
    a, b = (state[f"base_model.model.{layer}.lora_{part}.weight"] for part in "AB")
    return scale * (b @ a)


def test_ties_is_that_of_peft_on_what_the_experts_add(llama: Make, make_library: Make) -> None:
    library = make_library(llama())
    states = [library.weights(f"cluster-{number}") for number in range(3)]
    own = dict(combine(states, 4.0, "ties", density=0.4))
    for layer in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"):
        deltas = [delta_of(state, layer, 4.0) for state in states]
        assert torch.allclose(own[layer], ties(deltas, torch.ones(3), 0.4), atol=1e-5)


def test_dare_drops_rescales_elects_signs_and_averages(llama: Make, make_library: Make) -> None:
    """Against the definition, entry by entry; with all kept and one sign it is the plain mean."""
    library = make_library(llama())
    states = [library.weights(name) for name in library.names]
    own = dict(combine(states, 4.0, "dare", density=0.4, seed=9))
    generator = torch.Generator().manual_seed(9)
    assert len(own) == len(states[0]) / 2
    for layer, found in own.items():
        deltas = torch.stack([delta_of(state, layer, 4.0) for state in states])
        left = deltas * torch.bernoulli(torch.full_like(deltas, 0.4), generator=generator) / 0.4
        for at in [(0, 0), (1, 5), (3, 2)]:
            whole, kept = [float(one[at]) for one in deltas], [float(one[at]) for one in left]
            sign = 1 if sum(kept) >= 0 else -1
            agreeing = sum(one * sign > 0 for one in whole)
            expected = sum(one for one in kept if one * sign > 0) / max(agreeing, 1)
            assert float(found[at]) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    again = dict(combine(states, 4.0, "dare", density=0.4, seed=9))
    assert all(torch.equal(own[name], again[name]) for name in own)
    with pytest.raises(ModelError, match="two or more"):
        combine(states[:1], 4.0, "ties")
    other = {name: tensor[:, :1] for name, tensor in states[1].items()}
    with pytest.raises(ModelError, match="differ in"):
        combine([states[0], other], 4.0, "ties")


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_copies_of_an_expert_are_that_expert_and_count_once(
    llama: Make, make_library: Make, method: Any
) -> None:
    library = make_library(llama())
    one, two = library.weights("cluster-0"), library.weights("cluster-1")
    for layer, found in combine([one, dict(one), one], 4.0, method):
        assert torch.allclose(found, delta_of(one, layer, 4.0))
    twice = dict(combine([one, two], 4.0, method, seed=3))
    for layer, found in combine([one, dict(one), two, dict(two), one], 4.0, method, seed=3):
        assert torch.equal(found, twice[layer])


@pytest.mark.parametrize("count", [2, 3, 8])
def test_experts_that_are_alike_come_out_as_large_as_each_of_them(
    llama: Make, make_library: Make, count: int
) -> None:
    """What dropping and rescaling must leave as it is on average, however many experts there are."""
    library = make_library(llama())
    one = library.weights("cluster-0")
    alike = [{name: tensor * (1 + 1e-4 * n) for name, tensor in one.items()} for n in range(count)]
    for layer, found in combine(alike, 4.0, "dare", density=0.5, seed=1):
        delta = delta_of(one, layer, 4.0)
        assert float((found * delta).sum() / delta.square().sum()) == pytest.approx(1.0, abs=0.3)
    found = dict(combine(alike, 4.0, "dare", density=0.5, seed=1))
    deltas = {layer: delta_of(one, layer, 4.0) for layer in found}
    along = sum(float((found[layer] * delta).sum()) for layer, delta in deltas.items())
    assert along / sum(float(delta.square().sum()) for delta in deltas.values()) == pytest.approx(
        1.0, abs=0.06
    )


def test_what_is_added_is_taken_back_also_after_an_error(llama: Make, make_library: Make) -> None:
    model, library = llama(), make_library(llama())
    before = {name: p.clone() for name, p in model.named_parameters()}
    states = [library.weights(name) for name in library.names]
    layer = "model.layers.1.mlp.down_proj"
    own = dict(combine(states, 4.0, "ties"))[layer]
    with added(model, combine(states, 4.0, "ties")):
        assert torch.allclose(model.get_submodule(layer).weight, before[f"{layer}.weight"] + own)
    with pytest.raises(ValueError, match="stop"), added(model, combine(states, 4.0, "ties")):
        raise ValueError("stop")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_an_error_within_a_peer_gives_the_base_back(llama: Make, make_library: Make) -> None:
    model = llama()
    library = make_library(llama())
    plain = copy.deepcopy(model)
    ids = torch.arange(9)[None]
    with pytest.raises(ValueError, match="stop"), xlora(model, library, library.names):
        raise ValueError("stop")
    assert model.config.use_cache
    assert torch.equal(model(input_ids=ids).logits, plain(input_ids=ids).logits)


def test_bad_input_is_named(llama: Make, make_library: Make, as_base: Make, encoded: Encoded) -> None:
    library, model = make_library(llama()), llama()
    with pytest.raises(UsageError, match="unknown method 'tie'; did you mean ties"):
        compare(library, as_base(model), encoded, vectors(), methods=["tie"])
    with pytest.raises(UsageError, match="no row is held out"):
        compare(library, as_base(model), Encoded(train=encoded.train, validation=()), vectors())
    few = compare(library, as_base(model), encoded, vectors(), methods=["base"], config=CONFIG)
    with pytest.raises(UsageError, match="unknown method 'ties'"):
        few.method("ties")
