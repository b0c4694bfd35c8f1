"""Failures on Anthropic's wire: read from whatever comes, and said to a client."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from llamina import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ContentFilterError,
    ContextLengthError,
    InvalidRequestError,
    LLMError,
    NetworkError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    QuotaExceededError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
)
from llamina.wire.anthropic_messages import decode_error, encode_error


def failure(kind: str, message: str = "no", **fields: Any) -> dict[str, Any]:
    """The body of a failure."""
    return {"type": "error", "error": {"type": kind, "message": message, **fields}, "request_id": "req_body"}


def read(status: int, body: Any, headers: dict[str, str] | None = None, **facts: Any) -> LLMError:
    """The error of a response."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return decode_error(status, data, headers or {}, provider="sim", model="m", **facts)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, failure("invalid_request_error"), InvalidRequestError),
        (400, failure("invalid_request_error", "prompt is too long: 200001 tokens > 200000 maximum"), ContextLengthError),
        (400, failure("invalid_request_error", "input length and `max_tokens` exceed context limit: 9 + 9 > 9"), ContextLengthError),
        (400, failure("invalid_request_error", "Output blocked by content filtering policy"), ContentFilterError),
        (400, failure("invalid_request_error", "Your credit balance is too low to access the API."), QuotaExceededError),
        (401, failure("authentication_error"), AuthenticationError),
        (402, failure("billing_error"), QuotaExceededError),
        (403, failure("permission_error"), PermissionDeniedError),
        (404, failure("not_found_error"), NotFoundError),
        (413, failure("request_too_large"), InvalidRequestError),
        (429, failure("rate_limit_error"), RateLimitError),
        (429, failure("rate_limit_error", details={"error_code": "ramp_limit_exceeded"}), RateLimitError),
        (429, failure("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"}), QuotaExceededError),
        (429, failure("rate_limit_error", details={"error_code": "contract_spend_limit_reached"}), QuotaExceededError),
        (500, failure("api_error"), ServerError),
        (504, failure("timeout_error"), ServerError),
        (529, failure("overloaded_error"), OverloadedError),
        (503, b"upstream connect error", ServerError),
        (502, b"<html><body><h1>Bad gateway</h1></body></html>", ServerError),
        (529, b"", OverloadedError),
        (500, {"error": "text"}, ServerError),
        (500, {"error": {"type": "api_error", "details": "odd"}, "request_id": 5}, ServerError),
    ],
)  # fmt: skip
def test_a_failure_is_read_in_every_form_it_comes_in(status: int, body: Any, kind: type[LLMError]) -> None:
    """By its code, its type, its status, and the prose where nothing else tells."""
    error = read(status, body)

    assert type(error) is kind
    assert (error.status, error.provider, error.model) == (status, "sim", "m")


def test_the_code_of_the_details_is_the_code_of_the_error() -> None:
    """It says more than the type."""
    assert (
        read(429, failure("rate_limit_error", details={"error_code": "ramp_limit_exceeded"})).code
        == "ramp_limit_exceeded"
    )
    assert read(429, failure("rate_limit_error")).code == "rate_limit_error"


def test_the_id_of_the_request_is_that_of_the_header() -> None:
    """Else that of the body."""
    assert read(500, failure("api_error"), {"request-id": "req_head"}).request_id == "req_head"
    assert read(500, failure("api_error")).request_id == "req_body"


def test_what_the_headers_say_is_read() -> None:
    """How long to wait, whether to try again, what is left of the limits."""
    headers = {"retry-after": "2", "x-should-retry": "true", "anthropic-ratelimit-requests-remaining": "0"}

    error = read(429, failure("rate_limit_error"), headers)

    assert (error.retry_after, error.should_retry, error.rate_limit) == (2.0, True, {"remaining_requests": 0})


def test_no_key_is_in_an_error_nor_in_its_pickle() -> None:
    """Providers echo what they were sent."""
    error = read(401, failure("authentication_error", "invalid x-api-key: sk-ant-api03-abcdef own"), secrets=("own",))

    for text in (repr(error), repr(pickle.loads(pickle.dumps(error)))):
        assert "abcdef" not in text
        assert "own" not in text


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (InvalidRequestError("no"), 400, "invalid_request_error"),
        (ContextLengthError("no"), 400, "invalid_request_error"),
        (ContentFilterError("no"), 400, "invalid_request_error"),
        (AuthenticationError("no"), 401, "authentication_error"),
        (PermissionDeniedError("no"), 403, "permission_error"),
        (NotFoundError("no"), 404, "not_found_error"),
        (RateLimitError("no"), 429, "rate_limit_error"),
        (QuotaExceededError("no"), 402, "billing_error"),
        (QuotaExceededError("no", status=429, code="enforced_spend_limit_reached"), 429, "billing_error"),
        (BudgetExceededError("no"), 402, "billing_error"),
        (ServerError("no"), 500, "api_error"),
        (OverloadedError("no"), 529, "overloaded_error"),
        (RequestTimeoutError("no"), 504, "api_error"),
        (CircuitOpenError("no"), 503, "api_error"),
        (NetworkError("no"), 502, "api_error"),
    ],
)
def test_a_server_says_an_error_in_words_of_this_wire(error: LLMError, status: int, kind: str) -> None:
    """And a client reads the class that it was, or the nearest that a provider has."""
    found, headers, body = encode_error(error)

    again = read(found, body, headers)
    assert (found, body["type"], body["error"]["type"]) == (status, "error", kind)
    if not isinstance(error, RequestTimeoutError | CircuitOpenError | NetworkError | BudgetExceededError):
        assert type(again) is type(error)


def test_a_server_says_when_to_try_again_and_which_request_it_was() -> None:
    """In the headers of this wire."""
    _, headers, body = encode_error(RateLimitError("slow", retry_after=1.2, request_id="r1"))

    assert headers == {"retry-after": "2", "retry-after-ms": "1200", "request-id": "r1"}
    assert body["request_id"] == "r1"
    assert "details" not in encode_error(OverloadedError("busy", code="overloaded_error"))[2]["error"]
