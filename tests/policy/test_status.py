"""From a provider's status and words to one of our errors."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from llamina.policy.classify import classify
from llamina.policy.status import error_from_status

TOO_LARGE = "Request too large for m in organization o on tokens per min (TPM): Limit 30000, Requested 31538."
TOO_FAST = (
    "Rate limit reached for m on tokens per min (TPM): Limit 10000, Used 8554, Requested 3082. Try again in 9.8s."
)
BLOCKED = "Output blocked by content filtering policy"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, InvalidRequestError),
        (307, InvalidRequestError),
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, QuotaExceededError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (408, RequestTimeoutError),
        (409, InvalidRequestError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (425, InvalidRequestError),
        (429, RateLimitError),
        (499, InvalidRequestError),
        (500, ServerError),
        (501, ServerError),
        (502, ServerError),
        (503, ServerError),
        (504, ServerError),
        (529, OverloadedError),
        (599, ServerError),
        (None, ServerError),
        (200, ServerError),
    ],
)
def test_a_status_without_words_has_one_meaning(status, expected):
    """The status alone decides when a provider says nothing else."""
    error = error_from_status(status)

    assert type(error) is expected
    assert error.status == status
    assert str(error)


@pytest.mark.parametrize("status", [400, 402, 403, 429])
@pytest.mark.parametrize(
    "code",
    [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "billing_error",
    ],
)
def test_a_used_up_quota_is_never_tried_again_whatever_its_status(status, code):
    """Money that is spent comes as 429, 402, 403 or 400; the code tells it from throttling."""
    by_code = error_from_status(status, code=code, type="rate_limit_error")
    by_type = error_from_status(status, code=None, type=code)

    assert type(by_code) is type(by_type) is QuotaExceededError
    assert not classify(by_code).retry
    assert by_code.code == by_type.code == code


def test_the_type_tells_a_quota_that_an_unknown_code_does_not():
    """New codes under the type `insufficient_quota` are understood."""
    error = error_from_status(429, code="some_new_limit_exceeded", type="insufficient_quota")

    assert type(error) is QuotaExceededError
    assert error.code == "some_new_limit_exceeded"


@pytest.mark.parametrize("message", ["", TOO_FAST, "on tokens per min (TPM): Limit 6000, Requested 6000"])
@pytest.mark.parametrize(
    "code", ["rate_limit_exceeded", "slow_down", "rate_limit_error", "ramp_limit_exceeded", None, "x"]
)
def test_throttling_is_tried_again(code, message):
    """A 429 for speed is retryable, and the message of an ordinary one is not mistaken for a too large request."""
    error = error_from_status(429, message=message, code=code, type="tokens")

    assert type(error) is RateLimitError
    assert classify(error).retry


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (429, TOO_LARGE),
        (413, TOO_LARGE),
        (None, TOO_LARGE),
        (429, "on input tokens per minute (TPM): Limit: 6,000, Requested: 6,001"),
    ],
)
def test_a_request_above_the_limit_is_never_tried_again(status, message):
    """It has the code of throttling, but no wait makes it fit."""
    error = error_from_status(status, message=message, code="rate_limit_exceeded", type="tokens")

    assert type(error) is InvalidRequestError
    assert not classify(error).retry


@pytest.mark.parametrize(
    ("status", "code", "type_", "message", "expected"),
    [
        (400, "context_length_exceeded", "invalid_request_error", "", ContextLengthError),
        (400, None, "invalid_request_error", "prompt is too long: 210094 tokens > 200000 maximum", ContextLengthError),
        (400, None, "BadRequestError", "This model's maximum context length is 8192 tokens.", ContextLengthError),
        (400, "content_filter", None, "", ContentFilterError),
        (400, "content_policy_violation", "image_generation_user_error", "", ContentFilterError),
        (400, None, "invalid_request_error", BLOCKED, ContentFilterError),
        (400, None, "invalid_request_error", "Your credit balance is too low to use the API.", QuotaExceededError),
        (402, "402", None, "Insufficient credits", QuotaExceededError),
        (400, "API_KEY_INVALID", "INVALID_ARGUMENT", "", AuthenticationError),
        (404, "model_not_found", "invalid_request_error", "", NotFoundError),
        (400, "model_not_found", "invalid_request_error", "", NotFoundError),
        (413, "request_too_large", None, "", InvalidRequestError),
        (503, "slow_down", None, "", RateLimitError),
        (503, "overloaded_error", None, "", OverloadedError),
        (400, "exceed_context_size_error", None, "", ContextLengthError),
        (500, "500", "exceed_context_size_error", "", ContextLengthError),
        (400, "data_inspection_failed", None, "", ContentFilterError),
        (429, None, "exceeded_current_quota_error", "", QuotaExceededError),
        (429, "1113", None, "Insufficient balance or no resource package.", QuotaExceededError),
        (429, "rate_limit_exceeded", None, "suspended due to insufficient balance", QuotaExceededError),
        (403, "30001", None, "Insufficient balance", QuotaExceededError),
        (403, "403", None, "The model requires moderation and your input was flagged", ContentFilterError),
        (400, None, "overloaded_error", "", InvalidRequestError),
        (500, None, "invalid_request_error", "", ServerError),
    ],
)
def test_words_of_providers_are_understood(status, code, type_, message, expected):
    """Codes, types and, where there is no code, well-known phrases."""
    error = error_from_status(status, message=message, code=code, type=type_)

    assert type(error) is expected


@pytest.mark.parametrize(
    "message",
    [
        "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens.",
        "You passed 1015 input tokens. However, the model's context length is only 1024 tokens.",
        "Your input exceeds the context window of this model.",
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000",
        "prompt is too long: 213462 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "the request exceeds the available context size. try increasing the context size",
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "Please reduce the length of the messages or completion.",
        "Your request exceeded model token limit: 8192",
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000",
        "Range of input length should be [1, 129024]",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422, None, 200])
def test_a_prompt_that_is_too_long_is_known_by_the_sentence_alone(status, message):
    """Servers that speak another's dialect say it in prose, with a status for any mistake or none at all."""
    error = error_from_status(status, message=message)

    assert type(error) is ContextLengthError
    assert not classify(error).retry


