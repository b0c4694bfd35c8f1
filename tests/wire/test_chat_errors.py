"""Failures on the chat wire: read from whatever a provider or a proxy answers, and said to a client."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest

from llamina import (
    AuthenticationError,
    BudgetExceededError,
    CircuitOpenError,
    ConfigurationError,
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
from llamina.wire.openai_chat import decode_error, encode_error, masked


def read(status: int, body: Any, headers: dict[str, str] | None = None, **facts: Any) -> LLMError:
    """The error of a response."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return decode_error(status, data, headers or {}, provider="sim", model="m", **facts)


@pytest.mark.parametrize(
    ("status", "body", "kind", "text", "code"),
    [
        (400, {"error": {"message": "no", "type": "invalid_request_error", "code": None}}, InvalidRequestError, "no", "invalid_request_error"),
        (400, {"error": {"message": "long", "code": "context_length_exceeded"}}, ContextLengthError, "long", "context_length_exceeded"),
        (429, {"error": {"message": "spent", "code": "insufficient_quota"}}, QuotaExceededError, "spent", "insufficient_quota"),
        (429, [{"error": {"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}}], RateLimitError, "slow", "RESOURCE_EXHAUSTED"),
        (500, {"error": "a text"}, ServerError, "a text", None),
        (422, {"detail": [{"loc": ["body"], "msg": "missing"}]}, InvalidRequestError, "missing", None),
        (404, {"message": "gone", "code": "model_not_found"}, NotFoundError, "gone", "model_not_found"),
        (503, b"upstream connect error", ServerError, "upstream connect error", None),
        (502, b"<html><head><title>x</title></head><body><h1>Bad &amp; gone</h1></body></html>", ServerError, "Bad & gone", None),
        (529, b"", OverloadedError, "529", None),
        (401, b"\xff\xfe", AuthenticationError, "", None),
        (500, {"error": {"message": {"nested": 1}}}, ServerError, "nested", None),
        (500, {"error": {}}, ServerError, "500", None),
    ],
)  # fmt: skip
def test_a_failure_is_read_in_every_form_it_comes_in(
    status: int, body: Any, kind: type[LLMError], text: str, code: str | None
) -> None:
    """JSON of several providers, plain text, the HTML of a proxy, nothing at all."""
    error = read(status, body)

    assert type(error) is kind
    assert text in error.message
    assert (error.status, error.code, error.provider, error.model) == (status, code, "sim", "m")


def test_what_the_headers_say_is_read() -> None:
    """How long to wait, whether to try again, the id for support."""
    error = read(429, {}, {"retry-after": "2", "x-should-retry": "false", "x-request-id": "r-1"})

    assert (error.retry_after, error.should_retry, error.request_id) == (2.0, False, "r-1")


def test_a_long_body_is_cut() -> None:
    """A log line can bear the message, of text and of a megabyte of HTML alike."""
    assert len(read(500, {"error": {"message": "x" * 10_000}}).message) <= 500
    assert len(read(502, b"<p>" + b"word " * 300_000).message) <= 500


@pytest.mark.parametrize(
    "key",
    [
        "sk-secret-123456789",
        "sk-proj-AbC_123-xyz",
        "gsk_abcdefgh1234",
        "AIzaSyA-1234567890",
        "xai-abcdefgh",
        "sk-abc***xyz",
    ],
)
def test_whatever_looks_like_a_key_is_masked(key: str) -> None:
    """Providers echo the key that they do not accept; it is in no text and no pickle of the error."""
    error = read(401, {"error": {"message": f"Incorrect API key provided: {key}.", "code": key}})

    assert key not in f"{error} {error!r} {error.code}"
    assert key.encode() not in pickle.dumps(error)
    assert "Incorrect API key provided" in error.message


def test_the_secrets_of_the_caller_are_masked_before_the_body_is_cut() -> None:
    """A key of no known form, also where the cut would leave a half of it."""
    error = read(401, ("x" * 490 + " my own secret").encode(), secrets=("", "my own secret"))

    assert "my own" not in error.message
    assert masked("nothing to hide", ("",)) == "nothing to hide"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidRequestError("no"), 400),
        (ContextLengthError("no"), 400),
        (ContentFilterError("no"), 400),
        (AuthenticationError("no"), 401),
        (PermissionDeniedError("no"), 403),
        (NotFoundError("no"), 404),
        (RateLimitError("no"), 429),
        (QuotaExceededError("no"), 429),
        (ServerError("no"), 500),
        (OverloadedError("no"), 529),
    ],
)
def test_what_a_server_says_is_what_a_client_reads(error: LLMError, status: int) -> None:
    """Every kind that this wire can say comes back as it was."""
    said, headers, body = encode_error(error)

    back = read(said, body, headers)

    assert said == status
    assert type(back) is type(error)
    assert back.message == "no"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NetworkError("no"), 502),
        (RequestTimeoutError("no"), 504),
        (CircuitOpenError("no"), 503),
        (BudgetExceededError("no"), 429),
        (ConfigurationError("no"), 500),
        (LLMError("no"), 500),
        (RateLimitError("no", status=420), 420),
        (LLMError("no", status=200), 500),
    ],
)
def test_what_is_ours_alone_has_a_status_too(error: LLMError, status: int) -> None:
    """A gateway answers its clients in their words; a status of success is never said of a failure."""
    assert encode_error(error)[0] == status


def test_a_client_is_told_when_to_come_back() -> None:
    """Never earlier than asked, to the millisecond; and not at all where it cannot help."""
    _, soon, _ = encode_error(RateLimitError("no", retry_after=0.0501, request_id="r-1"))
    _, never, _ = encode_error(QuotaExceededError("no", retry_after=float("inf")))

    assert soon == {"retry-after": "1", "retry-after-ms": "51", "x-request-id": "r-1"}
    assert never == {"x-should-retry": "false"}


def test_an_error_that_is_passed_on_shows_no_key() -> None:
    """What a layer put into its message goes to another party."""
    _, _, body = encode_error(ServerError("upstream refused sk-secret-123456789"))

    assert "sk-secret" not in str(body)


@pytest.mark.parametrize(
    "key",
    [
        "hf_abcdefghijklmnopqrstuv",
        "pplx-abcdef1234567890abcdef",
        "nvapi-abc_def-1234",
        "r8_abcdefghijklmnopqrst",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "sk-or-v1-abcdefgh",
    ],
)
def test_keys_of_many_providers_are_masked(key: str) -> None:
    """Whoever echoes them."""
    assert masked(f"bad key {key}, sorry") == "bad key ***, sorry"


def test_a_word_is_no_key() -> None:
    """A sentence stays what it was."""
    sentence = "and/or-something, a risk-free word, the model pplx-7b-online, hf_transfer"

    assert masked(sentence) == sentence


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"error": {"message": "deep", "code": "overloaded"}}},
        {"error": {"error": {"error": {"message": "deep"}}, "code": "overloaded"}},
        {"error": {"error": "deep", "code": "overloaded"}},
    ],
)
def test_a_sentence_that_proxies_wrapped_is_found(body: dict[str, Any]) -> None:
    """With the code, wherever that stands."""
    error = read(500, body)

    assert (error.message, error.code) == ("deep", "overloaded")
