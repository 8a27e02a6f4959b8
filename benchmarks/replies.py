"""How many replies of a corpus are read right, by habit.

Each line of `tests/agents/replies/*.jsonl` is a reply as some LLM sends it, with what must come out of it:

| key | |
|---|---|
| habit | what is peculiar about it |
| reply | its text, or parts of it: a text, or a text and how often it is repeated |
| entry_point, truncated | what `extract_code` is told |
| code | the program that must come out, or several that may; null where there is none |
| value | instead of `code`: the JSON value that must come out |
| source | where the habit was reported |
| missed | why it is known not to be read right |

The right answers of `corpus` were written before the parser, those of `held_out` after it and those of
`held_out_2` after its second version; `results/replies.json` also has the share of each that was read
right when it was first read.

Programs are equal where they differ in comments and layout alone. `--against json-repair` reads the JSON
with that library instead (`pip install json-repair`).

    python benchmarks/replies.py [--out FILE] [--misses] [--against json-repair]
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bdc_agents.agents.replies.reading import extract_code, normalise, parse_json

FOLDER = Path(__file__).parent.parent / "tests/agents/replies"
FIRST = {"corpus": 0.7126, "held_out": 0.9407, "held_out_2": 0.9388}
"""The share read right at first: of the corpus before the parser was changed for it."""
OUT = Path(__file__).parent / "results/replies.json"


def rows(file: Path) -> Iterator[dict[str, Any]]:
    """The replies of a file, spelled out."""
    for row in map(json.loads, file.read_text(encoding="utf-8").strip().split("\n")):
        parts = [row["reply"]] if isinstance(row["reply"], str) else row["reply"]
        yield row | {"reply": "".join(p if isinstance(p, str) else p[0] * p[1] for p in parts)}


def is_right(row: dict[str, Any], read_json: Callable[[str], Any] = parse_json) -> bool:
    """Whether the reply is read as the row says."""
    if "value" in row:
        return bool(read_json(row["reply"]) == row["value"])
    got = extract_code(row["reply"], row["entry_point"], truncated=row.get("truncated", False))
    wanted = row["code"] if isinstance(row["code"], list) else [row["code"]]
    return any(got == code or (got and code and normalise(got) == normalise(code)) for code in wanted)


def table(file: Path, read_json: Callable[[str], Any]) -> dict[str, Any]:
    """The count and the share read right of one file, in all and by habit."""
    found = list(rows(file))
    right = {row["id"] for row in found if is_right(row, read_json)}
    habits = Counter(row["habit"] for row in found)
    by_habit = Counter(row["habit"] for row in found if row["id"] in right)
    return {
        "replies": len(found),
        "right": round(len(right) / len(found), 4),
        "right_at_first": FIRST.get(file.stem),
        "habits": {habit: f"{by_habit[habit]} of {count}" for habit, count in sorted(habits.items())},
        "misses": {row["id"]: row.get("missed", "") for row in found if row["id"] not in right},
    }


def _library(text: str) -> Any:
    import json_repair  # pyright: ignore[reportMissingImports]

    value = json_repair.loads(text)
    return None if value == "" else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help=f"also write the table, such as to {OUT.name}")
    parser.add_argument("--misses", action="store_true", help="show each reply that is read wrong")
    parser.add_argument("--against", choices=["json-repair"], help="what reads the JSON instead")
    args = parser.parse_args()
    read_json = _library if args.against else parse_json
    tables = {file.stem: table(file, read_json) for file in sorted(FOLDER.glob("*.jsonl"))}
    print(json.dumps(tables, indent=2))
    if args.out:
        args.out.write_text(json.dumps(tables, indent=2) + "\n", encoding="utf-8")
    if args.misses:
        for file in sorted(FOLDER.glob("*.jsonl")):
            for row in rows(file):
                if not is_right(row, read_json):
                    _show(row, read_json)


def _show(row: dict[str, Any], read_json: Callable[[str], Any]) -> None:
    print(f"--- {row['id']}\n{row['reply'][:1200]}\n--- wanted")
    print(row["value"] if "value" in row else row["code"])
    code = None if "value" in row else extract_code(row["reply"], row["entry_point"])
    print(f"--- got\n{read_json(row['reply']) if 'value' in row else code}\n")


if __name__ == "__main__":
    main()
