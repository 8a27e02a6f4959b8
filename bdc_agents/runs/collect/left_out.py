"""Problems that a run does not search: why, in a few sentences, and all of them in a file."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bdc_agents.runs.folder import write_text
from bdc_agents.types import Frozen

LEFT_OUT_FILE = "left-out.jsonl"
MOST = 10_000
"""Problems that are kept: a file of millions of unusable rows has a few faults, each many times."""
_KINDS = 5
"""Reasons that are told; each has a line of its own."""
_PLACES = 5
"""Rows that are named for each reason."""
_LONGEST = 200
"""Characters of a reason that are shown."""
_VARIES = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\d+")


class LeftOut(Frozen):
    """A problem that is not searched.

    Args:
        where: Its row, such as `tasks.jsonl:3`, or its id.
        reason: Why.
        own: Whether it is a row of the caller's own file, who can mend it. Data sets have such rows as well,
            and nobody can.
    """

    where: str
    reason: str
    own: bool = False


def summary(rows: Sequence[LeftOut]) -> tuple[str, ...]:
    """What a person should know of rows that cannot be used: how many, and why; empty for none."""
    many = f"{len(rows)} rows" if len(rows) < MOST else f"{MOST} rows or more"
    head = "1 row cannot be used and is" if len(rows) == 1 else f"{many} cannot be used and are"
    return (f"{head} left out:", *(f"  {line}" for line in in_groups(rows))) if rows else ()


def in_groups(rows: Sequence[LeftOut]) -> Iterator[str]:
    """One line for each kind of reason, the most frequent first, with the rows it is of."""
    kinds: dict[str, list[LeftOut]] = {}
    for row in rows:
        kinds.setdefault(_VARIES.sub("_", row.reason.partition("\n")[0]), []).append(row)
    ordered = sorted(kinds.values(), key=len, reverse=True)
    for group in ordered[:_KINDS]:
        reason = " ".join(group[0].reason.partition("\n")[0].split())
        shown = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST].rstrip()}..."
        alike = len({row.reason for row in group}) == 1
        yield f"{len(group)} ({_places(group)}){'' if alike else ', such as'}: {shown}"
    rest = sum(map(len, ordered[_KINDS:]))
    if rest:
        yield f"{rest} for {len(ordered) - _KINDS} other reasons"


def _places(group: Sequence[LeftOut]) -> str:
    """The first rows of a group; of one file its name stands once."""
    shown, before = list[str](), ""
    for row in group[:_PLACES]:
        file, colon, line = row.where.rpartition(":")
        shown.append(line if colon and file == before else row.where)
        before = file
    more = f" and {len(group) - _PLACES} more" if len(group) > _PLACES else ""
    return f"{', '.join(shown)}{more}"


def write_left_out(folder: Path, rows: Sequence[LeftOut]) -> Path | None:
    """Writes one JSON object a line for each problem; without any, the file of an earlier time goes."""
    file = folder / LEFT_OUT_FILE
    if not rows:
        file.unlink(missing_ok=True)
        return None
    lines = (json.dumps({"where": row.where, "reason": row.reason}) for row in rows)
    write_text(file, "".join(f"{line}\n" for line in lines), own=True)
    return file
