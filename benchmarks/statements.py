"""What is read from the statements of the data sets, and what might have been and was not.

Lists each sentence that is read (a tolerance, letter case, several answers, a dialogue) with its problem
and value, and then, to be looked at by eye, those that speak of errors or precision and were not read.

    python benchmarks/statements.py --data FOLDER [--out FILE] [--missed]
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bdc_agents.data.statement import readings, sentences

FILES = {
    "apps": "apps/apps_150.jsonl.gz",
    "codecontests": "codecontests/codecontests_240.jsonl.gz",
    "leetcode-train": "leetcode/train_1890.jsonl.gz",
    "leetcode-test": "leetcode/test_114.jsonl.gz",
    "xcodeeval": "xcodeeval/prog_syn_val.jsonl",
    "mbpp": "mbpp/mbpp.jsonl.gz",
    "humaneval": "humaneval/HumanEval.jsonl.gz",
}
_IDS = ("id", "name", "task_id", "src_uid")
_SUSPECT = re.compile(
    r"\b(?:error|precision|accura|inaccura|toleran|epsilon|deviat)\w*"
    r"|10\s*\^?\s*\{?\s*[-\u2212\u2013]\s*\d|\b1e-\d|\b0\.0{2,}1",
    re.IGNORECASE,
)


def statements(data: Path, name: str) -> Iterator[tuple[str, str]]:
    """The id and the statement of each problem."""
    file = data / FILES[name]
    with (
        gzip.open(file, "rt", encoding="utf-8")
        if file.suffix == ".gz"
        else file.open(encoding="utf-8") as rows
    ):
        for row in map(json.loads, rows):
            yield str(next(row[key] for key in _IDS if row.get(key))), _statement(row)


def _statement(row: dict[str, Any]) -> str:
    if "input_spec" in row:
        return "\n\n".join(
            row.get(key) or "" for key in ("description", "input_spec", "output_spec", "notes")
        )
    text = next(
        row[key] for key in ("description", "problem_description", "query", "text", "prompt") if row.get(key)
    )
    return text.split("Please complete the following python code")[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--missed", action="store_true")
    arguments = parser.parse_args()
    found: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for name in FILES:
        for problem, text in statements(arguments.data, name):
            read = list(readings(text))
            for one in read:
                value = {"tolerance": one.tolerance, "error": one.error} if one.kind == "tolerance" else {}
                counts[f"{name}: {one.kind}"] += 1
                found.append({"problem": f"{name}:{problem}", "kind": one.kind} | value)
                if not arguments.missed:
                    sentence = " ".join(one.sentence.split())
                    print(f"{name}:{problem} | {one.kind} {one.tolerance or ''} | {sentence}")
            known = {one.sentence for one in read}
            for sentence in sentences(text) if arguments.missed else ():
                if sentence not in known and _SUSPECT.search(sentence):
                    print(f"{name}:{problem} | not read | {' '.join(sentence.split())[:250]}")
    print(json.dumps(counts, indent=1))
    if arguments.out:
        # No sentence is recorded: ids and values tell all that others need, whatever the licence.
        result = {"counts": counts, "read": found}
        arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
