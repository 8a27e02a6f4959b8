"""Whether `bdc serve` keeps to its own description: requests of schemathesis to a running server.

    pip install schemathesis
    python benchmarks/serve_description.py --requests 10000 --out benchmarks/results/serve_description.json

The server is `bdc serve LIBRARY -a one@... -a two@...`, a process of its own, with all of its models: those
of a library, whose base is scripted here, the solver, and the search, whose agents are a scripted endpoint.
Schemathesis makes requests that fit /openapi.json and requests that do not, and checks each answer: no
status of 500 or more; no status, header, field or event that is not described; nobody without a key is let
in, and nothing wrong let through. The check `refused_for_a_reason` adds that what fits the description is
refused only for what no schema can say.

Exits with 1 if an answer is not as described.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEY = "a-key-that-is-long-enough"
WRONG, RIGHT = (f"```python\ndef double(n):\n    return {body}\n```" for body in ("n + 2", "2 * n"))
CASES = 100
"""Cases for each path in a round after the first."""
ROUND = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"]


# --- the server: this script itself, with `serve` ------------------------------------------------------


def serve(arguments: Sequence[str]) -> None:
    """`bdc serve` of a library whose base is scripted."""
    from bdc_agents.cli import main
    from bdc_agents.cli import serve as command
    from bdc_agents.serve import ExpertWeights, RoutedModel
    from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest

    class Backend:
        mixes, identity, context, enforces = "expert", "scripted", 1000, True

        async def generate(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
            return [self._reply(request) for request in requests]

        async def stream(self, request: ChatRequest) -> AsyncGenerator[ChatPiece]:
            reply = self._reply(request)
            yield ChatPiece(text=reply.text[:5])
            yield ChatPiece(text=reply.text[5:], reply=reply)

        def _reply(self, request: ChatRequest) -> ChatReply:
            text = RIGHT if request.seed % 2 else WRONG
            return ChatReply(text=text, prompt_tokens=1, completion_tokens=4, probability=0.5)

        async def aclose(self) -> None:
            """Nothing to free."""

    async def place(_: str) -> ExpertWeights:
        return ExpertWeights({"a": 1.0})

    def opened(*_: Any, **__: Any) -> RoutedModel:
        return RoutedModel(Backend(), place, ("a",))

    RoutedModel.from_library = opened  # type: ignore[method-assign]
    command.read_manifest = lambda _: None  # type: ignore[attr-defined]
    sys.argv = ["bdc", "serve", "library", *arguments]
    main()


@contextmanager
def served() -> Iterator[str]:
    """Runs the server; gives its address."""
    from bdc_agents.testing import ScriptedEndpoint

    def respond(body: Mapping[str, Any]) -> str:
        return RIGHT if body.get("seed", 0) % 4 else WRONG

    with ScriptedEndpoint(respond) as endpoint, tempfile.TemporaryFile("w+") as log:
        agents = [word for name in ("one", "two") for word in ("-a", f"{name}@{endpoint.url}")]
        process = subprocess.Popen(
            [sys.executable, __file__, "serve", *agents, "--port", "0", "--calls", "6"],
            stderr=log,
            env=os.environ | {"BDC_API_KEY": KEY},
        )
        try:
            yield _address(process, log)
        finally:
            process.terminate()
            code = process.wait(60)
            log.seek(0)
            told = [
                line for line in log if not line.startswith(("listening", "models:", "API key", "stopped"))
            ]
            if code or told:
                sys.exit(f"the server ended with {code} and logged:\n{''.join(told)}")


def _address(process: "subprocess.Popen[bytes]", log: Any) -> str:
    while process.poll() is None:
        log.seek(0)
        if "listening at" in (text := log.read()):
            return text.split("listening at ")[1].split("/v1")[0]
        time.sleep(0.1)
    log.seek(0)
    sys.exit(f"the server did not start:\n{log.read()}")


# --- schemathesis ----------------------------------------------------------------------------------------


def hook() -> None:
    """Adds a check to those of schemathesis, which loads this file as its hooks."""
    import schemathesis

    from bdc_agents.serve.http.search import IGNORED

    # What depends on the model, or on the words of a conversation.
    left = {"messages", "model", "n", "budget", *IGNORED}

    @schemathesis.check
    def refused_for_a_reason(ctx: Any, response: Any, case: Any) -> None:
        del ctx
        if response.status_code != 400 or case.meta is None or case.meta.generation.mode.value != "positive":
            return
        error = response.json()["error"]
        if (error["param"] or "").split(".")[0] not in left:
            raise AssertionError(f"what fits the description is refused: {error}")


def run(url: str, folder: Path, *options: str) -> tuple[dict[str, Any], Counter[str]]:
    """One round. Returns schemathesis' report, and the number of answers by operation and status."""
    words = [
        *(*ROUND, f"{url}/openapi.json", "-H", f"Authorization: Bearer {KEY}", "--no-color"),
        *(
            "--exclude-checks",
            "positive_data_acceptance",
            "--continue-on-failure",
            "--request-timeout",
            "120",
        ),
        *("--generation-database", "none", "--workers", "4", "--suppress-health-check", "all"),
        *("--report", "json,ndjson", "--report-json-path", str(folder / "report.json")),
        *("--report-ndjson-path", str(folder / "events.ndjson"), *options),
    ]
    environment = os.environ | {
        "SCHEMATHESIS_HOOKS": Path(__file__).stem,
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(words, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    report = json.loads((folder / "report.json").read_text())
    if done.returncode:
        print(done.stdout[-8000:], done.stderr[-2000:], file=sys.stderr)
    return report, _answers(folder / "events.ndjson")


def _answers(file: Path) -> Counter[str]:
    found: Counter[str] = Counter()
    for line in file.open():
        event = json.loads(line).get("ScenarioFinished")
        for case in (event or {}).get("recorder", {}).get("interactions", {}).values():
            found[f"{case['request']['method']} {case.get('response', {}).get('status_code')}"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=10000, help="at least so many")
    parser.add_argument("--cases", type=int, default=CASES, help="for each path in a round")
    parser.add_argument("--phases", default="examples,coverage,fuzzing,stateful", help="of the first round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    answers: Counter[str] = Counter()
    failures: list[Any] = []
    began, rounds = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder, served() as url:
        while answers.total() < options.requests:
            phases = options.phases if not rounds else "fuzzing,stateful"
            report, found = run(
                url,
                Path(folder),
                *("--phases", phases, "--seed", str(options.seed + rounds), "-n", str(options.cases)),
            )
            answers += found
            failures += [*report["failures"], *report["errors"]]
            rounds += 1
            print(f"round {rounds}: {answers.total()} requests, {len(failures)} failures", file=sys.stderr)
    told = {
        "command": " ".join(["python", "benchmarks/serve_description.py", *sys.argv[1:]]),
        "python": platform.python_version(),
        "schemathesis": report["schemathesis_version"],
        "requests": answers.total(),
        "answers": dict(sorted(answers.items())),
        "failures": failures,
        "seconds": round(time.monotonic() - began),
    }
    text = json.dumps(told, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(bool(failures))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2:])
    else:
        main()
elif "SCHEMATHESIS_HOOKS" in os.environ:
    hook()
