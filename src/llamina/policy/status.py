"""From a provider's status and words to an error of ours: one table for all wires.

    error_from_status(429, code="insufficient_quota")       # QuotaExceededError
    error_from_status(529)                                  # OverloadedError
    error_from_status(None, type="overloaded_error")        # OverloadedError: an event in a stream of status 200

A 429 is three things, told apart by the provider's code and not by the status: too fast (wait and try again), a quota or
a balance that is used up (waiting seconds does not help), and a request that is larger than the limit (never fits).

The one surprise: some providers say the most useful part in prose only. A prompt that is too long, a request above the
limit, refused content and an empty balance are also recognised by phrases in *message*, where no code tells. A phrase
never overrules a status of 500 or above: there it may be about the server itself.
"""

from __future__ import annotations

import re
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

from .headers import header_of, parse_rate_limit, parse_retry_after, parse_should_retry

__all__ = ["error_from_status"]

_Kind = type[LLMError]

# Words that hold whatever the status: a used-up quota may come as 429, 402, 403 or 400.
_TELLING: dict[str, _Kind] = {
    **dict.fromkeys(
        (
            "billing_error",
            "billing_hard_limit_reached",
            "billing_not_active",
            "contract_spend_limit_reached",
            "credit_balance_exhausted",
            "enforced_spend_limit_reached",
            "exceeded_current_quota_error",
            "insufficient_balance",
            "insufficient_credits",
            "insufficient_quota",
            "linked_organization_billing_unavailable",
            "linked_organization_spend_limit_reached",
            "organization_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
            "payment_required",
            "project_spend_limit_exceeded",
            "session_budget_exceeded",
            "usage_limit_exceeded",
        ),
        QuotaExceededError,
    ),
    **dict.fromkeys(
        (
            "context_length_exceeded",
            "context_window_exceeded",
            "exceed_context_size_error",
            "model_context_window_exceeded",
            "model_max_prompt_tokens_exceeded",
        ),
        ContextLengthError,
    ),
    **dict.fromkeys(
        (
            "bio_policy",
            "content_filter",
            "content_policy_violation",
            "cyber_policy",
            "data_inspection_failed",
            "image_content_policy_violation",
            "invalid_prompt",
            "misalignment_policy_violation",
            "moderation_blocked",
            "responsibleaipolicyviolation",
        ),
        ContentFilterError,
    ),
    **dict.fromkeys(("request_too_large", "string_above_max_length", "tokens_limit_reached"), InvalidRequestError),
    **dict.fromkeys(("api_key_invalid", "invalid_api_key"), AuthenticationError),
    "organization_on_hold": PermissionDeniedError,  # said with a 400, and it is the key's trouble, not the request's
    "request_body_timeout": RequestTimeoutError,  # the 408 that is said with a 400
    **dict.fromkeys(("model_not_found", "deploymentnotfound"), NotFoundError),
}

# Words that say which of two things a 429 or a 5xx is. One provider also sends them with a 413, which never fits.
_HURRIED: dict[str, _Kind] = {
    **dict.fromkeys(("ramp_limit_exceeded", "rate_limit_exceeded", "slow_down", "too_many_requests"), RateLimitError),
    **dict.fromkeys(
        (
            "compaction_unavailable",
            "engine_overloaded_error",
            "flex_unavailable",
            "overloaded",
            "overloaded_error",
            "server_is_overloaded",
            "server_overloaded",
        ),
        OverloadedError,
    ),
}

# Words that only repeat what a status says, for errors that have none.
_BARE: dict[str, _Kind] = {
    **dict.fromkeys(("authentication_error", "unauthenticated"), AuthenticationError),
    **dict.fromkeys(("permission_error", "permission_denied"), PermissionDeniedError),
    **dict.fromkeys(("not_found_error", "not_found", "resource_not_found"), NotFoundError),
    **dict.fromkeys(("rate_limit_error", "resource_exhausted"), RateLimitError),
    **dict.fromkeys(
        ("invalid_request_error", "invalid_request", "invalid_argument", "failed_precondition"), InvalidRequestError
    ),
    # What a run that was accepted finds out about its request.
    **dict.fromkeys(
        (
            "data_residency_mismatch",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
            "image_file_too_large",
            "image_parse_error",
            "image_too_large",
            "image_too_small",
            "invalid_base64_image",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "unsupported_image_media_type",
        ),
        InvalidRequestError,
    ),
    "unavailable": OverloadedError,
}

