"""The backoff that learns: per class of errors, from the failures and successes of all calls."""

import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import (
    ConfigurationError,
    InvalidRequestError,
    NetworkError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    ServerError,
)
from llamina.policy.adaptive import Adaptive
from llamina.policy.backoff import Exponential, LearningBackoff

ERRORS = [NetworkError(), ServerError(), RateLimitError(), OverloadedError(), InvalidRequestError(), KeyError()]


def ceiling(policy, error, attempt=1):
    """The longest wait after *error*."""
    return policy.bounds(attempt, error)[1]


def fail(policy, error, times, *, apart=1.0):
    """The policy sees *error* fail *times* times, *apart* seconds apart."""
    for number in range(times):
        policy.observe_error(error, now=number * apart)


def test_a_fresh_policy_waits_as_an_exponential_one():
    """With nothing observed, or only the tries of one call, the delays are those of Exponential."""
    adaptive, plain = Adaptive(0.5, cap=30), Exponential(0.5, cap=30)
    error = ServerError()
    delays = []

    for attempt in range(1, 12):
        adaptive.observe_error(error, now=0.0)
        delays.append(ceiling(adaptive, error, attempt))

    assert delays == [plain.bound(attempt) for attempt in range(1, 12)]


def test_failures_that_cluster_raise_the_delay_of_a_first_retry():
    """When other calls have just failed in the same way, a call waits longer after its own first failure."""
    policy = Adaptive(base=1, cap=60, half_life=1e9)

    fail(policy, ServerError(), 5)

    assert ceiling(policy, ServerError()) == pytest.approx(16)
    assert ceiling(policy, ServerError(), attempt=6) == 32


def test_what_was_learnt_moves_what_is_drawn():
    """The waits of a first retry grow in fact, not only their bounds, and come from the injected generator."""
    fresh, taught = (Adaptive(base=1, cap=60, rng=random.Random(3)) for _ in range(2))

    fail(taught, ServerError(), 6)

    short, long = ([policy.delay(1, ServerError()) for _ in range(500)] for policy in (fresh, taught))
    assert max(short) <= 1
    assert sum(long) > 10 * sum(short)
    chance = random.Random(3)
    assert short == [chance.random() for _ in range(500)]


def test_calls_that_fail_together_count_once():
    """A broken connection that takes a hundred calls with it does not make the next ones wait for the cap."""
    policy = Adaptive(base=1, cap=60, half_life=1e9)

    for number in range(100):
        policy.observe_error(NetworkError(), now=5.0 + number / 101)

    assert policy.levels == {"NetworkError": 1}
    policy.observe_error(NetworkError(), now=6.0)
    assert policy.levels["NetworkError"] == pytest.approx(2)


def test_failures_that_never_pause_are_an_outage_and_no_burst():
    """What counts is the time since the level was raised, not since the last failure."""
    policy = Adaptive(base=1, cap=60)

    fail(policy, ServerError(), 100, apart=0.1)

    assert ceiling(policy, ServerError()) == 60


def test_a_clock_that_starts_anew_does_not_stop_the_learning():
    """A policy that is used on a second event loop, whose clock is behind the first one's, learns there too."""
    policy = Adaptive(base=1, cap=60)
    policy.observe_error(ServerError(), now=1_000.0)

    fail(policy, ServerError(), 3)

    assert policy.levels["ServerError"] > 2.5


def test_classes_of_errors_learn_apart():
    """A run of server errors does not make a reset connection wait."""
    policy = Adaptive(base=1, cap=60, half_life=1e9)

    fail(policy, ServerError(), 5)

    assert ceiling(policy, NetworkError()) == 1
    assert policy.levels == {"ServerError": pytest.approx(5)}


def test_successes_bring_the_delay_down():
    """Each success leaves half of what was learnt, for every class, until nothing is left."""
    policy = Adaptive(base=1, cap=1_000, decay=0.5, half_life=1e9)
    fail(policy, ServerError(), 8)
    fail(policy, NetworkError(), 8)

    levels = []
    for _ in range(9):
        levels.append(policy.levels.get("ServerError", 0))
        policy.observe_success(now=8.0)

    assert levels[:4] == pytest.approx([8, 4, 2, 1])
    assert policy.levels == {}


def test_time_brings_the_delay_down_too():
    """Failures that are far apart are no cluster."""
    policy = Adaptive(base=1, cap=1_000, half_life=30)
    fail(policy, ServerError(), 7)
    assert policy.levels["ServerError"] > 6

    policy.observe_error(ServerError(), now=306.0)

    assert policy.levels["ServerError"] == pytest.approx(1, abs=0.01)


def test_a_long_outage_is_soon_forgotten():
    """Beyond the cap nothing is learnt, so some successes undo a thousand failures."""
    policy = Adaptive(base=0.5, cap=30)
    fail(policy, ServerError(), 1_000)
    assert ceiling(policy, ServerError()) == 30

    for _ in range(3):
        policy.observe_success(now=1_000.0)

    assert ceiling(policy, ServerError()) == 0.5


@pytest.mark.parametrize(
    "error", [InvalidRequestError(), QuotaExceededError(), asyncio.CancelledError(), TypeError()], ids=repr
)
def test_errors_that_no_retry_can_help_teach_nothing(error):
    """The caller's mistakes, used-up quotas, cancellations and bugs make nobody wait."""
    policy = Adaptive()

    fail(policy, error, 100)

    assert policy.levels == {}
    assert policy.rate is None
    assert policy.admission_delay(100.0) == 0


