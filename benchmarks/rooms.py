"""How many lines of each part of the package the quick tests run.

    pip install coverage
    python -m coverage run -m pytest -n 2 --dist loadfile -m "not slow"
    python -m coverage combine && python -m coverage json
    python benchmarks/rooms.py

`[tool.coverage.run]` in pyproject.toml follows processes that tests start. Only `sandbox/inside` cannot be
followed: it is sent to its processes as compiled code, and they see no other file.
"""

import json
from collections import Counter
from pathlib import Path

FIGURES = Path("coverage.json")  # As `coverage json` calls it.


def main() -> None:
    lines, run = Counter[str](), Counter[str]()
    for file, found in json.loads(FIGURES.read_text(encoding="utf-8"))["files"].items():
        below = file.partition("bdc_agents/")[2]
        room = "sandbox/inside" if below.startswith("sandbox/inside/") else below.split("/")[0]
        for name in (room, "all"):
            lines[name] += found["summary"]["num_statements"]
            run[name] += found["summary"]["covered_lines"]
    for name in sorted(lines, key=lambda name: (name == "all", name)):
        if lines[name]:
            print(f"{name:16} {100 * run[name] / lines[name]:3.0f} % of {lines[name]:6,} lines")


if __name__ == "__main__":
    main()
