"""Greedy pass@1 on HumanEval without this package: the standard library, an endpoint, plain processes.

It checks `bdc eval` from outside: its prompts, extraction, execution and scoring are its own.

    llama-server -m qwen2.5-coder-0.5b-instruct-q4_k_m.gguf -np 1 -c 4096 --port 8080
    python benchmarks/pass1.py --url http://127.0.0.1:8080/v1 --data DATA/humaneval --out pass1.jsonl
    bdc eval humaneval --solver single --temperature 0 -a AGENT --data DATA --out runs/pass1
    python benchmarks/pass1.py --out pass1.jsonl --compare model=runs/pass1/results.jsonl

One request is in flight at a time. llama.cpp adds numbers in an order that depends on the slots, on the
threads and on what its prompt cache holds, and a greedy reply tips over where two tokens are nearly
equal: for the same replies, both sides need a fresh server with the same settings. `--serve` takes the
model out of the comparison: it answers with the replies recorded in OUT.

    python benchmarks/pass1.py --out pass1.jsonl --serve 8099
    bdc eval humaneval --solver single:replay@http://127.0.0.1:8099/v1 --temperature 0 --out runs/replay

Programs run without isolation here.
"""

import argparse
import ast
import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SYSTEM = "You are an expert Python programmer. You write correct, complete programs."
HOW = (
    "Write the complete Python function `{}` with the imports it needs. "
    "Reply with one ```python block and nothing else."
)
SHOWN, LONGEST, MAX_TOKENS, SECONDS = 6, 600, 1024, 20.0

# Docstring examples that the official tests contradict; they are not shown.
WRONG_EXAMPLES = {
    "HumanEval/47": ["median([-10, 4, 6, 1000, 10, 20])"],
    "HumanEval/116": [
        "sort_array([1, 5, 2, 3, 4])",
        "sort_array([1, 0, 2, 3, 4])",
        "sort_array([-2, -3, -4, -5, -6])",
    ],
    "HumanEval/148": ['bf("Earth", "Mercury")'],
}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a JSON Lines file, packed or not."""
    packed = path.with_name(path.name + ".gz")
    text = gzip.decompress(packed.read_bytes()).decode() if packed.exists() else path.read_text()
    return (json.loads(line) for line in text.splitlines() if line.strip())


def examples(task: str, name: str, asserts: list[str]) -> list[str]:
    """The examples to show, as `call == value`."""
    shown = []
    for text in asserts:
        # The file was copied from docstrings, with misspelt keywords and full stops.
        body = re.sub(r"^as+ert\s+", "", text.strip()).rstrip(".").replace(" => ", " == ")
        try:
            left, right = ast.parse(f"assert {body}").body[0].test.left, None  # type: ignore[attr-defined]
            right = ast.parse(f"assert {body}").body[0].test.comparators[0]  # type: ignore[attr-defined]
        except (SyntaxError, AttributeError):
            continue
        call, value = (ast.get_source_segment(f"assert {body}", part) or "" for part in (left, right))
        if re.search(rf"\b{name}\(", call) and call not in WRONG_EXAMPLES.get(task, []):
            shown.append(f"{trim(call)} == {trim(value)}")
    return list(dict.fromkeys(shown))[:SHOWN]


def trim(text: str) -> str:
    half = (LONGEST - 5) // 2
    return text if len(text) <= LONGEST else f"{text[:half]} ... {text[-half:]}"


def prompt(row: dict[str, Any], asserts: list[str]) -> str:
    parts = [row["prompt"].strip()]
    if shown := examples(row["task_id"], row["entry_point"], asserts):
        parts.append("The program must pass these tests:\n" + "\n".join(shown))
    return "\n\n".join([*parts, HOW.format(row["entry_point"])])


def ask(url: str, key: str, user: str) -> dict[str, Any]:
    """One greedy reply of an OpenAI-compatible endpoint."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user}]
    body = {"model": "any", "messages": messages, "temperature": 0, "max_tokens": MAX_TOKENS}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    request = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=600) as answer:
        return json.load(answer)


def extract(text: str) -> str:
    """The last fenced block, or all of the text."""
    blocks = re.findall(r"```(?:python|py)?[ \t]*\n(.*?)(?:```|\Z)", text, re.DOTALL | re.IGNORECASE)
    return blocks[-1] if blocks else text