@pytest.mark.parametrize(
    ("error", "slows"), [(RateLimitError(), True), (OverloadedError(), True), (ServerError(), False)]
)
def test_only_throttling_slows_the_client_down(error, slows):
    """After a throttle even first tries wait for their turn; other failures leave the pace alone."""
    policy = Adaptive(min_rate=2)
    policy.observe_error(error, now=0.0)

    waits = [policy.admission_delay(0.0) for _ in range(3)]

    assert waits == ([0.5, 1.0, 1.5] if slows else [0, 0, 0])
    assert policy.rate == (2 if slows else None)


def test_the_pace_comes_back_along_a_cubic_curve():
    """After a throttle at 20 calls a second: 14, then 0.4 (t - K)^3 + 20 with K = (20 * 0.3 / 0.4)^(1/3)."""
    policy = Adaptive(beta=0.7)
    for step in range(200):
        policy.observe_success(step / 20)
    policy.observe_error(RateLimitError(), now=10.0)
    peak = policy.rate / 0.7
    knee = (peak * 0.3 / 0.4) ** (1 / 3)
    assert peak == pytest.approx(20, rel=0.1)

    for step in range(1, 100):
        policy.observe_success(10 + step / 20)

        assert policy.rate == pytest.approx(0.4 * (step / 20 - knee) ** 3 + peak)


def test_slowing_down_can_be_left_out():
    """Only the delays learn then."""
    policy = Adaptive(slow_down=False)
    policy.observe_error(RateLimitError(), now=0.0)

    waits = [policy.admission_delay(0.0) for _ in range(100)]
    policy.forgo_admission()

    assert waits == [0] * 100
    assert policy.levels == {"RateLimitError": 1}


def test_a_forgone_admission_goes_to_the_next():
    """A try that is cancelled while it waits gives its turn back."""
    policy = Adaptive()
    policy.observe_error(RateLimitError(), now=0.0)
    first = policy.admission_delay(0.0)

    policy.forgo_admission()

    assert policy.admission_delay(0.0) == first


def test_the_number_of_classes_is_bounded():
    """Classes made on the fly do not fill the memory; those seen last are kept."""
    policy = Adaptive()

    for number in range(1_000):
        policy.observe_error(type(f"Error{number}", (ServerError,), {})(), now=0.0)

    assert len(policy.levels) == 32
    assert "Error999" in policy.levels


@given(
    st.lists(st.tuples(st.sampled_from([*ERRORS, None]), st.floats(0, 50)), max_size=100),
    st.sampled_from(ERRORS),
    st.integers(1, 20_000),
    st.floats(1, 1e6),
)
def test_whatever_was_learnt_a_delay_is_between_0_and_the_cap(history, error, attempt, factor):
    """After any history: 0 <= delay <= cap, and never less patient than Exponential."""
    policy, now = Adaptive(0.5, factor=factor, cap=30, rng=random.Random(1)), 0.0
    for seen, pause in history:
        now += pause
        policy.observe_success(now) if seen is None else policy.observe_error(seen, now)

    delay = policy.delay(attempt, error)

    assert 0 <= delay <= 30
    assert ceiling(policy, error, attempt) >= Exponential(0.5, factor, 30).bound(attempt)
    assert 0 <= policy.admission_delay(now) <= 60


def test_it_is_told_apart_from_a_backoff_that_does_not_learn():
    """Whoever drives a backoff sees that this one wants reports."""
    assert isinstance(Adaptive(), LearningBackoff)


def test_two_policies_share_nothing():
    """State is born with the object."""
    one, other = Adaptive(), Adaptive()

    one.observe_error(RateLimitError(), now=0.0)

    assert other.levels == {}
    assert other.rate is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"base": 0}, r"Adaptive\.base must be a number above 0, got 0; write Constant\(0\)"),
        ({"base": 9, "cap": 3}, r"Adaptive\.cap must be at least base, which is 9, got 3"),
        ({"factor": 0.5}, r"Adaptive\.factor must be at least 1, got 0\.5"),
        ({"decay": 1.5}, r"Adaptive\.decay must be a share above 0 and up to 1, got 1\.5"),
        ({"half_life": math.inf}, r"Adaptive\.half_life must be a number above 0, got inf"),
        ({"min_rate": 0}, r"Adaptive\.min_rate must be a number above 0, got 0"),
        ({"beta": 0}, r"Adaptive\.beta must be a share above 0 and up to 1, got 0"),
        ({"jitter": None}, r"Adaptive\.jitter must be one of"),
        ({"slow_down": "no"}, r"Adaptive\.slow_down must be True or False, got 'no'"),
        ({"rng": 7}, r"Adaptive\.rng must be a source of random numbers, got 7; pass random\.Random\(7\)"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_built(settings, message):
    """A wrong setting is found at construction, not in the first outage."""
    with pytest.raises(ConfigurationError, match=message):
        Adaptive(**settings)


def test_it_shows_its_settings_and_not_what_it_learnt():
    """The repr is the same before and after."""
    policy = Adaptive()
    before = repr(policy)

    policy.observe_error(RateLimitError(), now=0.0)

    assert repr(policy) == before
    assert "jitter='full'" in before
