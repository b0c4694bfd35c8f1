"""The client-side limiter: off until the first throttle, then CUBIC."""

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.policy.send_rate import SendRate


def settle(pace, moments):
    """Successes at *moments*, so that the pace knows how fast calls go."""
    for moment in moments:
        pace.on_success(moment)


def steady(rate, start, seconds):
    """Moments *1 / rate* apart."""
    return [start + step / rate for step in range(round(rate * seconds))]


def simulate(capacity, clients, seconds, *, limited):
    """(answered, throttled) of clients that send without pause to a provider that lets *capacity* through a second."""
    pace, room, last = SendRate(), float(capacity), 0.0
    queue = [(0.001 * client, client, False) for client in range(clients)]
    answered = throttled = 0
    while queue[0][0] < seconds:
        now, client, admitted = heapq.heappop(queue)
        if limited and not admitted:
            heapq.heappush(queue, (now + pace.reserve(now), client, True))
            continue
        room = min(float(capacity), room + (now - last) * capacity)
        last = now
        if room >= 1:
            room -= 1
            answered += 1
            pace.on_success(now)
        else:
            throttled += 1
            pace.on_throttle(now)
        heapq.heappush(queue, (now + 0.5, client, False))
    return answered, throttled


def test_nothing_waits_before_the_first_throttle():
    """However fast calls go and fail, there is no limit until a provider complains."""
    pace = SendRate()
    settle(pace, steady(100, 0, 5))
    pace.on_failure(5)

    waits = [pace.reserve(5.0) for _ in range(1_000)]

    assert pace.rate is None
    assert waits == [0.0] * 1_000


def test_a_throttle_cuts_the_rate_to_a_share_of_what_was_measured():
    """At 20 calls a second a throttle leaves 14; then calls wait for their turns."""
    pace = SendRate(beta=0.7)
    settle(pace, steady(20, 0, 10))

    pace.on_throttle(10.0)

    assert pace.rate == pytest.approx(14, rel=0.1)
    assert [pace.reserve(10.0) for _ in range(3)] == pytest.approx([1 / pace.rate, 2 / pace.rate, 3 / pace.rate])


def test_the_throttles_of_one_burst_count_once():
    """A hundred calls refused in the same instant are one sign that calls come too fast, not a hundred."""
    pace = SendRate()
    settle(pace, steady(20, 0, 10))
    pace.on_throttle(10.0)
    after_one = pace.rate

    for _ in range(100):
        pace.on_throttle(10.1)

    assert pace.rate == after_one


def test_a_burst_that_is_throttled_at_once_is_measured_too():
    """The very first half second tells how fast calls go; the client is not cut to the minimum."""
    pace = SendRate()
    settle(pace, [0.0] * 50)

    pace.on_throttle(0.1)

    assert pace.rate > 50


def test_the_rate_grows_back_slowly_near_the_old_one_and_then_beyond():
    """CUBIC: steep, flat round the rate at which the throttle came, steep again."""
    pace = SendRate(beta=0.7)
    settle(pace, steady(20, 0, 10))
    pace.on_throttle(10.0)
    rates = []

    for moment in steady(40, 10, 7):
        pace.on_success(moment)
        rates.append(pace.rate)

    second = [rates[40 * n] for n in range(7)]
    assert second == sorted(second)
    assert second[1] - second[0] > second[3] - second[2] < second[6] - second[5]
    assert second[2] == pytest.approx(20, rel=0.1)
    assert second[6] > 30


def test_the_rate_stays_below_twice_what_is_used():
    """Growth that nobody uses would be a burst waiting to happen."""
    pace = SendRate()
    settle(pace, steady(20, 0, 10))
    pace.on_throttle(10.0)

    settle(pace, steady(2, 11, 60))

    assert pace.rate == pytest.approx(4, rel=0.1)


def test_the_rate_never_falls_below_the_minimum():
    """Throttled again and again, a client still sends now and then, and so finds out when it is over."""
    pace = SendRate(minimum=0.25)

    for moment in range(100):
        pace.on_throttle(float(moment))

    assert pace.rate == 0.25


@pytest.mark.parametrize("notice", ["reserve", "success"])
def test_the_limit_is_off_again_after_a_calm_time(notice):
    """Five minutes without a throttle, idle or busy, and nothing waits any more."""
    pace = SendRate()
    pace.on_throttle(0.0)
    assert pace.reserve(1.0) >= 0

    _ = pace.reserve(301.0) if notice == "reserve" else pace.on_success(301.0)

    assert pace.rate is None
    assert [pace.reserve(302.0) for _ in range(100)] == [0.0] * 100


def test_a_turn_that_is_given_back_goes_to_the_next():
    """Who is cancelled while it waits does not slow the others down."""
    pace = SendRate()
    pace.on_throttle(0.0)
    first = pace.reserve(0.0)

    pace.give_back()

    assert pace.reserve(0.0) == first


def test_turns_that_are_never_given_back_do_not_block_for_ever():
    """A queue does not grow beyond a minute, whatever becomes of those in it."""
    pace = SendRate(minimum=0.5)
    pace.on_throttle(0.0)

    waits = [pace.reserve(0.0) for _ in range(10_000)]

    assert max(waits) == 60
    assert pace.reserve(61.0) <= 60


def test_a_moment_in_the_past_makes_nobody_wait_longer():
    """Moments that come out of order take no turns away."""
    pace = SendRate()
    pace.on_throttle(10.0)
    first = pace.reserve(10.0)
    pace.give_back()

    earlier = pace.reserve(4.0)

    assert earlier == first


@given(st.lists(st.tuples(st.sampled_from("stfrg"), st.floats(0, 100)), max_size=200))
def test_any_history_leaves_a_sensible_rate_and_a_bounded_wait(history):
    """After any events in any order: minimum <= rate, and 0 <= wait <= 60."""
    pace, now = SendRate(minimum=0.5), 0.0

    for event, pause in history:
        now += pause
        {"s": pace.on_success, "t": pace.on_throttle, "f": pace.on_failure, "r": pace.reserve}.get(
            event, lambda _: None
        )(now)
        if event == "g":
            pace.give_back()

    assert pace.rate is None or pace.rate >= 0.5
    assert 0 <= pace.reserve(now) <= 60


def test_a_crowd_finds_the_rate_that_a_provider_lets_through():
    """Forty clients against ten calls a second: almost as much gets through, with a twentieth of the refusals."""
    _, throttled_without = simulate(10, 40, 120, limited=False)

    answered, throttled = simulate(10, 40, 120, limited=True)

    assert answered > 0.8 * 10 * 120
    assert throttled < throttled_without / 20
