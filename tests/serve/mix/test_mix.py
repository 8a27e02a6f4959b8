"""A mixture is the weighted sum of its experts: in every row, alone or beside others, in every model."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch._dynamo.testing import CompileCounter

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.manifest import AdapterConfig
from bdc_agents.experts.mixture import MixedLinear, Mixture

Make = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use
IDS = torch.arange(3 * 9).view(3, 9) * 7 % 300


@pytest.fixture
def attached(llama: Make, make_library: Make) -> tuple[Any, Mixture, ExpertLibrary]:
    """A model with the experts attached, and the library."""
    model = llama()
    library = make_library(model)
    return model, Mixture.attach(model, library), library


def logits(model: Any, ids: torch.Tensor = IDS, **more: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, **more).logits


def deltas(library: ExpertLibrary, weights: dict[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """Of each layer, for weights of one row of shape (experts, rank)."""
    states = [library.weights(name) for name in library.names]
    found = {}
    for layer, own in weights.items():
        key = f"base_model.model.{layer}.lora_"
        parts = (
            s[f"{key}B.weight"] @ (w[:, None] * s[f"{key}A.weight"]) for s, w in zip(states, own, strict=True)
        )
        found[layer] = scale * sum(parts)
    return found


def merged(model: Any, delta: dict[str, torch.Tensor]) -> Any:
    model = copy.deepcopy(model)
    with torch.no_grad():
        for layer, own in delta.items():
            model.get_submodule(layer).weight += own
    return model


def test_a_mixture_is_the_model_with_the_summed_deltas(
    attached: tuple[Any, Mixture, ExpertLibrary], llama: Make, random_weights: Make
) -> None:
    model, mixture, library = attached
    weights = random_weights(mixture.layers, 3, 4, 4)
    with mixture.use(weights):
        mixed = logits(model)
    for n in range(3):
        delta = deltas(library, {name: own[n] for name, own in weights.items()}, mixture.scale)
        alone = logits(merged(llama(), delta), IDS[n : n + 1])
        assert torch.allclose(mixed[n], alone[0], atol=1e-3, rtol=1e-3)
        assert not torch.allclose(mixed[n], logits(llama(), IDS[n : n + 1])[0], atol=0.1)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 10**6),
    batch=st.integers(1, 4),
    experts=st.integers(1, 5),
    rank=st.integers(1, 6),
    sparse=st.booleans(),
)
def test_a_layer_is_exact_against_the_sum_of_separate_adapters(
    seed: int, batch: int, experts: int, rank: int, sparse: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.ModuleDict({"layers": torch.nn.ModuleList([torch.nn.Linear(6, 5)])}).double()
    states = {
        f"e{n}": {
            "base_model.model.layers.0.lora_A.weight": torch.randn(rank, 6, generator=generator).double(),
            "base_model.model.layers.0.lora_B.weight": torch.randn(5, rank, generator=generator).double(),
        }
        for n in range(experts)
    }
    mixture = Mixture(model, states, AdapterConfig(rank=rank, alpha=3))
    layer = model.get_submodule("layers.0")
    x = torch.randn(batch, 4, 6, generator=generator).double()
    weights = torch.rand(batch, experts, rank, generator=generator).double()
    if sparse:
        weights *= torch.rand(batch, experts, rank, generator=generator) > 0.6
    with mixture.use({"layers.0": weights}), torch.no_grad():
        mixed = layer(x)
    for b in range(batch):
        y = layer.base(x[b])
        for n, state in enumerate(states.values()):
            a, b_ = state.values()
            y = y + 3 / rank * ((x[b] @ a.T) * weights[b, n]) @ b_.T
        assert torch.allclose(mixed[b], y, atol=1e-12)


def test_a_batch_of_different_weights_equals_one_by_one(
    attached: tuple[Any, Mixture, ExpertLibrary], random_weights: Make
) -> None:
    model, mixture, _ = attached
    weights = random_weights(mixture.layers, 3, 4, 4)
    with mixture.use(weights):
        together = logits(model)
    for n in range(3):
        with mixture.use({name: own[n : n + 1] for name, own in weights.items()}):
            assert torch.allclose(logits(model, IDS[n : n + 1])[0], together[n], atol=1e-4)


def test_one_hot_weights_are_the_expert_as_peft_runs_it(
    attached: tuple[Any, Mixture, ExpertLibrary], llama: Make
) -> None:
    model, mixture, library = attached
    for number, name in enumerate(library.names):
        plain = PeftModel.from_pretrained(llama(), str(library.adapter_folder(name))).eval()
        with mixture.use(torch.eye(4)[number]):
            assert torch.allclose(logits(model), logits(plain), atol=1e-4)
    with mixture.use(torch.eye(4)[[2, 0, 1]]):
        rows = logits(model)
    with mixture.use(torch.eye(4)[2]):
        assert torch.allclose(logits(model)[0], rows[0], atol=1e-4)


@pytest.mark.parametrize("compact", [True, False])
def test_zero_weights_are_the_base(compact: bool, llama: Make, make_library: Make) -> None:
    model = llama()
    mixture = Mixture.attach(model, make_library(llama()), compact=compact)
    for weights in (torch.zeros(4), torch.zeros(3, 4)):
        with mixture.use(weights):
            assert torch.equal(logits(model), logits(llama()))
    assert torch.equal(logits(model), logits(llama()))


def test_leaving_unused_experts_out_changes_nothing(
    llama: Make, make_library: Make, random_weights: Make
) -> None:
    found = []
    for compact in (True, False):
        model = llama()
        mixture = Mixture.attach(model, make_library(llama()), compact=compact)
        weights = random_weights(mixture.layers, 3, 4, 4)
        for own in weights.values():
            own[:, 1] = 0
            own[:, 2, 1:] = 0
        with mixture.use(weights):
            found.append(logits(model))
            layer = model.get_submodule(mixture.layers[0])
            assert len(layer.a) == (9 if compact else 16)
    assert torch.allclose(*found, atol=1e-4)


def test_merging_one_mixture_equals_using_it(
    attached: tuple[Any, Mixture, ExpertLibrary], random_weights: Make
) -> None:
    model, mixture, _ = attached
    weights = random_weights(mixture.layers, 1, 4, 4)
    before = logits(model)
    with mixture.use(weights):
        used = logits(model)
    with mixture.merge(weights):
        assert torch.allclose(logits(model), used, atol=1e-3, rtol=1e-3)
    assert torch.equal(logits(model), before)
    with (
        pytest.raises(UsageError, match="one mixture can be merged, and these are 2"),
        mixture.merge(torch.rand(2, 4)),
    ):
        pass


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "num_return_sequences": 2}])
def test_generation_is_that_of_the_merged_models(
    options: dict[str, Any],
    attached: tuple[Any, Mixture, ExpertLibrary],
    llama: Make,
    random_weights: Make,
) -> None:
    """With a cache, padding on the left, beams and several sequences of each row."""
    model, mixture, library = attached
    weights = random_weights(mixture.layers, 3, 4, 4)
    lengths = [9, 5, 7]
    ids, mask = IDS.clone(), torch.ones_like(IDS)
    for n, length in enumerate(lengths):
        ids[n, : 9 - length], mask[n, : 9 - length] = 0, 0
    fixed = {"max_new_tokens": 8, "min_new_tokens": 8, "pad_token_id": 0, **options}
    copies = options.get("num_beams", options.get("num_return_sequences", 1))
    torch.manual_seed(0)
    with mixture.use(weights, copies=copies):
        texts = model.generate(input_ids=ids, attention_mask=mask, **fixed)
    if "do_sample" in options:  # Draws differ alone; the two rows of a problem have its mixture.
        with mixture.use({k: v.repeat_interleave(2, 0) for k, v in weights.items()}):
            torch.manual_seed(0)
            own = {**fixed, "num_return_sequences": 1}
            spread = [part.repeat_interleave(2, 0) for part in (ids, mask)]
            assert torch.equal(model.generate(input_ids=spread[0], attention_mask=spread[1], **own), texts)
        return
    for n, length in enumerate(lengths):
        delta = deltas(library, {name: own[n] for name, own in weights.items()}, mixture.scale)
        alone = merged(llama(), delta).generate(
            input_ids=IDS[n : n + 1, 9 - length :], attention_mask=torch.ones(1, length), **fixed
        )
        assert torch.equal(alone[0, length:], texts[n, 9:])


def test_rows_and_weights_that_do_not_fit_are_refused(
    attached: tuple[Any, Mixture, ExpertLibrary], random_weights: Make
) -> None:
    model, mixture, _ = attached
    with mixture.use(torch.rand(2, 4)):
        with pytest.raises(UsageError, match=r"for 2 rows, and the batch has 3.*`copies`"):
            logits(model)
        with pytest.raises(UsageError, match="for 2 rows, and the batch has 4"):
            model.generate(input_ids=IDS[:2], num_beams=2, max_new_tokens=2, pad_token_id=0)
        layer = model.model.layers[0].self_attn.q_proj
        with pytest.raises(ModelError, match="cannot be told apart"):
            layer(torch.rand(5, 32))
    with mixture.use(torch.rand(1, 4)):
        assert layer(torch.rand(5, 32)).shape == (5, 32)
    with pytest.raises(UsageError, match=r"shape \(2, 3, 4\); expected \(batch, 4 experts, rank 4\)"):
        mixture.use(random_weights(mixture.layers, 2, 3, 4)).__enter__()
    with pytest.raises(UsageError, match="no weights for the layer"):
        mixture.use({"model.x": torch.rand(1, 4, 4)}).__enter__()


def test_an_error_within_leaves_the_mixture_that_was_in_use_before(
    attached: tuple[Any, Mixture, ExpertLibrary],
) -> None:
    model, mixture, _ = attached
    with mixture.use(torch.eye(4)[0]):
        first = logits(model)
        with mixture.use(torch.eye(4)[1]):
            assert not torch.allclose(logits(model), first, atol=1e-3)
        with pytest.raises(ValueError, match="stop"), mixture.use(torch.eye(4)[1]):
            raise ValueError("stop")
        assert torch.equal(logits(model), first)


def test_detaching_leaves_no_trace(llama: Make, make_library: Make) -> None:
    model = llama()
    library = make_library(llama())
    names = {name: p.requires_grad for name, p in model.named_parameters()}
    modules, before = dict(model.named_modules()), logits(model)
    mixture = Mixture.attach(model, library)
    assert len(mixture.layers) == 14
    with mixture.use(torch.rand(3, 4)):
        logits(model)
    assert mixture.detach() is model
    assert dict(model.named_modules()) == modules
    assert {name: p.requires_grad for name, p in model.named_parameters()} == names
    assert torch.equal(logits(model), before)


def test_a_compiled_model_takes_new_mixtures_without_compiling_again(
    llama: Make, make_library: Make, random_weights: Make
) -> None:
    model = llama()
    mixture = Mixture.attach(model, make_library(llama()), compact=False)
    count = CompileCounter()
    compiled = torch.compile(model, backend=count, fullgraph=True)
    for seed in range(4):
        weights = random_weights(mixture.layers, 3, 4, 4, seed)
        with mixture.use(weights):
            found = logits(compiled, use_cache=False)
            assert torch.allclose(found, logits(model, use_cache=False), atol=1e-4)
    assert count.frame_count == 1


def test_other_architectures_and_number_formats(make_library: Make, random_weights: Make) -> None:
    """GPT-2's layers are `Conv1D`, whose weights lie the other way round."""
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 1, "eos_token_id": 2}
    config = GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=300, n_positions=64, **ends)
    model = GPT2LMHeadModel(config).eval()
    plain = copy.deepcopy(model)
    library = make_library(copy.deepcopy(model), targets=("c_attn", "c_fc"))
    mixture = Mixture.attach(model, library)
    with mixture.use(torch.eye(4)[1]):
        expected = PeftModel.from_pretrained(plain, str(library.adapter_folder("cluster-1"))).eval()
        assert torch.allclose(logits(model), logits(expected), atol=1e-4)
    with pytest.raises(ModelError, match="Conv1D, which cannot be merged"), mixture.merge(torch.rand(1, 4)):
        pass
    half = mixture.detach().to(torch.bfloat16)
    mixture = Mixture.attach(half, library)
    with mixture.use(random_weights(mixture.layers, 3, 4, 4)):
        assert logits(half).dtype == torch.bfloat16


