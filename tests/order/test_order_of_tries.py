"""What multiplies tries, or keeps them from helping: each harm, in one order and not in the other."""

from __future__ import annotations

import asyncio

from layers_for_order import (
    ASK,
    PAID,
    Build,
    ConcurrencyLimit,
    Fallback,
    Hedge,
    RateLimit,
    ReAsk,
    attempt,
    in_both_orders,
    log,
    tries,
)

from llamina import CircuitBreaker, CircuitOpenError, Constant, Request, Response, ServerError
from llamina.testing import FakeTransport, answer, simulated_time

DOWN = ServerError("down")


async def requests(on: Build) -> int:
    """How many requests one call makes to a provider that is down."""
    stack = on(FakeTransport(DOWN))
    await attempt(stack)
    return stack.transport.calls


def only_the_first_choice_is_down(request: Request) -> Response | ServerError:
    """An item for a fake."""
    return DOWN if request.model == "m" else answer("substitute")


@simulated_time
async def test_two_owners_of_tries_multiply_them() -> None:
    """Three tries in each are nine requests; one owner makes three."""
    inside, outside = await in_both_orders(
        "retry-inside-retry", requests, wrong=lambda: [tries(3), tries(3)], right=lambda: [tries(3)]
    )

    assert (inside, outside) == (9, 3)


@simulated_time
async def test_retry_inside_a_hedge_doubles_the_load_of_a_provider_that_fails() -> None:
    """The wait after a failure looks slow, so the second branch makes three tries more."""
    inside, outside = await in_both_orders(
        "retry-inside-hedge",
        requests,
        wrong=lambda: [Hedge(1), tries(3, backoff=Constant(2))],
        right=lambda: [tries(3, backoff=Constant(2)), Hedge(1)],
    )

    assert (inside, outside) == (6, 3)


@simulated_time
async def test_a_re_ask_inside_retry_repeats_rounds_that_were_paid() -> None:
    """The second round fails once: it alone is tried again, or the first is asked and paid a second time."""

    async def paid(on: Build) -> tuple[str, int]:
        second_round = iter([DOWN, PAID.with_text("yes")])
        stack = on(FakeTransport(lambda request: next(second_round) if request.messages[1:] else PAID.with_text("no")))
        response = await stack(ASK)
        return response.text, stack.transport.billed.output_tokens

    inside, outside = await in_both_orders(
        "reask-inside-retry",
        paid,
        wrong=lambda: [tries(), ReAsk(telling=True)],
        right=lambda: [ReAsk(telling=True), tries()],
    )

    assert (inside, outside) == (("yes", 30_000), ("yes", 20_000))


@simulated_time
async def test_a_fallback_inside_retry_gives_up_the_first_choice_at_its_first_hiccup() -> None:
    """One failure of the first choice: the substitute answers, though a second try would have."""

    async def model(on: Build) -> str:
        stack = on(FakeTransport([DOWN, "x"]))
        return (await stack(ASK)).model

    inside, outside = await in_both_orders(
        "fallback-inside-retry", model, wrong=lambda: [tries(), Fallback()], right=lambda: [Fallback(), tries()]
    )

    assert (inside, outside) == ("dear", "m")


@simulated_time
async def test_a_fallback_inside_a_breaker_hides_that_the_first_choice_is_down() -> None:
    """Twenty calls ask the first choice in vain, where its own circuit opens after five."""

    async def asked_in_vain(on: Build) -> int:
        stack = on(FakeTransport(only_the_first_choice_is_down))
        answers = [await attempt(stack) for _ in range(20)]
        assert all([answer.text == "substitute" for answer in answers])
        return [request.model for request in stack.transport.requests].count("m")

    inside, outside = await in_both_orders(
        "fallback-inside-breaker",
        asked_in_vain,
        wrong=lambda: [CircuitBreaker(5, key="model"), Fallback()],
        right=lambda: [Fallback(), CircuitBreaker(5, key="model")],
    )

    assert (inside, outside) == (20, 5)


