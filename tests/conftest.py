"""What tests of several parts use: an empty place to work in, endpoints, the real command, a tokenizer."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from bdc_agents.testing import ScriptedEndpoint

from .warm import Warm

# A shell's background job ignores Ctrl-C, and so would every process that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A fifth of the suite's time went into a search for garbage among imported modules and collected tests.
gc.set_threshold(50_000, 20, 50)

# UMAP's functions are compiled for a minute and run for a second: unoptimised it is a third of that.
os.environ.setdefault("NUMBA_OPT", "0")
os.environ.setdefault("NUMBA_LOOP_VECTORIZE", "0")

# What `-m "not slow"` leaves out, without importing it: models, the real sandbox, and other processes.
SLOW_PARTS = (
    *("distill", "serve", "sandbox", "studio", "trl", "agents/local", "runs/collect", "runs/ray"),
    *("data/test_real.py", "evaluate/test_handed_over.py", "search/test_http.py", "search/test_sync.py"),
    *(
        "search/resume/test_durable.py",
        "search/resume/test_travel.py",
        "test_readme.py",
        "runs/test_honest.py",
    ),
    "view/test_page.py",
)
SLOW_FIXTURES = {"bdc", "python", "executor", "configure", "world"}


def _is_slow(path: Path) -> bool:
    return any(path.is_relative_to(Path(__file__).parent / part) for part in SLOW_PARTS)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return True if config.option.markexpr == "not slow" and _is_slow(collection_path) else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        fixtures = {*getattr(item, "fixturenames", ())}
        if _is_slow(item.path) or item.get_closest_marker("model") or SLOW_FIXTURES & fixtures:
            item.add_marker("slow")
    # Files with slow tests first: at the end no process waits long for the other.
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish() -> None:
    gc.freeze()


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


@pytest.fixture(scope="session")
def python() -> Iterator[Warm]:
    """Starts Python programs that need not import the package first."""
    warm = Warm()
    yield warm
    warm.close()


@pytest.fixture
def bdc(workplace: Path, python: Warm) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the real command in a process of its own."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return python.run(["-m", "bdc_agents.cli", *words], workplace, os.environ | environment)

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


@pytest.fixture(scope="session")
def langgraph_dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts the real `langgraph dev` with the project's graphs, some settings and perhaps a module that
    decides who may do what; gives its address.

    BDC_TEST_STUDIO=1 wants it; it may also name the `langgraph` command of another environment.
    """
    wanted = os.environ.get("BDC_TEST_STUDIO", "")
    command = wanted if Path(wanted).is_file() else shutil.which("langgraph")
    if not (wanted and command):
        pytest.skip("BDC_TEST_STUDIO is not set")
    with ExitStack() as running:

        def start(settings: str, auth: str = "", **environment: str) -> str:
            folder = tmp_path_factory.mktemp("studio")
            (folder / "bdc.toml").write_text(settings)
            (folder / "auth.py").write_text(auth)
            return running.enter_context(_langgraph_dev(command, folder, environment))

        yield start


@contextmanager
def _langgraph_dev(command: str, folder: Path, environment: dict[str, str]) -> Iterator[str]:
    root = Path(__file__).parents[1]
    config = json.loads((root / "langgraph.json").read_text())
    if (folder / "auth.py").read_text():
        config["auth"] = {"path": "./auth.py:auth"}
    (folder / "langgraph.json").write_text(json.dumps(config))
    shutil.copytree(root / "graphs", folder / "graphs", ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--no-reload", "--port", str(port), "--n-jobs-per-worker", "10"]
    quiet = {"XDG_CACHE_HOME": str(folder / "cache"), "LANGSMITH_TRACING": "false"}
    said = folder / "log"
    with said.open("w") as log:
        process = subprocess.Popen(
            [command, "dev", *options],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=os.environ | quiet | environment,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_it_answers(f"{url}/ok", process, said)
        yield url
    finally:
        process.terminate()
        process.wait(20)
    assert "BlockingError" not in said.read_text()


def _wait_until_it_answers(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        try:
            if httpx.get(url).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
        assert process.poll() is None, log.read_text()
    raise AssertionError(log.read_text())
