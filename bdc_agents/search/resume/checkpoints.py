"""Checkpoints of plain data: what is read back can name no code to run.

LangGraph's own serializer imports what a checkpoint names and calls it, unless it is told otherwise. A
file or a database that somebody else can write to would so run commands on whoever opens it.
"""

from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import (
    EXT_CONSTRUCTOR_KW_ARGS,
    EXT_DELTA_SNAPSHOT,
    EXT_PYDANTIC_V2,
    JsonPlusSerializer,
)
from langgraph.checkpoint.serde.types import _DeltaSnapshot  # pyright: ignore[reportPrivateUsage]
from langgraph.types import Interrupt, Overwrite

from bdc_agents.errors import UsageError
from bdc_agents.types import Problem


class PlainSerializer(JsonPlusSerializer):
    """LangGraph's serializer for the checkpoints of this package's graphs, which hold plain data alone.

    Give it to any checkpointer, such as `InMemorySaver(serde=PlainSerializer())`. An app whose own state
    holds objects keeps LangGraph's, with `allowed_msgpack_modules` or LANGGRAPH_STRICT_MSGPACK=true.
    """

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        """The data that was stored.

        Raises:
            UsageError: If it is not plain data, or damaged.
        """
        kind, content = data
        if kind in ("null", "bytes", "bytearray"):
            return super().loads_typed(data)
        if (
            kind != "msgpack"
        ):  # LangGraph revives objects from "json" and, where it is allowed, from "pickle".
            raise _refusal(f"data of the kind {kind!r:.40}")
        refused: list[str] = []

        def revive(code: int, packed: bytes) -> Any:
            value = _unpacked(packed, revive)
            if code == EXT_DELTA_SNAPSHOT:
                return _DeltaSnapshot(value)
            named, fields = tuple(value[:2]), value[2]
            if code == EXT_CONSTRUCTOR_KW_ARGS and named == _named(Overwrite):
                return Overwrite(fields["value"])
            if code == EXT_CONSTRUCTOR_KW_ARGS and named == _named(Interrupt):
                # What a person is asked: its parts are plain by now.
                schema = fields.get("response_schema")
                return Interrupt(fields["value"], str(fields["id"]), response_schema=schema)
            if code == EXT_PYDANTIC_V2 and named == _named(Problem):
                return fields  # The problem as a caller may pass it, and as the state holds it.
            refused.append(f"an object of {'.'.join(map(str, named)):.80}")
            raise ValueError

        try:
            return _unpacked(content, revive)
        # What a hook raises comes out as another error, without a cause.
        except Exception as error:
            raise _refusal(refused[0] if refused else f"what cannot be read ({error})") from None


def _unpacked(content: bytes, revive: Any) -> Any:
    return ormsgpack.unpackb(content, ext_hook=revive, option=ormsgpack.OPT_NON_STR_KEYS)


def _named(kind: type) -> tuple[str, str]:
    return kind.__module__, kind.__name__


def _refusal(found: str) -> UsageError:
    return UsageError(
        f"a checkpoint holds {found}, and a search keeps plain data alone: it is damaged, or not made by "
        "this package; nothing of it is used"
    )
