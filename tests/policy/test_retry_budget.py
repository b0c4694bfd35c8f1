"""The retry budget: storms are bounded, ordinary failures are not felt."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina.errors import ConfigurationError, NetworkError, QuotaExceededError, RateLimitError
from llamina.policy.retry_budget import RetryBudget


def drive(budget, calls, attempts, fails):
    """(attempts made, successes) of *calls* calls with *attempts* tries each, as a retry layer spends the budget."""
    made = succeeded = 0
    for _ in range(calls):
        for attempt in range(1, attempts + 1):
            made += 1
            if not fails():
                budget.deposit()
                succeeded += 1
                break
            if attempt == attempts or not budget.try_withdraw(NetworkError()):
                break
    return made, succeeded


@given(
    st.floats(1, 200), st.floats(0, 1), st.integers(1, 300), st.integers(1, 8), st.floats(0, 1), st.integers(0, 10**6)
)
def test_retries_never_exceed_the_reserve_and_the_share_of_calls(capacity, ratio, calls, attempts, failing, seed):
    """Whatever share of tries fails: attempts <= (1 + ratio) * calls + capacity."""
    chance = random.Random(seed)

    made, succeeded = drive(RetryBudget(capacity, ratio), calls, attempts, lambda: chance.random() < failing)

    assert made <= calls + ratio * succeeded + capacity + 1e-6
    assert made <= (1 + ratio) * calls + capacity + 1e-6


def test_while_everything_fails_only_the_reserve_is_spent():
    """In an outage the load on a provider stays what it was, but for the reserve."""
    made, _ = drive(RetryBudget(capacity=10, ratio=0.1), calls=1_000, attempts=5, fails=lambda: True)

    assert made == 1_010


def test_a_few_failures_are_always_retried():
    """At a failure rate below the ratio the budget is never felt."""
    chance = random.Random(1)
    budget = RetryBudget(capacity=20, ratio=0.1)

    _, succeeded = drive(budget, calls=5_000, attempts=10, fails=lambda: chance.random() < 0.05)

    assert succeeded == 5_000


def test_ten_successes_at_a_ratio_of_a_tenth_pay_for_one_retry():
    """Sums of fractions do not lose a retry to rounding."""
    budget = RetryBudget(capacity=1, ratio=0.1)
    assert budget.try_withdraw()

    for _ in range(10):
        assert not budget.try_withdraw()
        budget.deposit()

    assert budget.try_withdraw()
    assert budget.balance == 0


def test_a_refused_retry_takes_nothing():
    """Asking an empty budget again and again does not put it into debt."""
    budget = RetryBudget(capacity=2, ratio=1, cost=2)
    budget.try_withdraw()

    answers = [budget.try_withdraw() for _ in range(5)]
    budget.deposit()

    assert answers == [False] * 5
    assert budget.balance == 1


def test_a_budget_never_holds_more_than_its_capacity():
    """A long quiet time saves up no storm."""
    budget = RetryBudget(capacity=3, ratio=0.5)

    for _ in range(1_000):
        budget.deposit()

    assert budget.balance == 3


def test_a_retry_after_throttling_may_have_a_price_of_its_own():
    """Retries after a rate limit can be made dearer or cheaper; a used-up quota is no rate limit."""
    budget = RetryBudget(capacity=10, cost=1, throttle_cost=5)

    balances = [
        budget.balance for error in (RateLimitError(), QuotaExceededError(), None) if budget.try_withdraw(error)
    ]

    assert balances == [5, 4, 3]


def test_two_budgets_share_nothing():
    """State is born with the object."""
    one, other = RetryBudget(capacity=1), RetryBudget(capacity=1)
    one.try_withdraw()

    assert other.try_withdraw()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"capacity": 0}, r"RetryBudget\.capacity must be a number above 0, got 0"),
        ({"capacity": 0.5}, r"RetryBudget\.capacity must be at least cost, which is 1\.0, got 0\.5; .*attempts=1"),
        ({"capacity": math.inf}, r"RetryBudget\.capacity must be a number above 0, got inf"),
        ({"ratio": -0.1}, r"RetryBudget\.ratio must be a number of at least 0, got -0\.1"),
        ({"ratio": math.nan}, r"RetryBudget\.ratio"),
        ({"cost": 0}, r"RetryBudget\.cost must be a number above 0, got 0"),
        ({"throttle_cost": 0}, r"RetryBudget\.throttle_cost must be a number above 0, got 0"),
        ({"throttle_cost": 101}, r"RetryBudget\.throttle_cost must be at most capacity, which is 100\.0, got 101"),
    ],
)
def test_settings_that_make_no_sense_are_refused_when_built(settings, message):
    """A budget that could never allow a retry, or always would, is refused."""
    with pytest.raises(ConfigurationError, match=message):
        RetryBudget(**settings)


def test_a_budget_shows_its_settings_and_not_its_state():
    """The repr is the same however much has been spent."""
    budget = RetryBudget()
    before = repr(budget)

    budget.try_withdraw()

    assert repr(budget) == before == "RetryBudget(capacity=100.0, ratio=0.1, cost=1.0, throttle_cost=None)"
