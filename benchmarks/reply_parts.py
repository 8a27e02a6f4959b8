"""Replies of LLMs as files of a repository, so that another machine goes on where this one stopped.

Each `pack` writes one part with the replies that no earlier part has, so that what is committed is never
written anew. A part is JSON lines under xz, similar replies beside each other.
"""

import json
import lzma
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from bdc_agents.agents.cache import ReplyCache
from bdc_agents.agents.protocol import Reply


def pack(cache: ReplyCache, folder: Path) -> Path | None:
    """Writes the replies of the cache that no part has yet as a new part; None if there are none.

    Args:
        cache: The reply cache; another process may add to it meanwhile.
        folder: Of the parts; made if it is not there.
    """
    packed = {key for key, _ in replies(folder)}
    new = [(key, reply) for key, reply in _cached(cache) if key not in packed]
    if not new:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{len(parts(folder)) + 1:04}.jsonl.xz"
    lines = (_line(key, reply) for key, reply in sorted(new, key=lambda pair: (pair[1].text, pair[0])))
    part.write_bytes(lzma.compress("".join(lines).encode(), preset=9 | lzma.PRESET_EXTREME))
    return part


async def unpack(folder: Path, cache: ReplyCache) -> int:
    """Puts the replies of all parts into the cache, and returns how many there are."""
    count = 0
    for key, reply in replies(folder):
        await cache.put(key, reply)
        count += 1
    return count


def parts(folder: Path) -> list[Path]:
    """The parts in their order."""
    return sorted(folder.glob("*.jsonl.xz"))


def replies(folder: Path) -> Iterator[tuple[str, Reply]]:
    """The replies of all parts by their keys in the cache."""
    for part in parts(folder):
        with lzma.open(part, "rt", encoding="utf-8") as lines:
            for line in lines:
                key, reply = json.loads(line)
                yield key, Reply.model_validate(reply)


def _cached(cache: ReplyCache) -> list[tuple[str, Reply]]:
    if not cache.path.exists():
        return []
    connection = sqlite3.connect(f"{cache.path.resolve().as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT key, reply FROM replies").fetchall()
    finally:
        connection.close()
    return [(key, Reply.model_validate_json(reply)) for key, reply in rows]


def _line(key: str, reply: Reply) -> str:
    kept = reply.model_dump(mode="json", exclude_defaults=True)
    # Further digits are of no use, and no compressor can save them.
    kept["usage"]["seconds"] = round(reply.usage.seconds, 1)
    return json.dumps([key, kept], ensure_ascii=False, separators=(",", ":")) + "\n"
