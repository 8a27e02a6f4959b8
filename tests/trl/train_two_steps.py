"""Two steps of SFT and of DPO on exports, with a tiny random model; nothing is downloaded.

    python train_two_steps.py SFT.jsonl DPO.jsonl FOLDER

Prints one JSON object: the rows, columns and losses of each.
"""

import json
import math
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

from datasets import Dataset, load_dataset
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=SPECIAL, initial_alphabet=alphabet)
    trained.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=trained, pad_token=SPECIAL[0], eos_token=SPECIAL[1])
    fast.chat_template = TEMPLATE
    return fast


def model(tokens: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        pad_token_id=tokens.pad_token_id,
        eos_token_id=tokens.eos_token_id,
        bos_token_id=None,
    )
    return LlamaForCausalLM(config)


def shared(folder: Path) -> dict[str, Any]:
    return {
        "output_dir": str(folder),
        "max_steps": 2,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "max_length": 1024,
    }


def train(trainer: Any, rows: Dataset) -> dict[str, Any]:
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert all(math.isfinite(loss) for loss in losses), losses
    return {"rows": len(rows), "columns": rows.column_names, "losses": losses}


def main(sft: str, dpo: str, folder: Path) -> None:
    chosen: Any = load_dataset("json", data_files=sft, split="train", cache_dir=str(folder / "cache"))
    pairs: Any = load_dataset("json", data_files=dpo, split="train", cache_dir=str(folder / "cache"))
    texts = [message["content"] for row in chosen for message in [*row["prompt"], *row["completion"]]]
    tokens = tokenizer(texts)
    student = model(tokens)
    report = {
        "sft": train(
            SFTTrainer(
                model=model(tokens),
                args=SFTConfig(**shared(folder)),
                train_dataset=chosen,
                processing_class=tokens,
            ),
            chosen,
        ),
        "dpo": train(
            DPOTrainer(
                model=student,
                ref_model=deepcopy(student),
                args=DPOConfig(**shared(folder)),
                train_dataset=pairs,
                processing_class=tokens,
            ),
            pairs,
        ),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
