"""Tells what a file is that holds no problem which can be read: text of another encoding or format."""

import re
from pathlib import Path
from typing import Any

from bdc_agents.data.lines import open_bytes

_LOOKED_AT = 4096
"""Bytes at the beginning of a file, by which its format is told."""
_ONE = '{"id": "double", "statement": "...", "public_tests": ["assert double(1) == 2"]}'
_CSV = re.compile(r"[^{}\[\]:\"]+(?:[,;\t][^{}\[\]:\"]+)+\n")
_YAML = re.compile(r"(?:---\s*\n|- \w+:|\w+: )")
_PYTHON = re.compile(r"[\[{]\s*'")


def shape_of(file: Path) -> str:
    """What a file seems to be, and what to do; empty where nothing can be told."""
    try:
        with open_bytes(file) as stream:
            data = stream.read(_LOOKED_AT)
    except (OSError, EOFError, ValueError):
        return ""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or data[:200].count(0) > len(data[:200]) // 4:
        return "it looks like UTF-16 text: save it as UTF-8"
    text = data.decode("utf-8-sig", "replace").lstrip()
    lines = file.name.removesuffix(".gz").endswith(".jsonl")
    if not text:
        return f"write one object{' a line' if lines else ''}, such as {_ONE}"
    if _PYTHON.match(text):
        return "it looks like Python: write JSON, with double quotes, as json.dumps does"
    if lines and (text.startswith("[") or re.match(r"\{\s*\n", text)):
        return "it looks like one JSON value: name it .json, or write one object a line"
    if not lines and text.startswith("{") and re.search(r"\}\s*\n\s*\{", text):
        return "it looks like one object a line: name it .jsonl"
    if _CSV.match(text):
        return f"it looks like a table (CSV): write one JSON object a line, such as {_ONE}"
    if _YAML.match(text):
        return f"it looks like YAML: write one JSON object a line, such as {_ONE}"
    return ""


def within(row: Any) -> str:
    """The key under which an object holds problems instead of being one; empty if it holds none."""
    if not isinstance(row, dict) or "statement" in row:
        return ""
    for key, value in row.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and "statement" in inner:
            return str(key)[:80]
    return ""
