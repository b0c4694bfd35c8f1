"""CostMeter: every attempt charged, budgets that hold under concurrency, unknown never zero."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from llamina import (
    Budget,
    BudgetExceededError,
    ConfigurationError,
    CostMeter,
    InvalidRequestError,
    NetworkError,
    RateLimitError,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    Timeout,
    Usage,
    build_stack,
)
from llamina.testing import FakeTransport, answer, check_middleware, simulated_time

ONE = {"m": {"input": "1", "output": "1"}}  # a token costs a millionth of a dollar
ADA = Request.chat("m", "hi", tags={"user": "ada"}, max_tokens=10_000)
CENT = answer("x", usage=Usage(0, 10_000))


async def refused(stack: Any, request: Request = ADA) -> BudgetExceededError | None:
    """The refusal of a call, None when it was let through."""
    try:
        await stack(request)
    except BudgetExceededError as error:
        return error
    return None


def test_it_keeps_the_protocol() -> None:
    """Every clause, with and without budgets."""
    assert check_middleware(lambda: CostMeter({"model": {"input": "1", "output": "1"}}))
    assert check_middleware(lambda: CostMeter({"model": {"input": "1", "output": "1"}}, [Budget("100", scope="user")]))


@simulated_time
async def test_an_answer_is_charged_exactly() -> None:
    """Hand-computed: cached input and reasoning have prices of their own."""
    prices = {"m": {"input": "2.50", "output": "10", "cache_read": "1.25", "reasoning": "8"}}
    usage = Usage(1_000, 500, cache_read_tokens=400, reasoning_tokens=100)
    meter = CostMeter(prices)

    response = await build_stack([meter], FakeTransport(answer("x", usage=usage)))(ADA)

    by_hand = Decimal("2.50") * 600 + Decimal("1.25") * 400 + Decimal(10) * 400 + Decimal(8) * 100
    assert response.call.cost == by_hand / 1_000_000
    assert response.call.cost_complete
    assert meter.totals().cost == response.call.cost


@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_every_attempt_is_charged_failed_ones_too(streams: bool) -> None:
    """A failure that was billed, one that may have been, one that certainly was not, then the answer."""
    script = [
        ServerError("billed", usage=Usage(100, 50)),
        ServerError("who knows"),
        RateLimitError("not worked on"),
        NetworkError("refused", processed=False),
        answer("ok", usage=Usage(100, 50)),
    ]
    meter = CostMeter(ONE)
    stack = build_stack([Retry(attempts=5), meter], FakeTransport(script))

    if streams:
        async with stack.stream(ADA) as stream:
            response = await stream.complete()
    else:
        response = await stack(ADA)

    units = [attempt.cost for attempt in response.call.attempts]
    assert units[0] == units[4] == Decimal("0.000150")
    assert units[1] is not None
    assert units[1] > 0
    assert units[2] == units[3] == 0
    assert meter.totals().cost == sum(cost for cost in units if cost is not None) == response.call.cost
    assert (meter.totals().attempts, meter.totals().requests, meter.totals().estimated) == (5, 1, 1)


@simulated_time
async def test_rows_are_kept_by_model_and_by_every_tag() -> None:
    """`by` takes any tag; values beyond the bound share one row, and nothing is lost."""
    meter = CostMeter(ONE, max_rows=3)
    stack = build_stack([meter], FakeTransport(CENT))

    for number in range(6):
        await stack(Request.chat("m", "hi", tags={"team": f"t{number}", "user": "ada"}))

    assert meter.by("user")["ada"].cost == meter.by("model")["m"].cost == Decimal("0.06")
    assert set(meter.by("team")) == {"t0", "t1", "t2", "other"}
    assert meter.by("team")["other"].cost == Decimal("0.03")
    assert meter.by("nobody") == {}


@simulated_time
async def test_many_kinds_of_calls_are_folded_without_losing_a_unit() -> None:
    """Combinations of tags do not grow memory without end."""
    meter = CostMeter(ONE)
    stack = build_stack([meter], FakeTransport(CENT))

    for number in range(4_200):
        await stack(Request.chat("m", "hi", tags={"session": str(number), "user": f"u{number % 2}"}))

    assert meter.totals().cost == Decimal("42")
    assert {name: row.requests for name, row in meter.by("user").items()} == {"u0": 2100, "u1": 2100}
    assert len(meter.by("session")) <= 1001
    assert sum(row.requests for row in meter.by("session").values()) == 4_200


@pytest.mark.parametrize("streams", [False, True])
@simulated_time
async def test_a_thousand_callers_at_once_never_overshoot_a_hard_budget(streams: bool) -> None:
    """What is held before and settled after never exceeds the limit, at no moment."""
    fake = FakeTransport([[0.5, CENT]], repeat=True)
    meter = CostMeter(ONE, [Budget("1.00", period="day", scope="user")])
    stack = build_stack([meter], fake)
    highest = Decimal(0)

    async def one() -> bool:
        nonlocal highest
        try:
            if streams:
                async with stack.stream(ADA) as stream:
                    await stream.complete()
            else:
                await stack(ADA)
        except BudgetExceededError:
            return False
        finally:
            (balance,) = meter.balances()
            highest = max(highest, balance.spent + balance.held)
        return True

    done = sum(await asyncio.gather(*(one() for _ in range(1_000))))

    assert 95 <= done <= 100
    assert meter.totals().cost == Decimal("0.01") * done
    assert highest <= 1
    assert meter.stats()["cost.in_flight"] == 0


@simulated_time
async def test_a_refusal_says_what_there_is_and_when_it_resets() -> None:
    """Limit, spent, held, scope, account, an aware moment; and whether calls in flight are the only reason."""
    fake = FakeTransport([[10.0, CENT], CENT, CENT, CENT])
    stack = build_stack([CostMeter(ONE, [Budget("0.025", period="day", scope="user")])], fake)
    running = asyncio.create_task(stack(ADA))
    await asyncio.sleep(1)
    assert await refused(stack) is None

    busy = await refused(stack)
    await running
    spent = await refused(stack)

    assert busy is not None
    assert busy.busy
    assert busy.held > 0
    assert spent is not None
    assert not spent.busy
    assert (spent.limit, spent.spent, spent.scope, spent.account) == (Decimal("0.025"), Decimal("0.02"), "user", "ada")
    assert spent.resets_at is not None
    assert spent.resets_at.tzinfo is not None
    assert fake.calls == 2


@simulated_time(start="2026-01-31T23:00:00Z")
async def test_a_new_period_opens_a_new_account() -> None:
    """A day in UTC ends at midnight UTC, for the wall clock that simulated time moves."""
    stack = build_stack([CostMeter(ONE, [Budget("0.015", period="day")])], FakeTransport(CENT))
    assert await refused(stack) is None
    error = await refused(stack)
    assert error is not None
    assert error.resets_at == datetime(2026, 2, 1, tzinfo=UTC)

    await asyncio.sleep(3_600)

    assert await refused(stack) is None


@simulated_time
async def test_a_call_is_held_in_all_budgets_or_in_none() -> None:
    """A refusal by one budget leaves nothing held in the others."""
    meter = CostMeter(ONE, [Budget("100", scope="user"), Budget("0.005", scope="project")])
    stack = build_stack([meter], FakeTransport(CENT))

    assert await refused(stack, ADA.evolve(tags={"user": "ada", "project": "p"})) is not None

    assert [balance.held for balance in meter.balances()] == [0, 0]


@simulated_time
async def test_calls_without_the_tag_share_one_account() -> None:
    """Leaving a tag out is no way round a budget."""
    stack = build_stack([CostMeter(ONE, [Budget("0.015", scope="user")])], FakeTransport(CENT))
    anonymous = Request.chat("m", "hi", max_tokens=10_000)
    assert await refused(stack, anonymous) is None

    error = await refused(stack, anonymous)

    assert error is not None
    assert error.account == "untagged"
    assert await refused(stack, ADA) is None


@simulated_time
async def test_a_soft_budget_counts_and_warns_but_lets_through() -> None:
    """`hard=False` never refuses; the warning comes once in a period."""
    warned: list[Any] = []
    budget = Budget("0.02", period="day", hard=False, warn_at=0.5)
    stack = build_stack([CostMeter(ONE, [budget], on_warning=warned.append)], FakeTransport(CENT))

    for _ in range(5):
        assert await refused(stack) is None

    assert [balance.budget for balance in warned] == [budget]


@simulated_time
async def test_a_timed_out_attempt_keeps_what_was_held_for_it() -> None:
    """The provider may bill it: the budget does not get the reserve back, the totals show the estimate."""
    meter = CostMeter(ONE, [Budget("0.025", scope="user")])
    stack = build_stack([meter, Timeout(5)], FakeTransport([[60.0, "never"], CENT, CENT]))
    with pytest.raises(RequestTimeoutError):
        await stack(ADA)

    (balance,) = meter.balances()

    assert balance.held == 0
    assert balance.spent > Decimal("0.01")
    assert 0 < meter.totals().cost < Decimal("0.001")
    assert meter.totals().estimated == 1
    assert await refused(stack) is None
    assert await refused(stack) is not None


@simulated_time
async def test_what_certainly_was_not_worked_on_gives_its_reserve_back() -> None:
    """A rejected request costs nothing and holds nothing."""
    meter = CostMeter(ONE, [Budget("0.015", scope="user")])
    script = [InvalidRequestError("bad"), RateLimitError("slow down"), NetworkError("refused", processed=False), CENT]
    stack = build_stack([meter], FakeTransport(script))

    for _ in range(3):
        with pytest.raises((InvalidRequestError, RateLimitError, NetworkError)):
            await stack(ADA)

    assert await refused(stack) is None
    assert meter.totals().cost == Decimal("0.01")


@simulated_time
async def test_work_that_was_left_behind_settles_when_it_ends() -> None:
    """Until then its reserve is held; then it is charged, once."""

    async def stubborn(request: Request) -> Response:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            await asyncio.sleep(50)
        return Response.of("late", usage=Usage(10, 20), model="m")

    meter = CostMeter(ONE, [Budget("1", scope="user")])
    stack = build_stack([meter, Timeout(5, grace=1)], stubborn)
    with pytest.raises(RequestTimeoutError):
        await stack(ADA)
    assert meter.stats()["cost.in_flight"] == 1
    assert meter.totals().attempts == 0

    await stack.aclose()

    assert meter.stats()["cost.in_flight"] == 0
    assert meter.totals().attempts == 1
    assert meter.totals().cost == Decimal("0.00003")


@simulated_time
async def test_a_stream_that_was_left_is_charged_for_what_was_seen() -> None:
    """Input and the delivered output, as an estimate."""
    meter = CostMeter(ONE)
    stack = build_stack([meter], FakeTransport([["some words ", 60.0, "never"]]))

    async with stack.stream(ADA) as stream:
        await anext(stream)

    assert meter.totals().cost > 0
    assert meter.totals().output_tokens >= 2
    assert meter.totals().estimated == 1


@simulated_time
async def test_a_model_without_a_price_is_counted_and_visible() -> None:
    """Never silently 0: the row says unpriced, the call says that its cost is not complete."""
    meter = CostMeter({}, [Budget("1", scope="user")])

    response = await build_stack([meter], FakeTransport(CENT))(ADA)

    assert (meter.totals().unpriced, meter.totals().cost) == (1, 0)
    assert response.call.attempts[0].cost is None
    assert not response.call.cost_complete


@simulated_time
async def test_a_model_without_a_price_can_be_refused() -> None:
    """`unpriced="refuse"` under a hard budget."""
    fake = FakeTransport(CENT)

    error = await refused(build_stack([CostMeter({}, [Budget("1")], unpriced="refuse")], fake))

    assert error is not None
    assert "no price" in str(error)
    assert fake.calls == 0


@simulated_time
async def test_the_price_of_the_model_that_answered_counts() -> None:
    """A provider that answers with another model is charged at that model's price."""
    meter = CostMeter({**ONE, "m-large": {"input": "2", "output": "2"}})

    await build_stack([meter], FakeTransport(answer("x", usage=Usage(0, 10), model="m-large")))(ADA)

    assert meter.totals().cost == Decimal("0.00002")