def passes(row: dict[str, Any], code: str) -> bool:
    """Whether the program passes the official test, in a process of its own."""
    imports = row["prompt"][: row["prompt"].index(f"def {row['entry_point']}(")]
    program = f"{imports}\n{code}\n{row['test']}\ncheck({row['entry_point']})\n"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "program.py")
        file.write_text(program)
        try:
            done = subprocess.run(
                [sys.executable, "-I", str(file)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0


def run(options: argparse.Namespace) -> None:
    """Asks for what is not in the result file yet, and adds it."""
    known = {row["id"] for row in lines(options.out)} if options.out.exists() else set()
    given = {row["task_id"]: row["public_tests"] for row in lines(options.data / "public_tests.jsonl")}
    rows = list(lines(options.data / "HumanEval.jsonl"))[: options.limit]
    for row in rows:
        if row["task_id"] in known:
            continue
        user = prompt(row, given.get(row["task_id"], []))
        started = time.perf_counter()
        answer = ask(options.url, os.environ.get(options.key_env, "none"), user)
        seconds = time.perf_counter() - started
        text = answer["choices"][0]["message"]["content"]
        record = {
            "id": row["task_id"],
            "passed": passes(row, extract(text)),
            "prompt": digest(f"{SYSTEM}\n{user}"),
            "reply": text,
            "tokens": answer["usage"]["completion_tokens"],
            "seconds": round(seconds, 2),
        }
        with options.out.open("a") as file:
            file.write(json.dumps(record) + "\n")
        print(f"{record['id']}: {'pass' if record['passed'] else 'fail'}", flush=True)


def serve(out: Path, port: int) -> None:
    """Answers each recorded prompt with its recorded reply, as an OpenAI-compatible endpoint."""
    replies = {row["prompt"]: row for row in lines(out)}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            row = replies.get(digest("\n".join(message["content"] for message in body["messages"])))
            message = {"role": "assistant", "content": row["reply"] if row else ""}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            tokens = row["tokens"] if row else 0
            usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
            self.send_response(200 if row else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            head = {"id": "0", "object": "chat.completion", "created": 0, "model": "replay"}
            self.wfile.write(json.dumps(head | {"choices": [choice], "usage": usage}).encode())

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compare(out: Path, results: Path) -> dict[str, Any]:
    """This script's verdicts against those in the `results.jsonl` of `bdc eval`, problem by problem."""
    mine = {row["id"]: row for row in lines(out)}
    theirs = {row["problem"].partition(":")[2]: row for row in lines(results)}
    both = sorted(mine.keys() & theirs.keys(), key=lambda key: int(key.rpartition("/")[2]))
    problems = [
        {
            "id": key,
            "this script": mine[key]["passed"],
            "bdc eval": theirs[key]["hidden"]["passed"] == theirs[key]["hidden"]["total"],
            "same program": tidy(extract(mine[key]["reply"])) == tidy(theirs[key]["code"]),
            "public tests": theirs[key]["public"],
        }
        for key in both
    ]
    return {
        "problems": len(both),
        "this script": sum(row["this script"] for row in problems),
        "bdc eval": sum(row["bdc eval"] for row in problems),
        "same verdict": sum(row["this script"] == row["bdc eval"] for row in problems),
        "same program": sum(row["same program"] for row in problems),
        "differ": [row["id"] for row in problems if row["this script"] != row["bdc eval"]],
        "only in one": sorted(mine.keys() ^ theirs.keys()),
        "each": problems,
    }


def tidy(code: str) -> str:
    """The code without blanks at the ends of its lines."""
    return "\n".join(line.rstrip() for line in code.strip().splitlines())


def record(found: dict[str, dict[str, Any]], place: Path) -> None:
    """Writes the comparisons as `PLACE.json`, and in short as `PLACE.md`."""
    place.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    differ = [", ".join(one["differ"]) or "none" for one in found.values()]
    facts = ("problems", "this script", "bdc eval", "same verdict", "same program")
    text = [
        "# Greedy pass@1 on HumanEval, from two sides",
        "",
        "Written by `benchmarks/pass1.py`, whose docstring has the commands. `replay`: `bdc eval` was given",
        "the replies that the script had got: prompts, extraction, execution and scoring are compared",
        "alone. `model`: both asked the same model, each on a fresh server with one slot.",
        "",
        f"| | {' | '.join(found)} |",
        f"|---|{'---|' * len(found)}",
        *(f"| {fact} | {' | '.join(str(one[fact]) for one in found.values())} |" for fact in facts),
        f"| verdicts that differ | {' | '.join(differ)} |",
    ]
    place.with_suffix(".md").write_text("\n".join(text) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="of the endpoint, up to /v1")
    parser.add_argument("--key-env", default="PASS1_KEY", help="environment variable with its API key")
    parser.add_argument("--data", type=Path, help="folder with HumanEval.jsonl and public_tests.jsonl")
    parser.add_argument("--out", type=Path, required=True, help="replies and verdicts, added to")
    parser.add_argument("--limit", type=int)
    parser.add_argument(
        "--compare", action="append", default=[], metavar="NAME=FILE", help="results.jsonl of bdc eval"
    )
    parser.add_argument("--record", type=Path, help="write the comparison there, as .json and .md")
    parser.add_argument("--serve", type=int, metavar="PORT", help="answer with the replies of OUT")
    options = parser.parse_args()
    if options.serve:
        serve(options.out, options.serve)
    if options.url:
        run(options)
    verdicts = [row["passed"] for row in lines(options.out)]
    print(f"{sum(verdicts)} of {len(verdicts)} pass")
    found = {
        name: compare(options.out, Path(file))
        for name, _, file in (text.partition("=") for text in options.compare)
    }
    for name, one in found.items():
        short = {key: value for key, value in one.items() if key not in ("each", "only in one")}
        print(name, json.dumps(short))
    if options.record:
        record(found, options.record)


if __name__ == "__main__":
    main()
