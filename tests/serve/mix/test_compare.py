"""The comparison: every method scores what a plain run of it scores, and the base comes back whole."""

import copy
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel

from bdc_agents.distill.route import Router
from bdc_agents.distill.routing import RouterConfig, RouterShape
from bdc_agents.distill.rows import Encoded, EncodedRow
from bdc_agents.errors import ModelError, UsageError
from bdc_agents.serve.combine import combine
from bdc_agents.serve.comparison import compare
from bdc_agents.serve.mix import Mixture
from bdc_agents.serve.peers import plain_sums, xlora

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


def test_ties_is_that_of_peft(llama: Make, make_library: Make) -> None:
    library = make_library(llama())
    names, scale = ["cluster-0", "cluster-1", "cluster-2"], 16 / 4
    own = combine([library.weights(name) for name in names], scale, "ties", density=0.4)
    model = PeftModel.from_pretrained(llama(), str(library.adapter_folder(names[0])), adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(str(library.adapter_folder(name)), adapter_name=name)
    model.add_weighted_adapter(names, [1.0] * 3, "all", combination_type="ties", density=0.4)
    for layer in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"):
        theirs = model.base_model.model.get_submodule(layer)
        a, b = (own[f"base_model.model.{layer}.lora_{part}.weight"] for part in "AB")
        delta = theirs.lora_B["all"].weight @ theirs.lora_A["all"].weight * theirs.scaling["all"]
        assert torch.allclose(scale * b @ a, delta, atol=1e-4)


def test_dare_drops_rescales_elects_signs_and_averages(llama: Make, make_library: Make) -> None:
    library = make_library(llama())
    states = [library.weights(name) for name in library.names]
    own = combine(states, 4.0, "dare", density=0.4, seed=9)
    torch.manual_seed(9)
    for name in states[0]:
        parts = []
        for state in states:
            kept = torch.bernoulli(torch.full_like(state[name], 0.4))
            parts.append(2.0 * state[name] * kept / 0.4)
        stacked = torch.stack(parts)
        agree = stacked.sign() == stacked.sum(0).sign()
        mean = (stacked * agree).sum(0) / (agree & (stacked != 0)).sum(0).clamp_min(1)
        assert torch.allclose(own[name], mean / 4 if ".lora_A." in name else mean, atol=1e-5), name
    again = combine(states, 4.0, "dare", density=0.4, seed=9)
    assert all(torch.equal(own[name], again[name]) for name in own)
    with pytest.raises(ModelError, match="two or more"):
        combine(states[:1], 4.0, "ties")


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
