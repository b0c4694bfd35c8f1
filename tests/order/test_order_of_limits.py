"""Which limits of time never fire, or fire at what they were not meant for: in one order and not in the other."""

from __future__ import annotations

import asyncio

from layers_for_order import ASK, Build, ConcurrencyLimit, RateLimit, attempt, in_both_orders, tries

from llamina import CircuitBreaker, CircuitOpenError, Dedup, LLMError, RateLimitError, Response, Timeout
from llamina.testing import FakeTransport, simulated_time

HANGS = [3600.0, "never"]


async def seconds_and_requests(on: Build) -> tuple[float, int]:
    """How long one call takes to a provider that hangs, and how many requests it makes."""
    stack = on(FakeTransport([HANGS], repeat=True))
    loop = asyncio.get_running_loop()
    started = loop.time()
    await attempt(stack)
    return round(loop.time() - started, 3), stack.transport.calls


@simulated_time
async def test_a_total_limit_inside_retry_limits_nothing_in_all() -> None:
    """Sixty seconds were meant for all tries, which take ninety."""
    inside, outside = await in_both_orders(
        "total-timeout-inside-retry",
        seconds_and_requests,
        wrong=lambda: [tries(3), Timeout(60), Timeout(30)],
        right=lambda: [Timeout(60), tries(3), Timeout(30)],
    )

    assert (inside, outside) == ((90.0, 3), (60.0, 2))


@simulated_time
async def test_a_limit_inside_a_shorter_one_leaves_no_time_for_a_second_try() -> None:
    """Three tries are allowed, and one that hangs is all there is."""
    inside, outside = await in_both_orders(
        "timeout-inside-shorter-timeout",
        seconds_and_requests,
        wrong=lambda: [Timeout(30), tries(3), Timeout(60)],
        right=lambda: [Timeout(60), tries(3), Timeout(30)],
    )

    assert (inside, outside) == ((30.0, 1), (60.0, 2))


@simulated_time
async def test_without_a_limit_for_a_try_one_uses_up_all_the_time() -> None:
    """The same sixty seconds are one try, or six."""
    inside, outside = await in_both_orders(
        "retry-without-attempt-timeout",
        seconds_and_requests,
        wrong=lambda: [Timeout(60), tries(9)],
        right=lambda: [Timeout(60), tries(9), Timeout(10)],
    )

    assert (inside, outside) == ((60.0, 1), (60.0, 6))


@simulated_time
async def test_retry_inside_a_limit_of_the_first_event_gets_no_second_try() -> None:
    """The first stream never begins; the second would have, had the limit been one of the try."""

    async def streamed(on: Build) -> str:
        stack = on(FakeTransport([HANGS, "second"]))
        try:
            async with stack.stream(ASK) as stream:
                return (await stream.complete()).text
        except LLMError as error:
            return type(error).__name__

    inside, outside = await in_both_orders(
        "retry-inside-stream-timeout",
        streamed,
        wrong=lambda: [Timeout(first_event=5), tries()],
        right=lambda: [tries(), Timeout(first_event=5)],
    )

    assert (inside, outside) == ("RequestTimeoutError", "second")


@simulated_time
async def test_retry_inside_a_flight_waits_longer_than_any_caller() -> None:
    """The server says "in 50 s" to callers who have 10: they hear of it at once, or wait ten seconds for nothing."""

    async def outcome(on: Build) -> tuple[str, float]:
        stack = on(FakeTransport([[0.5, RateLimitError("slow down", retry_after=50)], "late"]))
        loop = asyncio.get_running_loop()
        started = loop.time()
        results = await asyncio.gather(*[attempt(stack) for _ in range(3)])
        return type(results[0]).__name__, round(loop.time() - started, 3)

    inside, outside = await in_both_orders(
        "retry-inside-unlimited-flight",
        outcome,
        wrong=lambda: [Timeout(10), Dedup(), tries()],
        right=lambda: [Timeout(10), Dedup(), Timeout(9), tries()],
    )

    assert (inside, outside) == (("RequestTimeoutError", 10.0), ("RateLimitError", 0.5))


@simulated_time
async def test_callers_of_a_flight_without_limit_join_one_that_hangs_again_and_again() -> None:
    """One request hangs; a caller every five seconds, each with ten of patience: none of them gets an answer."""

    async def answered(on: Build) -> int:
        stack = on(FakeTransport([HANGS, *["x"] * 99]))
        callers = []
        for _ in range(20):
            callers.append(asyncio.ensure_future(attempt(stack)))
            await asyncio.sleep(5)
        return sum([isinstance(result, Response) for result in await asyncio.gather(*callers)])

    inside, outside = await in_both_orders(
        "retry-inside-unlimited-flight",
        answered,
        wrong=lambda: [Timeout(10), Dedup(), tries()],
        right=lambda: [Timeout(10), Dedup(), tries(), Timeout(6)],
    )

    assert (inside, outside) == (0, 20)


@simulated_time
async def test_a_queue_inside_the_limit_of_a_try_is_cut_as_if_the_provider_were_slow() -> None:
    """Each answer takes two seconds of three; who waits for two others is cut, loses his place, and is cut again."""

    async def outcomes(on: Build) -> list[str]:
        stack = on(FakeTransport([[2.0, "x"]], repeat=True))
        results = await asyncio.gather(*[attempt(stack, ASK.evolve(model=str(number))) for number in range(4)])
        return [type(result).__name__ for result in results]

    inside, outside = await in_both_orders(
        "queue-inside-attempt-timeout",
        outcomes,
        wrong=lambda: [tries(2), Timeout(3), ConcurrencyLimit(1)],
        right=lambda: [tries(2), ConcurrencyLimit(1), Timeout(3)],
    )

    assert inside == ["Response"] * 2 + ["RequestTimeoutError"] * 2
    assert outside == ["Response"] * 4


@simulated_time
async def test_a_queue_inside_a_breaker_that_watches_for_slowness_opens_it() -> None:
    """Each answer comes at once; only the queue is slow, and the circuit opens."""

    async def refused(on: Build) -> bool:
        stack = on(FakeTransport("x"))
        for number in range(4):
            await attempt(stack, ASK.evolve(model=str(number)))
        return isinstance(await attempt(stack), CircuitOpenError)

    def breaker() -> CircuitBreaker:
        return CircuitBreaker(slow_call=20, slow_rate=0.5, minimum_calls=4, window=600)

    inside, outside = await in_both_orders(
        "queue-inside-slow-breaker",
        refused,
        wrong=lambda: [breaker(), RateLimit(1, 60)],
        right=lambda: [RateLimit(1, 60), breaker()],
    )

    assert (inside, outside) == (True, False)
