"""Files and folders that are empty or broken: one sentence, exit code 2, no traceback."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROBLEM = json.dumps({"id": "a", "statement": "Write f(x).", "public_tests": ["assert f(1) == 2"]})
MADE: dict[str, bytes | None] = {
    "empty.jsonl": b"",
    "nul.jsonl": b'{"id": "a\0"}\n\0\0\n',
    "binary.jsonl": bytes(range(128, 256)) * 4 + b"\n" + bytes(range(128, 256)),
    "many.jsonl": b"nonsense\n" * 300,
    "empty.jsonl.gz": b"",
    "cut.jsonl.gz": gzip.compress(PROBLEM.encode() * 50)[:20],
    "folder": None,
    "folder.jsonl": None,
}
COMMANDS = {
    "solve": ("solve", "{}", "-a", "m@http://127.0.0.1:9/v1"),
    "collect": ("collect", "{}", "--out", "run", "-a", "m@http://127.0.0.1:9/v1"),
    "view": ("view", "{}"),
    "export": ("export", "{}", "--kind", "sft", "--out", "x.jsonl"),
    "eval": ("eval", "{}", "--out", "e", "--solver", "search", "-a", "m@http://127.0.0.1:9/v1"),
    "distill": ("distill", "{}", "--out", "lib"),
    "serve": ("serve", "{}"),
    "compare": ("compare", "{}", "--problems", "demo"),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_used_is_refused_in_a_sentence(
    call: Callable[..., Any], workplace: Path, name: str, command: str
) -> None:
    content = MADE[name]
    (workplace / name).mkdir() if content is None else (workplace / name).write_bytes(content)
    done = call(*(word.replace("{}", name) for word in COMMANDS[command]))
    lines = done.stderr.strip().splitlines()
    assert done.exit_code == 2, done.stderr
    two = name == "nul.jsonl" and command in ("solve", "collect", "eval")  # Its rows differ in what is wrong.
    assert len(lines) == 1 + two, done.stderr
    assert lines[0].startswith("error: ")
    assert name in lines[0] or "no finished search" in lines[0]
    assert len(lines[0]) < 400
    assert "codec" not in lines[0]
    assert "Errno" not in lines[0]


def test_a_folder_names_the_files_of_problems_in_it(call: Callable[..., Any], workplace: Path) -> None:
    (workplace / "tasks").mkdir()
    (workplace / "tasks" / "one.jsonl").write_text(PROBLEM)
    for command in ("solve", "collect", "eval"):
        done = call(*(word.replace("{}", "tasks") for word in COMMANDS[command]))
        assert "'tasks' is a folder; name a file of problems, such as tasks/one.jsonl" in done.stderr
