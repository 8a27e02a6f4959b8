"""Why a call of an LLM failed, in words a person can act on, and whether to try again."""

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from langchain_core.exceptions import ContextOverflowError, ModelConnectionError, ModelTimeoutError

from bdc_agents.errors import BDCError

Kind = Literal["timeout", "unreachable", "status", "malformed", "empty", "argument", "other"]

RETRIED = {408, 409, 429}
REJECTED = {400, 422}
"""Statuses with which an endpoint refuses what it was sent, such as a parameter it does not know."""

LASTING = {401, 403, 404}
"""Statuses that say something of the agent and not of a request: a key, a permission, a model's name."""

_LONGEST_DETAIL = 200


@dataclass(frozen=True)
class Endpoint:
    """What an error message needs to know of where the call went.

    Args:
        model: The model's name there.
        url: Its address without credentials; empty for the provider's own.
        key: The environment variable that holds its key, where that is known.
        timeout: Seconds that one request may take.
    """

    model: str
    url: str = ""
    key: str = ""
    timeout: float = 0.0


@dataclass(frozen=True)
class Failure:
    """One failed request.

    Args:
        detail: What the endpoint or the client said.
        status: The HTTP status, where there was one.
        wait: Seconds that the server asked to wait.
        final: A reason not to try again that the kind and status do not show.
        unsent: Whether the request never reached a server.
    """

    kind: Kind
    detail: str = ""
    status: int | None = None
    wait: float | None = None
    final: bool = False
    unsent: bool = False

    @property
    def lasting(self) -> bool:
        """Whether the agent can answer no other request either."""
        return self.kind == "status" and self.status in LASTING

    @property
    def charged(self) -> bool:
        """Whether an LLM may have worked on it: what it wrote is then paid for, though it is of no use."""
        return self.kind in ("timeout", "malformed", "empty") or (
            self.kind == "unreachable" and not self.unsent
        )

    @property
    def passing(self) -> bool:
        """Whether another try may succeed."""
        if self.kind == "status":
            return not self.final and (self.status in RETRIED or (self.status or 0) >= 500)
        return self.kind not in ("argument", "other")

    def explain(self, endpoint: Endpoint, tries: int = 1) -> str:
        """One line on what went wrong and what to do.

        Args:
            endpoint: Where the call went.
            tries: How often it was made.
        """
        times = f" after {tries} tries" if tries > 1 else ""
        where = endpoint.url or "the provider"
        said = f": {one_line(self.detail, _LONGEST_DETAIL)}" if self.detail else ""
        if self.kind == "status":
            return _explain_status(self, endpoint, where, times, said)
        return {
            "timeout": f"no answer within {endpoint.timeout:g} s{times}; raise timeout, or lower max_tokens",
            "unreachable": f"cannot reach {where}{times}{said}; is a server running there?",
            "malformed": f"{where} sent no chat completion{times}{said}; is it an OpenAI-compatible API?",
            "empty": f"{endpoint.model!r} answered with an empty text{times}; try another model or prompt",
            "argument": f"{endpoint.model!r} does not take what it was called with{said}; check its options",
        }.get(self.kind, f"{endpoint.model!r} failed{times}{said}")


def _explain_status(failure: Failure, endpoint: Endpoint, where: str, times: str, said: str) -> str:
    status, model = failure.status or 0, endpoint.model
    key = endpoint.key or "the variable that api_key_env names"
    if status == 401:
        return f"{where} refused the API key (401){said}; set {key} to a valid one"
    if status == 403:
        return f"{where} denied access (403){said}; check that the key in {key} may use {model!r}"
    if status == 404:
        return f"no model {model!r} at {where} (404){said}; check its name, and that base_url ends as in /v1"
    if status == 429 and failure.final:
        return f"the account at {where} has no quota left (429){said}; add credit, or use another agent"
    if status == 429:
        return f"rate limit of {where} (429){times}{said}; lower requests_per_second or concurrency"
    if failure.passing:
        return f"{where} has a problem ({status}){times}{said}; try again later"
    return f"{where} refused the request ({status}){said}; check the model's limits and the agent's options"


def diagnose(error: BaseException) -> Failure:
    """What kind of failure an exception of a chat model is.

    Works on what SDKs have in common (names, statuses, responses), so that none is imported.
    """
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, TimeoutError | ModelTimeoutError) or any(n.endswith("Timeout") for n in names):
        return Failure("timeout")
    if (status := _status(error)) is not None and status >= 400:
        final = getattr(error, "code", None) == "insufficient_quota" or isinstance(
            error, ContextOverflowError
        )
        return Failure("status", _detail(error), status, _retry_after(error), final)
    if isinstance(error, ModelConnectionError | OSError) or names & {"APIConnectionError", "TransportError"}:
        return Failure("unreachable", _detail(_root(error)), unsent=_is_unsent(error))
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return Failure("argument", _detail(error))
    if not isinstance(error, BDCError) and isinstance(
        error, ValueError | LookupError | TypeError | AttributeError
    ):
        # How clients fail on a response that is no JSON, or not of the agreed shape.
        return Failure("malformed", _detail(error))
    return Failure("other", f"{type(error).__name__}: {_detail(error)}")


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    found = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
    )
    return next((value for value in found if isinstance(value, int) and 100 <= value < 600), None)


def _is_unsent(error: BaseException) -> bool:
    """Whether no connection was made, as the error or one of its causes says."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and cause not in causes:
        causes.append(cause)
    names = {cls.__name__ for cause in causes for cls in type(cause).__mro__}
    return bool(names & {"ConnectError", "ConnectionRefusedError", "gaierror", "ClientConnectorError"})


def _root(error: BaseException) -> BaseException:
    """The first cause, which says more than its wrappers."""
    while (cause := error.__cause__ or error.__context__) is not None and str(cause):
        error = cause
    return error


def _detail(error: BaseException) -> str:
    body = getattr(error, "body", None)
    if isinstance(body, Mapping) and isinstance(body.get("error"), Mapping):
        body = body["error"]
    said = (
        body.get("message") or body.get("error") or body.get("detail") if isinstance(body, Mapping) else None
    )
    text = said if isinstance(said, str) else str(error)
    return text.removeprefix(f"Error code: {_status(error)}").removeprefix(" - ")


def one_line(text: str, longest: int) -> str:
    """The text with all white space single, cut to so many characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def _retry_after(error: BaseException) -> float | None:
    """Seconds the server asked to wait: a number, or the time from now to a date."""
    headers: Any = getattr(getattr(error, "response", None), "headers", None) or {}
    scaled = ((headers.get("retry-after-ms"), 1000), (headers.get("retry-after"), 1))
    for value, scale in scaled:
        try:
            seconds = float(value) / scale
        except (TypeError, ValueError):
            continue
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    try:
        date = email.utils.parsedate_to_datetime(headers.get("retry-after"))
    except (TypeError, ValueError):
        return None
    return max(0.0, date.timestamp() - time.time())


def shown_url(url: str | None) -> str:
    """An address without what may be secret in it: user, password, query."""
    parts = urlsplit(url or "")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if host else ""