@pytest.mark.parametrize(
    ("status", "message", "expected"),
    [
        (500, "failed to allocate memory for a context length of 8192", ServerError),
        (503, "maximum context length", ServerError),
        (529, "context window", OverloadedError),
        (429, "Too many tokens, please wait before trying again.", RateLimitError),
        (429, "You exceeded your current quota, please check your plan. Please retry in 34s.", RateLimitError),
        (429, "maximum context length requests per minute", RateLimitError),
        (
            400,
            "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
            InvalidRequestError,
        ),
        (400, "max_tokens: 100000 > 8192, the maximum allowed number of output tokens", InvalidRequestError),
        (401, "insufficient balance", AuthenticationError),
        (404, "no model with this context window", NotFoundError),
    ],
)
def test_a_phrase_is_not_read_into_what_says_something_else(status, message, expected):
    """A server in trouble, throttling and limits of the answer use the same words and mean other things."""
    assert type(error_from_status(status, message=message)) is expected


@pytest.mark.parametrize(
    ("status", "type_", "expected"),
    [
        (400, "invalid_request_error", InvalidRequestError),
        (401, "authentication_error", AuthenticationError),
        (402, "billing_error", QuotaExceededError),
        (403, "permission_error", PermissionDeniedError),
        (404, "not_found_error", NotFoundError),
        (409, "conflict_error", InvalidRequestError),
        (413, "request_too_large", InvalidRequestError),
        (429, "rate_limit_error", RateLimitError),
        (500, "api_error", ServerError),
        (504, "timeout_error", ServerError),
        (529, "overloaded_error", OverloadedError),
    ],
)
def test_a_body_with_a_type_and_no_code_is_understood(status, type_, expected):
    """`{"type": "error", "error": {"type": ...}}`: the documented pairs of status and type."""
    error = error_from_status(status, message="m", type=type_)

    assert type(error) is expected
    assert error.code == type_


@pytest.mark.parametrize("status", [None, 200])
@pytest.mark.parametrize(
    ("code", "type_", "expected"),
    [
        (None, "overloaded_error", OverloadedError),
        (None, "rate_limit_error", RateLimitError),
        ("insufficient_quota", "insufficient_quota", QuotaExceededError),
        (None, "invalid_request_error", InvalidRequestError),
        (None, "authentication_error", AuthenticationError),
        (None, "permission_error", PermissionDeniedError),
        (None, "not_found_error", NotFoundError),
        (None, "api_error", ServerError),
        ("server_error", None, ServerError),
        ("429", "RESOURCE_EXHAUSTED", RateLimitError),
        ("401", None, AuthenticationError),
        ("502", None, ServerError),
    ],
)
def test_an_error_inside_an_answer_is_known_by_its_words(status, code, type_, expected):
    """An event in a stream that began as a success has no status of its own; a number as code stands for one."""
    error = error_from_status(status, message="m", code=code, type=type_)

    assert type(error) is expected


