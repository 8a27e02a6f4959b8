"""The state of a conversation: its messages, what was understood, and the search's own state."""

from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from bdc_agents.chat.understanding import Heard, Known, Waiting
from bdc_agents.search.events import SearchEvent
from bdc_agents.search.state import Json, SearchState
from bdc_agents.types import Problem


class Progress(TypedDict):
    """A line on how far the search is, after each round."""

    type: Literal["progress"]
    text: str


ChatEvent = SearchEvent | Progress
"""What a conversation tells while it goes on: the search's own events, and lines."""


class ChatInput(TypedDict):
    """What a caller passes: a message of a person, or several."""

    messages: Annotated[list[AnyMessage], add_messages]


class ChatOutput(ChatInput, total=False):
    """What a run returns: the conversation, the problem as it was understood, and the search's `Solution`."""

    problem: Json
    solution: Json


class ChatState(SearchState, total=False):
    """The conversation, with the tree of the problem at hand.

    Args:
        heard: What the last message was understood as: its id, what is done, its remark, where its tests
            are from.
        waiting: A problem without tests, and the tests that a person is to confirm.
        spent: Usage by agent of the problem's earlier messages.
    """

    messages: Annotated[list[AnyMessage], add_messages]
    heard: Json
    waiting: Json | None
    spent: dict[str, Json]


def known_of(state: ChatState) -> Known:
    """What the conversation holds before its new messages."""
    problem, waiting = state.get("problem"), state.get("waiting")
    found = Problem.model_validate(problem) if problem else None
    sources = tuple(state.get("heard", {}).get("sources", ()))
    count = len(found.public_tests) if found else 0
    if len(sources) != count:  # Somebody has edited the state.
        sources = ("in the state",) * count
    return Known(found, sources, _waiting(waiting) if waiting else None)


def _waiting(stored: Json) -> Waiting:
    problem = Problem.model_validate(stored["problem"])
    fields = stored["problem"] | {"public_tests": stored.get("tests", [])}
    return Waiting(problem, Problem.model_validate(fields).public_tests)


def stored_waiting(waiting: Waiting) -> Json:
    """The same as plain data."""
    tests = [test.model_dump(mode="json") for test in waiting.tests]
    return {"problem": waiting.problem.model_dump(mode="json"), "tests": tests}


def stored_heard(heard: Heard, message: str | None) -> Json:
    """What is kept of how a message was understood.

    Args:
        heard: What it means.
        message: Its id.
    """
    kept = {"does": heard.does, "begins": heard.begins, "remark": heard.remark}
    return {"message": message, **kept, "sources": list(heard.sources)}


def texts_to_hear(state: ChatState) -> tuple[list[str], str | None]:
    """The texts of a person's messages since the last run, and the id of the last one."""
    people = [message for message in state.get("messages", []) if message.type == "human"]
    last = state.get("heard", {}).get("message")
    places = [place for place, message in enumerate(people) if message.id == last]
    if places:
        people = people[places[-1] + 1 :]
    elif last is not None:
        people = people[-1:]  # What was heard is gone from the history: the rest of it was heard, too.
    return [text_of(message.content) for message in people], people[-1].id if people else last


def text_of(content: Any) -> str:
    """The text of a message's content, which may be a list of parts; parts of other kinds are left out."""
    if isinstance(content, str):
        return content
    parts: list[str] = []
    for part in content if isinstance(content, list) else ():
        text = part.get("text") if isinstance(part, dict) else part
        if isinstance(text, str):
            parts.append(text)
    return "\n".join(parts)