_STATUSES: dict[int, _Kind] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    429: RateLimitError,
    529: OverloadedError,
}

# Phrases in which no number and no name of a model stands. What throttling says too ("too many tokens, please wait",
# "you exceeded your current quota" of a limit per minute) is not among them.
_EMPTY_BALANCE = re.compile(r"credit balance is too low|insufficient (?:credits?|balance)\b", re.IGNORECASE)
_FILTERED = re.compile(
    r"content filtering policy|content management policy|content exists risk|input was flagged", re.IGNORECASE
)
_TOO_LONG = re.compile(
    r"context (?:length|window|limit)|(?:available|maximum) context size|maximum prompt length"
    r"|(?:prompt|input) is too long|too many input tokens|model token limit|`inputs` (?:tokens|must have less)"
    r"|exceeds the maximum number of (?:input )?tokens|reduce the length of the (?:messages|prompt|input)"
    r"|range of input length",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"\b(?:request|prompt) too large\b", re.IGNORECASE)
_LIMIT_REQUESTED = re.compile(r"\blimit:? ([\d,]{1,15}), requested:? ([\d,]{1,15})", re.IGNORECASE)


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
    """The error that a provider's answer means, not raised.

    Args:
        status: the HTTP status; None, or 200, for an error inside an answer that began as a success. A status that stands
            as a number in *code* then counts in its place.
        message: the provider's sentence, secrets already masked.
        code, type: the provider's words.
        headers: of the response; what they ask for (wait, try again or not, rate limits, request id) is on the error.
        provider, model: who was asked for what.
        facts: any other attribute of `LLMError`.
    """
    headers = headers or {}
    words = [word.lower() for word in (code, type) if word and not word.isdigit()]
    had_begun = status is None or 200 <= status < 300
    number = status
    if had_begun:
        number = int(code) if code and re.fullmatch("[45][0-9][0-9]", code) else None
    kind = _kind(number, words, message)
    if had_begun and issubclass(kind, RateLimitError | ContentFilterError):
        facts.setdefault("processed", True)  # there may be tokens to pay for
    if number is not None and 300 <= number < 400:
        message = f"the provider answered with a redirect, which is not followed: it would carry the key on; {message}"
    if issubclass(kind, RequestTimeoutError):
        facts.setdefault("limit", "provider")
    if number == 409 and kind is InvalidRequestError:
        facts.setdefault("retryable", True)
    facts.setdefault("request_id", header_of(headers, "x-request-id") or header_of(headers, "request-id") or None)
    return kind(
        message.removesuffix("; ") or f"the provider answered {status or code or type or 'with an error'}",
        provider=provider,
        model=model,
        status=status,
        code=type if type and code and code.isdigit() else code or type,
        retry_after=parse_retry_after(headers),
        should_retry=parse_should_retry(headers),
        rate_limit=parse_rate_limit(headers) or None,
        **facts,
    )


def _kind(status: int | None, words: list[str], message: str) -> _Kind:
    """The class of the error: telling words, then phrases where the status leaves room for them, then the status."""
    for word in words:
        if word in _TELLING:
            return _TELLING[word]
    if status in (None, 429) and _is_too_large(message):
        return InvalidRequestError
    kind = _by_status(status, words)
    if status is not None and status >= 500:
        return kind
    vague = kind is InvalidRequestError or kind is ServerError
    if (vague or kind in (RateLimitError, PermissionDeniedError)) and _EMPTY_BALANCE.search(message):
        return QuotaExceededError
    if (vague or kind is PermissionDeniedError) and _FILTERED.search(message):
        return ContentFilterError
    if vague and _TOO_LONG.search(message):
        return ContextLengthError
    return kind


def _by_status(status: int | None, words: list[str]) -> _Kind:
    """The class of the error without a look at the message; `ServerError` where nothing is known."""
    if status is None or status == 429 or status >= 500:
        for word in words:
            if word in _HURRIED:
                return _HURRIED[word]
    if status is None:
        return next((_BARE[word] for word in words if word in _BARE), ServerError)
    if status in _STATUSES:
        return _STATUSES[status]
    return ServerError if status >= 500 else InvalidRequestError


def _is_too_large(message: str) -> bool:
    """Whether the request alone is above the limit, so that it never passes, however long one waits."""
    if _TOO_LARGE.search(message):
        return True
    match = _LIMIT_REQUESTED.search(message)
    if match is None:
        return False
    limit, requested = (int(text.replace(",", "") or 0) for text in match.groups())
    return requested > limit > 0
