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
    policy = Adaptive(base=1, cap=60)

    for _ in range(5):
        policy.observe_error(ServerError(), now=10.0)

    assert ceiling(policy, ServerError()) == 16
    assert ceiling(policy, ServerError(), attempt=6) == 32


def test_classes_of_errors_learn_apart():
    """A burst of server errors does not make a reset connection wait."""
    policy = Adaptive(base=1, cap=60)

    for _ in range(5):
        policy.observe_error(ServerError(), now=0.0)

    assert ceiling(policy, NetworkError()) == 1
    assert policy.levels == {"ServerError": 5}


def test_successes_bring_the_delay_down():
    """Each success leaves half of what was learnt, for every class, until nothing is left."""
    policy = Adaptive(base=1, cap=1_000, decay=0.5)
    for _ in range(8):
        policy.observe_error(ServerError(), now=0.0)
        policy.observe_error(NetworkError(), now=0.0)

    levels = []
    for _ in range(9):
        levels.append(policy.levels.get("ServerError", 0))
        policy.observe_success(now=1.0)

    assert levels[:4] == [8, 4, 2, 1]
    assert policy.levels == {}


def test_time_brings_the_delay_down_too():
    """Failures that are far apart are no cluster."""
    policy = Adaptive(base=1, cap=1_000, half_life=30)
    for _ in range(7):
        policy.observe_error(ServerError(), now=0.0)

    policy.observe_error(ServerError(), now=300.0)

    assert policy.levels["ServerError"] == pytest.approx(1, abs=0.01)


def test_a_long_outage_is_soon_forgotten():
    """Beyond the cap nothing is learnt, so some successes undo a thousand failures."""
    policy = Adaptive(base=0.5, cap=30)
    for _ in range(1_000):
        policy.observe_error(ServerError(), now=0.0)
    assert ceiling(policy, ServerError()) == 30

    for _ in range(3):
        policy.observe_success(now=0.0)

    assert ceiling(policy, ServerError()) == 0.5


@pytest.mark.parametrize(
    "error", [InvalidRequestError(), QuotaExceededError(), asyncio.CancelledError(), TypeError()], ids=repr
)
def test_errors_that_no_retry_can_help_teach_nothing(error):
    """The caller's mistakes, used-up quotas, cancellations and bugs make nobody wait."""
    policy = Adaptive()

    for _ in range(100):
        policy.observe_error(error, now=0.0)

    assert policy.levels == {}
    assert policy.rate is None
    assert policy.admission_delay(0.0) == 0


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
