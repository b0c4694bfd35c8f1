"""What an error means: is it worth another attempt, does it count against the service, what becomes of the key.

    classify(RateLimitError("slow down"))
    # Verdict(retry=True, breaker='neutral', key='cooldown', fallback='yes')

| error                                        | retry | breaker | key        | fallback |
|----------------------------------------------|-------|---------|------------|----------|
| network, timeout                             | yes   | failure | none       | yes      |
| no connection free, no time left: not asked  | yes   | neutral | none       | yes      |
| server error, overloaded                     | yes   | failure | none       | yes      |
| malformed answer, cut stream                 | yes   | failure | none       | yes      |
| rate limit                                   | yes   | neutral | cooldown   | yes      |
| quota, balance, spend limit                  | no    | neutral | quarantine | yes      |
| authentication, permission                   | no    | neutral | quarantine | yes      |
| conflict (409)                               | yes   | neutral | none       | no       |
| invalid request, not found, context, filter  | no    | neutral | none       | typed    |
| circuit open, budget (local rejections)      | no    | neutral | none       | yes      |
| stream committed or diverged                 | no    | neutral | none       | no       |
| cancelled, wrong settings, unknown           | no    | neutral | none       | no       |

Before the column "retry" goes what the provider said in `x-should-retry` (`error.should_retry`), then what the error says
of itself (`error.retryable`). Of Python's own exceptions those of the network are known, since a handler that somebody
wrote on another client may let them out: ConnectionError, TimeoutError, socket.gaierror (a name that was not found),
ssl.SSLError, and an OSError that says that a network or host cannot be reached.

The one surprise: any other exception is never tried again and counts against nobody. A TypeError is a bug, and a bug is
not healed by calling it three times.
"""

from __future__ import annotations

import errno
from socket import gaierror
from ssl import SSLError
from typing import Any, Literal

from attrs import evolve, frozen

from llamina.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    NotFoundError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

__all__ = ["Verdict", "classify", "default_classifier", "wait_hint"]


@frozen
class Verdict:
    """What to do about an error.

    Attributes:
        retry: another attempt of the same request can help.
        breaker: what it says of the service: "failure", "success" or "neutral".
        key: what becomes of the key: "none", "cooldown" or "quarantine".
        fallback: whether another target may be asked: "yes", "no", or "typed": only one that lacks this very limit.
    """

    retry: bool
    breaker: Literal["failure", "success", "neutral"] = "neutral"
    key: Literal["none", "cooldown", "quarantine"] = "none"
    fallback: Literal["yes", "no", "typed"] = "no"


_FAILURE = Verdict(retry=True, breaker="failure", fallback="yes")
_NOT_ASKED = Verdict(retry=True, fallback="yes")
_THROTTLED = Verdict(retry=True, key="cooldown", fallback="yes")
_KEY = Verdict(retry=False, key="quarantine", fallback="yes")
_CALLER = Verdict(retry=False, fallback="typed")
_CONFLICT = Verdict(retry=True)
_LOCAL = Verdict(retry=False, fallback="yes")
_UNKNOWN = Verdict(retry=False)

# The nearest class in an error's ancestry decides.
_TABLE: dict[type, Verdict] = {
    NetworkError: _FAILURE,
    RequestTimeoutError: _FAILURE,
    ServerError: _FAILURE,
    MalformedResponseError: _FAILURE,
    RateLimitError: _THROTTLED,
    QuotaExceededError: _KEY,
    AuthenticationError: _KEY,
    PermissionDeniedError: _KEY,
    InvalidRequestError: _CALLER,
    ContextLengthError: _CALLER,
    ContentFilterError: _CALLER,
    NotFoundError: _CALLER,
    CircuitOpenError: _LOCAL,
    BudgetExceededError: _LOCAL,
    LLMError: _UNKNOWN,
    ConnectionError: _FAILURE,
    TimeoutError: _FAILURE,
    gaierror: _FAILURE,
    SSLError: _FAILURE,
}
_UNREACHABLE = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH})


def classify(error: BaseException) -> Verdict:
    """The verdict on *error*; never raises."""
    kind = next((kind for kind in type(error).__mro__ if kind in _TABLE), None)
    verdict = _UNKNOWN if kind is None else _TABLE[kind]
    if not isinstance(error, LLMError):
        return _FAILURE if isinstance(error, OSError) and error.errno in _UNREACHABLE else verdict
    retry = error.retryable
    if kind is InvalidRequestError and _fact(error, "status") == 409:
        verdict, retry = _CONFLICT, error.__dict__.get("retryable", True)
    elif kind is RequestTimeoutError and not error.processed and _fact(error, "limit") in ("pool", "deadline"):
        verdict = _NOT_ASKED
    said = _fact(error, "should_retry")
    if said is not None:
        retry = said
    return verdict if retry == verdict.retry else evolve(verdict, retry=retry)


def default_classifier(error: BaseException) -> bool:
    """Whether another attempt of the same request can help."""
    return classify(error).retry


def wait_hint(error: BaseException) -> float | None:
    """Seconds that the provider, or the layer that refused, asks to wait; None where it asks for nothing sensible.

    `math.inf` stays: whoever says so asks not to come back, and a shorter wait is not what was asked for.
    """
    hint = _fact(error, "retry_after") if isinstance(error, LLMError) else None
    if isinstance(hint, bool) or not isinstance(hint, int | float):
        return None
    return hint if hint > 0 else None


def _fact(error: LLMError, name: str) -> Any:
    """An attribute of *error*; None in a class of somebody's own that does not call the constructor of ours."""
    return getattr(error, name, None)
