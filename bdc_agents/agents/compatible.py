"""Builds chat models that speak OpenAI's protocol: for OpenAI, Azure, and servers that copy it.

Imported only to build one, since the SDK takes a second to load.
"""

import inspect
import os
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from typing import Any, cast

from langchain_core.outputs import ChatResult
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from openai import DefaultAsyncHttpxClient
from openai.resources.chat.completions import AsyncCompletions
from pydantic import SecretStr

from bdc_agents.agents.answered import THOUGHTS
from bdc_agents.agents.arguments import NO_KEY, check_options, declared
from bdc_agents.agents.bodies import REPLIES, judge
from bdc_agents.agents.failures import ErrorInstead, NotAReply, shown_url
from bdc_agents.agents.redirects import stay
from bdc_agents.config import AgentConfig
from bdc_agents.errors import ConfigError

LONGEST_BODY = 16 * 2**20
"""Most bytes of a response. `LONGEST_OF_ALL` tokens are some 130,000 bytes; log-probabilities take more."""

# LangChain's advice on `with_structured_output`, which agents do not use: they ask in their own way.
warnings.filterwarnings("ignore", message=".*OpenAI's structured output feature", category=UserWarning)


class ReplyTooLong(Exception):
    """An endpoint sends more than any reply can hold."""


class BoundedClient(DefaultAsyncHttpxClient):
    """An HTTP client that stays at its server and reads at most `LONGEST_BODY` bytes of a response."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.event_hooks = {"response": [stay]}

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        """See `AsyncClient.send`.

        Raises:
            ReplyTooLong: If the response is longer.
            NotAReply: If it reports success but is nothing that such an API sends, or is a redirect to
                another server.
        """
        response = await super().send(request, stream=True, **options)
        if stream:
            return response
        try:
            content = await _read(response)
        finally:
            await response.aclose()
        what, value = judge(content) if response.is_success else ("", None)
        if what:
            raise NotAReply(what, shown_url(str(response.url)) if response.history else "")
        # The body is decompressed already.
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in _PACKING]
        whole = type(response)(
            response.status_code,
            headers=headers,
            content=content,
            request=response.request,
            extensions=response.extensions,
            history=response.history,
        )
        if value is not None:
            whole.json = lambda **_: value  # The SDK would read it a second time.
        return whole


_PACKING = ("content-encoding", "content-length", "transfer-encoding")


async def _read(response: Any) -> bytes:
    parts, length = [], 0
    async for part in response.aiter_bytes():
        length += len(part)
        if length > LONGEST_BODY:
            raise ReplyTooLong(f"more than {LONGEST_BODY // 2**20} MiB")
        parts.append(part)
    return b"".join(parts)


class _KeepsThoughts(BaseChatOpenAI):
    """Keeps a model's thoughts, for which OpenAI's own protocol has no field."""

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        body = readable(response if isinstance(response, dict) else response.model_dump(warnings=False))
        if body.get("error") and not any(body.get(name) for name in REPLIES):
            raise ErrorInstead(body["error"])
        result = super()._create_chat_result(body, generation_info)
        for choice, generation in zip(body.get("choices") or (), result.generations, strict=False):
            sent = choice.get("message")
            found = next((sent[key] for key in THOUGHTS if sent.get(key)), None) if sent else None
            if found is not None:
                generation.message.additional_kwargs.setdefault("reasoning_content", found)
        return result


def readable(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion without the flaws for which LangChain would discard a good reply.

    Counts that are no numbers become 0, which later counts as implausible. A message without a role
    becomes the assistant's. Tool calls are left out, since no tools are offered.
    """
    mended = dict(body)
    if (usage := body.get("usage")) is not None:
        mended["usage"] = _counts(usage)
    choices = body.get("choices")
    if isinstance(choices, list):
        mended["choices"] = [_choice(choice) for choice in cast("list[Any]", choices)]
    return mended


