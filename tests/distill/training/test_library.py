"""The library: plain peft loads it, and every damage is found."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel

from bdc_agents.distill.recipe import TrainConfig
from bdc_agents.distill.save import save_library
from bdc_agents.distill.training.experts import Trained, train_experts
from bdc_agents.errors import ModelError
from bdc_agents.experts.base import Base, load_base
from bdc_agents.experts.library import ExpertLibrary
from bdc_agents.experts.lora import StackedAdapters
from bdc_agents.experts.manifest import write_manifest
from bdc_agents.search.traces import Row

pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's use


@pytest.fixture
def trained(base: Base, rows: list[Row], clusters: list[int], quick: TrainConfig, tmp_path: Path) -> Trained:
    config = quick.model_copy(update={"max_steps": 2, "targets": ("q_proj", "up_proj")})
    return train_experts(rows, clusters, base, tmp_path / "work", config)


@pytest.fixture
def library(trained: Trained, tmp_path: Path) -> ExpertLibrary:
    files = {"clusters.json": b'{"clusters": 2}'}
    return save_library(tmp_path / "library", trained, files=files, lineage={"traces": "f00d"})


def test_plain_peft_loads_every_expert_and_computes_the_same(
    library: ExpertLibrary, trained: Trained, llama: Callable[..., Any]
) -> None:
    ids = torch.arange(12)[None]
    ours = llama().eval()
    adapters = StackedAdapters(copy.deepcopy(ours), library.names, trained.config)
    adapters.model.eval()
    for row, name in enumerate(library.names):
        plain = PeftModel.from_pretrained(copy.deepcopy(ours), str(library.adapter_folder(name)))
        adapters.load(row, library.weights(name))
        with torch.no_grad(), adapters.route(rows=torch.tensor([row])):
            mine = adapters.model(input_ids=ids).logits
        with torch.no_grad():
            assert torch.allclose(plain(input_ids=ids).logits, mine, atol=1e-5)
            assert not torch.allclose(ours(input_ids=ids).logits, mine, atol=1e-5)


def test_peft_alone_opens_every_expert_with_its_base(
    llama: Callable[..., Any],
    tokenizer: Any,
    rows: list[Row],
    clusters: list[int],
    quick: TrainConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the folder alone: its configuration names the base, as on the hub."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    llama().save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    base = load_base(str(tmp_path / "base"), dtype="float32", device="cpu")
    config = quick.model_copy(update={"max_steps": 2})
    trained = train_experts(rows, clusters, base, tmp_path / "work", config)
    library = save_library(tmp_path / "library", trained)
    ids = torch.arange(12)[None]
    for name in library.names:
        found = AutoPeftModelForCausalLM.from_pretrained(library.adapter_folder(name))
        plain = PeftModel.from_pretrained(llama(), str(library.adapter_folder(name)))
        with torch.no_grad():
            assert torch.allclose(found(input_ids=ids).logits, plain(input_ids=ids).logits, atol=1e-5)
            assert not torch.allclose(
                found(input_ids=ids).logits, base.model(input_ids=ids).logits, atol=1e-5
            )


def test_a_whole_library_has_no_damage_and_says_what_it_is(library: ExpertLibrary) -> None:
    assert ExpertLibrary(library.folder).check() == ()
    assert library.names == ("cluster-0", "cluster-1", "shared")
    assert json.loads(library.read("clusters.json")) == {"clusters": 2}
    assert library.manifest.lineage["traces"] == "f00d"
    card = (library.folder / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: peft\n")
    assert "| shared | all |" in card
    assert "f00d" in card


def test_every_kind_of_damage_to_every_file_is_found(library: ExpertLibrary) -> None:
    for path in library.manifest.files:
        file = library.folder / path
        whole = file.read_bytes()
        changed = bytes([whole[0] ^ 1]) + whole[1:]
        for harm in (changed, whole[:-1], whole + b"x"):
            file.write_bytes(harm)
            assert [d.file for d in library.check()] == [path]
        file.unlink()
        (damage,) = library.check()
        assert str(damage) == f"{path}: missing"
        file.write_bytes(whole)
    assert library.check() == ()


def test_damaged_weights_are_not_loaded(library: ExpertLibrary) -> None:
    file = library.adapter_folder("shared") / "adapter_model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"experts/shared/adapter_model.safetensors: damaged: sha256"):
        library.weights("shared")
    library.weights("cluster-0")


def test_a_damaged_manifest_is_refused(library: ExpertLibrary) -> None:
    file = library.folder / "library.json"
    whole = file.read_text()
    file.write_text(whole.replace('"rank": 4', '"rank": 8'))
    with pytest.raises(ModelError, match="does not have the hash"):
        ExpertLibrary(library.folder)
    file.write_text(whole[:-20])
    with pytest.raises(ModelError, match="is damaged"):
        ExpertLibrary(library.folder)
    file.unlink()
    with pytest.raises(ModelError, match="no library at"):
        ExpertLibrary(library.folder)


def test_a_manifest_cannot_name_files_outside(library: ExpertLibrary) -> None:
    record = next(iter(library.manifest.files.values()))
    write_manifest(library.folder, library.manifest.model_copy(update={"files": {"../secret": record}}))
    with pytest.raises(ModelError, match="outside of the library"):
        ExpertLibrary(library.folder)
    with pytest.raises(ModelError, match="outside of the library"):
        library.put("/etc/x", b"")


def test_a_file_can_be_added_and_a_new_library_replaces_the_old(
    library: ExpertLibrary, trained: Trained, tmp_path: Path
) -> None:
    library.put("router.safetensors", b"weights")
    again = ExpertLibrary(library.folder)
    assert again.read("router.safetensors") == b"weights"
    assert again.check() == ()
    fresh = save_library(library.folder, trained)
    assert "router.safetensors" not in fresh.manifest.files
    assert not (library.folder / "router.safetensors").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_is_no_library_is_left_alone(trained: Trained, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelError, match="not empty and not a library"):
        save_library(target, trained)
    assert (target / "thesis.txt").read_text() == "years of work"


def test_a_write_that_fails_leaves_the_old_library(
    library: ExpertLibrary, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(trained.tokenizer), "save_pretrained", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_library(library.folder, trained)
    assert ExpertLibrary(library.folder).check() == ()


def test_unknown_names_are_answered_with_the_choices(library: ExpertLibrary) -> None:
    with pytest.raises(ModelError, match="did you mean cluster-"):
        library.expert("cluster-9")
    with pytest.raises(ModelError, match=r"did you mean clusters\.json"):
        library.read("cluster.json")


def test_a_base_is_loaded_from_a_folder_and_known_by_its_weights(base: Base, tmp_path: Path) -> None:
    base.model.save_pretrained(tmp_path / "base")
    base.tokenizer.save_pretrained(tmp_path / "base")
    one = load_base(str(tmp_path / "base"), dtype="float32", device="cpu", folder=tmp_path)
    assert one.identity.parameters == sum(p.numel() for p in base.model.parameters())
    assert one.identity.dtype == "float32"
    assert len(one.identity.sha256) == 64
    base.model.model.norm.weight.data += 1
    base.model.save_pretrained(tmp_path / "base")
    other = load_base(str(tmp_path / "base"), dtype="bfloat16", device="cpu", folder=tmp_path)
    assert other.identity.sha256 != one.identity.sha256
    assert other.identity.dtype == "bfloat16"


def test_a_base_that_cannot_be_had_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"did you mean smollm2-135m"):
        load_base("local:smollm2", folder=tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"cannot be loaded: .*; give a hub repository"):
        load_base(str(tmp_path / "empty"), folder=tmp_path, device="cpu")
    (tmp_path / "bad.gguf").write_bytes(b"nope")
    with pytest.raises(ModelError, match="is not GGUF"):
        load_base(str(tmp_path / "bad.gguf"), folder=tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(ModelError, match=r"pip install 'bdc-agents\[qlora\]'"):
        load_base("any/model", quantize="nf4", device="cpu", folder=tmp_path)
