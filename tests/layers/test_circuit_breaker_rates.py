"""Opening on rates: the share of failures or of slow calls over the last seconds."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import CircuitBreaker, CircuitOpenError, Request, ServerError, build_stack
from llamina.policy.window import RateWindow
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("m", "hi")


def breaker(**changes: Any) -> CircuitBreaker:
    """A breaker that counts no failures in a row."""
    return CircuitBreaker(**({"fail_max": None, "jitter": 0, "success_threshold": 1} | changes))


async def ask(handler: Any, times: int) -> list[Any]:
    """The answer or the error of each call."""
    return [await _outcome(handler) for _ in range(times)]


async def _outcome(handler: Any) -> Any:
    try:
        return await handler(ASK)
    except (ServerError, CircuitOpenError) as error:
        return error


@simulated_time
async def test_eighty_percent_failures_open_the_circuit_though_never_five_come_in_a_row() -> None:
    """A count of failures in a row is blind to this; the rate is not."""
    down = ServerError("down")
    fake = FakeTransport([down, down, down, down, "up"] * 200)
    handler = breaker(failure_rate=0.5, minimum_calls=20)(fake)

    outcomes = await ask(handler, 1000)

    refused = [one for one in outcomes if isinstance(one, CircuitOpenError)]
    assert len(refused) >= 970
    assert "failure rate 80% of 20 calls in 60 s" in str(refused[0]) or fake.calls < 30


@simulated_time
async def test_below_the_minimum_of_calls_no_rate_opens() -> None:
    """Nineteen failures of nineteen calls are too few to judge by, the twentieth is enough."""
    layer = breaker(failure_rate=0.5, minimum_calls=20)
    handler = layer(FakeTransport(ServerError("down")))

    await ask(handler, 19)
    before = layer.state()
    await ask(handler, 1)

    assert (before, layer.state()) == ("closed", "open")


@simulated_time
async def test_failures_before_the_window_do_not_count() -> None:
    """A minute later they are forgotten."""
    layer = breaker(failure_rate=0.5, minimum_calls=10, window=60)
    handler = layer(FakeTransport(ServerError("down")))

    await ask(handler, 9)
    await asyncio.sleep(60)
    await ask(handler, 9)

    assert layer.state() == "closed"


@simulated_time
async def test_neutral_outcomes_are_in_no_rate() -> None:
    """They neither dilute the failures nor fill up the minimum of calls."""
    layer = breaker(failure_rate=1.0, minimum_calls=3)
    handler = layer(FakeTransport([ServerError("1"), KeyError("a"), ServerError("2"), KeyError("b"), ServerError("3")]))

    for _ in range(5):
        with pytest.raises((ServerError, KeyError)):
            await handler(ASK)

    assert layer.state() == "open"


@simulated_time
async def test_a_count_in_a_row_applies_beside_a_rate() -> None:
    """With a rate set, fail_max still opens the circuit unless it is None."""
    layer = breaker(fail_max=3, failure_rate=0.5, minimum_calls=100)
    handler = layer(FakeTransport(ServerError("down")))

    await ask(handler, 3)

    assert layer.state() == "open"


@simulated_time
async def test_the_window_is_empty_after_a_recovery() -> None:
    """What led to the opening does not lead to the next one."""
    layer = breaker(failure_rate=0.5, minimum_calls=4, window=3600, reset_timeout=60)
    down = ServerError("down")
    handler = layer(FakeTransport([down, down, down, down, "up", down, down, down]))
    await ask(handler, 4)
    await asyncio.sleep(60)

    await ask(handler, 4)

    assert layer.state() == "closed"


@simulated_time
async def test_slow_calls_open_the_circuit() -> None:
    """Answers that come, but too late, are a brown-out: half of ten calls took more than two seconds."""
    layer = breaker(slow_call=2, slow_rate=0.5, minimum_calls=10)
    handler = layer(FakeTransport([[3.0, "slow"], "fast"] * 10))

    outcomes = await ask(handler, 12)

    assert isinstance(outcomes[-1], CircuitOpenError)
    assert "slow-call rate" in str(outcomes[-1])
    assert outcomes[-1].__cause__ is None


@simulated_time
async def test_a_slow_probe_opens_the_circuit_again() -> None:
    """The service answers, but it has not recovered."""
    layer = breaker(slow_call=2, slow_rate=0.5, minimum_calls=1, reset_timeout=60)
    handler = layer(FakeTransport([[3.0, "slow"]], repeat=True))
    await ask(handler, 1)
    await asyncio.sleep(60)

    await ask(handler, 1)

    assert layer.state() == "open"
    assert layer.stats()["circuit.opened"] == 2


@simulated_time
async def test_a_slow_consumer_does_not_make_the_service_slow() -> None:
    """Time in which the consumer holds a stream back is not the service's."""
    layer = breaker(slow_call=2, slow_rate=0.1, minimum_calls=1)
    stack = build_stack([layer], FakeTransport([["a", "b", "c", "d"]]), stream_buffer=1)

    async with stack.stream(ASK) as stream:
        async for _event in stream:
            await asyncio.sleep(10)

    assert layer.state() == "closed"


