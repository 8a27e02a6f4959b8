import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from safetensors.torch import save_file  # noqa: E402

from bdc_agents.experts.base import Base, BaseIdentity  # noqa: E402
from bdc_agents.experts.clusters import Clusters  # noqa: E402
from bdc_agents.experts.library import ExpertLibrary, all_files  # noqa: E402
from bdc_agents.experts.lora import StackedAdapters  # noqa: E402
from bdc_agents.experts.manifest import AdapterConfig, ExpertRecord, Manifest, write_manifest  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def llama() -> Callable[..., Any]:
    """Makes tiny random Llamas; the same seed gives the same weights."""

    def make(seed: int = 0) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        model = LlamaForCausalLM(LlamaConfig(**sizes | heads)).eval()
        with torch.no_grad():
            model.lm_head.weight.mul_(20)
        return model

    return make


@pytest.fixture
def make_library(tmp_path: Path) -> Callable[..., ExpertLibrary]:
    """Makes a library of random experts for a model, `shared` among them."""

    def make(model: Any, count: int = 3, *, strength: float = 0.1, **shape: Any) -> ExpertLibrary:
        config = AdapterConfig(**{"rank": 4, "targets": "all-linear"} | shape)
        owners = [*range(count), -1]
        names = [f"cluster-{owner}" for owner in owners[:-1]] + ["shared"]
        adapters = StackedAdapters(model, names, config)
        adapters.weights.normal_(0, strength, generator=torch.Generator().manual_seed(1))
        folder = tmp_path / f"library-{len(list(tmp_path.iterdir()))}"
        for row, expert in enumerate(names):
            (folder / "experts" / expert).mkdir(parents=True)
            save_file(adapters.state_dict(row), folder / "experts" / expert / "adapter_model.safetensors")
            text = json.dumps(adapters.peft_config | {"base_model_name_or_path": "tiny/llama"})
            (folder / "experts" / expert / "adapter_config.json").write_text(text)
        adapters.detach()
        (folder / "clusters.json").write_text(_clusters(count).to_json())
        manifest = Manifest(
            created="now",
            base=BaseIdentity(name="tiny/llama").model_dump(),
            adapters=config.model_dump(mode="json"),
            experts=tuple(ExpertRecord(name=n, cluster=c) for n, c in zip(names, owners, strict=True)),
            files=all_files(folder),
        )
        write_manifest(folder, manifest)
        return ExpertLibrary(folder)

    return make


def _clusters(count: int) -> Clusters:
    rng = np.random.default_rng(0)
    return Clusters(
        ids=tuple(f"p{n}" for n in range(12)),
        labels=np.arange(12) % count,
        memberships=np.eye(count, dtype=np.float32)[np.arange(12) % count],
        tokens=np.full(12, 10),
        centroids=rng.normal(size=(count, 6)).astype(np.float32),
        temperature=0.7,
        encoder="toy",
    )


@pytest.fixture
def random_weights() -> Callable[..., dict[str, Any]]:
    """Makes weights for each layer, expert and rank."""

    def make(layers: Sequence[str], batch: int, experts: int, rank: int, seed: int = 0) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(seed)
        return {name: torch.rand(batch, experts, rank, generator=generator) for name in layers}

    return make


@pytest.fixture
def as_base() -> Callable[[Any], Base]:
    return lambda model: Base(model, None, BaseIdentity(name="tiny/llama"))
