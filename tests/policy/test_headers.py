"""Headers of providers: what they ask for, and garbage that must do no harm."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from freezegun import freeze_time
from hypothesis import example, given
from hypothesis import strategies as st

from llamina.policy.headers import parse_duration, parse_rate_limit, parse_retry_after, parse_should_retry

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
WALL = NOW.timestamp()
IN_A_MINUTE = NOW + timedelta(minutes=1)

NAMES = ["retry-after", "retry-after-ms", "x-should-retry", "x-ratelimit-reset", "anthropic-ratelimit-tokens-limit"]
texts = st.text(max_size=30) | st.from_regex(r"[-+0-9.eE smhd:TZ,a-z]{0,25}", fullmatch=True) | st.floats().map(str)
headers = st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=20), texts)


@given(headers, st.none() | st.floats(-1e12, 1e12))
@example({"retry-after": "1" * 5_000, "x-ratelimit-reset": "9" * 400 + "d"}, 0.0)
@example({"retry-after": "Fri, 31 Dec 99999 23:59:59 GMT"}, 0.0)
@example({"retry-after": "٣"}, 0.0)
@example({"retry-after-ms": "1e-321"}, 0.0)
@example({"x-ratelimit-reset": "9999-12-31T23:59:59.999999-23:59"}, 0.0)
def test_no_header_can_raise_or_make_an_endless_wait(values, now):
    """Any text in any header gives either a finite wait above 0 or none."""
    wait = parse_retry_after(values, now)

    limits = parse_rate_limit(values, now)

    assert wait is None or 0 < wait < math.inf
    assert parse_should_retry(values) in (True, False, None)
    assert all(math.isfinite(value) and value >= 0 for value in limits.values())


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"retry-after": "2"}, 2),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9),
        ({"retry-after-ms": "0", "retry-after": "9"}, 9),
        ({"retry-after": format_datetime(IN_A_MINUTE, usegmt=True)}, 60),
        ({"retry-after": "Saturday, 21-Nov-26 12:01:00 GMT"}, 60),
        ({"retry-after": "Sat, 21 Nov 2026 14:01:00 +0200"}, 60),
        ({"Retry-After": "3"}, 3),
        ({"retry-after": "99999999999"}, 99999999999),
    ],
)
def test_a_wait_is_read_in_all_its_forms(values, expected):
    """Milliseconds go before seconds, seconds may be fractions, dates count from the wall clock; huge waits stay huge."""
    assert parse_retry_after(values, WALL) == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "0",
            "-1",
            "nan",
            "inf",
            "-inf",
            "infinity",
            "1e309",
            "1e999",
            "soon",
            "1_000",
            "5 s",
            "0x10",
            "None",
            "٣",
        ],
        format_datetime(NOW - timedelta(seconds=1), usegmt=True),
        "Sat, 99 Nov 2026 12:01:00 GMT",
    ],
)
def test_what_is_no_wait_is_ignored(text):
    """NaN, infinity, 0, negative numbers, dates that have passed and garbage ask for nothing."""
    assert parse_retry_after({"retry-after": text}, WALL) is None
    assert parse_retry_after({"retry-after-ms": text}, WALL) is None


@pytest.mark.parametrize("text", ["1" * 300_000 + "x", "1h" * 100_000 + "x", "1" * 300_000 + "e", "(" * 300_000])
def test_a_header_of_any_length_is_read_in_one_go(text):
    """Digits without end do not stop the event loop; a pattern that tries them in all ways would not come back."""
    values = {"retry-after": text, "retry-after-ms": text, "x-ratelimit-reset-tokens": text}

    assert parse_retry_after(values) is None
    assert parse_rate_limit(values) == {}


def test_a_header_without_a_value_is_none():
    """Some clients keep a name and no value."""
    values = {"Retry-After": None, "x-should-retry": None, "x-ratelimit-limit": None}

    assert parse_retry_after(values) is None
    assert parse_should_retry(values) is None
    assert parse_rate_limit(values) == {}


def test_without_headers_nothing_is_asked_for():
    """Absent headers are None or empty, not 0."""
    assert parse_retry_after({}) is None
    assert parse_should_retry({}) is None
    assert parse_rate_limit({"content-type": "text/plain", "x-limit": "5"}) == {}


def test_a_date_is_measured_from_the_wall_clock():
    """Without a stated moment the system's wall clock is used, which tests can move."""
    with freeze_time(NOW):
        wait = parse_retry_after({"retry-after": format_datetime(IN_A_MINUTE, usegmt=True)})

    assert wait == 60


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("False", False), (" true ", True), ("1", None), ("", None)]
)
def test_only_a_plain_yes_or_no_is_an_order(text, expected):
    """`x-should-retry` is true or false; anything else says nothing."""
    assert parse_should_retry({"X-Should-Retry": text}) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6m0s", 360),
        ("1.5s", 1.5),
        ("120ms", 0.12),
        ("1h2m3s", 3723),
        ("2d", 172_800),
        ("42", 42),
        ("0", 0),
        ("0.25", 0.25),
        (IN_A_MINUTE.isoformat(), 60),
        ("2026-11-21T12:01:00Z", 60),
        ("2026-11-21T12:01:00.500Z", 60.5),
        ("2026-11-21T13:01:00+01:00", 60),
        (str(int(WALL) + 60), 60),
        (str((int(WALL) + 60) * 1000), 60),
        (str(int(WALL) - 60), -60),
        ("soon", None),
        ("", None),
        ("6m0", None),
        ("m", None),
        ("20261121", 20_261_121),
        ("2026-11-21", None),
        ("99999999999999999", None),
        ("400d", None),
    ],
)
def test_a_reset_is_read_in_all_its_forms(text, expected):
    """Lengths, dates and epochs in seconds or milliseconds become seconds from now; 42 is not a moment in 1970."""
    assert parse_duration(text, WALL) == (expected if expected is None else pytest.approx(expected))