@simulated_time
async def test_a_slow_stream_is_slow_although_its_consumer_is_too() -> None:
    """Only the time held back is taken off, not what the service took."""
    layer = breaker(slow_call=2, slow_rate=0.1, minimum_calls=1)
    stack = build_stack([layer], FakeTransport([["a", "b", "c", 3.0, "d"]]), stream_buffer=1)

    async with stack.stream(ASK) as stream:
        async for _event in stream:
            await asyncio.sleep(0.1)

    assert layer.state() == "open"


_times = st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(script=_times, start=st.floats(0, 2e9), seconds=st.sampled_from([0.01, 1.0, 7.3, 60.0, 3600.0]))
@settings(max_examples=200)
def test_a_window_holds_what_is_younger_and_nothing_older(
    script: list[tuple[float, bool, bool]], start: float, seconds: float
) -> None:
    """Between the exact counts over 95 % of the window and over all of it, after any sequence of calls."""
    window = RateWindow(seconds, 1, failure_rate=0.5)
    now, entries = start, []
    for gap, failed, slow in script:
        now += gap * seconds / 20
        entries.append((now, failed, slow))
        window.add(now, failed=failed, slow=slow)

        # A bucket's edge may fall on either side of a moment by the spacing of floats.
        blur = 1e-6 + now * 1e-12
        young = [entry for entry in entries if now - entry[0] < seconds * 0.95 - blur]
        alive = [entry for entry in entries if now - entry[0] <= seconds + blur]
        assert len(young) <= window.calls <= len(alive)
        assert sum(e[1] for e in young) <= window.failures <= sum(e[1] for e in alive)
        assert sum(e[2] for e in young) <= window.slow_calls <= sum(e[2] for e in alive)


def test_a_window_forgets_all_when_the_clock_is_another_one() -> None:
    """A moment from before the last one belongs to another clock: nothing is known of how old anything is."""
    window = RateWindow(60, 1, failure_rate=0.5)
    window.add(1_000_000.0, failed=True)

    window.add(10.0)

    assert (window.calls, window.failures) == (1, 0)


@pytest.mark.parametrize(("failures", "opens"), [(2, False), (3, True), (4, True)])
def test_the_rate_itself_is_enough(failures: int, opens: bool) -> None:
    """Three of thirty is 10 %, and opens at a rate of 0.1."""
    window = RateWindow(60, 30, failure_rate=0.1)

    for number in range(30):
        window.add(0.0, failed=number < failures)

    assert (window.verdict() is not None) is opens


@simulated_time
async def test_a_success_alone_never_opens() -> None:
    """The call that completes the minimum is judged when it failed, not when it succeeded."""
    layer = breaker(failure_rate=0.5, minimum_calls=4)
    handler = layer(FakeTransport([ServerError("1"), ServerError("2"), ServerError("3"), "up", ServerError("5")]))

    await ask(handler, 4)
    before = layer.state()
    await ask(handler, 1)

    assert (before, layer.state()) == ("closed", "open")


@simulated_time
async def test_the_window_counts_only_the_calls_of_its_own_time() -> None:
    """A call that began before the opening and ends after the recovery is in no window."""
    layer = breaker(fail_max=1, failure_rate=1.0, minimum_calls=1, reset_timeout=60)
    handler = layer(FakeTransport([[70.0, ServerError("late")], ServerError("down"), "up"]))
    old = asyncio.create_task(_outcome(handler))
    await asyncio.sleep(0)
    await ask(handler, 1)
    await asyncio.sleep(60)
    await ask(handler, 1)

    await old

    assert layer.state() == "closed"
