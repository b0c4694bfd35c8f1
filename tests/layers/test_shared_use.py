"""Cache, Dedup and CircuitBreaker where more than one loop, or a loop that was held up, comes together with them."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
import time
from pathlib import Path

import pytest

from llamina import Cache, Dedup, Request, Response, build_stack
from llamina.stores import SQLiteCache
from llamina.testing import FakeTransport, SimulatedProvider, simulated_time
from llamina.transports import HTTPTransport

ASK = Request.chat("m", "hello")


def test_a_loop_that_was_held_up_does_not_turn_the_store_off(tmp_path: Path) -> None:
    """A store that answered at once is not given up because the event loop itself was busy for a while."""
    transport = FakeTransport(["one", "two", "three"])

    async def scenario() -> Response:
        async with build_stack([Cache(SQLiteCache(tmp_path / "a.db"), store_timeout=0.05)], transport) as stack:
            await stack(ASK)
            held_up = asyncio.ensure_future(stack(ASK))
            await asyncio.sleep(0)
            time.sleep(0.1)  # noqa: ASYNC251 - the point: nothing else runs meanwhile
            await held_up
            return await stack(ASK)

    response = asyncio.run(scenario())

    assert response.call.cache == "hit"


@simulated_time
async def test_closing_does_not_wait_for_a_renewal_that_hangs() -> None:
    """`aclose` gives a background renewal some time, then cancels it."""
    calls = 0

    async def provider(_request: Request) -> Response:
        nonlocal calls
        calls += 1
        if calls > 1:
            await asyncio.sleep(10_000)
        return Response.of("answer")

    stack = build_stack([Cache(ttl=1, stale_while_revalidate=100)], provider)
    await stack(ASK)
    await asyncio.sleep(2)
    await stack(ASK)
    began = asyncio.get_running_loop().time()

    await stack.aclose()

    assert asyncio.get_running_loop().time() - began < 60


def test_two_loops_share_one_flight_each() -> None:
    """Callers of two event loops who take turns make one upstream call for each loop, no more."""
    calls = 0
    turn = threading.Barrier(2)

    async def provider(_request: Request) -> Response:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.2)
        return Response.of("answer")

    stack = build_stack([Dedup()], provider)

    async def scenario() -> None:
        asked = []
        for _ in range(3):
            turn.wait(5)
            asked.append(asyncio.ensure_future(stack(ASK)))
            await asyncio.sleep(0)
        await asyncio.gather(*asked)

    threads = [threading.Thread(target=lambda: asyncio.run(scenario())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert calls == 2


@pytest.mark.parametrize("engine", [name for name in ("httpx", "httpx2", "aiohttp") if importlib.util.find_spec(name)])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_thousand_identical_callers_make_one_request(engine: str, *, streamed: bool) -> None:
    """Cache over Dedup over a real server: one request upstream for 1,000 callers, each with the whole answer."""

    async def scenario() -> tuple[int, set[str]]:
        async with SimulatedProvider([["one ", 0.05, "answer"]]) as provider:
            transport = HTTPTransport(provider.base_url, engine=engine)
            async with build_stack([Cache(), Dedup()], transport) as stack:

                async def ask() -> str:
                    if not streamed:
                        return (await stack(ASK)).text
                    async with stack.stream(ASK) as stream:
                        return "".join([event.text async for event in stream])

                texts = await asyncio.gather(*[ask() for _ in range(1000)])
            return len(provider.requests), set(texts)

    requests, texts = asyncio.run(scenario())

    assert (requests, texts) == (1, {"one answer"})
