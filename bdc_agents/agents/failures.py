"""Why a call of an LLM failed, in words a person can act on, and whether to try again."""

import email.utils
import errno
import math
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from langchain_core.exceptions import ContextOverflowError, ModelConnectionError, ModelTimeoutError

from bdc_agents.agents.bodies import stranger
from bdc_agents.agents.refusals import Said, read
from bdc_agents.errors import BDCError

Kind = Literal[
    "timeout",
    "unreachable",
    "status",
    "foreign",
    "told",
    "malformed",
    "empty",
    "filtered",
    "oversized",
    "argument",
    "other",
]
"""`foreign`: what came is nothing that such an API sends; `told`: an error in place of a reply, under 200."""

RETRIED = {408, 409, 429}
REJECTED = {400, 422}
"""Statuses with which an endpoint refuses what it was sent, such as a parameter it does not know."""

LASTING = {401, 402, 403, 404}
"""Statuses that say something of the agent and not of a request: a key, an account, a model's name."""

_FINAL_CODES = {
    "insufficient_quota",
    "content_filter",
    "context_length_exceeded",
    "exceed_context_size_error",
}
"""Codes of refusals that no other parameters and no other try would change."""

_LONGEST_DETAIL = 300


class NotAReply(Exception):
    """An endpoint reports success and sends something else than a chat completion.

    Args:
        what: It in a few words, such as `a web page (Sign in)`.
        redirected: The address that it sent the request on to; empty for none.
        hint: What to do about it; empty to check the address.
    """

    def __init__(self, what: str, redirected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.redirected, self.hint = what, redirected, hint


class ErrorInstead(ValueError):
    """An endpoint reports success and sends an error, as gateways do; the argument is that error."""


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
        refused: Whether that is because nobody listens at the address.
        named: Parameters that the endpoint named in a field of its own.
        redirected: Where the endpoint sent the request on to; empty for nowhere.
        hint: What a person can do about it, where the kind does not show it.
    """

    kind: Kind
    detail: str = ""
    status: int | None = None
    wait: float | None = None
    final: bool = False
    unsent: bool = False
    refused: bool = False
    named: tuple[str, ...] = ()
    redirected: str = ""
    hint: str = ""

    @property
    def broken(self) -> bool:
        """Whether the server had trouble, as some say of a request that they cannot serve."""
        return self.kind == "status" and (self.status or 0) >= 500

    @property
    def lasting(self) -> bool:
        """Whether the agent can answer no other request either."""
        return self.status in LASTING if self.kind == "status" else self.kind == "foreign" and self.final

    @property
    def charged(self) -> bool:
        """Whether an LLM may have worked on it: what it wrote is then paid for, though it is of no use."""
        if self.kind == "foreign":
            return not self.final  # A login page of an agent that never answered has cost nothing.
        return self.kind in ("timeout", "told", "malformed", "empty", "filtered", "oversized") or (
            self.kind == "unreachable" and not self.unsent
        )

    @property
    def passing(self) -> bool:
        """Whether another try may succeed."""
        if self.kind == "status":
            return not self.final and (self.status in RETRIED or (self.status or 0) >= 500)
        return not self.final and self.kind not in ("argument", "filtered", "oversized", "other")

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
        if self.kind == "foreign":
            return _explain_foreign(self, endpoint, where, times)
        return {
            "timeout": f"no answer within {endpoint.timeout:g} s{times}; raise timeout, or lower max_tokens",
            "unreachable": f"cannot reach {where}{times}{said}; {self.hint}",
            "told": f"{where} sent an error in place of a reply{times}{said}; check the model's name, "
            "and the server's own log",
            "malformed": f"{where} sent a damaged chat completion{times}{said}; try again, and look into "
            "the server's own log",
            "empty": f"{endpoint.model!r} answered with an empty text{times}; try another model or prompt",
            "filtered": f"the content filter of {where} held the reply back; another prompt or agent may do",
            "oversized": f"{where} sent more than any reply can be{said}; is it a chat completion endpoint?",
            "argument": f"{endpoint.model!r} does not take what it was called with{said}; check its options",
        }.get(self.kind, f"{endpoint.model!r} failed{times}{said}")


def _explain_foreign(failure: Failure, endpoint: Endpoint, where: str, times: str) -> str:
    """What came, what was expected, and what to do."""
    came = one_line(failure.detail, _LONGEST_DETAIL)
    via = f", after a redirect to {failure.redirected}" if failure.redirected else ""
    path = urlsplit(endpoint.url).path
    if failure.hint:
        advice = failure.hint
    elif not endpoint.url:
        advice = "check the network: a login page or a proxy may stand before it"
    elif re.search(r"/v\d", path):
        advice = "check base_url, and whether a login page or a proxy stands before it"
    else:
        advice = f"add /v1 to base_url ({endpoint.url}/v1), or check that it is the root of such an API"
    return f"{where} sent {came} instead of a chat completion{times}{via}; {advice}"


def _explain_status(failure: Failure, endpoint: Endpoint, where: str, times: str, said: str) -> str:
    status, model = failure.status or 0, endpoint.model
    key = endpoint.key or "the variable that api_key_env names"
    if failure.redirected:
        return (
            f"{where} sent the request on to {failure.redirected}, which refused it ({status}){said}; "
            "write in base_url the address where the API is"
        )
    if status == 401 and not endpoint.key:
        return (
            f"{where} asks for another API key, or for one at all (401){said}; keep it in an environment "
            "variable and name that by api_key_env in the agent's table"
        )
    if status == 401:
        return f"{where} refused the API key (401){said}; set {key} to a valid one"
    if status == 402:
        return f"the account at {where} has no credit left (402){said}; add credit, or use another agent"
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
    causes = _causes(error)
    names = {cls.__name__ for cls in type(error).__mro__}
    if long := next((cause for cause in causes if type(cause).__name__ == "ReplyTooLong"), None):
        return Failure("oversized", str(long))
    if strange := next((cause for cause in causes if isinstance(cause, NotAReply)), None):
        return Failure("foreign", strange.what, redirected=strange.redirected, hint=strange.hint)
    if isinstance(error, TimeoutError | ModelTimeoutError) or any(n.endswith("Timeout") for n in names):
        return Failure("timeout")
    said = read(_body(error))
    status = _status(error) or 0
    if status >= 400:
        return _refusal(error, said, status)
    if status >= 300:  # By a client that follows none.
        return Failure(
            "foreign", f"a redirect ({status})", hint="write in base_url the address where the API is"
        )
    if isinstance(error, ErrorInstead):
        wrong_place = _NO_SUCH_PLACE.search(said.text)
        return Failure("foreign", f"an error ({said.text})") if wrong_place else Failure("told", said.text)
    if isinstance(error, ModelConnectionError | OSError) or names & {"APIConnectionError", "TransportError"}:
        return _unreachable(causes)
    if isinstance(error, RuntimeError) and str(error) == "Event loop is closed":
        # A connection of an earlier loop, kept by a client of the caller's; the next try makes a new one.
        return Failure("unreachable", str(error), unsent=True, hint="make a client for each event loop")
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return Failure("argument", str(error))
    if what := _strange(error):
        return Failure("foreign", what)
    if not isinstance(error, BDCError) and isinstance(
        error, ValueError | LookupError | TypeError | AttributeError
    ):
        # How clients fail on a response that is no JSON, or not of the agreed shape.
        return Failure("malformed", said.text or str(error))
    return Failure("other", f"{type(error).__name__}: {said.text or error}")


_NO_SUCH_PLACE = re.compile(
    r"\b(?:unexpected|unknown|invalid|unsupported|no such|not an?)\s+(?:api\s+)?"
    r"(?:endpoint|route|path|url)\b",
    re.IGNORECASE,
)
"""What servers that answer everything with 200 say of an address they do not have: LM Studio without /v1."""


def _strange(error: BaseException) -> str:
    """What came, where a client of the caller's fails on something that such an API does not send."""
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply" if _was_reading_json(error) else ""
    if isinstance(error, AttributeError) and "has no attribute 'model_dump'" in str(error):
        return "something that is no JSON object"  # The SDK hands on what it could not read as it came.
    document = getattr(error, "doc", None)  # Of a JSONDecodeError.
    return stranger(document) if isinstance(document, str) else ""


def _was_reading_json(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("json.")


def _unreachable(causes: Sequence[BaseException]) -> Failure:
    """Why no response came: each reason has something else to do about it."""
    names = {cls.__name__ for cause in causes for cls in type(cause).__mro__}
    text = _first_words(causes)
    if "DecodingError" in names:
        return Failure("malformed", text)
    if "TooManyRedirects" in names:
        return Failure("foreign", "redirects in a circle")
    unsent = _is_unsent(names)
    if any(getattr(cause, "errno", None) == errno.ECONNREFUSED for cause in causes):
        return Failure("unreachable", text, unsent=True, refused=True, hint="is a server running there?")
    if "gaierror" in names:
        hint = "check the name of the host, and the network"
    elif "SSLError" in names:
        hint = "check http against https in base_url; SSL_CERT_FILE names an authority of your own"
    elif "ProxyError" in names:
        hint = "check the proxy"
    elif unsent:
        hint = "check the address, and the network"
    else:
        hint = "the connection broke: try again, and look into the server's own log"
    return Failure("unreachable", text, unsent=unsent, hint=hint)


def _refusal(error: BaseException, said: Said, status: int) -> Failure:
    final = isinstance(error, ContextOverflowError) or not _FINAL_CODES.isdisjoint(said.codes)
    text = said.text or _without_status(str(error), status)
    wait = _retry_after(error)
    wait = said.wait if wait is None else wait
    return Failure("status", text, status, wait, final, named=said.named, redirected=_redirected(error))


def _redirected(error: BaseException) -> str:
    """Where a refusal came from, if the endpoint had sent the request on to there; empty if it had not."""
    response: Any = getattr(error, "response", None)
    return shown_url(str(response.url)) if getattr(response, "history", None) else ""


def _without_status(text: str, status: int) -> str:
    return text.removeprefix(f"Error code: {status}").removeprefix(" - ")


def _body(error: BaseException) -> Any:
    """What the server sent with an error: as the SDK has parsed it, or as it came."""
    body = getattr(error, "body", None) or getattr(error, "details", None)
    if body:
        return body
    if error.args and isinstance(error.args[0], Mapping):
        return error.args[0]  # An error in a response of status 200, as gateways send it.
    try:
        return getattr(getattr(error, "response", None), "text", None) or str(error)
    except Exception:  # The body of a response that was streamed cannot be read any more.
        return str(error)


def _status(error: BaseException) -> int | None:
    response = getattr(error, "response", None)
    body = error.args[0] if error.args and isinstance(error.args[0], Mapping) else {}
    found = (
        getattr(error, "status_code", None),
        getattr(response, "status_code", None),
        getattr(error, "code", None),
        _number(body.get("code")),
    )
    return next((value for value in found if isinstance(value, int) and 100 <= value < 600), None)


_TEXTS_OF_STATUSES = {str(status) for status in range(100, 600)}


def _number(code: object) -> object:
    """A code as a number, where a gateway sends it as a text; another one as it is."""
    return (
        int(code) if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3 else code
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error and what it came of, the first cause last."""
    causes = [error]
    while (cause := _cause(causes[-1])) is not None and cause not in causes:
        causes.append(cause)
    return causes


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]  # Of a host with several addresses: one failure for each.
    return error.__cause__ or error.__context__


def _first_words(causes: Sequence[BaseException]) -> str:
    """What the first cause says, which tells more than its wrappers."""
    return next((text for cause in reversed(causes) if (text := str(cause))), "")


def _is_unsent(names: set[str]) -> bool:
    """Whether no connection was made, as the names of the error and its causes say."""
    return bool(names & {"ConnectError", "ConnectionRefusedError", "gaierror", "ClientConnectorError"})


def one_line(text: str, longest: int) -> str:
    """The text with all white space single and nothing unseen in it, cut to so many characters.

    A server's words reach terminals: they may not hold what a terminal obeys.
    """
    seen = "".join(char if char.isprintable() else " " for char in text[: 20 * longest])
    flat = " ".join(seen.split())
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
