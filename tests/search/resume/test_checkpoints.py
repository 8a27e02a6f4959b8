"""A checkpoint that somebody else wrote runs nothing: it is read as plain data, or refused."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command, Overwrite, Send

from bdc_agents.config import SearchConfig
from bdc_agents.errors import UsageError
from bdc_agents.search import PlainSerializer, create_search_graph
from bdc_agents.types import Problem


class Evil:
    """Runs a command where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def poisons(mark: Path) -> list[tuple[str, bytes]]:
    """Every way in which LangGraph's serializer takes the name of something to call."""
    command = f"touch {mark}"
    calls: list[tuple[int, Any]] = [
        (0, ("os", "system", command)),
        (1, ("subprocess", "getoutput", (command,))),
        (2, ("subprocess", "getoutput", {"cmd": command})),
        (2, ("langgraph.types", "Command", {"goto": "finish"})),
        (3, ("os", "path", command, "system")),
        (4, ("subprocess", "Popen", {"args": command, "shell": True})),
        (5, ("subprocess", "Popen", {"args": command, "shell": True}, "model_validate_json")),
        (1, ("bdc_agents.types.problem", "Problem", ())),
        (6, ("|O", (1,), "C", b"12345678")),
        (99, command),
    ]
    envelope = {"lc": 2, "type": "constructor", "id": ["subprocess", "getoutput"], "args": [command]}
    deep = b"\xc0"
    for _ in range(3000):
        deep = ormsgpack.packb(ormsgpack.Ext(7, deep))
    packed = [ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(what))) for code, what in calls]
    inner = [ormsgpack.packb({"channel_values": [ormsgpack.Ext(7, one)]}) for one in packed]
    return [
        *(("msgpack", one) for one in (*packed, *inner, deep, b"\xc1", b"")),
        ("json", json.dumps(envelope).encode()),
        ("pickle", pickle.dumps(Evil(mark))),
    ]


def test_what_names_code_is_refused_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for poison in poisons(mark):
        with pytest.raises(UsageError, match="plain data"):
            PlainSerializer().loads_typed(poison)
        assert not mark.exists()
    with pytest.raises(UsageError, match=r"subprocess\.getoutput"):
        PlainSerializer().loads_typed(poisons(mark)[1])


def test_the_poisons_are_real(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    JsonPlusSerializer(allowed_msgpack_modules=True).loads_typed(poisons(mark)[1])
    assert mark.exists()
    mark.unlink()
    pickle.loads(poisons(mark)[-1][1])
    assert mark.exists()


@pytest.mark.parametrize("sent", [Send("finish", {}), Command(goto="finish")])
def test_objects_of_langgraph_that_steer_a_graph_are_refused(sent: Any) -> None:
    with pytest.raises(UsageError, match="plain data"):
        PlainSerializer().loads_typed(JsonPlusSerializer().dumps_typed(sent))


@pytest.mark.parametrize(
    "value", [None, b"x", {"a": [1, 2.5, None, "ü"]}, Overwrite({"a": 1}), {"deep": [{"x": Overwrite([])}]}]
)
def test_what_a_search_keeps_comes_back(value: Any) -> None:
    serializer = PlainSerializer()
    assert serializer.loads_typed(serializer.dumps_typed(value)) == value


async def test_a_search_is_kept_and_edited_with_it(
    pair: Any, make_executor: Callable[..., Any], problem: Problem
) -> None:
    graph = create_search_graph(pair, executor=make_executor(), search=SearchConfig(rollouts=3))
    app: Any = graph.compile(checkpointer=InMemorySaver(serde=PlainSerializer()))
    config = {"configurable": {"thread_id": "a"}}
    # As an object, which the first checkpoint holds as it was passed.
    first = await app.ainvoke({"problem": problem}, config)
    history = [snapshot async for snapshot in app.aget_state_history(config)]
    edited = await app.aupdate_state(history[-1].config, {"problem": problem})
    again = await app.ainvoke(None, edited)
    assert again["tree"] == first["tree"]
