"""Finds the chat models inside other Runnables: bound, configured, with retries or fallbacks."""

from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableSequence, RunnableWithFallbacks
from langchain_core.runnables.base import RunnableBindingBase

from bdc_agents.errors import ConfigError

Answering = Runnable[Any, Any]
"""A Runnable that answers messages with a message."""
Change = Callable[[BaseChatModel], Answering]

OF_THE_REQUEST = ("temperature", "max_tokens", "max_completion_tokens")
"""Bound arguments that become the agent's settings, and so are sent with each request."""


def with_models(runnable: Answering, change: Change) -> Answering:
    """The Runnable with its chat models changed; itself if none can be found in it."""
    if isinstance(runnable, BaseChatModel):
        return change(runnable)
    if isinstance(runnable, RunnableBindingBase):
        kept = {name: value for name, value in runnable.kwargs.items() if name not in OF_THE_REQUEST}
        return runnable.model_copy(update={"bound": with_models(runnable.bound, change), "kwargs": kept})
    if isinstance(runnable, RunnableWithFallbacks):
        others = [with_models(other, change) for other in runnable.fallbacks]
        return runnable.model_copy(
            update={"runnable": with_models(runnable.runnable, change), "fallbacks": others}
        )
    if isinstance(runnable, RunnableSequence):
        first, *middle, last = (with_models(step, change) for step in runnable.steps)
        return runnable.model_copy(update={"first": first, "middle": middle, "last": last})
    return runnable


def models_in(runnable: Answering) -> list[BaseChatModel]:
    """The chat models in a Runnable; the one that is asked first comes first."""
    found: list[BaseChatModel] = []

    def see(model: BaseChatModel) -> Answering:
        found.append(model)
        return model

    with_models(runnable, see)
    return found


def is_one_model(runnable: Answering) -> bool:
    """Whether a single chat model answers, so that it can be asked for JSON in its own way."""
    while isinstance(runnable, RunnableBindingBase):
        runnable = runnable.bound
    return isinstance(runnable, BaseChatModel)


def bound_arguments(runnable: Answering) -> dict[str, Any]:
    """The arguments bound to a Runnable's first chat model; the outermost win."""
    if isinstance(runnable, RunnableBindingBase):
        return bound_arguments(runnable.bound) | dict(runnable.kwargs)
    if isinstance(runnable, RunnableWithFallbacks):
        return bound_arguments(runnable.runnable)
    if isinstance(runnable, RunnableSequence):
        step = next((step for step in runnable.steps if models_in(step)), None)
        return bound_arguments(step) if step is not None else {}
    return {}


def input_of(runnable: Answering, messages: Sequence[BaseMessage]) -> Any:
    """The messages as input of the Runnable: a list, or a mapping under the one name that it asks for.

    Raises:
        ConfigError: If it starts with a prompt that has no place for messages, or several.
    """
    first = _first(runnable)
    if isinstance(first, BasePromptTemplate):
        return _for_prompt(first, messages)
    if any(cls.__name__ == "Pregel" for cls in type(first).__mro__):
        return {"messages": list(messages)}  # A compiled graph: its state holds the conversation.
    return list(messages)


def _first(runnable: Answering) -> Answering:
    """The part of a Runnable that receives the input."""
    while True:
        if isinstance(runnable, RunnableBindingBase):
            runnable = runnable.bound
        elif isinstance(runnable, RunnableWithFallbacks):
            runnable = runnable.runnable
        elif isinstance(runnable, RunnableSequence):
            runnable = runnable.first
        else:
            return runnable


def _for_prompt(prompt: BasePromptTemplate[Any], messages: Sequence[BaseMessage]) -> dict[str, Any]:
    places = [
        part.variable_name
        for part in (prompt.messages if isinstance(prompt, ChatPromptTemplate) else ())
        if isinstance(part, MessagesPlaceholder)
    ]
    asked = list(dict.fromkeys([*prompt.input_variables, *places]))
    if len(asked) != 1:
        told = f"has the variables {', '.join(asked)}" if asked else "has none"
        raise ConfigError(
            f"the prompt of an agent needs one variable, which takes the messages, but this one {told}; "
            "use MessagesPlaceholder('messages'), and partial(...) for the others"
        )
    (name,) = asked
    return {name: list(messages) if name in places else "\n\n".join(str(sent.text) for sent in messages)}
