"""Dedup and streams: who joins gets what was, then what comes, at his own pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import Request, Response, ServerError, Stack, Started, TextDelta, build_stack, fold
from llamina.layers._flight_stream import AHEAD
from llamina.layers.dedup import Dedup
from llamina.sink import Sink, Writer
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("model", "Tell me a story")


async def read(stack: Stack, *, after: float = 0.0, pause: float = 0.0) -> tuple[list[tuple[float, str]], Any]:
    """Join after some seconds, read with a pause after each event; (seconds since the start, text) of each event."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.sleep(after)
    events: list[tuple[float, str]] = []
    async with stack.stream(ASK) as stream:
        async for event in stream:
            events.append((round(loop.time() - start, 3), event.text))
            await asyncio.sleep(pause)
    return events, stream.response


@simulated_time
async def test_a_thousand_streams_make_one_upstream_call() -> None:
    """Streamed or not, a thousand equal requests are one call, and each gets every event."""
    fake = FakeTransport([[1.0, "Once ", 1.0, "upon ", 1.0, "a time"]])
    stack = build_stack([Dedup()], fake)

    results = await asyncio.gather(*(read(stack) for _ in range(1000)))

    assert fake.calls == 1
    assert all([text for _, text in events] == ["Once ", "upon ", "a time"] for events, _ in results)
    assert sum(len(response.call.attempts) for _, response in results) == 1


@simulated_time
async def test_who_joins_a_live_stream_gets_a_replay_and_then_the_rest_as_it_comes() -> None:
    """A late caller has at once what the others had, and the next piece at the moment when they have it."""
    stack = build_stack([Dedup()], FakeTransport([["a", 1.0, "b", 1.0, "c"]]))

    (first, _), (late, response) = await asyncio.gather(read(stack), read(stack, after=1.5))

    assert first == [(0.0, "a"), (1.0, "b"), (2.0, "c")]
    assert late == [(1.5, "a"), (1.5, "b"), (2.0, "c")]
    assert (response.text, response.call.joins) == ("abc", 1)


@simulated_time
async def test_a_slow_reader_slows_nobody_else() -> None:
    """The provider and the fast reader run on; the slow one gets the same events when he is ready."""
    pieces = [f"{number} " for number in range(3 * AHEAD)]
    fake = FakeTransport([[piece for text in pieces for piece in (0.01, text)]])
    stack = build_stack([Dedup()], fake, stream_buffer=1)

    (slow, _), (fast, response) = await asyncio.gather(read(stack, pause=1.0), read(stack))

    assert fast[-1][0] == pytest.approx(0.01 * len(pieces), abs=0.01)
    assert [text for _, text in slow] == [text for _, text in fast] == pieces
    assert slow[-1][0] > 100
    assert response.text == "".join(pieces)


@simulated_time
async def test_the_provider_is_held_back_when_every_reader_is_slow() -> None:
    """It runs some events ahead of the fastest reader; the time it waits is counted as held, not as the provider's."""
    sent: list[int] = []

    async def below(request: Request) -> Response:
        out = request.begin()
        for number in range(4 * AHEAD):
            sent.append(number)
            await out.send(TextDelta("x"))
        return Response.of("x" * 4 * AHEAD)

    stack = build_stack([Dedup()], below, stream_buffer=1)
    readers = [asyncio.create_task(read(stack, pause=pause)) for pause in (1.0, 3.0)]
    await asyncio.sleep(10.5)
    ahead = len(sent)
    (_, response), _ = await asyncio.gather(*readers)

    assert AHEAD < ahead < 2 * AHEAD
    attempt = response.call.attempts[0]
    assert attempt.elapsed == pytest.approx(attempt.held, abs=0.01)
    assert attempt.held > AHEAD


@simulated_time
async def test_a_caller_who_waits_for_the_whole_answer_is_not_held_back_by_a_slow_reader() -> None:
    """A plain caller in a streaming flight is a reader with no pauses."""
    pieces = ["x"] * (4 * AHEAD)
    stack = build_stack([Dedup()], FakeTransport([[0.5, *pieces]]), stream_buffer=1)
    loop = asyncio.get_running_loop()
    start = loop.time()
    reader = asyncio.create_task(read(stack, pause=1.0))
    await asyncio.sleep(2.0)

    response = await stack(ASK)

    assert response.text == "".join(pieces)
    assert loop.time() - start < 3
    await reader


@simulated_time
async def test_when_the_caller_in_a_hurry_has_left_slow_readers_hold_the_provider_again() -> None:
    """His haste ends with him."""
    sent: list[int] = []

    async def below(request: Request) -> Response:
        out = request.begin()
        await asyncio.sleep(2)
        for number in range(4 * AHEAD):
            sent.append(number)
            await out.send(TextDelta("x"))
        return Response.of("x" * 4 * AHEAD)

    stack = build_stack([Dedup()], below, stream_buffer=1)
    reader = asyncio.create_task(read(stack, pause=1.0))
    await asyncio.sleep(0.5)
    hasty = asyncio.create_task(stack(ASK))  # type: ignore[arg-type]
    await asyncio.sleep(0.5)

    hasty.cancel()
    await asyncio.sleep(5)

    assert len(sent) < 2 * AHEAD
    await reader


