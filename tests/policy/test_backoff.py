"""Backoffs: pure, capped, growing, spread."""

import copy
import math
import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError
from llamina.policy.adaptive import Adaptive
from llamina.policy.backoff import (
    Backoff,
    Constant,
    DecorrelatedJitter,
    Exponential,
    Fibonacci,
    LearningBackoff,
    Linear,
)

seconds = st.floats(1e-6, 1e6)
jitters = st.sampled_from(["full", "equal", "none"])
attempts = st.integers(1, 20_000)
previous = st.none() | st.floats(0, 1e9)


@st.composite
def backoffs(draw, jitter=jitters):
    """Any backoff with any settings that fit together."""
    base, more = draw(seconds), draw(seconds)
    spread = {"jitter": draw(jitter), "rng": random.Random(draw(st.integers(0, 99)))}
    kind = draw(st.sampled_from([Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter]))
    if kind is Constant:
        return Constant(base, **spread)
    if kind is Linear:
        return Linear(base, draw(seconds), base + more, **spread)
    if kind is Exponential:
        return Exponential(base, draw(st.floats(1, 1e6)), base + more, **spread)
    return kind(base, base + more, **spread)


@given(backoffs(), attempts, previous)
def test_a_delay_is_within_its_bounds_and_below_the_cap(backoff, attempt, before):
    """For any settings, any attempt and any previous wait: 0 <= low <= delay <= high <= cap."""
    low, high = backoff.bounds(attempt, None, before)

    delay = backoff.delay(attempt, None, before)

    assert 0 <= low <= delay <= high <= getattr(backoff, "cap", math.inf)
    assert isinstance(delay, float | int)
    assert math.isfinite(delay)


@given(backoffs(), attempts, attempts)
def test_delays_never_fall_before_jitter(backoff, one, other):
    """A later attempt never waits less than an earlier one, jitter aside."""
    first, later = sorted([one, other])

    assert backoff.bound(first) <= backoff.bound(later)


@given(backoffs(jitter=st.just("equal")), attempts)
def test_equal_jitter_keeps_at_least_half(backoff, attempt):
    """Equal jitter draws from the upper half of the range."""
    low, high = backoff.bounds(attempt)

    assert low >= high / 2


@pytest.mark.parametrize(
    ("backoff", "expected"),
    [
        (Constant(2), [2, 2, 2, 2, 2, 2]),
        (Linear(1, 2, 6, jitter="none"), [1, 3, 5, 6, 6, 6]),
        (Linear(2, jitter="none"), [2, 4, 6, 8, 10, 12]),
        (Exponential(0.5, 2, 5, jitter="none"), [0.5, 1, 2, 4, 5, 5]),
        (Exponential(1, 1, 5, jitter="none"), [1, 1, 1, 1, 1, 1]),
        (Fibonacci(1, 7, jitter="none"), [1, 1, 2, 3, 5, 7]),
    ],
    ids=str,
)
def test_delays_follow_the_series_up_to_the_cap(backoff, expected):
    """Without jitter the delays after attempts one to six are the series that the name says."""
    assert [backoff.delay(attempt) for attempt in range(1, 7)] == expected


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter, Adaptive])
def test_the_first_argument_is_the_first_delay_in_seconds(kind):
    """`Exponential(0.5)` and `Constant(0.5)` read alike: no setting of the jitter comes before it."""
    backoff = kind(0.5, jitter="none")

    assert backoff.bounds(1)[1] == (1.5 if kind is DecorrelatedJitter else 0.5)


def test_no_wait_at_all_can_be_asked_for():
    """`Constant(0)` and `Linear(0)` try again at once, every time."""
    assert [Constant(0).delay(attempt) for attempt in (1, 2, 10_000)] == [0, 0, 0]
    assert [Linear(0).delay(attempt) for attempt in (1, 2, 10_000)] == [0, 0, 0]


@pytest.mark.parametrize(
    "backoff",
    [Linear(cap=30), Exponential(cap=30), Exponential(0.5, 3), Fibonacci(cap=30), DecorrelatedJitter()],
    ids=str,
)
@pytest.mark.parametrize("attempt", [10_000, 10**9])
def test_a_very_late_attempt_neither_overflows_nor_takes_long(backoff, attempt):
    """After thousands of attempts a delay is the cap, and costs no more than one after ten."""
    assert backoff.bound(attempt) == 30


def test_the_cap_is_applied_before_the_jitter():
    """At the cap delays are spread over the whole range, so clients do not meet at the cap."""
    backoff = Exponential(base=1, cap=8, rng=random.Random(7))

    delays = [backoff.delay(50) for _ in range(1_000)]

    assert min(delays) < 0.5
    assert max(delays) > 7.5
    assert 3.7 < sum(delays) / 1_000 < 4.3
    assert delays.count(8) == 0


