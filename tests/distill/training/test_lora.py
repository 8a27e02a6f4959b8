"""The heart: experts trained in one pass are those that peft trains one by one."""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.training.batches import Item, plan_step
from bdc_agents.distill.training.cross_losses import cross_losses
from bdc_agents.distill.training.learner import Learner, learning_rate
from bdc_agents.distill.training.loss import BASE, RowLoss, row_sums
from bdc_agents.distill.training.rows import EncodedRow
from bdc_agents.errors import ModelError
from bdc_agents.experts.devices import Processes
from bdc_agents.experts.lora import StackedAdapters
from bdc_agents.experts.manifest import AdapterConfig

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use
Rows = list[EncodedRow]
OWN = {0: [0, 2, 4, 6], 1: [1, 3, 5], 2: [7, 8, 9, 10, 11], 3: list(range(12))}


def peft_batch(rows: Rows) -> dict[str, torch.Tensor]:
    """Rows as peft's users hand them over: padded, with a mask and labels."""
    width = max(len(row.ids) for row in rows)
    ids, mask, labels = [], [], []
    for row in rows:
        pad = width - len(row.ids)
        ids.append([*row.ids, *[0] * pad])
        mask.append([1] * len(row.ids) + [0] * pad)
        labels.append([-100] * row.start + list(row.ids[row.start :]) + [-100] * pad)
    return {
        k: torch.tensor(v) for k, v in {"input_ids": ids, "attention_mask": mask, "labels": labels}.items()
    }


def plain_peft(model: Any, adapters: StackedAdapters, row: int) -> Any:
    """A peft model with the same weights as one of the experts."""
    config = adapters.config
    targets = list(config.targets) if isinstance(config.targets, tuple) else config.targets
    made = get_peft_model(
        model,
        LoraConfig(
            r=config.rank,
            lora_alpha=config.alpha,
            lora_dropout=config.dropout,
            use_rslora=config.rslora,
            target_modules=targets,
            layers_to_transform=list(config.layers) if config.layers else None,
        ),
    )
    set_peft_model_state_dict(made, adapters.state_dict(row))
    return made


def close(mine: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 1e-5) -> None:
    assert mine.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.allclose(mine[name], value, rtol=1e-4, atol=tolerance * (1 + value.abs().max())), name


