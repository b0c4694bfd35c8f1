"""What an error means: is it worth another attempt, does it count against the service, what becomes of the key.

    classify(RateLimitError("slow down"))     # Verdict(retry=True, breaker="neutral", key="cooldown", fallback="yes")

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
| cancelled, unknown                           | no    | neutral | none       | no       |

The one surprise: what the provider said in `x-should-retry` goes before the table, and an error of an unknown kind is
never tried again, since nobody said that it may be. Of Python's own errors ConnectionError and TimeoutError are known:
a handler that raises them means the network.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

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


class Verdict(NamedTuple):
    """What to do about an error.

    Attributes:
        retry: another attempt of the same request can help.
        breaker: what it says of the service: "failure", "success" or "neutral".
        key: what becomes of the key: "none", "cooldown" or "quarantine".
        fallback: whether another target may be asked: "yes", "no", or "typed": only one that lacks this very limit.
    """

    retry: bool
    breaker: Literal["failure", "success", "neutral"]
    key: Literal["none", "cooldown", "quarantine"]
    fallback: Literal["yes", "no", "typed"]


_FAILURE = Verdict(retry=True, breaker="failure", key="none", fallback="yes")
_THROTTLED = Verdict(retry=True, breaker="neutral", key="cooldown", fallback="yes")
_KEY = Verdict(retry=False, breaker="neutral", key="quarantine", fallback="yes")
_CALLER = Verdict(retry=False, breaker="neutral", key="none", fallback="typed")
_CONFLICT = Verdict(retry=True, breaker="neutral", key="none", fallback="no")
_LOCAL = Verdict(retry=False, breaker="neutral", key="none", fallback="yes")
_UNKNOWN = Verdict(retry=False, breaker="neutral", key="none", fallback="no")

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
    ConnectionError: _FAILURE,
    TimeoutError: _FAILURE,
}


def classify(error: BaseException) -> Verdict:
    """The verdict on *error*."""
    verdict = next((_TABLE[kind] for kind in type(error).__mro__ if kind in _TABLE), _UNKNOWN)
    if not isinstance(error, LLMError):
        return verdict
    if isinstance(error, InvalidRequestError) and error.status == 409:
        verdict = _CONFLICT
    if error.should_retry is not None:
        return verdict._replace(retry=error.should_retry)
    if error.retryable != type(error).retryable:  # whoever made this error knows better than its class
        return verdict._replace(retry=error.retryable)
    return verdict


def default_classifier(error: BaseException) -> bool:
    """Whether another attempt of the same request can help."""
    return classify(error).retry


def wait_hint(error: BaseException) -> float | None:
    """Seconds that the provider, or the layer that refused, asks to wait; None where it does not say."""
    hint = error.retry_after if isinstance(error, LLMError) else None
    return hint if hint is not None and math.isfinite(hint) and hint > 0 else None
