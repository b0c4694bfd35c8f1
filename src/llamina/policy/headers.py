"""What providers say in response headers: how long to wait, whether to try again, what is left of the rate limits.

    parse_retry_after({"retry-after": "2"})                     # 2.0 seconds
    parse_should_retry({"x-should-retry": "false"})             # False
    parse_rate_limit({"x-ratelimit-remaining-tokens": "90"})    # {"remaining_tokens": 90.0}

None of them ever raises: a header is another party's text. A wait that is not a finite number above 0 (NaN, infinity,
a date that has passed, garbage) is no wait. Sources: RFC 9110 section 10.2.3 (Retry-After), the OpenAI and Anthropic
API references (`retry-after-ms`, `x-ratelimit-*`, `anthropic-ratelimit-*`).

The one surprise: header names are looked up in lower case. Client libraries give mappings that ignore case; hand a plain
dict in lower case.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

__all__ = ["parse_duration", "parse_rate_limit", "parse_retry_after", "parse_should_retry"]

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PREFIXES = ("x-ratelimit-", "anthropic-ratelimit-")
_EPOCH = 1e9  # a plain number above this is a moment, not a length


def parse_retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait: `retry-after-ms`, else `retry-after` in seconds or as an HTTP date; None where none is asked.

    *now* is the wall clock in POSIX seconds, for dates.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is not None or text is None:
        return seconds
    return _until(_http_date(text), now)


def parse_should_retry(headers: Mapping[str, str]) -> bool | None:
    """What `x-should-retry` says; None where it says nothing."""
    text = str(headers.get("x-should-retry", "")).strip().lower()
    return {"true": True, "false": False}.get(text)


def parse_rate_limit(headers: Mapping[str, str], now: float | None = None) -> dict[str, float] | None:
    """What the rate-limit headers say, by the name after their prefix; resets are seconds from now.

    Limits and remainders are numbers as they came, without those below 0, which stand for "not known".
    """
    found: dict[str, float] = {}
    for header, text in headers.items():
        name = header.lower()
        prefix = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if prefix is None:
            continue
        key = name[len(prefix) :].replace("-", "_")
        value = parse_duration(text, now) if "reset" in key else _count(text)
        if value is not None:
            found[key] = value
    return found or None


def parse_duration(text: str, now: float | None = None) -> float | None:
    """Seconds in `6m0s`, `1.5s`, `120ms`, `30`, an RFC 3339 moment or an epoch in seconds or milliseconds."""
    text = str(text).strip()
    if text and _DURATION.sub("", text) == "":
        return sum([float(number) * _UNITS[unit] for number, unit in _DURATION.findall(text)])
    try:
        number = float(text)
    except ValueError:
        return _until(_rfc3339(text), now)
    if not math.isfinite(number) or number < 0:
        return None
    if number >= _EPOCH * 1000:
        return _until(number / 1000, now)
    return _until(number, now) if number >= _EPOCH else number


def _number(text: object) -> float | None:
    try:
        value = float(str(text)) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _count(text: object) -> float | None:
    try:
        value = float(str(text))
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until(moment: float | None, now: float | None) -> float | None:
    if moment is None:
        return None
    wait = moment - (time.time() if now is None else now)
    return wait if 0 < wait else None


def _http_date(text: str) -> float | None:
    try:
        moment = parsedate_to_datetime(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _rfc3339(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