@simulated_time
async def test_retry_inside_a_breaker_opens_it_later() -> None:
    """A circuit for five failures gets one verdict for three tries: it opens after fifteen."""

    async def until_open(on: Build) -> int:
        stack = on(FakeTransport(DOWN))
        for _ in range(20):
            await attempt(stack)
        return stack.transport.calls

    inside, outside = await in_both_orders(
        "retry-inside-breaker",
        until_open,
        wrong=lambda: [CircuitBreaker(5), tries(3)],
        right=lambda: [tries(3), CircuitBreaker(5)],
    )

    assert (inside, outside) == (15, 5)


@simulated_time
async def test_retry_inside_a_rate_limit_sends_more_than_the_limit() -> None:
    """A limit of one a minute: three requests in the first minute, where each try should take its turn."""

    async def in_the_first_minute(on: Build) -> int:
        stack = on(FakeTransport(DOWN))
        call = asyncio.ensure_future(attempt(stack))
        await asyncio.sleep(59)
        sent = stack.transport.calls
        await call
        return sent

    inside, outside = await in_both_orders(
        "retry-inside-rate-limit",
        in_the_first_minute,
        wrong=lambda: [RateLimit(1, 60), tries(3)],
        right=lambda: [tries(3), RateLimit(1, 60)],
    )

    assert (inside, outside) == (3, 1)


@simulated_time
async def test_a_hedge_inside_a_rate_limit_sends_more_than_the_limit() -> None:
    """Two branches for one turn: two requests in the first minute."""

    async def in_the_first_minute(on: Build) -> int:
        stack = on(FakeTransport([[59.0, "x"]], repeat=True))
        await stack(ASK)
        return stack.transport.calls

    inside, outside = await in_both_orders(
        "hedge-inside-rate-limit",
        in_the_first_minute,
        wrong=lambda: [RateLimit(1, 60), Hedge(1)],
        right=lambda: [Hedge(1), RateLimit(1, 60)],
    )

    assert (inside, outside) == (2, 1)


@simulated_time
async def test_a_breaker_inside_a_rate_limit_lets_refused_calls_take_turns() -> None:
    """Three calls that the open circuit refuses: the probe after them waits three minutes for its turn."""

    async def turns(on: Build) -> int:
        stack = on(FakeTransport("x"))
        limit, breaker = sorted(stack.layers, key=lambda layer: isinstance(layer, CircuitBreaker))
        breaker.isolate()
        for _ in range(3):
            assert isinstance(await attempt(stack), CircuitOpenError)
        return len(limit.turns)

    inside, outside = await in_both_orders(
        "breaker-inside-rate-limit",
        turns,
        wrong=lambda: [RateLimit(1, 60), CircuitBreaker()],
        right=lambda: [CircuitBreaker(), RateLimit(1, 60)],
    )

    assert (inside, outside) == (3, 0)


@simulated_time
async def test_retry_inside_a_concurrency_limit_keeps_its_slot_while_it_waits() -> None:
    """The only slot is held through a backoff of ten seconds in which nothing is in flight."""

    async def seconds_of_the_second_call(on: Build) -> float:
        stack = on(FakeTransport([DOWN, "second", "first"]))
        loop = asyncio.get_running_loop()
        first = asyncio.ensure_future(stack(ASK))
        await asyncio.sleep(0)
        started = loop.time()
        await stack(ASK)
        took = round(loop.time() - started, 3)
        await first
        return took

    inside, outside = await in_both_orders(
        "retry-inside-concurrency-limit",
        seconds_of_the_second_call,
        wrong=lambda: [ConcurrencyLimit(1), tries(backoff=Constant(10, jitter="none"))],
        right=lambda: [tries(backoff=Constant(10, jitter="none")), ConcurrencyLimit(1)],
    )

    assert (inside, outside) == (10.0, 0.0)


@simulated_time
async def test_a_logger_inside_retry_takes_tries_for_calls() -> None:
    """One call of three tries: three records, two of which say that it failed."""

    async def records(on: Build) -> int:
        stack = on(FakeTransport([DOWN, DOWN, "x"]))
        await stack(ASK)
        return stack.stats()["logger.records"]

    inside, outside = await in_both_orders(
        "logger-inside-retry", records, wrong=lambda: [tries(), log()], right=lambda: [log(), tries()]
    )

    assert (inside, outside) == (3, 1)