def test_the_limits_of_both_providers_come_out_alike():
    """One spelling, `limit_`, `remaining_` and `reset_`, wherever the header has the word."""
    one = {
        "x-ratelimit-limit-tokens": "160000",
        "x-ratelimit-remaining-tokens": "159976",
        "x-ratelimit-reset-tokens": "9ms",
    }
    other = {
        "anthropic-ratelimit-tokens-limit": "160000",
        "anthropic-ratelimit-tokens-remaining": "159976",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T12:00:00.009Z",
    }

    first, second = parse_rate_limit(one, WALL), parse_rate_limit(other, WALL)

    expected = {"limit_tokens": 160_000, "remaining_tokens": 159_976, "reset_tokens": pytest.approx(0.009, abs=1e-6)}
    assert first == expected
    assert second == expected


OPENAI = {
    "date": "Sat, 21 Nov 2026 12:00:00 GMT",
    "openai-processing-ms": "1299",
    "x-ratelimit-limit-requests": "5000",
    "x-ratelimit-limit-tokens": "160000",
    "x-ratelimit-remaining-requests": "4999",
    "x-ratelimit-remaining-tokens": "159976",
    "x-ratelimit-reset-requests": "12ms",
    "x-ratelimit-reset-tokens": "6m0s",
    "x-request-id": "req_1",
}
ANTHROPIC = {
    "anthropic-organization-id": "00000000-0000-0000-0000-000000000000",
    "anthropic-ratelimit-requests-limit": "5000",
    "anthropic-ratelimit-requests-remaining": "4999",
    "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:00.012Z",
    "anthropic-ratelimit-tokens-limit": "160000",
    "anthropic-ratelimit-tokens-remaining": "159976",
    "anthropic-ratelimit-tokens-reset": "2026-11-21T12:06:00Z",
    "request-id": "req_1",
}
SHAPE = {
    "limit_requests": 5000,
    "remaining_requests": 4999,
    "reset_requests": 0.012,
    "limit_tokens": 160_000,
    "remaining_tokens": 159_976,
    "reset_tokens": 360,
}