@pytest.mark.parametrize("words", [{"type": "rate_limit_error"}, {"code": "429"}, {"code": "content_filter"}])
def test_what_stops_in_the_middle_of_an_answer_may_have_to_be_paid(words):
    """A limit or a filter that refuses at the door costs nothing; one that strikes in a stream may."""
    at_the_door, inside = error_from_status(429, **words), error_from_status(None, **words)

    assert not at_the_door.processed
    assert inside.processed
    assert type(inside) is type(at_the_door)
    assert error_from_status(None, processed=False, **words).processed is False


def test_a_key_that_is_not_accepted_costs_nothing_wherever_it_is_said():
    """Some routers open the stream first and then find that the key is wrong or the prompt too long."""
    assert not error_from_status(None, type="authentication_error").processed
    assert not error_from_status(200, code="context_length_exceeded").processed


def test_a_header_without_a_value_is_no_request_id():
    """The id for support is None where there is none, not the word."""
    assert error_from_status(500, headers={"x-request-id": None}).request_id is None


def test_what_headers_ask_for_is_on_the_error():
    """Wait, order, limits and request id are taken from the headers, whatever their case."""
    values = {"Retry-After": "7", "x-should-retry": "false", "x-ratelimit-remaining-tokens": "0", "Request-Id": "r1"}

    error = error_from_status(429, message="slow", headers=values, provider="p", model="m")

    assert (error.retry_after, error.should_retry, error.rate_limit) == (7, False, {"remaining_tokens": 0})
    assert (error.request_id, error.provider, error.model, error.status) == ("r1", "p", "m", 429)
    assert not classify(error).retry


def test_without_headers_the_facts_are_unknown():
    """What nobody said is None, not empty."""
    error = error_from_status(500)

    assert (error.retry_after, error.should_retry, error.rate_limit, error.request_id) == (None, None, None, None)


def test_a_redirect_says_why_it_is_not_followed():
    """A redirect is the configuration's mistake: a base URL that is not quite right."""
    error = error_from_status(307, message="Temporary Redirect")

    assert "redirect" in str(error)
    assert "Temporary Redirect" in str(error)
    assert not classify(error).retry


def test_a_conflict_may_be_tried_again_and_a_timeout_of_the_server_too():
    """409 is a lock that passes, 408 a request that came too slowly."""
    conflict, late = error_from_status(409), error_from_status(408)

    assert conflict.retryable
    assert classify(conflict).breaker == "neutral"
    assert classify(late).retry
    assert isinstance(late, TimeoutError)


SPENT = "Your organization has reached its monthly limit."


@pytest.mark.parametrize(
    ("code", "type_", "message", "expected"),
    [
        ("rate_limit_exceeded", "requests", TOO_FAST, RateLimitError),
        ("insufficient_quota", "insufficient_quota", "You exceeded your current quota.", QuotaExceededError),
        ("organization_usage_limit_exceeded", "insufficient_quota", SPENT, QuotaExceededError),
        ("rate_limit_exceeded", "tokens", TOO_LARGE, InvalidRequestError),
        (None, "rate_limit_error", "This request would exceed your organization's rate limit.", RateLimitError),
        ("ramp_limit_exceeded", "rate_limit_error", "", RateLimitError),
        ("enforced_spend_limit_reached", "rate_limit_error", SPENT, QuotaExceededError),
        ("contract_spend_limit_reached", "rate_limit_error", SPENT, QuotaExceededError),
        (None, "rate_limit_error", "Request too large: wait will not help.", InvalidRequestError),
    ],
)
def test_a_429_is_three_things_at_either_provider(code, type_, message, expected):
    """Too fast is tried again, spent and too large are not, whatever the type says."""
    error = error_from_status(429, code=code, type=type_, message=message)

    assert type(error) is expected
    assert classify(error).retry is (expected is RateLimitError)


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (402, None, QuotaExceededError),
        (402, "linked_organization_billing_unavailable", QuotaExceededError),
        (402, "linked_organization_spend_limit_reached", QuotaExceededError),
        (400, "organization_on_hold", PermissionDeniedError),
        (400, "request_body_timeout", RequestTimeoutError),
        (400, "storage_quota_exceeded", InvalidRequestError),
        (403, "user_profile_not_billable", PermissionDeniedError),
        (412, "memory_precondition_failed_error", InvalidRequestError),
        (413, "request_body_too_large_after_decoding", InvalidRequestError),
        (503, "cmek_key_unreachable", ServerError),
        (503, "server_is_overloaded", OverloadedError),
        (504, "timeout_error", ServerError),
        (529, "compaction_unavailable", OverloadedError),
    ],
)
def test_codes_that_come_with_a_status_are_understood(status, code, expected):
    """The code is read where the status alone would mislead, and the status where the code says nothing more."""
    error = error_from_status(status, code=code, type="api_error")

    assert type(error) is expected


