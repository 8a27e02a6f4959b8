"""The client of a server that completes prompts by OpenAI's protocol, such as vLLM or llama.cpp."""

import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import openai
from openai.types import Completion

from bdc_agents.errors import BDCError, ConfigError
from bdc_agents.serve.backends.protocol import ChatPiece, ChatReply, ChatRequest
from bdc_agents.serve.loopback import is_loopback

CONNECT_SECONDS = 10.0
"""A server that runs accepts within milliseconds; one that is down should be reported soon. Chosen, not
measured."""
_LARGEST_ERROR = 500
"""Characters of a server's error that are shown; a traceback or a page of HTML would bury our own words."""


class ServerRefused(BDCError):
    """The server answered with an error.

    Args:
        status: HTTP status.
        said: The server's own words.
    """

    def __init__(self, server: str, status: int, said: str) -> None:
        super().__init__(f"{server} answered with status {status}: {said}")
        self.status = status
        self.said = said


class CompletionServer:
    """Talks to one server, from one event loop.

    Args:
        name: How messages call the server, such as `the vLLM server`.
        url: With or without `/v1` at its end.
        key: API key; None where the server asks for none.
        seconds: Longest silence of the server within a request.
        key_hint: What to do about a wrong key.

    Raises:
        ConfigError: If the URL is not an http(s) address.
    """

    def __init__(self, name: str, url: str, key: str | None, seconds: float, key_hint: str = "") -> None:
        self.url = _root(url)
        self.name = f"{name} at {self.url}"
        self.seconds = seconds
        self._key_hint = key_hint
        local = is_loopback(urlsplit(self.url).hostname or "")
        self._client = openai.AsyncOpenAI(
            base_url=f"{self.url}/v1",
            api_key=key or "none",
            max_retries=1,  # An idle connection that the server has closed fails once; a new one does not.
            timeout=openai.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
            # Requests to this machine, and the key with them, must not go through a proxy. Nor may prompts
            # follow a redirect to another server.
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not local, follow_redirects=False),
        )

    async def get(self, path: str) -> Any:
        """The JSON at a path from the server's root.

        Raises:
            BDCError: As `reply`.
        """
        with self._explained():
            return await self._client.get(f"{self.url}{path}", cast_to=object)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Sends a body, once, and returns the server's answer.

        Raises:
            BDCError: As `reply`.
        """
        with self._explained():
            options: Any = {"max_retries": 0}
            return await self._client.post(f"{self.url}{path}", cast_to=object, body=body, options=options)

    async def reply(
        self, request: ChatRequest, prompt: Sequence[int], limit: int, model: str, **extra: Any
    ) -> AsyncGenerator[ChatPiece]:
        """The reply to a prompt, in pieces. The request is sent a second time if the first gets no answer.

        Args:
            prompt: Its tokens.
            limit: Most tokens of the reply.
            model: The server's name for the model.
            extra: Further fields of the body.

        Raises:
            ServerRefused: If it answers with an error.
            BDCError: If it refuses the key, cannot be reached, stays silent, or ends in the middle.
        """
        reading = _Reading(len(prompt))
        with self._explained():
            stream = await self._client.completions.create(
                model=model,
                prompt=list(prompt),
                max_tokens=limit,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                stop=list(request.stop) or None,
                stream=True,
                stream_options={"include_usage": True},
                extra_body=extra,
            )
        async with aclosing(self._chunks(stream, reading)) as chunks:
            async for chunk in chunks:
                if text := reading.add(chunk):
                    yield ChatPiece(text=text)
        if reading.finish not in ("stop", "length"):
            why = f"it was ended by {reading.finish!r}" if reading.finish else "the connection was cut"
            raise BDCError(f"{self.name} broke off after {reading.count} tokens of a reply: {why}; ask again")
        yield ChatPiece(text="", reply=reading.reply())

    async def _chunks(
        self, stream: openai.AsyncStream[Completion], reading: "_Reading"
    ) -> AsyncGenerator[Completion]:
        try:
            async with stream:
                async for chunk in stream:
                    yield chunk
        except BDCError:
            raise
        except Exception as error:  # openai does not wrap the HTTP client's errors within a stream.
            kind = type(error).__name__
            why = f"silent for {self.seconds:g} seconds" if "Timeout" in kind else f"{error or kind}"
            raise BDCError(
                f"{self.name} broke off after {reading.count} tokens of a reply: {why}; ask again"
            ) from error

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.close()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except openai.AuthenticationError:
            raise BDCError(f"{self.name} refuses the key{self._key_hint}") from None
        except openai.APITimeoutError as error:
            raise BDCError(f"{self.name} said nothing for {self.seconds:g} seconds") from error
        except openai.APIConnectionError as error:
            why = error.__cause__ or error
            raise BDCError(f"{self.name} cannot be reached: {why}; is it running?") from error
        except openai.APIStatusError as error:
            raise ServerRefused(self.name, error.status_code, _said(error)) from error
        except openai.APIError as error:
            raise BDCError(f"{self.name} failed: {error}") from error


class _Reading:
    """Collects the chunks of a reply."""

    def __init__(self, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._texts: list[str] = []
        self._logprobs: list[float] = []
        self._tokens = 0
        self.finish: Any = None

    @property
    def count(self) -> int:
        """Tokens so far."""
        return max(self._tokens, len(self._logprobs))

    def add(self, chunk: Completion) -> str:
        """Adds a chunk; returns its text."""
        if chunk.usage:
            self._tokens = chunk.usage.completion_tokens
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish = choice.finish_reason or self.finish
        self._logprobs += _logprobs(choice.logprobs)
        self._texts.append(choice.text)
        return choice.text

    def reply(self) -> ChatReply:
        """The whole reply."""
        known = self._logprobs
        return ChatReply(
            text="".join(self._texts),
            prompt_tokens=self._prompt_tokens,
            completion_tokens=self.count,
            finish=self.finish,
            probability=min(1.0, math.exp(sum(known) / len(known))) if known else None,
        )


def _logprobs(told: Any) -> list[float]:
    """The log-probabilities of a chunk's tokens; llama.cpp sends them in the format of chats."""
    if told is None:
        return []
    if told.token_logprobs:
        return [float(value) for value in told.token_logprobs if value is not None]
    return [float(token["logprob"]) for token in getattr(told, "content", None) or ()]


def _said(error: openai.APIStatusError) -> str:
    """The server's own words, in one line."""
    body: Any = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body.get("error") or body
    return " ".join(str(body or error.message).split())[:_LARGEST_ERROR]


def _root(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"the server's address is {url!r}; expected one such as http://127.0.0.1:8000")
    return url.rstrip("/").removesuffix("/v1").rstrip("/")
