"""What a cache or a shared flight must not stand inside of: each harm, in one order and not in the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from layers_for_order import (
    ASK,
    Build,
    ConcurrencyLimit,
    Guard,
    Hedge,
    Personal,
    RateLimit,
    ReAsk,
    Shelf,
    Stamp,
    Tenants,
    attempt,
    in_both_orders,
    log,
    of_user,
    says_who_asked,
    tries,
)

from llamina import Cache, CircuitBreaker, CircuitOpenError, Dedup, InvalidRequestError, RetryBudget, ServerError
from llamina.testing import FakeTransport, simulated_time

SHARING = pytest.mark.parametrize(("word", "Sharing"), [("cache", Cache), ("dedup", Dedup)])
DOWN = ServerError("down")


async def crowd(stack: Any, size: int = 5) -> list[Any]:
    """What *size* callers get who ask the same at the same time."""
    return await asyncio.gather(*[attempt(stack) for _ in range(size)])


@simulated_time
async def test_a_cache_inside_retry_is_searched_at_each_try_and_refills_its_budget() -> None:
    """Three look-ups for one call; and hits pay for retries as if a provider that is down had answered."""

    async def outcome(on: Build) -> tuple[int, float]:
        stack = on(FakeTransport(["stored", *[DOWN] * 3]))
        retry = next(layer for layer in stack.layers if hasattr(layer, "budget"))
        await attempt(stack)
        await attempt(stack, ASK.evolve(model="other"))
        for _ in range(10):
            await attempt(stack)
        return stack.stats()["cache.misses"], retry.budget.balance

    inside, outside = await in_both_orders(
        "cache-inside-retry",
        outcome,
        wrong=lambda: [tries(budget=RetryBudget(10, ratio=0.1)), Cache()],
        right=lambda: [Cache(), tries(budget=RetryBudget(10, ratio=0.1))],
    )

    assert inside == (4, pytest.approx(9.0))
    assert outside == (2, pytest.approx(8.0))


@simulated_time
async def test_a_cache_inside_dedup_gives_an_old_answer_to_who_asked_for_a_new_one() -> None:
    """`no_cache` is no part of the identity, so its caller joins the flight of one who takes what is stored."""

    async def outcome(on: Build) -> str:
        stack = on(FakeTransport(["old", "new"]))
        await stack(ASK)
        _, fresh = await asyncio.gather(stack(ASK), stack(ASK.with_cache(no_cache=True)))
        return fresh.text

    inside, outside = await in_both_orders(
        "cache-inside-dedup", outcome, wrong=lambda: [Dedup(), Cache(Shelf())], right=lambda: [Cache(Shelf()), Dedup()]
    )

    assert (inside, outside) == ("old", "new")


@simulated_time
async def test_a_cache_inside_a_breaker_is_refused_and_hides_failures() -> None:
    """A hit after each failure: the row never gets to two. And once open, not even a hit goes through."""

    async def outcome(on: Build) -> tuple[int, bool]:
        stack = on(FakeTransport(["stored", *[DOWN] * 9]))
        (breaker,) = [layer for layer in stack.layers if isinstance(layer, CircuitBreaker)]
        await stack(ASK)
        for number in range(9):
            await attempt(stack, ASK.evolve(model=f"down {number}"))
            await stack(ASK)
        sent = stack.transport.calls - 1
        breaker.isolate()
        return sent, isinstance(await attempt(stack), CircuitOpenError)

    inside, outside = await in_both_orders(
        "cache-inside-breaker",
        outcome,
        wrong=lambda: [CircuitBreaker(fail_max=2), Cache()],
        right=lambda: [Cache(), CircuitBreaker(fail_max=2)],
    )

    assert (inside, outside) == ((9, True), (2, False))


@simulated_time
async def test_a_flight_inside_a_breaker_counts_its_failure_for_each_caller() -> None:
    """One failure, five who joined: a circuit for five failures opens at the first."""

    async def open_after_one(on: Build) -> bool:
        stack = on(FakeTransport([[1.0, DOWN], "up"]))
        await crowd(stack, 5)
        return isinstance(await attempt(stack), CircuitOpenError)

    inside, outside = await in_both_orders(
        "dedup-inside-breaker",
        open_after_one,
        wrong=lambda: [CircuitBreaker(fail_max=5), Dedup()],
        right=lambda: [Dedup(), CircuitBreaker(fail_max=5)],
    )

    assert (inside, outside) == (True, False)


@SHARING
@simulated_time
async def test_sharing_inside_a_rate_limit_takes_a_turn_for_each_caller(word: str, Sharing: Any) -> None:
    """Five equal calls need one request, and take five turns: four minutes instead of none."""

    async def turns_and_minutes(on: Build) -> tuple[int, float]:
        stack = on(FakeTransport([[0.1, "x"]], repeat=True))
        (limit,) = [layer for layer in stack.layers if isinstance(layer, RateLimit)]
        loop = asyncio.get_running_loop()
        started = loop.time()
        if word == "cache":
            await attempt(stack)
        await crowd(stack, 4 if word == "cache" else 5)
        return len(limit.turns), round((loop.time() - started) / 60)

    inside, outside = await in_both_orders(
        f"{word}-inside-rate-limit",
        turns_and_minutes,
        wrong=lambda: [RateLimit(1, 60), Sharing()],
        right=lambda: [Sharing(), RateLimit(1, 60)],
    )

    assert (inside, outside) == ((5, 4), (1, 0))


@simulated_time
async def test_a_cache_inside_a_concurrency_limit_lets_hits_wait() -> None:
    """A hit takes no time, and waits ten seconds for the slot of a slow call."""

    async def seconds_of_a_hit(on: Build) -> float:
        stack = on(FakeTransport(["stored", [10.0, "slow"]]))
        loop = asyncio.get_running_loop()
        await stack(ASK)
        slow = asyncio.ensure_future(stack(ASK.evolve(model="slow")))
        await asyncio.sleep(0)
        started = loop.time()
        await stack(ASK)
        took = loop.time() - started
        await slow
        return round(took, 3)

    inside, outside = await in_both_orders(
        "cache-inside-concurrency-limit",
        seconds_of_a_hit,
        wrong=lambda: [ConcurrencyLimit(1), Cache()],
        right=lambda: [Cache(), ConcurrencyLimit(1)],
    )

    assert (inside, outside) == (10.0, 0.0)


@simulated_time
async def test_a_flight_inside_a_concurrency_limit_is_joined_by_nobody() -> None:
    """Who waits for a slot cannot join: a hundred callers make a hundred requests instead of one."""

    async def requests(on: Build) -> int:
        stack = on(FakeTransport([[1.0, "x"]], repeat=True))
        await crowd(stack, 100)
        return stack.transport.calls

    inside, outside = await in_both_orders(
        "dedup-inside-concurrency-limit",
        requests,
        wrong=lambda: [ConcurrencyLimit(1), Dedup()],
        right=lambda: [Dedup(), ConcurrencyLimit(1)],
    )

    assert (inside, outside) == (100, 1)


@simulated_time
async def test_a_flight_inside_retry_is_tried_again_by_each_caller() -> None:
    """A flight that failed is begun again by everyone who joined it, at a moment of his own."""

    async def requests(on: Build) -> int:
        stack = on(FakeTransport([[0.05, DOWN]] + [[0.05, "up"]] * 100))
        await crowd(stack, 100)
        return stack.transport.calls

    class Apart:
        """Waits that are no two alike."""

        def __init__(self) -> None:
            self.waited = 0.0

        def delay(self, attempt: int, error: Any = None, previous: float | None = None) -> float:
            self.waited += 1.0
            return self.waited

    inside, outside = await in_both_orders(
        "dedup-inside-retry",
        requests,
        wrong=lambda: [tries(backoff=Apart(), budget=None), Dedup()],
        right=lambda: [Dedup(), tries(backoff=Apart(), budget=None)],
    )

    assert (inside, outside) == (101, 2)


@simulated_time
async def test_a_flight_inside_a_hedge_is_joined_by_the_second_branch() -> None:
    """The first request hangs for an hour; the second branch joins it instead of asking anew."""

    async def seconds(on: Build) -> float:
        stack = on(FakeTransport([[3600.0, "late"], "at once"]))
        loop = asyncio.get_running_loop()
        started = loop.time()
        await stack(ASK)
        return round(loop.time() - started, 3)

    inside, outside = await in_both_orders(
        "dedup-inside-hedge", seconds, wrong=lambda: [Hedge(1), Dedup()], right=lambda: [Dedup(), Hedge(1)]
    )

    assert (inside, outside) == (3600.0, 1.0)


@simulated_time
async def test_a_cache_inside_a_re_ask_stores_what_did_not_pass() -> None:
    """The first answer is bad and is stored: the call fails, and so does each call after it."""

    async def outcome(on: Build) -> tuple[bool, int]:
        stack = on(FakeTransport(["no", "yes", "yes"]))
        failed = [isinstance(await attempt(stack), InvalidRequestError) for _ in range(2)]
        return all(failed), stack.transport.calls

    inside, outside = await in_both_orders(
        "cache-inside-reask", outcome, wrong=lambda: [ReAsk(), Cache()], right=lambda: [Cache(), ReAsk()]
    )

    assert (inside, outside) == ((True, 1), (False, 2))


@SHARING
@simulated_time
async def test_sharing_outside_of_the_tags_mixes_tenants(word: str, Sharing: Any) -> None:
    """Both tenants ask the same: what was said to the first is given to the second."""

    async def requests(on: Build) -> int:
        stack = on(FakeTransport([[0.1, "x"]], repeat=True))
        await asyncio.gather(stack(of_user("ann")), stack(of_user("bob")))
        await asyncio.gather(stack(of_user("ann")), stack(of_user("bob")))
        return stack.transport.calls

    inside, outside = await in_both_orders(
        f"tags-inside-{word}",
        requests,
        wrong=lambda: [Sharing(), Tenants()],
        right=lambda: [Tenants(), Sharing()],
    )

    # A cache: both missed at once, then hits. In the wrong order one entry serves both; a flight is shared each time.
    assert (inside, outside) == ((2, 2) if word == "cache" else (2, 4))


@SHARING
@simulated_time
async def test_sharing_inside_a_stamp_shares_nothing(word: str, Sharing: Any) -> None:
    """Each request has a number of its own, so no two are equal."""

    async def requests(on: Build) -> int:
        stack = on(FakeTransport([[0.1, "x"]], repeat=True))
        if word == "cache":
            await stack(ASK)
        await crowd(stack, 4 if word == "cache" else 5)
        return stack.transport.calls

    inside, outside = await in_both_orders(
        f"{word}-inside-stamp", requests, wrong=lambda: [Stamp(), Sharing()], right=lambda: [Sharing(), Stamp()]
    )

    assert (inside, outside) == (5, 1)


@SHARING
@simulated_time
async def test_sharing_outside_of_a_rewrite_mixes_users(word: str, Sharing: Any) -> None:
    """What is sent differs by user, what is shared does not: bob reads an answer to ann."""

    async def answer_to_bob(on: Build) -> str:
        stack = on(FakeTransport(says_who_asked))
        if word == "cache":
            await stack(of_user("ann"))
            return (await stack(of_user("bob"))).text
        _, bobs = await asyncio.gather(stack(of_user("ann")), stack(of_user("bob")))
        return bobs.text

    inside, outside = await in_both_orders(
        f"rewrite-inside-{word}",
        answer_to_bob,
        wrong=lambda: [Sharing(), Personal()],
        right=lambda: [Personal(), Sharing()],
    )

    assert (inside, outside) == ("hi, I am ann", "hi, I am bob")


@simulated_time
async def test_a_guard_inside_a_cache_is_passed_by_hits() -> None:
    """A word that is forbidden since yesterday is answered from the day before."""

    async def refused(on: Build) -> bool:
        stack = on(FakeTransport("x"))
        (guard,) = [layer for layer in stack.layers if isinstance(layer, Guard)]
        await stack(ASK)
        guard.forbidden.append("hi")
        return isinstance(await attempt(stack), InvalidRequestError)

    inside, outside = await in_both_orders(
        "guard-inside-cache", refused, wrong=lambda: [Cache(), Guard()], right=lambda: [Guard(), Cache()]
    )

    assert (inside, outside) == (False, True)


@SHARING
@simulated_time
async def test_a_logger_inside_sharing_does_not_see_who_shared(word: str, Sharing: Any) -> None:
    """Five calls, one record."""

    async def records(on: Build) -> int:
        stack = on(FakeTransport([[0.1, "x"]], repeat=True))
        if word == "cache":
            await stack(ASK)
        await crowd(stack, 4 if word == "cache" else 5)
        return stack.stats()["logger.records"]

    inside, outside = await in_both_orders(
        f"logger-inside-{word}", records, wrong=lambda: [Sharing(), log()], right=lambda: [log(), Sharing()]
    )

    assert (inside, outside) == (1, 5)
