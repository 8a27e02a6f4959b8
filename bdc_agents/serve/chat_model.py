"""ChatBDC: a library of experts as a LangChain chat model."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from operator import itemgetter
from pathlib import Path
from typing import Any, NoReturn, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.exceptions import ContextOverflowError, OutputParserException
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from bdc_agents.agents.knobs import with_instruction
from bdc_agents.agents.replies.reading import parse_json
from bdc_agents.errors import UsageError
from bdc_agents.serve.backends.prompts import call_text, joined, result_text
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest, ExpertWeights, PromptTooLong
from bdc_agents.serve.http.openai import ResponseFormat, refusal
from bdc_agents.serve.routed_model import BASE, NO_SCHEMAS, ROUTED, RoutedModel, shared_model
from bdc_agents.sync import run_sync

_ROLES = {"system": "system", "human": "user", "ai": "assistant", "tool": "user", "function": "user"}
# `init_chat_model` and other callers pass these to every chat model. Without a network they mean nothing.
_OF_CLIENTS = ("timeout", "max_retries", "streaming")
_ARGUMENTS = {
    *("temperature", "top_p", "max_tokens", "seed", "stop", "model", "tools", "response_format"),
    # LangChain's own arguments: for tracers, and for how it fetches a reply.
    *("ls_structured_output_format", "stream", "stream_usage", "strict"),
}
NO_TOOLS = (
    "ChatBDC cannot call tools: its experts were trained to write programs. Ask for the reply as text, use "
    "with_structured_output for JSON, or give the tools to another model"
)


class ChatBDC(BaseChatModel):
    """A chat model that mixes the experts of a library for each conversation's problem.

        model = ChatBDC(library="experts/library/mine")
        model.invoke("Write add(a, b) in Python.").content

    Chat models of one library share one base in memory. The first call opens the library.

    Args:
        library: Folder of the library, or `ORG/NAME` of one on the Hugging Face hub.
        model: `bdc` for the routed mixture, `base` for the model without experts, or an expert's
            name.
        temperature: None or 0 takes the likeliest token each time.
        max_tokens: Most tokens of one reply.
        stop: Texts that end a reply.
        seed: Seed of the draws; None draws anew at each call.
        options: Further arguments of `RoutedModel.from_library`, such as `device`.
        routed: An opened library, instead of `library`.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, populate_by_name=True, protected_namespaces=(), extra="forbid"
    )

    library: str = ""
    model: str = ROUTED
    temperature: float | None = None
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int = Field(default=512, ge=1)
    stop: list[str] | None = None
    seed: int | None = None
    options: dict[str, Any] = {}
    routed: RoutedModel | None = Field(default=None, exclude=True, repr=False)

    _opened: RoutedModel | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _without_a_network(cls, data: Any) -> Any:
        """Drops settings of network clients, which LangChain passes to every chat model."""
        return {k: v for k, v in data.items() if k not in _OF_CLIENTS} if isinstance(data, dict) else data

    @property
    def _llm_type(self) -> str:
        return "bdc"

    @property
    def model_name(self) -> str:
        """The name of the library and of the model in it."""
        return self._named(self.model)

    def _named(self, model: str) -> str:
        return f"{self.routed.name if self.routed else Path(self.library).name}/{model}"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature, "max_tokens": self.max_tokens}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        params = super()._get_ls_params(stop=stop, **kwargs)
        return params | LangSmithParams(
            ls_provider="bdc", ls_model_name=kwargs.get("model") or self.model_name
        )

    def opened(self) -> RoutedModel:
        """Opens the library. Blocks while its base is loaded.

        Raises:
            ModelError: If the library or its base cannot be used.
            UsageError: If neither `library` nor `routed` was given.
        """
        if self.routed is not None:
            return self.routed
        if not self.library:
            raise UsageError("ChatBDC needs a library: ChatBDC(library='experts/library/mine')")
        if self._opened is None or self._opened.closed:
            self._opened = shared_model(self.library, **self.options)
        return self._opened

    def _ready(self) -> RoutedModel | None:
        """The library if it is open already, so that the call needs no thread."""
        found = self.routed or self._opened
        return None if found is None or (found is self._opened and found.closed) else found

    # --- replies ----------------------------------------------------------------------------

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        self.opened()  # Here, because opening would block the loop behind run_sync.
        return run_sync(self._agenerate(messages, stop, None, **kwargs))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del run_manager
        opened, request = await self._request(messages, stop, kwargs)
        try:
            (reply,) = await opened.backend.generate([request])
        except PromptTooLong as error:
            raise ContextOverflowError(str(error)) from error
        message = AIMessage(
            reply.text, usage_metadata=_usage(reply), response_metadata=self._told(reply, request)
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self.opened()
        chunks = self._chunks(messages, stop, kwargs)
        try:
            while (chunk := run_sync(_next(chunks))) is not None:
                if run_manager:
                    run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk
        finally:
            run_sync(_close(chunks))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with aclosing(self._chunks(messages, stop, kwargs)) as chunks:
            async for chunk in chunks:
                if run_manager:
                    await run_manager.on_llm_new_token(str(chunk.text), chunk=chunk)
                yield chunk

    async def _chunks(
        self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk]:
        opened, request = await self._request(messages, stop, kwargs)
        try:
            async with aclosing(opened.backend.stream(request)) as pieces:
                async for piece in pieces:
                    yield ChatGenerationChunk(message=self._chunk(piece, request))
        except PromptTooLong as error:
            raise ContextOverflowError(str(error)) from error

    def _chunk(self, piece: ChatPiece, request: ChatRequest) -> AIMessageChunk:
        if piece.reply is None:
            return AIMessageChunk(content=piece.text)
        return AIMessageChunk(
            content=piece.text,
            usage_metadata=_usage(piece.reply),
            response_metadata=self._told(piece.reply, request),
            chunk_position="last",
        )

    def _told(self, reply: ChatReply, request: ChatRequest) -> dict[str, Any]:
        told: dict[str, Any] = {
            "model_name": self._named(_asked(request)),
            "model_provider": "bdc",
            "finish_reason": reply.finish,
        }
        if isinstance(request.experts, ExpertWeights):
            told |= {"experts": dict(request.experts.experts), "routed_by": request.experts.by}
        return told

    async def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]
    ) -> tuple[RoutedModel, ChatRequest]:
        """The opened library, and the request: this call's settings override the model's own."""
        if kwargs.get("tools"):
            raise NotImplementedError(NO_TOOLS)
        if found := refusal(kwargs, _ARGUMENTS):
            raise UsageError(f"ChatBDC: {found[0]}: {found[1]}")
        opened = self._ready() or await asyncio.to_thread(self.opened)
        own = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        asked = {**own, "seed": self.seed} | {
            key: kwargs[key] for key in (*own, "seed") if kwargs.get(key) is not None
        }
        asked["temperature"] = asked["temperature"] or 0.0
        if asked["seed"] is None:
            asked["seed"] = secrets.randbits(31)
        asked["schema"] = _schema(opened, kwargs.get("response_format"))
        ends = tuple(stop if stop is not None else self.stop or ())
        model = str(kwargs.get("model") or self.model)
        said = "\n\n".join(str(message.text) for message in messages if message.type == "human").strip()
        return opened, await opened.request(
            _plain(messages), model=model, text=said or None, stop=ends, **asked
        )

    def get_num_tokens(self, text: str) -> int:
        """Estimates the tokens of a text as a quarter of its bytes, the usual rule for English and code.

        The tokenizer would be exact, but LangChain may ask before the library is open.
        """
        return -(-len(text.encode("utf-8", "replace")) // 4)

    # --- tools and structured output --------------------------------------------------------------

    def bind_tools(self, tools: Any, **kwargs: Any) -> NoReturn:
        """Refused: the model does not call tools.

        Raises:
            NotImplementedError: Always; the message says what to do instead.
        """
        del tools, kwargs
        raise NotImplementedError(NO_TOOLS)

    def with_structured_output(
        self, schema: dict[str, Any] | type, *, include_raw: bool = False, **kwargs: Any
    ) -> Runnable[Any, Any]:
        """Asks for JSON of a schema in the prompt, and reads it from the reply.

        Where the backend can, it holds the reply to the schema; see "JSON" in docs/serving.md. A reply may
        still be cut off at its token limit, and elsewhere small bases fail often. With `include_raw` a
        failure is returned as `parsing_error` instead of raised.

        Args:
            schema: A pydantic model, a TypedDict or a JSON schema.
            include_raw: Return `{"raw", "parsed", "parsing_error"}`.
            kwargs: `method` and `strict` are accepted and change nothing.

        Raises:
            ValueError: If there is any other argument.
        """
        if unexpected := kwargs.keys() - {"method", "strict", "tools"}:
            raise ValueError(f"with_structured_output does not take {', '.join(sorted(unexpected))}")
        plain = convert_to_json_schema(schema)

        def instruct(given: Any) -> list[BaseMessage]:
            return with_instruction(self._convert_input(given).to_messages(), plain)

        ask = RunnableLambda(instruct)
        # Tracers show this, under LangChain's name.
        told = {"kwargs": {"method": "json_mode"}, "schema": plain}
        # Not strict: a schema of which a part cannot be enforced is checked when the reply is read.
        form = {"type": "json_schema", "json_schema": {"schema": plain, "strict": False}}
        model = self.bind(ls_structured_output_format=told, response_format=form)
        read = RunnableLambda(_reader(schema))
        if not include_raw:
            return ask | model | read
        safely = RunnablePassthrough.assign(
            parsed=itemgetter("raw") | read, parsing_error=lambda _: None
        ).with_fallbacks([RunnablePassthrough.assign(parsed=lambda _: None)], exception_key="parsing_error")
        return ask | {"raw": model} | safely


def _schema(opened: RoutedModel, given: Any) -> Mapping[str, Any] | None:
    """The schema that a reply is held to; None where it need not be, and cannot.

    Args:
        given: OpenAI's `response_format`.

    Raises:
        UsageError: If it is none, or must be enforced and cannot.
    """
    try:
        form = ResponseFormat.model_validate(given or {})
    except ValueError as error:
        raise UsageError(f"ChatBDC: response_format: {error}") from None
    try:
        schema = form.wanted()
        if schema is not None and not opened.enforces:
            raise UsageError(NO_SCHEMAS)
    except UsageError as error:
        if form.json_schema is not None and form.json_schema.strict is False:
            return None
        raise UsageError(f"ChatBDC: response_format: {error}") from None
    return schema


def _reader(schema: dict[str, Any] | type) -> Callable[[AIMessage], Any]:
    """A function that reads a reply as an object of the schema."""
    model: Any = schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None

    def read(message: AIMessage) -> Any:
        text = str(message.text)
        value = parse_json(text)
        if value is None:
            # 200 characters show whether the model wrote prose or was cut off; `llm_output` has the rest.
            raise OutputParserException(f"the reply holds no JSON: {text[:200]!r}", llm_output=text)
        if model is None:
            return value
        try:
            # Models of pydantic 1 call it `parse_obj`.
            return model.model_validate(value) if issubclass(model, BaseModel) else model.parse_obj(value)
        except ValueError as error:
            raise OutputParserException(
                f"the reply is not a {model.__name__}: {error}", llm_output=text
            ) from error

    return read


def _plain(messages: Sequence[BaseMessage]) -> list[dict[str, str]]:
    """The messages in the form that chat templates take.

    Raises:
        UsageError: If a message is of another kind, or holds anything but text.
    """
    return [{"role": _role(message), "content": _content(message)} for message in messages]


def _content(message: BaseMessage) -> str:
    """The text of a message; for a turn with a tool, the call or its result in words."""
    if isinstance(message, AIMessage):
        calls = (call_text(call["name"], json.dumps(call["args"])) for call in message.tool_calls)
        return joined(_text(message), *calls)
    return result_text(_text(message)) if message.type in ("tool", "function") else _text(message)


def _role(message: BaseMessage) -> str:
    if message.type == "chat":
        return str(cast("Any", message).role)
    if message.type not in _ROLES:
        raise UsageError(f"ChatBDC reads system, human, AI and tool messages, not a {message.type} message")
    return _ROLES[message.type]


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, list):
        kinds = {block.get("type") for block in message.content if isinstance(block, dict)}
        if other := kinds - {"text", "reasoning", "thinking", "tool_use", "tool_call"}:
            found = ", ".join(sorted(map(json.dumps, other)))
            raise UsageError(f"ChatBDC reads only text, and a message holds a block of type {found}")
    return str(message.text)


def _asked(request: ChatRequest) -> str:
    """The name of the model that a request is for."""
    if isinstance(request.experts, ExpertWeights):
        return ROUTED
    return request.experts or BASE


def _usage(reply: ChatReply) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=reply.prompt_tokens,
        output_tokens=reply.completion_tokens,
        total_tokens=reply.prompt_tokens + reply.completion_tokens,
    )


async def _next(chunks: AsyncIterator[ChatGenerationChunk]) -> ChatGenerationChunk | None:
    return await anext(chunks, None)


async def _close(chunks: Any) -> None:
    await chunks.aclose()