@pytest.mark.parametrize(
    ("seed", "config", "tokens"),
    [
        (0, AdapterConfig(rank=4), 64),
        (1, AdapterConfig(rank=3, targets=("q_proj", "v_proj"), alpha=5), 10_000),
        (2, AdapterConfig(rank=8, targets=("down_proj",), rslora=True), 16),
        (3, AdapterConfig(rank=2, targets=("o_proj", "gate_proj"), layers=(1,)), 100),
    ],
)
def test_gradients_are_those_of_peft(
    seed: int, config: AdapterConfig, tokens: int, llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    rows, model = encoded(12, seed=seed), llama(seed)
    plain = copy.deepcopy(model)
    adapters = StackedAdapters(model, ["a", "b", "c", "shared"], config, seed=seed)
    adapters.weights += torch.randn_like(adapters.weights) * 0.05  # B is zero at first, and hides A
    loss = RowLoss(adapters, rows)
    means = torch.zeros(4)
    for items in plan_step(OWN, rows, tokens).passes:
        for item, value in zip(items, loss(items, learn=True), strict=True):
            means[item.expert] += value * item.weight
    for row, members in OWN.items():
        alone = plain_peft(copy.deepcopy(plain), adapters, row)
        expected = alone(**peft_batch([rows[n] for n in members])).loss
        expected.backward()
        theirs = {
            name.replace(".default", ""): p.grad for name, p in alone.named_parameters() if p.grad is not None
        }
        close(adapters.state_dict(row, adapters.grads), theirs)
        assert means[row].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_steps_of_the_optimiser_are_those_of_separate_runs(
    seed: int, llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    """Clipping, AdamW's moments and step counts, and the schedule are each expert's own."""
    config = TrainConfig(
        rank=4, learning_rate=0.01, clip=0.05, weight_decay=0.1, epochs=3, batch=4, warmup=0.4
    )
    rows, model = encoded(12, seed=seed), llama(seed)
    plain = copy.deepcopy(model)
    adapters = StackedAdapters(model, ["a", "b", "shared"], config, seed=seed)
    alone = [plain_peft(copy.deepcopy(plain), adapters, row) for row in range(3)]
    loss = RowLoss(adapters, rows)
    learners = [
        Learner(name, n, list(range(12)), [], adapters.weights[n], adapters.grads[n], config)
        for n, name in enumerate(adapters.names)
    ]
    # Expert b sits out every second step: nothing of it may move there.
    schedule = [{0: [0, 2], 1: [1, 3], 2: [0, 1, 2]}, {0: [4, 6], 2: [3, 4, 5]}, {0: [8], 1: [5, 7], 2: [6]}]
    for step in schedule:
        adapters.grads.zero_()
        for items in plan_step(step, rows, 64).passes:
            loss(items, learn=True)
        for row in step:
            learners[row].update(learners[row].norm())
    for row in range(3):
        parameters = [p for p in alone[row].parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=0.01, weight_decay=0.1)
        own = [step[row] for step in schedule if row in step]
        for number, members in enumerate(own):
            optimizer.param_groups[0]["lr"] = learning_rate(number, learners[row].total, config)
            optimizer.zero_grad()
            alone[row](**peft_batch([rows[n] for n in members])).loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 0.05)
            optimizer.step()
        state = {k.replace(".default", ""): v for k, v in alone[row].state_dict().items() if "lora_" in k}
        close(adapters.state_dict(row), state, 2e-5)


def test_a_row_gives_no_gradient_to_another_expert(
    llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    rows = encoded(4)
    adapters = StackedAdapters(llama(), ["a", "b", "c"], AdapterConfig(rank=2))
    RowLoss(adapters, rows)([Item(row=n, expert=1, weight=1.0) for n in range(4)], learn=True)
    assert adapters.grads[1].abs().sum() > 0
    assert adapters.grads[[0, 2]].abs().sum() == 0


def test_activation_checkpointing_changes_no_gradient(
    llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    rows, found = encoded(6), []
    for checkpointing in (False, True):
        model = llama().train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        adapters = StackedAdapters(model, ["a", "b"], AdapterConfig(rank=2), seed=3)
        items = [Item(row=n, expert=n % 2, weight=0.1) for n in range(6)]
        RowLoss(adapters, rows)(items, learn=True)
        found.append(adapters.grads)
    assert torch.allclose(*found, atol=1e-6)


def test_dropout_keeps_the_mean_and_is_off_in_evaluation(
    llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    """An expert's update under dropout is right on average: as many inputs are scaled up as fall out."""
    model, rows = llama(), encoded(1)
    adapters = StackedAdapters(model, ["a"], AdapterConfig(rank=2, dropout=0.5, targets=("q_proj",)))
    adapters.weights.normal_()
    layer = adapters.layers["model.layers.0.self_attn.q_proj"]
    x = torch.randn(1, 5, 32)
    with adapters.route(rows=torch.tensor([0])), torch.no_grad():
        exact = layer.eval()(x)
        many = torch.stack([layer.train()(x) for _ in range(3000)])
    assert not torch.equal(many[0], many[1])
    spread = many.std(0) / 3000**0.5
    assert ((many.mean(0) - exact).abs() < 6 * spread + 1e-6).all()
    loss = RowLoss(adapters, rows)
    model.eval()
    item = [Item(row=0, expert=0, weight=1.0)]
    assert torch.equal(loss(item), loss(item))


@pytest.mark.parametrize("training", [True, False])
def test_losses_are_measured_without_dropout_and_the_model_trains_on(
    training: bool, llama: Callable[..., Any], encoded: Callable[..., Rows]
) -> None:
    """Of every expert and of the base, which is the model as it was, in passes of any size."""
    rows, model = encoded(6), llama()
    with torch.no_grad():
        plain = [model.eval()(**peft_batch([row])).loss.item() * row.target_tokens for row in rows]
    adapters = StackedAdapters(model, ["a", "b"], AdapterConfig(rank=2, dropout=0.5, targets=("q_proj",)))
    adapters.weights.normal_()
    model.train(training)
    loss = RowLoss(adapters, rows)
    pairs = [(row, expert) for row in range(6) for expert in (1, BASE, 0)]
    found = [row_sums(loss, pairs, tokens) for tokens in (16, 10_000)]
    assert model.training is training
    assert torch.allclose(*found, rtol=1e-4)
    by_pair = dict(zip(pairs, found[0].tolist(), strict=True))
    assert [by_pair[row, BASE] for row in range(6)] == pytest.approx(plain, rel=1e-4)
    table = cross_losses(loss, ["a", "b"], range(6), 10_000, Processes())
    tokens = sum(row.target_tokens for row in rows)
    means = {expert: sum(by_pair[row, expert] for row in range(6)) / tokens for expert in (BASE, 0, 1)}
    assert {name: row["all"] for name, row in table.items()} == pytest.approx(
        {"base": means[BASE], "a": means[0], "b": means[1]}, rel=1e-4
    )
    assert len({round(mean, 3) for mean in means.values()}) == 3


def test_a_mixture_is_the_weighted_sum_of_the_experts_per_row_and_rank(llama: Callable[..., Any]) -> None:
    adapters = StackedAdapters(llama(), ["a", "b", "c"], AdapterConfig(rank=4, targets=("q_proj",)))
    adapters.weights.normal_()
    name = "model.layers.1.self_attn.q_proj"
    layer, x, weights = adapters.layers[name], torch.randn(5, 7, 32), torch.rand(5, 3, 4)
    with torch.no_grad():
        with adapters.route(weights={name: weights}):
            mixed = layer(x)
        plain = layer.base(x)
        for b in range(5):
            delta = sum(layer.scale * ((x[b] @ layer.a[e].T) * weights[b, e]) @ layer.b[e] for e in range(3))
            assert torch.allclose(mixed[b], plain[b] + delta, atol=1e-4)
        one_hot = torch.eye(3)[[0, 2, 1, 1, 0]][:, :, None]
        with adapters.route(weights={name: one_hot}):
            chosen = layer(x)
        with adapters.route(rows=torch.tensor([0, 2, 1, 1, 0])):
            assert torch.allclose(chosen, layer(x), atol=1e-4)
        with adapters.route(weights={name: torch.zeros(1)}):
            assert torch.equal(layer(x), plain)


def test_detach_leaves_the_model_as_it_was(llama: Callable[..., Any]) -> None:
    model = llama()
    ids = torch.arange(10)[None]
    names, before = dict(model.named_parameters()), model(input_ids=ids).logits
    adapters = StackedAdapters(model, ["a"], AdapterConfig(rank=4))
    adapters.weights.normal_()
    gone = weakref.ref(adapters.layers["model.layers.0.mlp.up_proj"])
    assert not any(
        p.requires_grad for n, p in model.named_parameters() if ".a" not in n[-2:] and ".b" not in n[-2:]
    )
    adapters.detach()
    assert dict(model.named_parameters()).keys() == names.keys()
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(model(input_ids=ids).logits, before)
    assert gone() is None


def test_the_base_alone_is_the_base(llama: Callable[..., Any], encoded: Callable[..., Rows]) -> None:
    model, rows = llama(), encoded(3)
    batch = peft_batch(rows)
    expected = model(**batch).loss.detach()
    adapters = StackedAdapters(model, ["a"], AdapterConfig(rank=4))
    adapters.weights.normal_()
    sums = RowLoss(adapters, rows)([Item(row=n, expert=BASE, weight=0.0) for n in range(3)])
    assert float(sums.sum()) / sum(row.target_tokens for row in rows) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_an_output_layer_whose_logits_are_capped_is_trained_on_capped_logits(
    encoded: Callable[..., Rows],
) -> None:
    from transformers import Gemma2Config, Gemma2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 300}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16}
    model = Gemma2ForCausalLM(Gemma2Config(**sizes | heads, final_logit_softcapping=0.05)).eval()
    rows = encoded(3)
    expected = model(**peft_batch(rows)).loss.detach()
    adapters = StackedAdapters(model, ["a"], AdapterConfig(rank=2))
    sums = RowLoss(adapters, rows)([Item(row=n, expert=0, weight=0.0) for n in range(3)])
    assert float(sums.sum()) / sum(row.target_tokens for row in rows) == pytest.approx(
        float(expected), rel=1e-5
    )


def test_conv1d_layers_are_adapted_as_peft_does(encoded: Callable[..., Rows]) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=1, n_head=2, vocab_size=300, n_positions=64)).eval()
    plain, rows = copy.deepcopy(model), encoded(3)
    adapters = StackedAdapters(model, ["a"], AdapterConfig(rank=2, targets="default"))
    adapters.weights.normal_()
    sums = RowLoss(adapters, rows)([Item(row=n, expert=0, weight=0.0) for n in range(3)])
    alone = get_peft_model(
        plain, LoraConfig(r=2, lora_alpha=16, target_modules=["c_attn"], fan_in_fan_out=True)
    )
    set_peft_model_state_dict(alone, adapters.state_dict(0))
    expected = alone(**peft_batch(rows)).loss.detach()
    assert float(sums.sum()) / sum(row.target_tokens for row in rows) == pytest.approx(
        float(expected), rel=1e-5
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (AdapterConfig(targets=("query",)), r"q_proj \(2\)"),
        (AdapterConfig(targets=("q_proj",), layers=(7,)), r"layers are numbered 0 to 1"),
        (AdapterConfig(targets=("embed_tokens",)), r"Embedding; only linear layers"),
    ],
)
def test_targets_that_match_no_linear_layer_are_named_with_the_choices(
    config: AdapterConfig, said: str, llama: Callable[..., Any]
) -> None:
    with pytest.raises(ModelError, match=said):
        StackedAdapters(llama(), ["a"], config)


def test_an_architecture_that_peft_does_not_know_is_named() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    odd = type("Odd", (LlamaConfig,), {"model_type": "unheard-of"})
    model = LlamaForCausalLM(odd(hidden_size=32, intermediate_size=32, num_hidden_layers=1, vocab_size=50))
    with pytest.raises(ModelError, match="no default targets for a model of type 'unheard-of'"):
        StackedAdapters(model, ["a"], AdapterConfig(targets="default"))


def test_weights_load_from_a_peft_adapter_and_a_wrong_shape_is_named(llama: Callable[..., Any]) -> None:
    adapters = StackedAdapters(llama(), ["a", "b"], AdapterConfig(rank=4, targets=("q_proj",)))
    adapters.weights.normal_()
    state = adapters.state_dict(0)
    adapters.load(1, state)
    assert torch.equal(adapters.weights[0], adapters.weights[1])
    key = next(iter(state))
    with pytest.raises(ModelError, match=r"expected \(4, 32\)"):
        adapters.load(1, state | {key: torch.zeros(2, 32)})
