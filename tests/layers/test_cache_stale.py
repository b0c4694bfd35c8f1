"""Stale while revalidate: the old answer at once, a new one in the background."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest

from llamina import Request, Response, ServerError, build_stack
from llamina.layers.cache import Cache
from llamina.layers.dedup import Dedup
from llamina.testing import FakeTransport, answer, simulated_time

ASK = Request.chat("model", "hello", tags={"user": "ada"})


def cache() -> Cache:
    """Ten seconds fresh, a minute stale."""
    return Cache(ttl=10, stale_while_revalidate=60)


@simulated_time
async def test_a_stale_answer_is_given_at_once_and_renewed_once() -> None:
    """Whoever comes in the window waits for nothing; one call in the background renews the answer."""
    fake = FakeTransport(["old", [5.0, "new"]])
    stack = build_stack([cache()], fake)
    loop = asyncio.get_running_loop()
    await stack(ASK)
    await asyncio.sleep(20)
    moment = loop.time()

    stale = [await stack(ASK) for _ in range(100)]
    waited = loop.time() - moment
    await asyncio.sleep(6)

    assert ({response.text for response in stale}, waited) == ({"old"}, 0)
    assert {(response.call.cache, response.call.cached, len(response.call.attempts)) for response in stale} == {
        ("stale", True, 0)
    }
    assert fake.calls == 2
    assert (await stack(ASK)).text == "new"


@simulated_time
async def test_after_the_window_the_answer_is_gone() -> None:
    """Older than ttl and window together: a miss like any other."""
    stack = build_stack([cache()], FakeTransport(["old", "new"]))
    await stack(ASK)

    await asyncio.sleep(71)

    assert (await stack(ASK)).text == "new"


@pytest.mark.parametrize("failure", [ServerError("down"), answer("half", finish_reason="length")])
@simulated_time
async def test_a_failed_renewal_keeps_the_old_answer_and_reaches_nobody(failure: Any) -> None:
    """The next one in the window gets the old answer again, and another try is made."""
    fake = FakeTransport(["old", failure, "new"])
    stack = build_stack([cache()], fake)
    await stack(ASK)
    await asyncio.sleep(20)

    texts = []
    for _ in range(3):
        texts.append((await stack(ASK)).text)
        await asyncio.sleep(1)

    assert texts == ["old", "old", "new"]
    assert fake.calls == 3


@simulated_time
async def test_the_renewal_is_a_call_of_its_own() -> None:
    """It has the caller's tags, but not his deadline, stream, ledger or context variables."""
    who = ContextVar("who", default="nobody")
    seen: list[tuple[Request, str]] = []

    async def below(request: Request) -> Response:
        seen.append((request, who.get()))
        return Response.of("answer")

    stack = build_stack([cache()], below)
    await stack(ASK)
    await asyncio.sleep(20)
    who.set("ada")
    async with stack.stream(ASK.evolve(deadline=asyncio.get_running_loop().time() + 5)) as stream:
        await stream.complete()
    await asyncio.sleep(1)

    renewal, name = seen[1]
    assert (renewal.tags, renewal.deadline, renewal.sink, name) == ({"user": "ada"}, None, None, "nobody")
    assert renewal.call is not None
    assert renewal.call is not stream.call
    assert (len(renewal.call.attempts), renewal.call.finished) == (1, True)
    assert stream.call.attempts == []


@simulated_time
async def test_the_caller_who_started_a_renewal_may_leave() -> None:
    """It belongs to nobody: cancelling him does not end it."""
    stack = build_stack([cache()], FakeTransport(["old", [5.0, "new"]]))
    await stack(ASK)
    await asyncio.sleep(20)
    caller = asyncio.create_task(stack(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(0)

    caller.cancel()
    await asyncio.sleep(6)

    assert (await stack(ASK)).text == "new"


@simulated_time
async def test_closing_waits_for_renewals() -> None:
    """Nothing is left running behind a closed stack, and what it brings is still stored."""
    layer = cache()
    async with build_stack([layer], FakeTransport(["old", [4.0, "new"]])) as stack:
        await stack(ASK)
        await asyncio.sleep(20)
        await stack(ASK)

    assert layer.stats()["cache.refreshing"] == 0
    assert (await build_stack([layer], FakeTransport([]))(ASK)).text == "new"


@simulated_time
async def test_a_renewal_and_a_miss_share_one_flight() -> None:
    """With Dedup below, who comes after the window joins the renewal that is under way."""
    fake = FakeTransport(["old", [30.0, "new"]])
    stack = build_stack([cache(), Dedup()], fake)
    await stack(ASK)
    await asyncio.sleep(65)
    await stack(ASK)
    await asyncio.sleep(10)

    response = await stack(ASK)

    assert (response.text, fake.calls) == ("new", 2)


@simulated_time
async def test_a_request_that_forbids_storing_renews_nothing() -> None:
    """`no_store` gets the old answer, and keeps its hands off."""
    fake = FakeTransport(["old"])
    stack = build_stack([cache()], fake)
    await stack(ASK)
    await asyncio.sleep(20)

    response = await stack(ASK.with_cache(no_store=True))
    await asyncio.sleep(1)

    assert (response.text, response.call.cache, fake.calls) == ("old", "stale", 1)


@simulated_time
async def test_without_a_window_a_stale_entry_is_a_miss() -> None:
    """An entry that another layer on the same store keeps longer is too old for this one."""
    patient = cache()
    strict = Cache(patient.store, ttl=10)
    await build_stack([patient], FakeTransport(["old"]))(ASK)
    await asyncio.sleep(20)

    response = await build_stack([strict], FakeTransport(["new"]))(ASK)

    assert response.text == "new"


@simulated_time
async def test_stale_answers_are_counted_apart_from_hits() -> None:
    """The count of failed renewals is there too."""
    layer = cache()
    stack = build_stack([layer], FakeTransport(["old", ServerError("down")]))
    await stack(ASK)
    await asyncio.sleep(20)

    await stack(ASK)
    await asyncio.sleep(1)

    stats = layer.stats()
    assert (stats["cache.hits"], stats["cache.stale"], stats["cache.refresh_failures"]) == (0, 1, 1)