def test_adapters_that_are_not_plain_or_fit_no_model_are_refused(llama: Make, make_library: Make) -> None:
    model = llama()
    library = make_library(llama())
    states = {name: library.weights(name) for name in library.names}
    config = AdapterConfig(rank=4)
    some = next(iter(states["cluster-1"]))
    odd = states["cluster-1"] | {some.replace("lora_A", "lora_magnitude_vector"): torch.ones(1)}
    with pytest.raises(ModelError, match=r"'cluster-1' differs.*only plain LoRA"):
        Mixture(model, states | {"cluster-1": odd}, config)
    with pytest.raises(ModelError, match=r"lora_[AB] is .* expected"):
        Mixture(model, states, AdapterConfig(rank=8))
    del model.model.layers[1]
    with pytest.raises(ModelError, match=r"no layer 'model\.layers\.1"):
        Mixture(model, states, config)
    with pytest.raises(ModelError, match="no expert"):
        Mixture(model, {}, config)
    assert not any(isinstance(module, MixedLinear) for module in model.modules())


def test_a_mixture_within_another_takes_its_place_whole(attached: tuple[Any, Mixture, ExpertLibrary]) -> None:
    """Also where it gives a layer, or all of them, no expert."""
    model, mixture, _ = attached
    base, half = logits(model), mixture.layers[::2]
    some = {name: torch.eye(4)[None, 1, :, None] * (name in half) for name in mixture.layers}
    with mixture.use(some):
        alone = logits(model)
    with mixture.use(torch.eye(4)[0]):
        with mixture.use(torch.zeros(4)):
            assert torch.equal(logits(model), base)
        with mixture.use(some):
            assert torch.equal(logits(model), alone)


def test_experts_that_no_row_uses_cost_nothing_unless_shapes_are_to_stay(
    attached: tuple[Any, Mixture, ExpertLibrary],
) -> None:
    model, mixture, _ = attached
    with mixture.use(torch.eye(4)[[0, 2]]):
        assert {len(model.get_submodule(name).a) for name in mixture.layers} == {2 * mixture.rank}
