"""What the layer promises: no network, and nothing really sleeps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llamina import ConfigurationError, RateLimitError, Request, Stack, build_stack, load_stack
from llamina.testing import FakeTransport, check_middleware, simulated_time

from llamina_fair_share import FairShare


def of(tenant: str, text: str = "hi") -> Request:
    """A request of *tenant*."""
    return Request.chat("m", text, tags={"tenant": tenant})


def slow(seconds: float = 1.0) -> FakeTransport:
    """Answers after *seconds*, for ever."""
    return FakeTransport([[seconds, "done"]], repeat=True)


def served(fake: FakeTransport) -> list[str]:
    """Whose calls arrived, in their order."""
    return [request.tags["tenant"] for request in fake.requests]


async def settle(turns: int = 10) -> None:
    """Let every task run until it waits."""
    for _ in range(turns):
        await asyncio.sleep(0)


@pytest.mark.parametrize("settings", [{"limit": 1}, {"limit": 3, "max_wait": 60}], ids=str)
def test_it_keeps_the_protocol(settings: dict[str, Any]) -> None:
    """Every clause of the conformance kit holds."""
    assert check_middleware(lambda: FairShare(**settings))


@simulated_time
async def test_no_more_than_the_limit_are_in_flight() -> None:
    """Six answers of a second, two at a time."""
    fake = slow()
    stack = build_stack([FairShare(limit=2)], fake)

    await asyncio.gather(*[stack(of("ada")) for _ in range(6)])

    assert fake.max_in_flight == 2
    assert fake.calls == 6


@simulated_time
async def test_a_stream_holds_its_place_until_it_has_ended() -> None:
    """Two streams, one place: the second begins when the first has ended."""
    fake = FakeTransport([["one ", 5.0, "two"]], repeat=True)
    stack = build_stack([FairShare(limit=1)], fake)

    async def read() -> None:
        async with stack.stream(of("ada")) as stream:
            await stream.complete()

    await asyncio.gather(read(), read())

    assert fake.max_in_flight == 1


@simulated_time
async def test_a_crowd_of_one_tenant_keeps_no_other_waiting() -> None:
    """Grace comes last, behind ten calls of Ada, and is served second."""
    fake = slow()
    stack = build_stack([FairShare(limit=1)], fake)

    async with asyncio.TaskGroup() as group:
        for _ in range(11):
            group.create_task(stack(of("ada")))
        await settle()
        group.create_task(stack(of("grace")))

    assert served(fake).index("grace") == 1


@simulated_time
async def test_places_go_to_who_holds_the_fewest() -> None:
    """With four places and two crowds each tenant holds two of them."""
    fake = slow()
    stack = build_stack([FairShare(limit=4)], fake)

    async with asyncio.TaskGroup() as group:
        for tenant in ["ada"] * 12 + ["grace"] * 6:
            group.create_task(stack(of(tenant)))

    assert served(fake)[:4] == ["ada"] * 4
    assert sorted(served(fake)[8:12]) == ["ada", "ada", "grace", "grace"]


@simulated_time
async def test_calls_beyond_the_queue_are_refused_at_once() -> None:
    """The refusal is one that Retry may repeat, and nothing was sent for it."""
    fake = slow()
    stack = build_stack([FairShare(limit=1, queue=1)], fake)

    answers = await asyncio.gather(*[stack(of("ada")) for _ in range(3)], return_exceptions=True)

    refused = [answer for answer in answers if isinstance(answer, RateLimitError)]
    assert [(error.retryable, error.processed) for error in refused] == [(True, False)]
    assert fake.calls == 2


@simulated_time
async def test_who_waits_too_long_is_refused() -> None:
    """The place of the first is free after ten seconds; the second waits for three."""
    layer = FairShare(limit=1, max_wait=3)
    stack = build_stack([layer], slow(10.0))
    first = asyncio.create_task(stack(of("ada")))
    await settle()

    with pytest.raises(RateLimitError, match="within 3 seconds"):
        await stack(of("grace"))
    await first

    assert layer.stats()["fair_share.waiting"] == 0


@pytest.mark.parametrize("turns", range(6))
def test_a_place_is_never_lost_to_a_cancellation(turns: int) -> None:
    """Cancelled while it waits, in the moment of its turn, or with its place: the next call goes through."""

    @simulated_time
    async def play() -> dict[str, float]:
        layer = FairShare(limit=1)
        stack = build_stack([layer], slow())
        first, second = asyncio.create_task(stack(of("ada"))), asyncio.create_task(stack(of("ada")))
        await asyncio.sleep(0.5 if turns == 0 else 1.0)
        await settle(turns)
        second.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
        await stack(of("grace"))
        return layer.stats()

    stats = play()

    assert (stats["fair_share.in_flight"], stats["fair_share.waiting"]) == (0, 0)


@simulated_time
async def test_a_timeout_of_the_provider_is_not_taken_for_one_of_the_queue() -> None:
    """What fails below goes through as it is."""
    failure = TimeoutError("of the provider")
    stack = build_stack([FairShare(limit=1)], FakeTransport([failure]))

    with pytest.raises(TimeoutError) as raised:
        await stack(of("ada"))

    assert raised.value is failure


@simulated_time
async def test_what_was_counted() -> None:
    """Two calls of a second, one after the other."""
    stack = build_stack([FairShare(limit=1)], slow())

    await asyncio.gather(stack(of("ada")), stack(of("grace")))

    assert stack.stats() == {
        "fair_share.admitted": 2,
        "fair_share.waited": 1,
        "fair_share.wait_seconds": 1.0,
        "fair_share.refused": 0,
        "fair_share.in_flight": 0,
        "fair_share.waiting": 0,
    }


@pytest.mark.parametrize(
    "wrong",
    [{"limit": 0}, {"limit": True}, {"queue": -1}, {"max_wait": 0}, {"max_wait": float("nan")}, {"by": ""}],
    ids=str,
)
def test_a_wrong_setting_is_refused_when_the_layer_is_built(wrong: dict[str, Any]) -> None:
    """The error names the setting and the value."""
    ((name, _),) = wrong.items()

    with pytest.raises(ConfigurationError, match=rf"FairShare\.{name} must be .*, got"):
        FairShare(**wrong)


def test_a_stack_file_finds_it_by_name() -> None:
    """The installed package announces the layer."""
    stack: Stack = load_stack(
        {"layers": [{"type": "fair_share", "limit": 3, "by": "user"}], "transport": {"type": "echo"}}
    )

    (layer,) = stack.layers
    assert isinstance(layer, FairShare)
    assert (layer.limit, layer.by) == (3, "user")
