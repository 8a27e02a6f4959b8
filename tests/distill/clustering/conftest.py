"""Small real models, and vectors with clusters in them that everyone can see."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

np = pytest.importorskip("numpy", reason="clustering needs the extra `distill`")
pytest.importorskip("sklearn", reason="clustering needs the extra `distill`")

from bdc_agents.distill.items import Embedded, Item  # noqa: E402
from bdc_agents.embed.encoder import unit  # noqa: E402

TOPICS = ("graph edges vertices path", "string letters characters word", "points plane triangle circle")


@pytest.fixture
def make_embedded() -> Callable[..., Embedded]:
    """Items in groups that lie apart, each group with words and a label of its own."""

    def make(
        groups: int = 3, size: int = 12, noise: float = 0.2, seed: int = 0, tokens: int = 1000
    ) -> Embedded:
        random = np.random.default_rng(seed)
        middles = np.eye(groups, 16)
        of = np.repeat(np.arange(groups), size)
        queries = unit(middles[of] + noise * random.standard_normal((len(of), 16)) / 4)
        vectors = unit(queries + 0.05 * random.standard_normal(queries.shape))
        items = tuple(
            Item(
                id=f"set:{row}",
                problem=f"Problem {row} asks about {TOPICS[group % 3]} number {row}",
                output="print(1)",
                tokens=tokens,
                labels={"topic": (f"topic {group}",)},
            )
            for row, group in enumerate(of)
        )
        return Embedded(items, vectors, queries, "made up")

    return make


class Letters:
    """An encoder of a few lines: counts of letters."""

    name = "letters"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return unit([[text.lower().count(chr(97 + n)) + 0.1 for n in range(26)] for text in texts])


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Tiny untrained models of three kinds, saved as their real ones are."""
    torch = pytest.importorskip("torch", reason="encoders need the extra `distill`")
    transformers = pytest.importorskip("transformers", reason="encoders need the extra `distill`")
    tokenizers = pytest.importorskip("tokenizers")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("models")
    words = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel()
    words.train_from_iterator(
        TOPICS * 4,
        tokenizers.trainers.BpeTrainer(
            vocab_size=320,
            special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = transformers.BertConfig(vocab_size=400, max_position_embeddings=64, **shape)
    _save(root / "bert", transformers.BertModel(bert), fast)
    llama = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=400, num_key_value_heads=2, max_position_embeddings=64, **shape)
    )
    return SimpleNamespace(bert=root / "bert", tokenizer=fast, llama=llama, root=root)


def _save(folder: Path, model: Any, tokenizer: Any) -> None:
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