@simulated_time
async def test_a_meter_that_breaks_does_not_fail_the_call(caplog: pytest.LogCaptureFixture) -> None:
    """The provider has answered: the answer is delivered, the fault counted and logged."""

    class Broken:
        def price(self, model: str, provider: str | None) -> Any:
            raise RuntimeError("prices are down")

    meter = CostMeter(Broken())

    assert (await build_stack([meter], FakeTransport("hi"))(ADA)).text == "hi"

    assert meter.stats()["cost.faults"] == 1
    assert "could not account" in caplog.text


@simulated_time
async def test_a_warning_that_raises_does_not_fail_the_call(caplog: pytest.LogCaptureFixture) -> None:
    """A callback of the user's is not part of the call."""

    def broken(balance: Any) -> None:
        raise RuntimeError

    stack = build_stack([CostMeter(ONE, [Budget("0.01", hard=False)], on_warning=broken)], FakeTransport(CENT))

    assert (await stack(ADA)).text == "x"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"prices": {"m": {"input": "1"}}}, "output"),
        ({"prices": {"m": {"input": 0.1, "output": "1"}}}, "string"),
        ({"prices": {"m": {"inptu": "1", "output": "1"}}}, "inptu"),
        ({"prices": 3}, "prices"),
        ({"prices": {}, "budgets": ["5"]}, "CostMeter.budgets"),
        ({"prices": {}, "budgets": 5.0}, "CostMeter.budgets must hold Budgets"),
        ({"prices": {}, "unpriced": "free"}, "CostMeter.unpriced"),
        ({"prices": {}, "max_rows": 0}, "CostMeter.max_rows"),
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any], says: str) -> None:
    """By field, value and remedy, when it is built."""
    with pytest.raises(ConfigurationError, match=says):
        CostMeter(**settings)
