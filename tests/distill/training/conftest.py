import random
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from bdc_agents.distill.recipe import TrainConfig  # noqa: E402
from bdc_agents.distill.training.rows import EncodedRow  # noqa: E402
from bdc_agents.experts.base import Base, BaseIdentity  # noqa: E402
from bdc_agents.search.traces import Row  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def llama() -> Callable[..., Any]:
    """Makes tiny random Llamas; the same seed gives the same weights."""

    def make(seed: int = 0, **changes: Any) -> Any:
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "vocab_size": 300}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
        return LlamaForCausalLM(LlamaConfig(**sizes | heads | changes))

    return make


@pytest.fixture
def base(llama: Callable[..., Any], tokenizer: Any) -> Base:
    return Base(llama(), tokenizer, BaseIdentity(name="tiny/llama", parameters=1))


@pytest.fixture
def encoded() -> Callable[..., list[EncodedRow]]:
    """Makes rows of random tokens and lengths, in clusters by turns."""

    def make(count: int, clusters: int = 2, seed: int = 0) -> list[EncodedRow]:
        rng = random.Random(seed)
        return [
            EncodedRow(
                key=f"row{n}",
                problem_id=f"p{n}",
                ids=tuple(rng.randrange(300) for _ in range(rng.randrange(8, 30))),
                start=rng.randrange(1, 7),
                cluster=n % clusters,
            )
            for n in range(count)
        ]

    return make


@pytest.fixture
def rows() -> list[Row]:
    """Twenty rows of twenty problems, of two kinds."""
    return [
        Row(
            kind="direct",
            problem_id=f"p{n}",
            prompt=({"role": "user", "content": f"Add {n}."},),
            completion=f"return x + {n}" if n % 2 else f"print({n})",
        )
        for n in range(20)
    ]


@pytest.fixture
def clusters() -> list[int]:
    return [n % 2 for n in range(20)]


@pytest.fixture
def quick() -> TrainConfig:
    return TrainConfig(
        rank=4,
        learning_rate=5e-3,
        epochs=2,
        batch=4,
        max_length=128,
        tokens_per_pass=256,
        min_rows=2,
        validation=0.2,
        checkpoint_steps=1,
        dtype="float32",
    )
