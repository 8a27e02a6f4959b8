"""What tests of several parts use: an empty place to work in, endpoints, the real command, a tokenizer."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bdc_agents.testing import ScriptedEndpoint

# A shell's background job ignores Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

RIGHT = "```python\ndef double(x):\n    return 2 * x\n```"
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with a cache of its own and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("BDC_DATA", "BDC_DEBUG", "OPENAI_API_KEY", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def configure(workplace: Path) -> Iterator[Callable[..., list[dict[str, Any]]]]:
    """Starts an endpoint that answers with one text, or what a function says; names it in bdc.toml."""
    started: list[ScriptedEndpoint] = []

    def start(
        text: str | Callable[[dict[str, Any]], str] = RIGHT,
        names: tuple[str, ...] = ("one", "two"),
        extra: str = "",
        key: str = "k",
    ) -> list[dict[str, Any]]:
        endpoint = ScriptedEndpoint(text if callable(text) else lambda _: text)
        started.append(endpoint)
        endpoint.__enter__()
        tables = [
            f'[agents.{name}]\nmodel = "m"\nbase_url = "{endpoint.url}"\napi_key = "{key}"\nretries = 0\n'
            for name in names
        ]
        (workplace / "bdc.toml").write_text("".join(tables) + extra)
        return endpoint.requests

    yield start
    for endpoint in started:
        endpoint.__exit__()


@pytest.fixture
def bdc(workplace: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real command in a process of its own."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bdc_agents.cli", *words],
            cwd=workplace,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=90,
        )

    return run


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Bytes as tokens, with the template of SmolLM2 and Qwen."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocab = {char: n for n, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    inner = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>")
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    made.chat_template = TEMPLATE
    return made
