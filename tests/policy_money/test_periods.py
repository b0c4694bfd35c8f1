"""Calendar periods: contiguous, right where clocks change, never opened twice."""

import itertools
import zoneinfo
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.policy.periods import Period, PeriodClock

DAY = 86_400.0
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Pacific/Apia",  # skipped a whole date
    "America/Sao_Paulo",  # skipped midnights
    "America/St_Johns",  # clocks went back across midnight
    "America/Havana",  # shows midnight twice
    "Africa/Monrovia",  # an offset of seconds
    "Australia/Lord_Howe",  # half an hour
    "Atlantic/Azores",
    "Asia/Gaza",
]
KINDS = ["day", "week", "month"]
moments = st.floats(-(10**9), 4 * 10**9, allow_nan=False)


def hours(period, *date):
    """Length of the period that holds noon of a date, in hours."""
    start, end = period.window(datetime(*date, 12, tzinfo=period.zone))
    return (end - start.astimezone(UTC)).total_seconds() / 3600


@given(moments, st.sampled_from(ZONES), st.sampled_from(KINDS))
@example(-1e-9, "UTC", "day")
def test_a_moment_lies_in_its_period_and_the_next_follows_at_once(moment, zone, kind):
    """Periods cover all time and leave no gap."""
    period = Period(kind, zone)

    start, end = period.bounds(moment)

    assert start <= moment < end
    assert period.bounds(end)[0] == end
    assert period.bounds(start) == (start, end)
    assert period.bounds(start - 1)[1] == start


@given(moments, st.sampled_from(ZONES), st.sampled_from(KINDS))
def test_a_period_begins_when_the_clock_first_shows_its_date(moment, zone, kind):
    """Just before the start every clock of the zone shows an earlier date than at it."""
    period = Period(kind, zone)
    start, end = period.bounds(moment)

    before, first = (datetime.fromtimestamp(t, period.zone).date() for t in (start - 1, start))

    assert before < first
    assert first.weekday() == 0 or kind != "week"
    assert kind != "month" or (before.year, before.month) != (first.year, first.month)
    assert end - start >= 22 * 3600


@pytest.mark.parametrize(
    "zone", ["America/St_Johns", "America/Sao_Paulo", "Pacific/Apia", "Asia/Gaza", "America/Havana"]
)
def test_thirty_years_of_days_follow_each_other(zone):
    """Day after day, through every change of clocks that the zone has had."""
    period = Period("day", zone)
    moment = datetime(1985, 1, 1, tzinfo=UTC).timestamp()

    dates = []
    for _ in range(365 * 30):
        start, end = period.bounds(moment)
        dates.append(datetime.fromtimestamp(start, period.zone).date())
        assert 22 * 3600 <= end - start <= 26 * 3600
        moment = end

    steps = {later - earlier for earlier, later in itertools.pairwise(dates)}
    assert steps <= {timedelta(days=1), timedelta(days=2)}


@pytest.mark.parametrize(
    ("zone", "date", "length"),
    [
        ("Europe/Berlin", (2026, 3, 29), 23),
        ("Europe/Berlin", (2026, 10, 25), 25),
        ("America/New_York", (2026, 3, 8), 23),
        ("America/New_York", (2026, 11, 1), 25),
        ("Asia/Kolkata", (2026, 3, 29), 24),
        ("America/Sao_Paulo", (2018, 11, 4), 23),
        ("Australia/Lord_Howe", (2026, 4, 5), 24.5),
    ],
)
def test_days_on_which_clocks_change_have_their_own_length(zone, date, length):
    """A day is from midnight to midnight, not 24 hours."""
    assert hours(Period("day", zone), *date) == length


def test_a_day_whose_midnight_was_skipped_begins_when_clocks_were_moved():
    """In Toronto, in 1919, half past eleven was followed by half past midnight."""
    start, _ = Period("day", "America/Toronto").window(datetime(1919, 3, 31, 12, tzinfo=UTC))

    assert start.astimezone(UTC).isoformat() == "1919-03-31T04:30:00+00:00"
    assert start.isoformat() == "1919-03-31T00:30:00-04:00"


def test_a_date_shown_again_does_not_reopen_its_day():
    """In St. John's, one minute past midnight was followed by one past eleven of the evening before."""
    period = Period("day", "America/St_Johns")

    shown_again = datetime(2006, 10, 28, 23, 30, tzinfo=period.zone, fold=1)

    assert period.window(shown_again)[0].isoformat() == "2006-10-29T00:00:00-02:30"


def test_a_date_that_a_zone_skipped_has_no_day():
    """Samoa went from the 29th of December 2011 straight to the 31st."""
    period = Period("day", "Pacific/Apia")
    start, end = period.window(datetime(2011, 12, 29, 12, tzinfo=ZoneInfo("Pacific/Apia")))

    following = period.window(end)

    assert (start.day, end.day, following[0].day) == (29, 31, 31)
    assert hours(period, 2011, 12, 29) == 24


