"""Texts of stdin like some examples, for programs that read it."""

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from bdc_agents.search.choice.variation import Like


def varied_text(texts: Sequence[str], chosen: int, random: Random) -> str:
    """A text with some of its words, or the length of one of its lines, varied.

    A word that tells in every example how many words the next line has, or how many lines follow, goes
    on to tell it.
    """
    tables = [_table(text) for text in texts]
    lines = [list(line) for line in tables[chosen]]
    same_shape = len({len(table) for table in tables}) == 1
    counts = _counts(tables)
    words = [
        (row, place)
        for row, line in enumerate(lines)
        for place in range(len(line))
        if (row, place) not in counts
    ]
    if not words:
        words = [(row, place) for row, line in enumerate(lines) for place in range(len(line))]
    listed = [row for (_, _), row in counts.items() if row < len(lines) and len(lines[row]) > 1]
    if listed and random.random() < 0.5:
        row = random.choice(listed)
        lines[row] = _line_of_another_length(lines[row], random)
    else:
        for row, place in random.sample(words, min(len(words), random.choice((1, 1, 2, 4)))):
            like = Like(_words_like(tables, row, place, same_shape))
            lines[row][place] = _word(like.varied(lines[row][place], random), lines[row][place])
    for (row, place), target in counts.items():
        if row < len(lines) and place < len(lines[row]):
            lines[row][place] = len(lines[target])
    return "".join(" ".join(map(str, line)) + "\n" for line in lines)


def _table(text: str) -> list[list[Any]]:
    return [[_parsed(word) for word in line.split()] for line in text.strip("\n").split("\n")]


def _parsed(word: str) -> Any:
    if re.fullmatch(r"-?(?:0|[1-9]\d{0,30})", word):
        return int(word)
    return float(word) if re.fullmatch(r"-?\d+\.\d{1,6}", word) else word


def _word(varied: Any, before: Any) -> Any:
    """The word as text of one word; the one before where nothing is left of it."""
    if isinstance(varied, float):
        return round(varied, 6)
    return ("".join(varied.split()) or before) if isinstance(varied, str) else varied


def _words_like(tables: Sequence[list[list[Any]]], row: int, place: int, same_shape: bool) -> list[Any]:
    """The words at the same place of other texts; in texts of many lines, those of the same column."""
    rows = [
        table[row : row + 1] if (same_shape and len(table) < 5) or row == 0 else table[1:] for table in tables
    ]
    found = [line for some in rows for line in some]
    widths = {len(line) for line in found}
    if len(widths) == 1 and max(widths) <= 4:
        return [line[place] for line in found if place < len(line)]
    return [word for line in found for word in line]


def _counts(tables: Sequence[list[list[Any]]]) -> dict[tuple[int, int], int]:
    """Where a word tells in every text how many words one of the next lines has, by the word's place."""
    found: dict[tuple[int, int], int] = {}
    shortest = min(map(len, tables))
    for row in range(min(shortest, 6)):
        for place in range(min(len(table[row]) for table in tables)):
            for target in range(row + 1, min(shortest, row + 4)):
                told = [(table[row][place], len(table[target])) for table in tables]
                sizes = {size for _, size in told}
                if all(word == size for word, size in told) and (len(sizes) > 1 or min(sizes) > 2):
                    found.setdefault((row, place), target)
    return found


def _line_of_another_length(line: list[Any], random: Random) -> list[Any]:
    at = random.randrange(len(line))
    longer = [*line, *line] if len(line) < 100 else line
    return random.choice(
        ([*line[:at], *line[at + 1 :]], [*line[:at], line[at], *line[at:]], longer, line[:1], line[at:])
    )
