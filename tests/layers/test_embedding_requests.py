"""Every layer works for embeddings as it does for chat."""

from __future__ import annotations

import asyncio
import logging

import pytest

from llamina import (
    Budget,
    BudgetExceededError,
    Cache,
    CircuitBreaker,
    CircuitOpenError,
    CostMeter,
    Dedup,
    Logger,
    Request,
    RequestTimeoutError,
    Retry,
    ServerError,
    SQLiteCache,
    Timeout,
    Usage,
    build_stack,
)
from llamina.testing import FakeTransport, simulated_time, vectors

ASK = Request.embed("e", ["one", "two"])
ANSWER = vectors([0.1, 0.2], [0.3, 0.4], usage=Usage(7))
VECTORS = ((0.1, 0.2), (0.3, 0.4))


@simulated_time
async def test_all_seven_layers_take_embeddings(caplog: pytest.LogCaptureFixture) -> None:
    """A failure is tried again, the tokens are charged, one record is logged, the vectors come back."""
    meter = CostMeter(prices={"e": {"input": "1", "output": "0"}})
    layers = [Logger(), Cache(), Dedup(), Retry(), meter, CircuitBreaker(), Timeout(5)]
    stack = build_stack(layers, FakeTransport([ServerError("down"), ANSWER]))

    with caplog.at_level(logging.INFO, "llamina"):
        response = await stack(ASK)

    assert response.vectors == VECTORS
    assert [attempt.outcome for attempt in response.call.attempts] == ["server_error", "ok"]
    assert len(caplog.records) == 1
    assert meter.totals().attempts == 2


@simulated_time
async def test_vectors_come_from_a_cache_as_they_went_in(tmp_path: object) -> None:
    """Every digit of them, in memory and from a file."""
    for store in (None, SQLiteCache(f"{tmp_path}/cache.db")):
        cache = Cache() if store is None else Cache(store)
        fake = FakeTransport([ANSWER])
        async with build_stack([cache], fake) as stack:
            await stack(ASK)
            hit = await stack(ASK)

        assert (hit.vectors, hit.call.cached, fake.calls) == (VECTORS, True, 1)


@simulated_time
async def test_other_texts_are_another_question() -> None:
    """The order of the texts counts too."""
    stack = build_stack([Cache()], FakeTransport([ANSWER, vectors([1.0], [2.0])]))

    first, second = await stack(ASK), await stack(Request.embed("e", ["two", "one"]))

    assert first.vectors != second.vectors


@simulated_time
async def test_callers_that_embed_the_same_at_once_share_a_call() -> None:
    """Each of them gets the vectors."""
    fake = FakeTransport([[0.1, ANSWER]])
    stack = build_stack([Dedup()], fake)

    answers = await asyncio.gather(*[stack(ASK) for _ in range(5)])

    assert ({answer.vectors for answer in answers}, fake.calls) == ({VECTORS}, 1)


@simulated_time
async def test_a_budget_holds_no_output_for_embeddings() -> None:
    """They have none, so a budget that has room for the input alone lets them through."""
    prices = {"e": {"input": "1", "output": "1"}}
    meter = CostMeter(prices=prices, budgets=[Budget("0.00002", "day")])
    stack = build_stack([meter], FakeTransport(ANSWER))

    assert (await stack(ASK)).vectors == VECTORS
    with pytest.raises(BudgetExceededError):
        await stack(Request.embed("e", ["a text that is far too long for what is left " * 9]))


@simulated_time
async def test_a_limit_of_time_and_a_circuit_hold_for_embeddings() -> None:
    """A provider that hangs opens the circuit."""
    stack = build_stack([CircuitBreaker(fail_max=1), Timeout(1)], FakeTransport([[9, ANSWER]]))

    with pytest.raises(RequestTimeoutError):
        await stack(ASK)
    with pytest.raises(CircuitOpenError):
        await stack(ASK)
