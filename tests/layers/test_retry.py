"""Retry: what is tried again, how long it waits, and when it gives up."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Adaptive,
    AuthenticationError,
    BudgetExceededError,
    CircuitBreaker,
    CircuitOpenError,
    ConfigurationError,
    Constant,
    ContentFilterError,
    ContextLengthError,
    Exponential,
    InvalidRequestError,
    LLMError,
    MalformedResponseError,
    NetworkError,
    OverloadedError,
    QuotaExceededError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Retry,
    RetryBudget,
    ServerError,
    Timeout,
    build_stack,
)
from llamina.testing import FakeTransport, check_middleware, simulated_time

REQUEST = Request.chat("m", "hi")


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


def retry(**settings: Any) -> Retry:
    """Three tries without a wait, unless told otherwise."""
    return Retry(**{"attempts": 3, "backoff": Constant(0), **settings})


async def outcome(stack: Any, request: Request = REQUEST) -> Any:
    """The text of the answer, or the error."""
    try:
        return (await stack(request)).text
    except Exception as error:
        return error


def test_it_keeps_the_protocol() -> None:
    """Every clause, with and without waits."""
    assert check_middleware(lambda: Retry(attempts=3))
    assert check_middleware(lambda: Retry(attempts=3, backoff=Adaptive()))


@pytest.mark.parametrize(
    "error",
    [
        ServerError("500"),
        OverloadedError("529"),
        NetworkError("reset"),
        RateLimitError("429"),
        RequestTimeoutError("slow"),
        MalformedResponseError("html"),
        ConnectionResetError(),
        InvalidRequestError("locked", status=409, retryable=True),
        InvalidRequestError("the provider knows better", should_retry=True),
    ],
)
@simulated_time
async def test_what_can_succeed_the_next_time_is_tried_again(error: Exception) -> None:
    """The table, one class after the other; the provider's own order goes first."""
    fake = FakeTransport([error, error, "hello"])

    assert await outcome(build_stack([retry()], fake)) == "hello"
    assert fake.calls == 3


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequestError("400"),
        AuthenticationError("401"),
        QuotaExceededError("insufficient_quota", status=429),
        ContextLengthError("too long"),
        ContentFilterError("no"),
        BudgetExceededError("spent"),
        CircuitOpenError("open"),
        ServerError("the provider knows better", should_retry=False),
        TypeError("a bug"),
        KeyError("a bug"),
        ValueError("a bug"),
        LLMError("of a kind that nobody declared"),
    ],
)
@simulated_time
async def test_what_no_retry_can_help_is_raised_at_once_as_it_is(error: Exception) -> None:
    """One request reaches the provider, and the same object comes out."""
    fake = FakeTransport([error] * 3)

    assert await outcome(build_stack([retry()], fake)) is error
    assert fake.calls == 1


@simulated_time
async def test_attempts_counts_the_first_try_and_the_last_error_comes_out() -> None:
    """Three attempts are three requests; the record lists all of them with the waits between."""
    errors = [ServerError("one"), ServerError("two"), ServerError("three")]
    stack = build_stack([retry(backoff=Constant(2))], FakeTransport(errors))
    start = now()

    error = await outcome(stack)

    assert error is errors[2]
    assert now() - start == pytest.approx(4)
    assert [attempt.backoff for attempt in error.call.attempts] == [2, 2, None]


@pytest.mark.parametrize("moment", [0.0, 0.5, 1.0, 2.0, 3.5])
@simulated_time
async def test_a_cancellation_ends_it_wherever_it_strikes(moment: float) -> None:
    """Before, during and between tries: no further attempt, and the task is cancelled."""
    fake = FakeTransport([[1.0, ServerError("down")]], repeat=True)
    task = asyncio.ensure_future(build_stack([retry(backoff=Constant(1))], fake)(REQUEST))
    await asyncio.sleep(moment)

    task.cancel()
    await asyncio.wait([task])
    made = fake.calls
    await asyncio.sleep(60)

    assert task.cancelled()
    assert fake.calls == made
    assert fake.in_flight == 0


@simulated_time
async def test_nothing_is_tried_again_once_content_was_delivered() -> None:
    """After the first piece the call is committed; before it, the consumer never notices the retry."""
    fake = FakeTransport([ServerError("early"), ["Hel", "lo"], ["par", ServerError("late")], "never"])
    stack = build_stack([retry()], fake)
    async with stack.stream(REQUEST) as stream:
        assert [event.text async for event in stream] == ["Hel", "lo"]

    with pytest.raises(ServerError, match="late"):
        async with stack.stream(REQUEST) as stream:
            await stream.complete()

    assert fake.calls == 3
    assert stack.stats()["retry.committed"] == 1


