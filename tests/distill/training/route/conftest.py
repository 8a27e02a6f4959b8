import hashlib
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

SIZE = 6
"""Numbers of a toy embedding."""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def base(tokenizer: Any) -> Base:
    """A tiny random Llama whose logits are far apart."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(**sizes | heads)).eval()
    with torch.no_grad():
        model.lm_head.weight.mul_(20)
    return Base(model, tokenizer, BaseIdentity(name="tiny/llama", parameters=1))


class ToyEncoder:
    """Texts as unit vectors that depend on their bytes; kinds of problems differ in the first number."""

    name = "toy"

    def embed(self, texts: Sequence[str]) -> Any:
        found = np.zeros((len(texts), SIZE), np.float32)
        for n, text in enumerate(texts):
            noise = np.frombuffer(hashlib.sha256(text.encode()).digest()[:SIZE], np.uint8) / 255 - 0.5
            found[n] = 0.2 * noise
            found[n, 0] = 1.0 if "Print" in text else -1.0
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def encoder() -> ToyEncoder:
    return ToyEncoder()


@pytest.fixture
def toy_clusters() -> Callable[..., Clusters]:
    """Makes clusters with random centroids."""

    def make(count: int, temperature: float = 0.7, seed: int = 0) -> Clusters:
        rng = np.random.default_rng(seed)
        ids = tuple(f"p{n}" for n in range(20))
        return Clusters(
            ids=ids,
            labels=np.arange(20) % count,
            memberships=np.eye(count, dtype=np.float32)[np.arange(20) % count],
            tokens=np.full(20, 10),
            centroids=rng.normal(size=(count, SIZE)).astype(np.float32),
            temperature=temperature,
            encoder="toy",
        )

    return make


@pytest.fixture
def make_library(
    base: Base, tmp_path: Path, toy_clusters: Callable[..., Clusters]
) -> Callable[..., ExpertLibrary]:
    """Makes a library of random experts of some clusters, -1 for the shared one."""

    def make(
        owners: Sequence[int] = (0, 1, 2, -1),
        clusters: Clusters | None = None,
        *,
        strength: float = 0.1,
        name: str = "library",
        **shape: Any,
    ) -> ExpertLibrary:
        config = AdapterConfig(**{"rank": 4, "targets": ("q_proj", "up_proj")} | shape)
        names = ["shared" if owner < 0 else f"cluster-{owner}" for owner in owners]
        adapters = StackedAdapters(base.model, names, config)
        generator = torch.Generator().manual_seed(1)
        adapters.weights.normal_(0, strength, generator=generator)
        folder = tmp_path / name
        for row, expert in enumerate(names):
            (folder / "experts" / expert).mkdir(parents=True)
            save_file(adapters.state_dict(row), folder / "experts" / expert / "adapter_model.safetensors")
            text = json.dumps(adapters.peft_config | {"base_model_name_or_path": "tiny/llama"})
            (folder / "experts" / expert / "adapter_config.json").write_text(text)
        adapters.detach()
        found = clusters or toy_clusters(max(owners) + 1)
        (folder / "clusters.json").write_text(found.to_json())
        manifest = Manifest(
            created="now",
            base=base.identity.model_dump(),
            adapters=config.model_dump(mode="json"),
            experts=tuple(ExpertRecord(name=n, cluster=c) for n, c in zip(names, owners, strict=True)),
            files=all_files(folder),
        )
        write_manifest(folder, manifest)
        return ExpertLibrary(folder)

    return make
