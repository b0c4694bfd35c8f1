"""What an error means: is it worth another attempt, does it count against the service, what becomes of the key.

    classify(RateLimitError("slow down"))
    # Verdict(retry=True, breaker='neutral', key='cooldown', fallback='yes')

| error                                        | retry | breaker | key        | fallback |
|----------------------------------------------|-------|---------|------------|----------|
| network, timeout                             | yes   | failure | none       | yes      |
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
wrote on another client may let them out: ConnectionError, socket.gaierror (a name that was not found) and TimeoutError.

The one surprise: any other exception is never tried again and counts against nobody. A TypeError is a bug, and a bug is
not healed by calling it three times.
"""

from __future__ import annotations

from socket import gaierror
from typing import Literal

from attrs import evolve, frozen

from llamina.errors import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
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
    NotFoundError: _CALLER,
    CircuitOpenError: _LOCAL,
    BudgetExceededError: _LOCAL,
    LLMError: _UNKNOWN,
    ConnectionError: _FAILURE,
    TimeoutError: _FAILURE,
    gaierror: _FAILURE,
}


def classify(error: BaseException) -> Verdict:
    """The verdict on *error*; never raises."""
    verdict = _UNKNOWN
    for kind in type(error).__mro__:
        if kind in _TABLE:
            verdict = _TABLE[kind]
            break
    if not isinstance(error, LLMError):
        return verdict
    if error.status == 409 and verdict is _CALLER:
        verdict = _CONFLICT
        retry = error.retryable or "retryable" not in error.__dict__
    else:
        retry = error.retryable
    if error.should_retry is not None:
        retry = error.should_retry
    return verdict if retry == verdict.retry else evolve(verdict, retry=retry)


def default_classifier(error: BaseException) -> bool:
    """Whether another attempt of the same request can help."""
    return classify(error).retry


def wait_hint(error: BaseException) -> float | None:
    """Seconds that the provider, or the layer that refused, asks to wait; None where it asks for nothing sensible.

    `math.inf` stays: whoever says so asks not to come back, and a shorter wait is not what was asked for.
    """
    hint = error.retry_after if isinstance(error, LLMError) else None
    if isinstance(hint, bool) or not isinstance(hint, int | float):
        return None
    return hint if hint > 0 else None
