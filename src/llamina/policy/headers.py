"""What providers say in response headers: how long to wait, whether to try again, what is left of the rate limits.

    parse_retry_after({"retry-after": "2"})                     # 2.0 seconds
    parse_should_retry({"x-should-retry": "false"})             # False
    parse_rate_limit({"x-ratelimit-remaining-tokens": "90"})    # {"remaining_tokens": 90}

None of them ever raises: a header is another party's text. A wait that is not a finite number above 0 (NaN, infinity,
a date that has passed, garbage) is no wait. Sources: RFC 9110 section 10.2.3 (Retry-After), the OpenAI and Anthropic
API references (`retry-after-ms`, `x-should-retry`, `x-ratelimit-*`, `anthropic-ratelimit-*`, and beside these
`anthropic-priority-*` and `anthropic-fast-*`, which are limits of their own).

The one surprise: a reset is always given in seconds from now, whether the header holds a length, a date or an epoch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache

__all__ = ["parse_duration", "parse_rate_limit", "parse_retry_after", "parse_should_retry"]

# No two parts of these can take the same digits: what another party sends must not cost the square of its length.
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_LENGTH = re.compile(rf"(?:{_PIECE.pattern})+", re.ASCII)
_FACTS = ("limit", "remaining", "reset")
_LIMITS = re.compile(
    r"(?:x-rate-?limit|anthropic-ratelimit)-(.+)|anthropic-((?:priority|fast)-.+-(?:limit|remaining|reset))"
)
_EPOCH = 1e9
"""A plain number from here on is a moment, in seconds since 1970; below it is a length."""
_EPOCH_MS = 1e11
"""From here on it is a moment in milliseconds."""
_LONGEST_RESET = 366 * 86400.0
"""Seconds; no limit is reset later than this, so what says so was misread."""


def parse_retry_after(headers: Mapping[str, str], now_wall: float | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date; None where none is asked.

    *now_wall* is the wall clock in seconds since 1970, for dates; None: the system's.
    """
    milliseconds = _number(header_of(headers, "retry-after-ms"))
    if milliseconds is not None and milliseconds / 1000 > 0:  # a hair above 0 may be 0 once divided
        return milliseconds / 1000
    text = header_of(headers, "retry-after")
    seconds = _number(text)
    if seconds is None:
        seconds = _until(_http_date(text), now_wall)
    return seconds if seconds is not None and seconds > 0 else None


def parse_should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says; None where it says nothing."""
    return {"true": True, "false": False}.get(header_of(headers, "x-should-retry").lower())


def parse_rate_limit(headers: Mapping[str, str], now_wall: float | None = None) -> dict[str, float]:
    """What the rate-limit headers say: `limit_*`, `remaining_*` and `reset_*`, the last in seconds from now.

    Both providers' names come out alike: `x-ratelimit-remaining-tokens` and `anthropic-ratelimit-tokens-remaining` are
    `remaining_tokens`; a limit beside the usual one keeps its name (`remaining_project_tokens`,
    `remaining_priority_input_tokens`, `unified_5h_utilization` from 0 to 1). What stands for "not known" is left out: a limit of 0 or -1, all that comes with it, a reset
    that is not ahead, and words.
    """
    found: dict[str, float] = {}
    unknown: list[str] = []
    for header, text in headers.items():
        named = _named(header)
        if named is None:
            continue
        fact, scope, name = named
        value = parse_duration(text, now_wall) if fact == "reset" else _quantity(text)
        if value is None or value < 0 or (value == 0 and fact in ("limit", "reset")):
            if fact == "limit":
                unknown.append(scope)
        else:
            found[name] = value
    for scope in unknown:
        for fact in _FACTS:
            found.pop(f"{fact}_{scope}" if scope else fact, None)
    return found


def parse_duration(text: str, now_wall: float | None = None) -> float | None:
    """Seconds from now in `6m0s`, `1.5s`, `120ms`, `30`, an RFC 3339 moment, an epoch in seconds or milliseconds.

    0 and below for what has passed, None for what is none of these or lies more than a year ahead.
    """
    text = str(text).strip()
    seconds = _number(text)
    if seconds is None:
        if _LENGTH.fullmatch(text):
            seconds = sum([float(number) * _UNITS[unit] for number, unit in _PIECE.findall(text)])
        else:
            seconds = _until(_rfc3339(text), now_wall)
    elif seconds >= _EPOCH_MS:
        seconds = _until(seconds / 1000, now_wall)
    elif seconds >= _EPOCH:
        seconds = _until(seconds, now_wall)
    return seconds if seconds is not None and seconds <= _LONGEST_RESET else None


def header_of(headers: Mapping[str, str], name: str) -> str:
    """The value of a header, whatever its case; "" where there is none."""
    value: str | None = headers.get(name)
    if value is None:
        value = next((value for other, value in headers.items() if str(other).lower() == name), None)
    return "" if value is None else str(value).strip()


@lru_cache(maxsize=512)  # every answer carries the same headers
def _named(header: str) -> tuple[str, str, str] | None:
    """(fact, scope, our name) of a rate-limit header; the fact stands first, last, alone or not at all."""
    match = _LIMITS.fullmatch(str(header).lower())
    if match is None:
        return None
    words = (match[1] or match[2]).split("-")
    for place in (0, -1):
        if words[place] in _FACTS:
            fact = words.pop(place)
            scope = "_".join(words)
            return fact, scope, f"{fact}_{scope}" if scope else fact
    scope = "_".join(words)
    return "", scope, scope


def _quantity(text: str) -> float | None:
    text = str(text).strip()
    if len(text) < 16 and text.isascii() and text.isdigit():
        return int(text)
    value = _number(text)
    return int(value) if value is not None and value == int(value) else value


def _number(text: str) -> float | None:
    if _NUMBER.fullmatch(text) is None:
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _until(moment: float | None, now_wall: float | None) -> float | None:
    if moment is None:
        return None
    return moment - (datetime.now(UTC).timestamp() if now_wall is None else now_wall)


def _http_date(text: str) -> float | None:
    try:
        return _aware(parsedate_to_datetime(text)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _rfc3339(text: str) -> float | None:
    # Shorter than a full date and time, the parser takes plain numbers for dates.
    if len(text) < len("2026-01-01T00:00:00"):
        return None
    try:
        return _aware(datetime.fromisoformat(text)).timestamp()
    except (ValueError, OverflowError):
        return None


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