@pytest.mark.parametrize("status", [None, 200])
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("server_error", ServerError),
        ("vector_store_timeout", ServerError),
        ("timeout_error", ServerError),
        ("request_timeout", ServerError),
        ("internal_error", ServerError),
        ("rate_limit_exceeded", RateLimitError),
        ("invalid_prompt", ContentFilterError),
        ("bio_policy", ContentFilterError),
        ("cyber_policy", ContentFilterError),
        ("misalignment_policy_violation", ContentFilterError),
        ("image_content_policy_violation", ContentFilterError),
        ("data_residency_mismatch", InvalidRequestError),
        ("invalid_image", InvalidRequestError),
        ("invalid_image_url", InvalidRequestError),
        ("image_too_large", InvalidRequestError),
        ("failed_to_download_image", InvalidRequestError),
        ("invalid_request", InvalidRequestError),
        ("request_too_large", InvalidRequestError),
        ("resource_not_found", NotFoundError),
        ("billing_error", QuotaExceededError),
        ("usage_limit_exceeded", QuotaExceededError),
        ("session_budget_exceeded", QuotaExceededError),
        ("credit_balance_exhausted", QuotaExceededError),
        ("flex_unavailable", OverloadedError),
        ("server_overloaded", OverloadedError),
        ("compaction_unavailable", OverloadedError),
    ],
)
def test_a_run_that_failed_after_it_was_accepted_is_known_by_its_code(status, code, expected):
    """What an event inside an answer says, without a status and without a type."""
    error = error_from_status(status, message="m", code=code)

    assert type(error) is expected


def test_every_error_of_a_response_is_the_callers_unless_it_is_known_to_pass():
    """Of the codes that the SDK of the Responses API names, only three are worth another attempt."""
    openai_errors = pytest.importorskip("openai.types.responses.response_error")
    codes = get_args(openai_errors.ResponseError.model_fields["code"].annotation)

    retried = {code for code in codes if classify(error_from_status(None, code=code)).retry}

    assert len(codes) > 15
    assert retried == {"server_error", "rate_limit_exceeded", "vector_store_timeout"}


def test_every_pair_of_status_and_code_that_an_sdk_names_has_a_meaning():
    """The table of the Anthropic SDK: the status decides, and four codes say something else than it."""
    table = pytest.importorskip("anthropic._error_classes").ERROR_CLASSES

    differ = {
        (status, code)
        for status, code in table
        if code and type(error_from_status(status, code=code)) is not type(error_from_status(status))
    }

    assert differ == {
        (400, "organization_on_hold"),
        (400, "request_body_timeout"),
        (429, "contract_spend_limit_reached"),
        (429, "enforced_spend_limit_reached"),
    }


def test_further_facts_are_passed_on():
    """A wire may add what it knows, and what it knows goes before the headers."""
    error = error_from_status(500, headers={"x-request-id": "a"}, request_id="b", usage={"input": 1}, processed=False)

    assert (error.request_id, error.usage, error.processed) == ("b", {"input": 1}, False)


@given(st.none() | st.integers(100, 999), st.text(), st.none() | st.text(max_size=30), st.none() | st.text(max_size=30))
def test_any_answer_gives_an_error_and_never_a_crash(status, message, code, type_):
    """Whatever a provider says, the result is one of our errors."""
    error = error_from_status(status, message=message, code=code, type=type_)

    assert isinstance(error, LLMError)
    assert str(error)