@simulated_time
async def test_the_servers_wait_is_kept_in_full_with_jitter_above_it() -> None:
    """Never below the hint, although the backoff is shorter; clients that were told the same come back apart."""
    waits = []
    for seed in range(20):
        fake = FakeTransport([RateLimitError("slow", retry_after=10), "hello"])
        start = now()
        await build_stack([retry(rng=random.Random(seed))], fake)(REQUEST)
        waits.append(now() - start)

    assert all(10 <= wait <= 11.1 for wait in waits)
    assert len({round(wait, 3) for wait in waits}) > 10


@simulated_time
async def test_a_backoff_longer_than_the_hint_counts() -> None:
    """The hint is a floor, not a ceiling."""
    start = now()
    await build_stack([retry(backoff=Constant(30))], FakeTransport([RateLimitError("", retry_after=1), "hi"]))(REQUEST)

    assert now() - start >= 30


@simulated_time
async def test_a_wait_beyond_the_bound_is_not_waited_for() -> None:
    """An hour is neither slept nor shortened: the error comes at once."""
    fake = FakeTransport([RateLimitError("come back tomorrow", retry_after=3_600), "never"])
    start = now()

    error = await outcome(build_stack([retry(retry_after_max=60)], fake))

    assert isinstance(error, RateLimitError)
    assert (now() - start, fake.calls) == (0, 1)


@simulated_time
async def test_it_never_sleeps_past_the_deadline() -> None:
    """A wait that leaves no time for a try is not begun; the real error is raised, not a timeout."""
    fake = FakeTransport([ServerError("down")], repeat=True)
    stack = build_stack([Timeout(10), retry(attempts=9, backoff=Constant(4))], fake)
    start = now()

    error = await outcome(stack)

    assert isinstance(error, ServerError)
    assert now() - start == pytest.approx(8)
    assert fake.calls == 3


@simulated_time
async def test_an_open_circuit_is_only_tried_again_after_its_wait() -> None:
    """By default not at all; who asks for it waits until the breaker probes."""
    fake = FakeTransport([ServerError("down"), "hello"])
    breaker = CircuitBreaker(fail_max=1, reset_timeout=5, success_threshold=1)
    stack = build_stack([retry(retry_on=lambda error: True), breaker], fake)
    start = now()

    assert await outcome(stack) == "hello"
    assert now() - start >= 5


@simulated_time
async def test_a_class_of_errors_can_have_a_policy_of_its_own() -> None:
    """The nearest class wins; what is not listed waits by the default."""
    policies = {LLMError: Constant(7), RateLimitError: Constant(20), NetworkError: Constant(0)}
    fake = FakeTransport([RateLimitError("a"), NetworkError("b"), OverloadedError("c"), "hello"])

    response = await build_stack([retry(attempts=4, backoff=policies)], fake)(REQUEST)

    assert [attempt.backoff for attempt in response.call.attempts] == [20, 0, 7, None]


@simulated_time
async def test_a_budget_bounds_the_storm_of_an_outage() -> None:
    """Under 100 % failure a thousand calls make no more retries than there are in reserve."""
    fake = FakeTransport(ServerError("down"))
    stack = build_stack([retry(attempts=5, budget=RetryBudget(capacity=20, ratio=0.1))], fake)

    await asyncio.gather(*(outcome(stack) for _ in range(1_000)))

    assert fake.calls == 1_020


@simulated_time
async def test_successes_refill_the_budget() -> None:
    """Ten successes at a ratio of a tenth buy one retry."""
    budget = RetryBudget(capacity=1, ratio=0.1)
    fake = FakeTransport([ServerError("a"), *["ok"] * 11, ServerError("b"), "ok", ServerError("c"), "never"])
    stack = build_stack([retry(budget=budget)], fake)
    for _ in range(11):
        assert await outcome(stack) == "ok"

    assert await outcome(stack) == "ok"
    assert isinstance(await outcome(stack), ServerError)


@simulated_time
async def test_mistakes_of_callers_do_not_use_the_budget_up() -> None:
    """Only retryable failures are paid for."""
    budget = RetryBudget(capacity=3)
    stack = build_stack([retry(budget=budget)], FakeTransport(InvalidRequestError("bad")))

    for _ in range(50):
        await outcome(stack)

    assert budget.balance == 3


@simulated_time
async def test_a_call_that_leaves_something_behind_is_repeated_only_if_nothing_was_done() -> None:
    """With `store`, a server error may have stored; a refused connection has not."""
    stored = REQUEST.with_params(store=True)
    fake = FakeTransport([ServerError("late"), NetworkError("refused", processed=False), "hello"])
    stack = build_stack([retry()], fake)

    assert isinstance(await outcome(stack, stored), ServerError)
    assert await outcome(stack, stored) == "hello"


@simulated_time
async def test_the_classifier_can_be_replaced() -> None:
    """`retry_on` decides alone."""
    fake = FakeTransport([KeyError("mine"), "hello"])

    assert await outcome(build_stack([retry(retry_on=lambda error: isinstance(error, KeyError))], fake)) == "hello"