@simulated_time
async def test_a_streaming_caller_who_joins_a_plain_flight_gets_a_replay() -> None:
    """The flight was begun for a caller without a stream: the events come when the answer does."""
    stack = build_stack([Dedup()], FakeTransport([["a", 1.0, "b"]]))

    plain, (events, response) = await asyncio.gather(stack(ASK), read(stack, after=0.5))

    assert plain.text == response.text == "".join(text for _, text in events) == "ab"
    assert events[0][0] == 1.0


@simulated_time
async def test_an_error_in_mid_stream_comes_after_the_events_that_came_before_it() -> None:
    """Every reader gets what was delivered, then the error."""
    stack = build_stack([Dedup()], FakeTransport([["a", 1.0, "b", 1.0, ServerError("cut")]]))

    async def read_until_it_breaks(after: float) -> tuple[list[str], Exception | None]:
        await asyncio.sleep(after)
        seen: list[str] = []
        try:
            async with stack.stream(ASK) as stream:
                async for event in stream:
                    seen.append(event.text)
        except ServerError as error:
            return seen, error
        return seen, None

    (one, error), (other, copy) = await asyncio.gather(read_until_it_breaks(0), read_until_it_breaks(1.5))

    assert one == other == ["a", "b"]
    assert isinstance(error, ServerError)
    assert isinstance(copy, ServerError)
    assert copy is not error


@simulated_time
async def test_once_content_was_delivered_to_a_flight_nothing_below_may_try_again() -> None:
    """The commit point holds inside the flight and for everybody who joined it."""
    replayable: list[bool] = []

    async def below(request: Request) -> Response:
        await asyncio.sleep(1)
        replayable.append(request.replayable)
        out = request.begin()
        await out.send(TextDelta("a"))
        replayable.append(request.replayable)
        await request.begin().send(TextDelta("b"))
        return Response.of("ab")

    stack = build_stack([Dedup()], below)

    results = await asyncio.gather(read(stack), read(stack), return_exceptions=True)

    assert replayable == [True, False]
    assert [type(result).__name__ for result in results] == ["StreamCommittedError"] * 2


@simulated_time
async def test_past_its_bound_a_stream_is_joined_by_nobody_and_ends_for_those_who_have() -> None:
    """Who comes when more than `max_buffer` events have come begins a flight of his own."""
    fake = FakeTransport([["a", "b", "c", 1.0, "d"], ["a", "b", "c", "d"]])
    stack = build_stack([Dedup(max_buffer=2)], fake)

    (_, early), (_, late) = await asyncio.gather(read(stack), read(stack, after=0.5))

    assert fake.calls == 2
    assert early.text == late.text == "abcd"
    assert len(early.call.attempts) == len(late.call.attempts) == 1


@simulated_time
async def test_signs_of_life_reach_the_layers_above() -> None:
    """A keep-alive is no content, but a limit between events above must see it."""
    seen: list[Any] = []

    class Watch(Writer):
        def __init__(self, inner: Writer) -> None:
            super().__init__()
            self.inner = inner

        async def send(self, event: Any) -> None:
            seen.append(event)
            await self.inner.send(event)

    def watching(call_next: Any) -> Any:
        def handle(request: Request) -> Any:
            sink = request.sink
            assert sink is not None
            return call_next(request.evolve(sink=sink.through(Watch)))

        return handle

    stack = build_stack([watching, Dedup()], FakeTransport([[Started("id"), 1.0, "a", 1.0, Started(), 1.0, "b"]]))

    await read(stack)

    assert seen == [Started("id"), TextDelta("a"), Started(), TextDelta("b")]


@simulated_time
async def test_a_stream_stays_joinable_while_the_payer_still_reads_it() -> None:
    """The upstream call has ended, the caller who pays has not: who comes now gets the answer that is there."""
    fake = FakeTransport([["a", "b", "c"]])
    stack = build_stack([Dedup()], fake, stream_buffer=1)
    slow = asyncio.create_task(read(stack, pause=10.0))
    await asyncio.sleep(5)

    response = await stack(ASK)
    await slow

    assert (response.text, fake.calls) == ("abc", 1)


class Keeping(Sink, Writer):
    """A sink that is its own only writer."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Any] = []

    def begin(self) -> Writer:
        return self

    async def send(self, event: Any) -> None:
        self.kept.append(event)


@simulated_time
async def test_a_sink_of_the_callers_own_gets_the_events() -> None:
    """A caller may bring any sink; the flight's events are written into it from his side."""
    sink = Keeping()
    stack = build_stack([Dedup()], FakeTransport([["a", 1.0, "b"]]))

    response = await stack(ASK.evolve(sink=sink))

    assert fold(sink.kept) == response.message