@pytest.mark.parametrize("values", [OPENAI, ANTHROPIC, {name.title(): text for name, text in ANTHROPIC.items()}])
def test_whole_answers_of_both_providers_give_one_and_the_same_value(values):
    """A limiter reads the same names whoever answered; what else stands in the headers is left alone."""
    limits = parse_rate_limit(values, WALL)

    assert limits == {name: pytest.approx(value, abs=1e-6) for name, value in SHAPE.items()}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {
                "x-ratelimit-limit-project-tokens": "60000",
                "x-ratelimit-remaining-project-tokens": "57000",
                "x-ratelimit-reset-project-tokens": "3s",
            },
            {"limit_project_tokens": 60_000, "remaining_project_tokens": 57_000, "reset_project_tokens": 3},
        ),
        (
            {
                "x-ratelimit-limit-tokens_usage_based": "250000",
                "x-ratelimit-remaining-tokens_usage_based": "249900",
                "x-ratelimit-reset-tokens_usage_based": "16m17.764s",
            },
            {
                "limit_tokens_usage_based": 250_000,
                "remaining_tokens_usage_based": 249_900,
                "reset_tokens_usage_based": 977.764,
            },
        ),
        (
            {
                "x-ratelimit-limit-requests": "0",
                "x-ratelimit-remaining-requests": "-1",
                "x-ratelimit-remaining-tokens": "98905",
                "x-ratelimit-reset-requests": "0",
            },
            {"remaining_tokens": 98_905},
        ),
        (
            {
                "x-ratelimit-limit-tokens-minute": "5000000",
                "x-ratelimit-remaining-tokens-minute": "4999911",
                "x-ratelimit-tokens-query-cost": "52",
            },
            {
                "limit_tokens_minute": 5_000_000,
                "remaining_tokens_minute": 4_999_911,
                "tokens_query_cost": 52,
            },
        ),
        (
            {
                "anthropic-ratelimit-input-tokens-limit": "80000",
                "anthropic-ratelimit-input-tokens-remaining": "79000",
                "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:01Z",
                "anthropic-ratelimit-output-tokens-limit": "16000",
                "anthropic-ratelimit-output-tokens-remaining": "0",
                "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:01:00Z",
            },
            {
                "limit_input_tokens": 80_000,
                "remaining_input_tokens": 79_000,
                "reset_input_tokens": 1,
                "limit_output_tokens": 16_000,
                "remaining_output_tokens": 0,
                "reset_output_tokens": 60,
            },
        ),
        (
            {
                "anthropic-priority-input-tokens-limit": "10000",
                "anthropic-priority-input-tokens-remaining": "9618",
                "anthropic-priority-input-tokens-reset": "2026-11-21T12:00:59Z",
                "anthropic-fast-output-tokens-remaining": "7000",
                "anthropic-ratelimit-priority-output-tokens-remaining": "6000",
            },
            {
                "limit_priority_input_tokens": 10_000,
                "remaining_priority_input_tokens": 9_618,
                "reset_priority_input_tokens": 59,
                "remaining_fast_output_tokens": 7_000,
                "remaining_priority_output_tokens": 6_000,
            },
        ),
        (
            {
                "anthropic-ratelimit-unified-status": "allowed",
                "anthropic-ratelimit-unified-reset": str(int(WALL) + 7999),
                "anthropic-ratelimit-unified-5h-status": "allowed",
                "anthropic-ratelimit-unified-5h-reset": str(int(WALL) + 7999),
                "anthropic-ratelimit-unified-5h-utilization": "0.42",
                "anthropic-ratelimit-unified-7d_sonnet-utilization": "0",
                "anthropic-ratelimit-unified-representative-claim": "five_hour",
                "anthropic-ratelimit-unified-fallback-percentage": "0.5",
                "anthropic-ratelimit-unified-overage-disabled-reason": "org_level_disabled",
            },
            {
                "reset_unified": 7999,
                "reset_unified_5h": 7999,
                "unified_5h_utilization": 0.42,
                "unified_7d_sonnet_utilization": 0,
                "unified_fallback_percentage": 0.5,
            },
        ),
        (
            {
                "anthropic-version": "2023-06-01",
                "anthropic-priority": "5",
                "anthropic-fast-mode": "1",
                "anthropic-beta-limit": "1",
                "retry-after": "3",
            },
            {},
        ),
    ],
    ids=["project", "azure", "unknown", "mistral", "input-output", "priority-fast", "unified", "others"],
)
def test_a_limit_beside_the_usual_ones_keeps_its_name(values, expected):
    """Limits of a project, a deployment, a service tier or a subscription, in the words of who sends them."""
    limits = parse_rate_limit(values, WALL)

    assert limits == {name: pytest.approx(value, abs=1e-6) for name, value in expected.items()}


@given(
    st.dictionaries(st.sampled_from([*OPENAI, *ANTHROPIC, "anthropic-priority-input-tokens-reset"]), texts),
    st.none() | st.floats(-1e12, 1e12),
)
def test_known_names_with_any_value_give_numbers_that_can_be_used(values, now):
    """Whatever stands in a header, each number that is found is finite, from zero up, and a reset is ahead."""
    limits = parse_rate_limit(values, now)

    for name, value in limits.items():
        assert type(value) in (int, float)
        assert math.isfinite(value)
        assert value > 0 or (value == 0 and name.startswith("remaining"))


def test_limits_without_a_scope_and_other_spellings_are_read():
    """A bare reset as an epoch in milliseconds, a header in two words, and one that holds another fact."""
    values = {
        "X-RateLimit-Limit": "50",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str((int(WALL) + 60) * 1000),
        "x-rate-limit-reset-tokens": "55",
        "anthropic-ratelimit-unified-5h-utilization": "0.25",
        "anthropic-ratelimit-unified-status": "allowed",
    }

    assert parse_rate_limit(values, WALL) == {
        "limit": 50,
        "remaining": 0,
        "reset": 60,
        "reset_tokens": 55,
        "unified_5h_utilization": 0.25,
    }


@pytest.mark.parametrize("unknown", ["-1", "0"])
def test_a_limit_that_stands_for_unknown_is_left_out_with_all_that_comes_with_it(unknown):
    """Some endpoints send -1 and 0 for limits that they do not know: that is not an exhausted limit."""
    values = {
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-limit-tokens": unknown,
        "x-ratelimit-reset-tokens": "5",
        "x-ratelimit-remaining-requests": "7",
    }

    assert parse_rate_limit(values, WALL) == {"remaining_requests": 7}


def test_an_exhausted_limit_is_kept_and_a_reset_that_has_passed_is_not():
    """Remaining 0 is news; a reset at 0 or in the past is none."""
    values = {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "0",
        "anthropic-ratelimit-tokens-reset": "2026-11-21T11:59:00Z",
        "x-ratelimit-remaining-tokens": "-1",
    }

    assert parse_rate_limit(values, WALL) == {"limit_requests": 10, "remaining_requests": 0}


def test_the_header_type_of_an_http_client_will_do():
    """Mappings that ignore case are read as plain ones are."""
    values = httpx.Headers({"Retry-After": "2", "X-Should-Retry": "false", "X-RateLimit-Remaining-Requests": "1"})

    assert parse_retry_after(values) == 2
    assert parse_should_retry(values) is False
    assert parse_rate_limit(values) == {"remaining_requests": 1}