@pytest.mark.parametrize("chosen", [KeyError, (KeyError, OSError), [KeyError]])
@simulated_time
async def test_classes_of_errors_say_what_is_tried_again(chosen: Any) -> None:
    """A class, or several, in place of a function: these are tried again, others are not."""
    fake = FakeTransport([KeyError("mine"), "hello", ServerError("not chosen")])
    stack = build_stack([retry(retry_on=chosen)], fake)

    assert await outcome(stack) == "hello"
    assert isinstance(await outcome(stack), ServerError)
    assert fake.calls == 3


@simulated_time
async def test_a_learning_backoff_slows_first_tries_after_throttling() -> None:
    """Until something was throttled it adds nothing; then the client itself slows down."""
    fake = FakeTransport([RateLimitError("slow")] * 4 + ["ok"] * 40)
    stack = build_stack([Retry(attempts=9, backoff=Adaptive(base=0.1), budget=None)], fake)
    await stack(REQUEST)
    start = now()

    for _ in range(5):
        await stack(REQUEST)

    assert now() > start


@pytest.mark.parametrize("hint", [float("nan"), float("-inf"), -5.0, 0.0])
@simulated_time
async def test_a_wait_that_is_no_wait_is_ignored(hint: float) -> None:
    """A handler may hand on any number that a server sent."""
    assert (
        await outcome(build_stack([retry()], FakeTransport([RateLimitError("", retry_after=hint), "hello"]))) == "hello"
    )


@simulated_time
async def test_a_turn_that_is_not_used_is_given_back() -> None:
    """Callers who cannot wait for their turn do not make the next one wait longer."""
    fake = FakeTransport([RateLimitError("slow")] * 3 + ["ok"] * 60)
    stack = build_stack([Retry(attempts=9, backoff=Adaptive(base=0.1), budget=None)], fake)
    await stack(REQUEST)
    for _ in range(40):
        await outcome(stack, REQUEST.evolve(deadline=now() + 0.001))
    start = now()

    await stack(REQUEST)

    assert now() - start < 10


@simulated_time
async def test_a_stack_counts_what_retry_does() -> None:
    """Tries, successes, failures, seconds waited, and why it gave up."""
    fake = FakeTransport([ServerError("a"), "ok", InvalidRequestError("b")])
    stack = build_stack([retry(backoff=Constant(3))], fake)
    await outcome(stack)
    await outcome(stack)

    stats = stack.stats()

    assert (stats["retry.attempts"], stats["retry.successful"], stats["retry.failed"]) == (3, 1, 1)
    assert (stats["retry.delay"], stats["retry.not_retryable"], stats["retry.recovered"]) == (3, 1, 1)


@given(
    st.lists(st.sampled_from([ServerError, RateLimitError, InvalidRequestError, None]), min_size=6, max_size=6),
    st.integers(1, 5),
)
def test_tries_are_what_the_script_and_the_limit_say(script: list[Any], attempts: int) -> None:
    """Whatever fails in whatever order: the number of requests is that of a hand-written loop."""

    @simulated_time
    async def play() -> None:
        fake = FakeTransport(["ok" if kind is None else kind("x") for kind in script])
        await outcome(build_stack([retry(attempts=attempts, backoff=Exponential(base=0.1))], fake))

        expected = 0
        for kind in script[:attempts]:
            expected += 1
            if kind is None or kind is InvalidRequestError:
                break
        assert fake.calls == expected

    play()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"attempts": 0}, "leave Retry out"),
        ({"attempts": 2.5}, "Retry.attempts"),
        ({"attempts": True}, "Retry.attempts"),
        ({"retry_on": "429"}, "Retry.retry_on"),
        ({"retry_on": [ServerError, "429"]}, "Retry.retry_on"),
        ({"backoff": Exponential}, "Retry.backoff"),
        ({"backoff": 3}, "Retry.backoff"),
        ({"backoff": {"RateLimitError": Constant(1)}}, "error classes"),
        ({"retry_after_max": float("nan")}, "Retry.retry_after_max"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], says: str) -> None:
    """By field, value and remedy, when it is built."""
    with pytest.raises(ConfigurationError, match=says):
        Retry(**settings)


class Broken:
    """A backoff of a user, with a mistake in it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def delay(self, attempt: int, error: BaseException | None = None, previous: float | None = None) -> float:
        return self.seconds


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
@simulated_time
async def test_a_backoff_that_gives_no_wait_is_reported_by_name(seconds: float) -> None:
    """A NaN would be slept as nothing at all; the provider's error stays as the cause."""
    stack = build_stack([Retry(backoff=Broken(seconds))], FakeTransport([ServerError("down"), "never"]))

    with pytest.raises(ConfigurationError, match=r"Broken\.delay must give seconds") as raised:
        await stack(Request.chat("m", "hi"))

    assert isinstance(raised.value.__cause__, ServerError)
