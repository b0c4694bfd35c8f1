"""Failures on the chat-completions wire: the body of an error as one of our errors, and back; secrets masked.

Providers echo what they were sent, keys included, and proxies in between answer HTML. What is read here is masked
first, then cut to a length that a log line can bear.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

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
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)
from llamina.messages import Usage
from llamina.policy.status import error_from_status

__all__ = ["decode_error", "encode_error", "error_in_success", "masked"]

LONGEST_MESSAGE = 500
"""Characters of a provider's message that an error keeps."""
_LONGEST_BODY = 65_536

_KEYS = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|nvapi)-[\w*.-]{4,}"
    r"|\bgsk_\w{4,}|\b(?:hf_|r8_|pplx-)\w{16,}"  # shorter ones are names: of models, of libraries
    r"|\bAIza[\w-]{8,}|\bAKIA[A-Z0-9]{8,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?"  # a JSON web token
    r"|(?<=[Bb]earer )[\w.~+/=-]{4,}"
)
_HIDDEN = re.compile(r"<(script|style|head)\b", re.IGNORECASE)
_TAGS = re.compile(r"<[^<>]*>")
_MASK = "***"

_SAID = (
    # The first class that fits wins, so a class stands above those that it derives from.
    (ContextLengthError, 400, "invalid_request_error", "context_length_exceeded"),
    (ContentFilterError, 400, "invalid_request_error", "content_filter"),
    (InvalidRequestError, 400, "invalid_request_error", None),
    (AuthenticationError, 401, "authentication_error", "invalid_api_key"),
    (PermissionDeniedError, 403, "permission_error", None),
    (NotFoundError, 404, "not_found_error", None),
    (QuotaExceededError, 429, "insufficient_quota", "insufficient_quota"),
    (RateLimitError, 429, "rate_limit_error", "rate_limit_exceeded"),
    (BudgetExceededError, 429, "insufficient_quota", "budget_exceeded"),
    (OverloadedError, 529, "overloaded_error", None),
    (CircuitOpenError, 503, "server_error", "circuit_open"),
    (RequestTimeoutError, 504, "server_error", "timeout"),
    (NetworkError, 502, "server_error", "network_error"),
    (MalformedResponseError, 502, "server_error", "malformed_response"),
    (ServerError, 500, "server_error", None),
    (LLMError, 500, "server_error", None),
)


def masked(text: str, secrets: tuple[str, ...] = ()) -> str:
    """*text* without *secrets*, and without whatever looks like a provider's key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, _MASK)
    return _KEYS.sub(_MASK, text)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def encode_error(error: LLMError) -> tuple[int, dict[str, str], dict[str, Any]]:
    """The status, the headers and the JSON body with which a server says *error*."""
    status, kind, code = next((status, kind, code) for known, status, kind, code in _SAID if isinstance(error, known))
    if error.status is not None and error.status >= 400:
        status = error.status
    headers: dict[str, str] = {}
    if error.retry_after is not None and math.isfinite(error.retry_after):
        headers["retry-after"] = str(max(0, math.ceil(error.retry_after)))
        headers["retry-after-ms"] = str(max(0, math.ceil(error.retry_after * 1000)))
    should_retry = error.should_retry
    if should_retry is None and not error.retryable and not isinstance(error, CircuitOpenError):
        should_retry = False
    if should_retry is not None:
        headers["x-should-retry"] = "true" if should_retry else "false"
    if error.request_id is not None:
        headers["x-request-id"] = error.request_id
    message = _short(masked(error.message or type(error).__name__))
    words = error.details or {"type": kind, "code": error.code or code}
    body = {
        "error": {"message": message, "type": words.get("type"), "param": words.get("param"), "code": words.get("code")}
    }
    return status, headers, body


def decode_error(
    status: int,
    body: bytes,
    headers: Mapping[str, str],
    *,
    provider: str | None = None,
    model: str | None = None,
    secrets: tuple[str, ...] = (),
) -> LLMError:
    """The error that a failed request says, whether its body is JSON, HTML or nothing."""
    said = _parsed(body)
    message, code, kind = _read(said, secrets)
    return error_from_status(
        status,
        message=message or f"the provider answered with status {status}",
        code=code,
        type=kind,
        headers=headers,
        provider=provider,
        model=model,
        details=_details(said, secrets),
    )


def error_in_success(
    failure: Any,
    *,
    provider: str | None = None,
    model: str | None = None,
    usage: Usage | None = None,
    partial: Any = None,
    request_id: str | None = None,
    secrets: tuple[str, ...] = (),
) -> LLMError:
    """The error that the body of a success, or an event in a stream, says: classified by its code and type."""
    message, code, kind = _read({"error": failure}, secrets)
    error = error_from_status(
        None,
        message=message or "the provider reported an error inside its answer",
        code=code,
        type=kind,
        headers={},
        provider=provider,
        model=model,
        details=_details({"error": failure}, secrets),
    )
    error.status, error.usage, error.partial, error.request_id = None, usage, partial, request_id
    return error


def _parsed(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        text = body[:_LONGEST_BODY].decode("utf-8", "replace")
        if "<" in text:
            text = html.unescape(_TAGS.sub(" ", _shown(text)))
        return text


def _shown(page: str) -> str:
    """A page without its scripts, styles and head."""
    pieces = []
    place = 0
    while (opening := _HIDDEN.search(page, place)) is not None:
        closing = re.compile(rf"</{opening[1]}\s*>", re.IGNORECASE).search(page, opening.end())
        if closing is None:
            break
        pieces += [page[place : opening.start()], " "]
        place = closing.end()
    return "".join([*pieces, page[place:]])


def _read(body: Any, secrets: tuple[str, ...]) -> tuple[str, str | None, str | None]:
    """(message, code, type) of the forms in which providers and proxies say an error."""
    if isinstance(body, list) and len(body) == 1:  # Google's endpoint wraps the object in a list
        body = body[0]
    said = body
    if isinstance(body, Mapping):
        said = body.get("error") or body.get("detail") or body.get("message") or body.get("errors")
    code = kind = None
    while isinstance(said, Mapping) and said.get("error") and not (said.get("message") or said.get("detail")):
        code, kind = said.get("code") or code, said.get("type") or kind  # of one proxy in front of another
        said = said["error"]
    if isinstance(said, Mapping):
        code = said.get("code") or code
        kind = said.get("type") or said.get("status") or kind
        message = said.get("message") or said.get("detail")
    else:
        message = said
        if isinstance(body, Mapping):
            code, kind = body.get("code") or code, body.get("type") or kind
    if message is not None and not isinstance(message, str):
        message = msgspec.json.encode(message).decode()
    text = _short(masked(" ".join((message or "").split()), secrets))
    return text, _word(code, secrets), _word(kind, secrets)


def _details(body: Any, secrets: tuple[str, ...]) -> dict[str, str | None] | None:
    """The words of an error in OpenAI's own form, to be said again as they were."""
    said = body.get("error") if isinstance(body, Mapping) else None
    if not isinstance(said, Mapping):
        return None
    return {name: _word(said.get(name), secrets) for name in ("type", "code", "param")}


def _word(value: Any, secrets: tuple[str, ...]) -> str | None:
    if value is None or isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return masked(str(value), secrets)[:100] or None
