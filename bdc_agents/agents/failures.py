"""Diagnoses why a call of an LLM failed: whether to retry, and words that a person can act on."""

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
"""`foreign`: the response is nothing that such an API sends. `told`: an error with status 200."""

RETRIED = {408, 409, 429}
"""Statuses below 500 that may pass: a timeout, a lock, a rate limit. The SDKs retry the same."""
REJECTED = {400, 422}
"""Statuses by which an endpoint refuses what was sent, such as an unknown parameter."""

LASTING = {401, 402, 403, 404}
"""Statuses that concern the agent, not one request: its key, its account, its model's name."""

_FINAL_CODES = {
    "insufficient_quota",
    "content_filter",
    "context_length_exceeded",
    "exceed_context_size_error",
}
"""Codes of refusals that neither other parameters nor another try would change."""

LONGEST_WAIT = 60.0
"""Seconds that a server may ask to wait: limits by the minute end within it. A server that asks for more,
as with a daily quota, counts as one that does not answer."""
_LONGEST_DETAIL = 300
"""Characters of a server's words in a message: a few lines of a terminal."""


_LONGEST_TOLD = 366 * 86_400
"""Seconds of a wait from which on no number is told: a year."""


class NotAReply(Exception):
    """An endpoint reports success but does not send a chat completion.

    Args:
        what: What it sent, in a few words, such as `a web page (Sign in)`.
        redirected: The address to which it redirected the request; empty for none.
        hint: What to do about it; empty to check the address.
    """

    def __init__(self, what: str, redirected: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what, self.redirected, self.hint = what, redirected, hint


class ErrorInstead(ValueError):
    """An endpoint reports success and sends an error, as gateways do; the argument is that error."""


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a call, for error messages.

    Args:
        model: The model's name there.
        url: Its address without credentials; empty for the provider's own.
        key: The environment variable that holds its key, if known.
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
        status: The HTTP status, if there was one.
        wait: Seconds that the server asked to wait.
        final: Whether a retry is hopeless for a reason that kind and status do not show.
        unsent: Whether the request never reached a server.
        refused: Whether the reason is that nobody listens at the address.
        named: Parameters that the endpoint named in a separate field.
        redirected: The address to which the endpoint redirected the request; empty for none.
        hint: What a person can do about it, if the kind does not show it.
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
        """Whether the server reported trouble of its own, as some do for a request they cannot serve."""
        return self.kind == "status" and (self.status or 0) >= 500

    @property
    def lasting(self) -> bool:
        """Whether the agent cannot answer any other request either."""
        return self.status in LASTING if self.kind == "status" else self.kind == "foreign" and self.final

    @property
    def charged(self) -> bool:
        """Whether an LLM may have worked on it, so that its useless reply has to be paid for."""
        if self.kind == "foreign":
            return not self.final  # A login page from an agent that never answered costs nothing.
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
        """Says in one line what went wrong and what to do.

        Args:
            endpoint: The endpoint of the call.
            tries: How often the call was made.
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
    """Says what came, what was expected, and what to do."""
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
        advice = "add /v1 to the end of base_url, or check that it is the root of such an API"
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
    wait = failure.wait or 0.0
    asks = f"; it asks to wait {how_long(wait)}" if wait >= 1 else ""
    if status == 429 and wait > LONGEST_WAIT:
        return f"rate limit of {where} (429){times}{said}{asks}: try again then, or use another agent"
    if status == 429:
        return f"rate limit of {where} (429){times}{said}{asks}; lower requests_per_second or concurrency"
    if failure.passing:
        return f"{where} has a problem ({status}){times}{said}{asks or '; try again later'}"
    return f"{where} refused the request ({status}){said}; check the model's limits and the agent's options"


def diagnose(error: BaseException) -> Failure:
    """Turns an exception of a chat model into a failure.

    Looks only at what SDKs have in common (names, statuses, responses), so it imports none.
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
        # The caller's client kept a connection of an earlier loop; the next try makes a new one.
        return Failure("unreachable", str(error), unsent=True, hint="make a client for each event loop")
    if isinstance(error, TypeError) and "unexpected keyword argument" in str(error):
        return Failure("argument", str(error))
    if what := _strange(error):
        return Failure("foreign", what)
    if not isinstance(error, BDCError) and isinstance(
        error, ValueError | LookupError | TypeError | AttributeError
    ):
        # Clients fail like this on a response that is no JSON, or has the wrong shape.
        return Failure("malformed", said.text or str(error))
    return Failure("other", f"{type(error).__name__}: {said.text or error}")


_NO_SUCH_PLACE = re.compile(
    r"\b(?:unexpected|unknown|invalid|unsupported|no such|not an?)\s+(?:api\s+)?"
    r"(?:endpoint|route|path|url)\b",
    re.IGNORECASE,
)
"""How servers that answer everything with 200 report an unknown address, such as LM Studio without /v1."""


_GOT_TEXT = re.compile(r"\bgot str: ['\"](.*)", re.DOTALL)
"""How langchain-openai quotes a body that is no completion, or the beginning of one."""


def _strange(error: BaseException) -> str:
    """What came, if the caller's client failed on something that such an API does not send."""
    if isinstance(error, RecursionError):
        return "JSON that is nested too deeply" if _was_reading_json(error) else ""
    # The SDK returns bodies that it cannot read as they came, and its callers fail on the text.
    came = getattr(error, "obj", None) if isinstance(error, AttributeError) else None
    if isinstance(error, ValueError) and (found := _GOT_TEXT.search(str(error))):
        came = found[1]
    if isinstance(came, str):
        return stranger(came) or "text"
    if isinstance(error, AttributeError) and "has no attribute 'model_dump'" in str(error):
        return "something that is no JSON object"
    document = getattr(error, "doc", None)  # A JSONDecodeError has it.
    return stranger(document) if isinstance(document, str) else ""


def _was_reading_json(error: BaseException) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith("json.")


def _unreachable(causes: Sequence[BaseException]) -> Failure:
    """Diagnoses why no response came; each reason has its own hint."""
    names = {cls.__name__ for cause in causes for cls in type(cause).__mro__}
    text = _first_words(causes)
    if "DecodingError" in names:
        return Failure("malformed", text)
    if "TooManyRedirects" in names:
        return Failure("foreign", "redirects in a circle")
    unsent = _is_unsent(names)
    if any(getattr(cause, "errno", None) == errno.ECONNREFUSED for cause in causes):
        # The exception's own text repeats the address, and a number for what stands here in words.
        return Failure(
            "unreachable", "connection refused", unsent=True, refused=True, hint="is a server running there?"
        )
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
    """The address that refused a redirected request; empty if there was no redirect."""
    response: Any = getattr(error, "response", None)
    return shown_url(str(response.url)) if getattr(response, "history", None) else ""


def _without_status(text: str, status: int) -> str:
    return text.removeprefix(f"Error code: {status}").removeprefix(" - ")


def _body(error: BaseException) -> Any:
    """The body that came with an error: as the SDK parsed it, or raw."""
    body = getattr(error, "body", None) or getattr(error, "details", None)
    if body:
        return body
    if error.args and isinstance(error.args[0], Mapping):
        return error.args[0]  # An error with status 200, as gateways send it.
    try:
        return getattr(getattr(error, "response", None), "text", None) or str(error)
    except Exception:  # The body of a streamed response cannot be read again.
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
"""Codes that only repeat the HTTP status."""


def _number(code: object) -> object:
    """A status that a gateway sends as text, as a number; any other code as it is."""
    return (
        int(code) if isinstance(code, str) and code.isascii() and code.isdigit() and len(code) == 3 else code
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error and its chain of causes, the first cause last."""
    causes = [error]
    while (cause := _cause(causes[-1])) is not None and cause not in causes:
        causes.append(cause)
    return causes


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]  # A host with several addresses gives a failure for each.
    return error.__cause__ or error.__context__


def _first_words(causes: Sequence[BaseException]) -> str:
    """The text of the first cause, which tells more than its wrappers do."""
    return next((text for cause in reversed(causes) if (text := str(cause))), "")


def _is_unsent(names: set[str]) -> bool:
    """Whether no connection was made, judged by the names of the error and its causes."""
    return bool(names & {"ConnectError", "ConnectionRefusedError", "gaierror", "ClientConnectorError"})


def one_line(text: str, longest: int) -> str:
    """The text on one line with single spaces, without control characters, cut to so many characters.

    A server's words reach terminals, so they must not hold what a terminal obeys.
    """
    # Twenty times the length, since white space may fall away; more of a whole page need not be read.
    seen = "".join(char if char.isprintable() else " " for char in text[: 20 * longest])
    flat = " ".join(seen.split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"


def _retry_after(error: BaseException) -> float | None:
    """Seconds that the server asked to wait, given as a number or as a date."""
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


def how_long(seconds: float) -> str:
    """A time to wait in words, rounded up: 20 s, 2 min, 1 h 30 min, 3 days."""
    minutes = math.ceil(min(seconds, _LONGEST_TOLD) / 60)
    hours = math.ceil(minutes / 60)
    if seconds <= 90:
        return f"{math.ceil(seconds)} s"
    if minutes < 60:
        return f"{minutes} min"
    if hours <= 48:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{math.ceil(hours / 24)} days" if seconds < _LONGEST_TOLD else "more than a year"


def shown_url(url: str | None) -> str:
    """An address without its secret parts: user, password, query."""
    parts = urlsplit(url or "")
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/") if host else ""
