"""From a provider's status and words to an error of ours: one table for all wires.

    error_from_status(429, code="insufficient_quota")       # QuotaExceededError
    error_from_status(529)                                  # OverloadedError

A 429 is three things, told apart by the provider's code and not by the status: too fast (wait and try again), a quota or
a balance that is used up (waiting seconds does not help), and a request that is larger than the limit (never fits).

The one surprise: the code goes before the status, also when there is no status at all: an error event inside a stream of
status 200 has only its words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamina.errors import (
    AuthenticationError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)

from .headers import parse_rate_limit, parse_retry_after, parse_should_retry

__all__ = ["error_from_status"]

_CODES: dict[str, type[LLMError]] = {
    # used up: a quota, a balance, a spend limit
    "insufficient_quota": QuotaExceededError,
    "billing_error": QuotaExceededError,
    "billing_hard_limit_reached": QuotaExceededError,
    "billing_not_active": QuotaExceededError,
    "contract_spend_limit_reached": QuotaExceededError,
    "credit_balance_exhausted": QuotaExceededError,
    "enforced_spend_limit_reached": QuotaExceededError,
    "insufficient_credits": QuotaExceededError,
    "organization_spend_limit_exceeded": QuotaExceededError,
    "organization_usage_limit_exceeded": QuotaExceededError,
    "payment_required": QuotaExceededError,
    "project_spend_limit_exceeded": QuotaExceededError,
    # too fast
    "rate_limit_error": RateLimitError,
    "rate_limit_exceeded": RateLimitError,
    "ramp_limit_exceeded": RateLimitError,
    "slow_down": RateLimitError,
    "too_many_requests": RateLimitError,
    # never fits
    "request_too_large": InvalidRequestError,
    "tokens_limit_exceeded": InvalidRequestError,
    "context_length_exceeded": ContextLengthError,
    "context_window_exceeded": ContextLengthError,
    "string_above_max_length": ContextLengthError,
    # refused for what it says
    "content_filter": ContentFilterError,
    "content_policy_violation": ContentFilterError,
    "moderation_blocked": ContentFilterError,
    # the service
    "api_error": ServerError,
    "internal_error": ServerError,
    "internal_server_error": ServerError,
    "overloaded": OverloadedError,
    "overloaded_error": OverloadedError,
    "server_error": ServerError,
    "timeout_error": ServerError,
    # who asks, and for what
    "authentication_error": AuthenticationError,
    "invalid_api_key": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "model_not_found": NotFoundError,
    "not_found_error": NotFoundError,
    "invalid_request_error": InvalidRequestError,
}

_STATUSES: dict[int, type[LLMError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    429: RateLimitError,
    529: OverloadedError,
}

# Too general to overrule what the status says: providers send them with every kind of error.
_VAGUE = {"invalid_request_error", "api_error", "server_error", "rate_limit_error"}


def error_from_status(
    status: int | None,
    *,
    message: str = "",
    code: str | None = None,
    type: str | None = None,  # noqa: A002 - the wire's word
    headers: Mapping[str, str] | None = None,
    provider: str | None = None,
    model: str | None = None,
    **facts: Any,
) -> LLMError:
    """The error that a provider's answer means; waits, retry orders and rate limits are taken from *headers*."""
    headers = headers or {}
    kind = _kind(status, code, type)
    if 300 <= (status or 0) < 400:
        message = f"the provider redirects, which is not followed, for it would carry the key elsewhere: {message}"
    if issubclass(kind, RequestTimeoutError):
        facts["limit"] = "provider"
    return kind(
        message or f"the provider answered {status or code or type or 'with an error'}",
        provider=provider,
        model=model,
        status=status,
        code=code or type,
        retry_after=parse_retry_after(headers),
        should_retry=parse_should_retry(headers),
        rate_limit=parse_rate_limit(headers),
        request_id=facts.pop("request_id", None) or headers.get("x-request-id") or headers.get("request-id"),
        retryable=True if status == 409 else None,
        **facts,
    )


def _kind(status: int | None, code: str | None, type_: str | None) -> type[LLMError]:
    words = [word.lower() for word in (code, type_) if isinstance(word, str)]
    telling = [word for word in words if word in _CODES and (word not in _VAGUE or status in (None, 200))]
    if telling:
        return _CODES[telling[0]]
    if status is None or status == 200:
        return ServerError
    if status in _STATUSES:
        return _STATUSES[status]
    return ServerError if status >= 500 else InvalidRequestError