@pytest.mark.parametrize(
    ("date", "first", "after"),
    [
        ((2026, 1, 31), "2026-01-01", "2026-02-01"),
        ((2024, 2, 29), "2024-02-01", "2024-03-01"),
        ((2026, 12, 31), "2026-12-01", "2027-01-01"),
    ],
)
def test_months_end_where_the_calendar_says(date, first, after):
    """Months of 28 to 31 days, and December into January."""
    start, end = Period("month", "Europe/Berlin").window(datetime(*date, 23, tzinfo=ZoneInfo("Europe/Berlin")))

    assert (start.date().isoformat(), end.date().isoformat()) == (first, after)
    assert (start.hour, end.hour) == (0, 0)


def test_a_window_is_given_in_the_zone_of_the_period():
    """A moment of any zone has its period in the stated one."""
    start, end = Period("day", "Europe/Berlin").window(datetime(2026, 7, 1, 22, 30, tzinfo=UTC))

    assert start.isoformat() == "2026-07-02T00:00:00+02:00"
    assert end.isoformat() == "2026-07-03T00:00:00+02:00"


def test_a_naive_moment_is_refused():
    """Without a zone nobody knows which day it is."""
    with pytest.raises(ValueError, match="aware"):
        Period("day").window(datetime(2026, 7, 1))  # noqa: DTZ001


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../etc/passwd", "", "Europe", None, 5])
def test_an_unknown_zone_is_refused_with_a_remedy(zone):
    """The error says which names are meant and what to install."""
    with pytest.raises(ConfigurationError, match=r"Period\.tz must be the name of a time zone.*tzdata"):
        Period("day", zone)


def test_utc_needs_no_time_zone_data(monkeypatch):
    """The default works on a system without a time zone database."""
    monkeypatch.setattr(zoneinfo, "ZoneInfo", None)

    assert Period("day").bounds(DAY * 1.5) == (DAY, 2 * DAY)


def test_an_unknown_kind_is_refused():
    """The error names the kinds that there are."""
    with pytest.raises(ConfigurationError, match=r"Period\.kind must be one of 'day', 'week'.*got 'fortnight'"):
        Period("fortnight")


def test_a_clock_set_back_stays_in_the_latest_window():
    """A day that was left is not opened again, not even days later."""
    clock = PeriodClock(Period("day"))
    for day in range(5):
        clock.window(DAY * day)

    windows = [clock.window(moment) for moment in (DAY * 4 - 1, DAY * 2, 0.0, DAY * 3 + 5)]

    assert windows == [(DAY * 4, DAY * 5)] * 4


def test_a_jump_ahead_and_back_costs_the_rest_of_the_day_only():
    """A wrong year does not lock the days that were never entered."""
    clock = PeriodClock(Period("day"))
    clock.window(DAY * 10.5)

    ahead = clock.window(DAY * 400)
    windows = [clock.window(DAY * day) for day in (10.6, 11.2, 12.2)]

    assert windows == [ahead, (DAY * 11, DAY * 12), (DAY * 12, DAY * 13)]


def test_the_reset_is_when_another_window_opens():
    """After a clock was set back the next window is further away than the end of the day it shows."""
    clock = PeriodClock(Period("day"))
    for day in range(4):
        clock.window(DAY * day)

    assert clock.resets_at(DAY * 3.5) == datetime.fromtimestamp(DAY * 4, UTC)
    assert clock.resets_at(DAY * 1.5) == datetime.fromtimestamp(DAY * 4, UTC)


def test_the_reset_after_a_jump_ahead_and_back_is_tonight():
    """The window of the wrong year does not end in the wrong year."""
    clock = PeriodClock(Period("day"))
    clock.window(DAY * 10.5)
    clock.window(DAY * 400)

    assert clock.resets_at(DAY * 10.6) == datetime.fromtimestamp(DAY * 11, UTC)


@given(st.lists(st.integers(0, 40), max_size=60))
@example([0, 3, 1, 3, 0, 1])
def test_no_window_is_entered_twice(days):
    """Whatever the wall clock does, a window that was left never comes back."""
    clock = PeriodClock(Period("day", "Europe/Berlin"))

    entered = [window for window, _ in itertools.groupby(clock.window(DAY * day) for day in days)]

    assert len(entered) == len(set(entered))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=60))
def test_the_clock_turns_when_it_said_it_would(days):
    """`resets_at` is a moment of the wall clock at which the window is another one."""
    clock = PeriodClock(Period("day"))
    for day in days:
        current = clock.window(DAY * day)

    reset = clock.resets_at(DAY * days[-1])

    assert clock.window(reset.timestamp() - 1) == current
    assert clock.window(reset.timestamp()) != current


def test_without_a_period_there_is_one_window_for_ever():
    """A budget in total never resets."""
    clock = PeriodClock()

    assert clock.window(0.0) == clock.window(4e9)
    assert clock.resets_at(0.0) is None