def _counts(usage: Any) -> dict[str, Any]:
    told = cast("dict[str, Any]", usage) if isinstance(usage, dict) else {}
    counts = {name: told.get(name) for name in _COUNTS}
    details = {name: value for name, value in told.items() if name not in counts and isinstance(value, dict)}
    return {name: value if type(value) is int else 0 for name, value in counts.items()} | details


_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


def _choice(choice: Any) -> Any:
    sent = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(sent, dict):
        return choice
    kept = {name: value for name, value in sent.items() if name not in ("tool_calls", "function_call")}
    role = kept.get("role")
    return {**choice, "message": {**kept, "role": role if isinstance(role, str) and role else "assistant"}}


class CompatibleChat(_KeepsThoughts, ChatOpenAI):
    """`ChatOpenAI` for OpenAI and for compatible servers."""


class AzureChat(_KeepsThoughts, AzureChatOpenAI):
    """`AzureChatOpenAI`, likewise."""


def build(
    config: AgentConfig, model: str, key: SecretStr | None, headers: Mapping[str, str]
) -> BaseChatOpenAI:
    """The chat model of an agent.

    Args:
        config: Its settings.
        model: The model's name at the endpoint; at Azure that of the deployment.
        key: Its key; None where the SDK finds it.
        headers: Headers of each request.

    Raises:
        ConfigError: If an option is unknown.
        ValidationError: If an option is not accepted.
    """
    azure = config.model.partition(":")[0].replace("-", "_").lower() == "azure_openai"
    kind = AzureChat if azure else CompatibleChat
    taken = {*declared(kind), *inspect.signature(AsyncCompletions.create).parameters} - {"self", "messages"}
    check_options(config.options, taken, "options.extra_body")
    arguments: dict[str, Any] = {
        # The agent retries itself, within its budget.
        "max_retries": 0,
        "timeout": config.timeout,
        "reasoning_effort": config.reasoning_effort,
        "default_headers": dict(headers) or None,
        "use_responses_api": config.responses_api,
        "http_async_client": _client(config),
    }
    arguments |= _at_azure(config, key) if azure else _at_address(config, key)
    extra = {name: value for name, value in config.options.items() if name not in declared(kind)}
    options = {name: value for name, value in config.options.items() if name not in extra}
    if extra:
        # Parameters that the chat model does not declare; given directly, they would cause a warning.
        options["model_kwargs"] = {**options.get("model_kwargs", {}), **extra}
    given = {name: value for name, value in arguments.items() if value is not None}
    return kind(model=model, **given | options)


def _client(config: AgentConfig) -> BoundedClient:
    """A client of this model alone: the connections that the SDK shares outlive their event loop."""
    proxy = config.proxy.get_secret_value() if config.proxy else None
    try:
        return BoundedClient(timeout=config.timeout, proxy=proxy, verify=trusted())
    except (ValueError, ImportError) as error:
        # The error's own message may hold the address with its password.
        raise ConfigError(f"proxy: not an address that can be used ({type(error).__name__})") from None


def trusted() -> Any:
    """The certificates that this machine trusts, as the HTTP library finds them."""
    return _context(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


# Reading them takes 0.1 s of a CPU: each agent did.
@cache
def _context(*_: str | None) -> Any:
    # The SDK's library is httpx or httpx2, as its version has it.
    kind = next(kind for kind in BoundedClient.__mro__ if kind.__name__ == "AsyncClient")
    return sys.modules[kind.__module__].create_ssl_context()


def _at_address(config: AgentConfig, key: SecretStr | None) -> dict[str, Any]:
    if config.api_version:
        raise ConfigError("api_version is Azure's: write azure_openai:DEPLOYMENT, or leave it out")
    if not config.base_url:
        return {"api_key": key}
    # Compatible servers offer chat completions; LangChain would guess by the model's name.
    responses = bool(config.responses_api)
    return {"api_key": key or SecretStr(NO_KEY), "base_url": config.base_url, "use_responses_api": responses}


def _at_azure(config: AgentConfig, key: SecretStr | None) -> dict[str, Any]:
    return {"api_key": key, "azure_endpoint": config.base_url, "api_version": config.api_version}
