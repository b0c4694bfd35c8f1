"""Calendar periods in a time zone: when a day, a week or a month begins and ends, and which one money belongs to.

    Period("day", tz="Europe/Berlin").window(now)        # (start, end), aware datetimes in that zone
    clock = PeriodClock(Period("month"))
    clock.window(time_stamp)                             # (start, end) as POSIX seconds, never one that was left

A period begins at the first moment at which the zone's clocks show its first date at midnight or later. So the days on
which clocks change have 23 or 25 hours, a date that a zone skipped has no day, an hour that is shown twice across
midnight belongs to the day that has begun, and periods follow each other without a gap.

The one surprise: a `PeriodClock` does not follow the wall clock everywhere. A period that was left is closed for good:
when the wall clock is set back into it, the latest period stays current, so what was spent once is not granted again.
A period never entered opens whenever the wall clock shows it, later or earlier. So a clock that jumps a year ahead and
back costs the rest of that day and nothing more.
"""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, tzinfo

from attrs import field, frozen

from llamina.errors import ConfigurationError

__all__ = ["Period", "PeriodClock", "find_zone"]

_KINDS = ("day", "week", "month")
_FOREVER = (-math.inf, math.inf)


def find_zone(name: str, owner: str = "Period.tz") -> tzinfo:
    """The time zone *name* ("Europe/Berlin"); "UTC" needs no time zone data.

    Raises:
        ConfigurationError: there is no such zone, or the system has no time zone data.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, TypeError, OSError) as error:
        raise ConfigurationError(
            f"{owner} must be the name of a time zone, got {name!r}; write one like 'Europe/Berlin' or 'UTC', "
            f"and install the package tzdata where the system has no time zone data"
        ) from error


def _check_kind(_: object, __: object, value: str) -> None:
    if value not in _KINDS:
        raise ConfigurationError(
            f"Period.kind must be one of 'day', 'week' (from Monday) or 'month', got {value!r}; choose one of them"
        )


@frozen
class Period:
    """A kind of calendar period ("day", "week" from Monday, "month") in the time zone *tz*."""

    kind: str = field(validator=_check_kind)
    tz: str = "UTC"
    zone: tzinfo = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "zone", find_zone(self.tz))

    def window(self, now: datetime) -> tuple[datetime, datetime]:
        """Start and end, in the zone, of the period that *now* (aware) is in; the end belongs to the next one."""
        if now.tzinfo is None:
            raise ValueError(f"now must be an aware datetime, got {now!r}; use datetime.now(UTC)")
        start, end = self.bounds(now.timestamp())
        return datetime.fromtimestamp(start, self.zone), datetime.fromtimestamp(end, self.zone)

    def bounds(self, moment: float) -> tuple[float, float]:
        """Start and end, as POSIX seconds, of the period that *moment* (POSIX seconds) is in."""
        # A datetime rounds to microseconds, which could be tomorrow's; periods begin on whole seconds.
        first = self._first_day(datetime.fromtimestamp(math.floor(moment), self.zone).date())
        after = self._next(first)
        end = _midnight(after, self.zone)
        if moment < end:
            return _midnight(first, self.zone), end
        # Clocks went back across midnight and show yesterday's date again.
        return end, _midnight(self._next(after), self.zone)

    def _first_day(self, day: date) -> date:
        if self.kind == "month":
            return day.replace(day=1)
        return day - timedelta(days=day.weekday()) if self.kind == "week" else day

    def _next(self, first: date) -> date:
        if self.kind == "month":
            return (first + timedelta(days=31)).replace(day=1)
        return first + timedelta(days=7 if self.kind == "week" else 1)


def _midnight(day: date, zone: tzinfo) -> float:
    """The first moment at which clocks in *zone* show midnight of *day* or later."""
    early = datetime(day.year, day.month, day.day, tzinfo=zone, fold=0).timestamp()
    late = datetime(day.year, day.month, day.day, tzinfo=zone, fold=1).timestamp()
    if early <= late:  # midnight is shown once, or twice and this is the first time
        return early
    # Midnight is skipped: the moment at which clocks are moved over it lies between the two readings.
    before, after = math.floor(late), math.ceil(early)
    old = datetime.fromtimestamp(before, zone).utcoffset()
    while after - before > 1:
        middle = (before + after) // 2
        if datetime.fromtimestamp(middle, zone).utcoffset() == old:
            before = middle
        else:
            after = middle
    return float(after)


class PeriodClock:
    """Tells which window of a period is current, never one that it has left; None: one window for ever.

    A window is a pair (start, end) of POSIX seconds. The clock keeps the starts of the windows that it has left, one
    number each.

    Attributes:
        since, until: the stretch of wall-clock time in which `window` has the answer it had last.
    """

    __slots__ = ("_closed", "_current", "period", "since", "until")

    def __init__(self, period: Period | None = None) -> None:
        self.period = period
        self._current: tuple[float, float] | None = None if period else _FOREVER
        self._closed: set[float] = set()
        self.since, self.until = (math.inf, -math.inf) if period else _FOREVER

    def window(self, moment: float) -> tuple[float, float]:
        """The window that money spent at *moment* (POSIX seconds) belongs to."""
        if self._current is not None and self.since <= moment < self.until:
            return self._current
        assert self.period is not None
        shown = self.since, self.until = self.period.bounds(moment)
        if self._current is None:
            self._current = shown
        elif shown[0] not in self._closed and shown != self._current:
            self._closed.add(self._current[0])
            self._current = shown
        return self._current

    def resets_at(self, moment: float) -> datetime | None:
        """When, seen from *moment*, another window becomes current, in the period's zone; None: never."""
        if self.period is None:
            return None
        current = self.window(moment)
        end = self.until
        while end in self._closed or end == current[0]:
            end = self.period.bounds(end)[1]
        return datetime.fromtimestamp(end, self.period.zone)