def test_decorrelated_jitter_grows_from_the_previous_wait():
    """The range reaches from the base to three times the previous wait, and no further than the cap."""
    backoff = DecorrelatedJitter(base=1, cap=20)

    assert backoff.bounds(1) == (1, 3)
    assert backoff.bounds(2, None, 3.0) == (1, 9)
    assert backoff.bounds(3, None, 9.0) == (1, 20)
    assert backoff.bounds(3, None, 0.0) == (1, 3)
    assert backoff.bounds(3, None, math.inf) == (1, 20)


def test_the_same_seed_gives_the_same_delays():
    """Chance comes from the injected generator only."""
    one, other = (Exponential(rng=random.Random(3)) for _ in range(2))

    assert [one.delay(n) for n in range(1, 20)] == [other.delay(n) for n in range(1, 20)]


def test_backoffs_have_their_own_generators():
    """Two policies built alike do not move in step."""
    one, other = Exponential(), Exponential()

    assert [one.delay(5) for _ in range(5)] != [other.delay(5) for _ in range(5)]


@pytest.mark.parametrize("kind", [Linear, Exponential, Fibonacci, DecorrelatedJitter])
def test_jitter_is_full_unless_asked_otherwise(kind):
    """Growing backoffs spread over the whole range; a constant one keeps its delay."""
    assert kind().jitter == "full"
    assert Constant(1).jitter == "none"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Exponential(base=0), r"Exponential\.base must be a number above 0, got 0; write Constant\(0\)"),
        (lambda: Exponential(factor=0.5), r"Exponential\.factor must be at least 1, got 0\.5"),
        (lambda: Exponential(base=5, cap=1), r"Exponential\.cap must be at least base, which is 5, got 1"),
        (lambda: Exponential(cap=math.inf), r"Exponential\.cap must be a number above 0, got inf"),
        (lambda: Exponential(base=math.nan), r"Exponential\.base must be a number above 0, got nan"),
        (lambda: Constant(-1), r"Constant\.delay must be a number of at least 0, got -1"),
        (lambda: Linear(1, -1), r"Linear\.step must be a number of at least 0, got -1"),
        (lambda: Fibonacci(base=True), r"Fibonacci\.base must be a number above 0, got True"),
        (lambda: DecorrelatedJitter(2, 1), r"DecorrelatedJitter\.cap must be at least base"),
        (
            lambda: Exponential(rng=7),
            r"Exponential\.rng must be a source of random numbers, got 7; pass random\.Random",
        ),
        (lambda: Constant(1, rng=random.Random), r"Constant\.rng must be a source of random numbers, got <class"),
        (lambda: Linear(jitter="some"), r"Linear\.jitter must be one of 'full', 'equal', 'none', got 'some'"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_built(build, message):
    """A wrong setting is found at construction, not in the first outage."""
    with pytest.raises(ConfigurationError, match=message):
        build()


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter])
def test_backoffs_are_values(kind):
    """Equal settings make equal policies, which can be copied, pickled and shown, but not changed."""
    backoff = kind(2.0)

    assert backoff == kind(2.0) != kind(3.0)
    assert hash(backoff) == hash(kind(2.0))
    assert pickle.loads(pickle.dumps(backoff)) == copy.deepcopy(backoff) == backoff
    with pytest.raises(AttributeError):
        backoff.jitter = "none"


@pytest.mark.parametrize(
    ("backoff", "shown"),
    [
        (Constant(delay=2), "Constant(delay=2, jitter='none')"),
        (Linear(1, 2), "Linear(base=1, step=2, cap=30.0, jitter='full')"),
        (Exponential(1), "Exponential(base=1, factor=2.0, cap=30.0, jitter='full')"),
        (Fibonacci(jitter="equal"), "Fibonacci(base=0.5, cap=30.0, jitter='equal')"),
        (DecorrelatedJitter(1), "DecorrelatedJitter(base=1, cap=30.0, jitter='full')"),
    ],
)
def test_a_backoff_shows_what_was_set_by_the_names_of_its_arguments(backoff, shown):
    """The repr can be read, and typed in again."""
    again = eval(
        shown, {kind.__name__: kind for kind in (Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter)}
    )

    assert repr(backoff) == shown
    assert again == backoff


@pytest.mark.parametrize("kind", [Constant, Linear, Exponential, Fibonacci, DecorrelatedJitter])
def test_a_backoff_that_does_not_learn_says_so(kind):
    """Whoever drives a backoff can tell beforehand that there is nothing to report to it."""
    assert isinstance(kind(), Backoff)
    assert not isinstance(kind(), LearningBackoff)
