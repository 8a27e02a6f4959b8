"""A mixture as one plain adapter: what plain peft makes of it is what the mixture computes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file

from bdc_agents.errors import ModelError, UsageError
from bdc_agents.experts.concatenate import RANKS, concatenate, quantize
from bdc_agents.experts.mixture import Mixture

Make = Callable[..., Any]
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use
IDS = torch.arange(2 * 9).view(2, 9) * 7 % 300


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=IDS).logits


@pytest.mark.parametrize("rslora", [False, True])
def test_plain_peft_computes_the_mixture(
    rslora: bool, llama: Make, make_library: Make, random_weights: Make, tmp_path: Path
) -> None:
    model = llama()
    library = make_library(llama(), rslora=rslora)
    mixture = Mixture.attach(model, library)
    weights = random_weights(mixture.layers, 1, 4, 4)
    folder = concatenate(library, weights).save(tmp_path / "out")
    plain = PeftModel.from_pretrained(llama(), str(folder)).eval()
    assert plain.peft_config["default"].r == 16
    with mixture.use(quantize(weights)):
        assert torch.allclose(logits(model), logits(plain), atol=1e-3, rtol=1e-3)
    exact = concatenate(library, weights, grid=None).save(tmp_path / "out")
    assert exact.name != folder.name
    plain = PeftModel.from_pretrained(llama(), str(exact)).eval()
    with mixture.use(weights):
        assert torch.allclose(logits(model), logits(plain), atol=1e-3, rtol=1e-3)


def test_some_experts_by_name(llama: Make, make_library: Make, random_weights: Make, tmp_path: Path) -> None:
    library, names = make_library(llama()), ("cluster-2", "cluster-0")
    model = llama()
    mixture = Mixture.attach(model, library, names)
    weights = random_weights(mixture.layers, 1, 2, 4)
    plain = PeftModel.from_pretrained(llama(), str(concatenate(library, weights, names).save(tmp_path)))
    with mixture.use(quantize(weights)):
        assert torch.allclose(logits(model), logits(plain), atol=1e-3, rtol=1e-3)


def test_ranks_without_weight_are_left_out_and_the_rest_padded(
    llama: Make, make_library: Make, random_weights: Make, tmp_path: Path
) -> None:
    library = make_library(llama())
    model = llama()
    mixture = Mixture.attach(model, library)
    weights = random_weights(mixture.layers, 1, 4, 4)
    for own in weights.values():
        own[0, 1:] = 0
        own[0, 0, 3] = 0.001  # rounds to zero
    made = concatenate(library, {name: own[0] for name, own in weights.items()})
    assert made.config["r"] == made.config["lora_alpha"] == 8
    shapes = {tuple(tensor.shape) for name, tensor in made.tensors.items() if "q_proj.lora" in name}
    assert shapes == {(8, 32), (32, 8)}
    q = made.tensors["base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"]
    assert q[:3].any(1).all()
    assert not q[3:].any()
    plain = PeftModel.from_pretrained(llama(), str(made.save(tmp_path))).eval()
    with mixture.use(quantize(weights)):
        assert torch.allclose(logits(model), logits(plain), atol=1e-3, rtol=1e-3)
    nothing = concatenate(library, {name: torch.zeros(4, 4) for name in weights})
    assert nothing.config["r"] == 8
    assert not any(tensor.any() for tensor in nothing.tensors.values() if tensor.shape[0] == 8)


def test_names_say_what_an_adapter_holds(llama: Make, make_library: Make, random_weights: Make) -> None:
    library = make_library(llama())
    layers = Mixture.attach(llama(), library).layers
    weights = random_weights(layers, 1, 4, 4)
    name = concatenate(library, weights).name
    near = {key: own + 1e-5 for key, own in quantize(weights).items()}
    assert name == concatenate(library, near).name == concatenate(library, quantize(weights)).name
    assert name.startswith("mix-")
    far = {key: own + 0.1 for key, own in weights.items()}
    assert name != concatenate(library, far).name
    library.put(
        "experts/shared/adapter_model.safetensors",
        (library.adapter_folder("cluster-0") / "adapter_model.safetensors").read_bytes(),
    )
    assert name != concatenate(library, weights).name


def test_saving_is_whole_and_twice_the_same(
    llama: Make, make_library: Make, random_weights: Make, tmp_path: Path
) -> None:
    library = make_library(llama())
    weights = random_weights(Mixture.attach(llama(), library).layers, 1, 4, 4)
    made = concatenate(library, weights)
    out = tmp_path / "out"
    folder = made.save(out)
    assert folder == made.save(out)
    assert [path.name for path in out.iterdir()] == [made.name]
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert load_file(folder / "adapter_model.safetensors").keys() == made.tensors.keys()
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["use_rslora"], config["base_model_name_or_path"]) == (False, "tiny/llama")


def test_ranks_above_the_servers_are_refused_with_what_to_set(
    llama: Make, make_library: Make, random_weights: Make
) -> None:
    library = make_library(llama(), count=5, rank=8)
    weights = random_weights(Mixture.attach(llama(), library).layers, 1, 6, 8)
    assert concatenate(library, weights, grid=None).config["r"] == 64
    with pytest.raises(UsageError, match=r"needs rank 64, and at most 16 .*--max-lora-rank 64.*top_k"):
        concatenate(library, weights, max_rank=16, grid=None)
    with pytest.raises(UsageError, match="of one problem"):
        concatenate(library, random_weights(weights, 2, 6, 8))
    with pytest.raises(UsageError, match="no weights for the layer"):
        concatenate(library, {})
    assert sorted(RANKS) == list(RANKS)


def test_adapters_that_are_not_plain_are_refused(
    llama: Make, make_library: Make, random_weights: Make
) -> None:
    library = make_library(llama())
    weights = random_weights(Mixture.attach(llama(), library).layers, 1, 4, 4)
    path = "experts/cluster-0/adapter_config.json"
    library.put(path, json.dumps(json.loads(library.read(path)) | {"use_dora": True}).encode())
    with pytest.raises(ModelError, match="use_dora = True"):
        concatenate(library, weights)
