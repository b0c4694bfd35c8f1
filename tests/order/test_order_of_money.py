"""What a meter must not stand outside of: each harm in money, in one order and not in the other."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from layers_for_order import (
    ASK,
    CENT,
    PAID,
    PRICES,
    Build,
    Fallback,
    Hedge,
    ReAsk,
    Tenants,
    Upgrade,
    attempt,
    in_both_orders,
    of_user,
    purse,
    spent,
    tries,
)

from llamina import BudgetExceededError, Cache, CircuitBreaker, CircuitOpenError, CostMeter, Dedup, ServerError
from llamina.testing import FakeTransport, simulated_time

DEAD_LATE = ServerError("died late", usage=CENT)
ENOUGH_FOR_ONE = "0.015"


async def spent_by_one_call(on: Build, *script: object) -> Decimal:
    """USD that one call spends of a budget that has room for one try."""
    stack = on(FakeTransport(list(script)))
    await attempt(stack)
    return spent(stack)


@simulated_time
async def test_a_cache_inside_a_budget_is_refused_when_the_money_is_spent() -> None:
    """A hit costs nothing; after the first call nothing but a hit could be paid."""

    async def refused(on: Build) -> bool:
        stack = on(FakeTransport(PAID))
        await stack(ASK)
        return isinstance(await attempt(stack), BudgetExceededError)

    inside, outside = await in_both_orders(
        "cache-inside-budget",
        refused,
        wrong=lambda: [purse(ENOUGH_FOR_ONE), Cache()],
        right=lambda: [Cache(), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (True, False)


@simulated_time
async def test_a_flight_inside_a_budget_is_held_for_by_everyone_who_joins() -> None:
    """One request for five callers costs a cent; four of them are refused for want of another."""

    async def refused(on: Build) -> int:
        stack = on(FakeTransport([[1.0, PAID]]))
        results = await asyncio.gather(*[attempt(stack) for _ in range(5)])
        return sum([isinstance(result, BudgetExceededError) for result in results])

    inside, outside = await in_both_orders(
        "dedup-inside-budget",
        refused,
        wrong=lambda: [purse(ENOUGH_FOR_ONE), Dedup()],
        right=lambda: [Dedup(), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (4, 0)


@simulated_time
async def test_retry_inside_a_budget_overspends_it() -> None:
    """Three tries at a cent each, on a budget of one and a half."""
    inside, outside = await in_both_orders(
        "retry-inside-budget",
        lambda on: spent_by_one_call(on, *[DEAD_LATE] * 3),
        wrong=lambda: [purse(ENOUGH_FOR_ONE), tries(3)],
        right=lambda: [tries(3), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (Decimal("0.03"), Decimal("0.01"))


@simulated_time
async def test_a_re_ask_inside_a_budget_overspends_it() -> None:
    """Three rounds at a cent each, on a budget of one and a half."""
    inside, outside = await in_both_orders(
        "reask-inside-budget",
        lambda on: spent_by_one_call(on, *[PAID] * 3),
        wrong=lambda: [purse(ENOUGH_FOR_ONE), ReAsk(3)],
        right=lambda: [ReAsk(3), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (Decimal("0.03"), Decimal("0.01"))


@simulated_time
async def test_a_hedge_inside_a_budget_overspends_it() -> None:
    """Two branches at a cent each, of which the first fails late, on a budget of one and a half."""
    inside, outside = await in_both_orders(
        "hedge-inside-budget",
        lambda on: spent_by_one_call(on, [10.0, DEAD_LATE], [20.0, PAID]),
        wrong=lambda: [purse(ENOUGH_FOR_ONE), Hedge(1)],
        right=lambda: [Hedge(1), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (Decimal("0.02"), Decimal("0.01"))


@simulated_time
async def test_a_fallback_inside_a_budget_overspends_it_at_the_price_of_the_substitute() -> None:
    """A substitute at ten times the price, on a budget of one and a half cents."""
    inside, outside = await in_both_orders(
        "fallback-inside-budget",
        lambda on: spent_by_one_call(on, DEAD_LATE, PAID),
        wrong=lambda: [purse(ENOUGH_FOR_ONE), Fallback("dear")],
        right=lambda: [Fallback("dear"), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (Decimal("0.11"), Decimal("0.01"))


@simulated_time
async def test_a_rewrite_inside_a_budget_overspends_it() -> None:
    """What is sent is dearer than what was asked and held for."""
    inside, outside = await in_both_orders(
        "rewrite-inside-budget",
        lambda on: spent_by_one_call(on, PAID),
        wrong=lambda: [purse(ENOUGH_FOR_ONE), Upgrade()],
        right=lambda: [Upgrade(), purse(ENOUGH_FOR_ONE)],
    )

    assert (inside, outside) == (Decimal("0.1"), Decimal(0))


@simulated_time
async def test_tags_inside_a_meter_come_too_late_for_the_bill() -> None:
    """The cost of two tenants is on nobody's bill."""

    async def bills(on: Build) -> dict[str, Decimal]:
        stack = on(FakeTransport(PAID))
        (meter,) = [layer for layer in stack.layers if isinstance(layer, CostMeter)]
        await stack(of_user("ann"))
        await stack(of_user("bob"))
        return {tenant: totals.cost for tenant, totals in meter.by("tenant").items()}

    inside, outside = await in_both_orders(
        "tags-inside-meter",
        bills,
        wrong=lambda: [CostMeter(PRICES), Tenants()],
        right=lambda: [Tenants(), CostMeter(PRICES)],
    )

    assert inside == {}
    assert outside == {"ann": Decimal("0.01"), "bob": Decimal("0.01")}


@simulated_time
async def test_one_object_at_two_places_counts_twice() -> None:
    """A meter that is met twice holds twice; a breaker for four failures opens after two."""
    meter, breaker = purse(ENOUGH_FOR_ONE), CircuitBreaker(4)

    async def failures_until_open(on: Build) -> int:
        stack = on(FakeTransport(ServerError("down")))
        while not isinstance(await attempt(stack), CircuitOpenError):
            pass
        return stack.transport.calls

    charged = await in_both_orders(
        "same-layer-twice",
        lambda on: spent_by_one_call(on, PAID),
        wrong=lambda: [meter, meter],
        right=lambda: [purse(ENOUGH_FOR_ONE)],
    )
    opened = await in_both_orders(
        "same-layer-twice", failures_until_open, wrong=lambda: [breaker, breaker], right=lambda: [CircuitBreaker(4)]
    )

    assert charged == (Decimal(0), Decimal("0.01"))
    assert opened == (2, 4)
