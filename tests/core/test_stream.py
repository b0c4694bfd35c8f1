"""Streams: the commit point, the divergence guard, the bounded channel and the consumer's edge."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import (
    Handler,
    LLMError,
    Message,
    Request,
    Response,
    ServerError,
    Sink,
    StreamCommittedError,
    StreamDivergedError,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    Writer,
    build_stack,
    middleware,
)
from llamina.events import Event, Started
from llamina.testing import FakeTransport, answer, simulated_time, tool_call

REQUEST = Request.chat("m", "hi")


async def read(stack: Any, request: Request = REQUEST) -> list[str]:
    """The texts of a stream."""
    async with stack.stream(request) as stream:
        return [event.text async for event in stream]


@simulated_time
async def test_events_arrive_while_the_call_is_in_flight() -> None:
    """A piece is read when it was sent, not when the answer is complete."""
    stack = build_stack([], FakeTransport([["a", 5.0, "b"]]))
    loop = asyncio.get_running_loop()
    start = loop.time()

    async with stack.stream(REQUEST) as stream:
        seen = [(event.text, loop.time() - start) async for event in stream]

    assert seen == [("a", 0.0), ("b", pytest.approx(5.0))]
    assert stream.response.text == "ab"


@simulated_time
async def test_the_first_writer_that_delivers_owns_the_stream() -> None:
    """A second attempt, begun before or after, cannot deliver a text twice."""
    refused: list[type] = []

    async def two_attempts(request: Request) -> Response:
        early, first = request.begin(), request.begin()
        await first.send(TextDelta("one"))
        for writer in (early, request.begin()):
            try:
                await writer.send(TextDelta("two"))
            except StreamCommittedError as error:
                refused.append(type(error))
        return Response.of("one")

    assert await read(build_stack([], two_attempts)) == ["one"]
    assert refused == [StreamCommittedError] * 2


@simulated_time
async def test_a_sign_of_life_commits_nothing() -> None:
    """`Started` is no content: another attempt may still deliver."""

    async def attempts(request: Request) -> Response:
        await request.begin().send(Started("id", "m"))
        assert request.replayable
        await request.begin().send(TextDelta("hello"))
        assert not request.replayable
        return Response.of("hello")

    assert await read(build_stack([], attempts)) == ["hello"]


@simulated_time
async def test_a_layer_that_rewrites_the_response_alone_is_found_out() -> None:
    """What was streamed is not what is returned: loud, not silent."""

    @middleware
    async def redact(request: Request, call_next: Handler) -> Response:
        response = await call_next(request)
        return response.with_text("***")

    with pytest.raises(StreamDivergedError, match="map_text"):
        await read(build_stack([redact], FakeTransport([["sec", "ret"]])))


@simulated_time
async def test_a_stream_that_is_held_back_leaks_nothing_that_diverges() -> None:
    """`hold_streams` checks first and delivers then."""
    seen: list[str] = []

    @middleware
    async def redact(request: Request, call_next: Handler) -> Response:
        return (await call_next(request)).with_text("***")

    stack = build_stack([redact], FakeTransport([["sec", "ret"]]), hold_streams=True)
    with pytest.raises(StreamDivergedError):
        async with stack.stream(REQUEST) as stream:
            async for event in stream:
                seen.append(event.text)

    assert seen == []
    assert await read(build_stack([], FakeTransport([["a", "b"]]), hold_streams=True)) == ["a", "b"]


@simulated_time
async def test_an_answer_that_was_not_streamed_is_replayed() -> None:
    """A handler that knows no streams still serves a consumer who wants one."""

    async def canned(request: Request) -> Response:
        return Response(Message("assistant", tool_call("f", {"a": 1}).message.parts), Usage(1, 1), "tool_calls")

    async with build_stack([], canned).stream(REQUEST) as stream:
        events = [event async for event in stream]

    assert events == [ToolCallDelta(0, '{"a":1}', "call_1", "f")]


@simulated_time
async def test_what_is_missing_at_the_end_is_delivered() -> None:
    """When the stream is the beginning of the Response, the edge pushes the rest."""

    async def beginning(request: Request) -> Response:
        await request.begin().send(TextDelta("Hel"))
        return Response(Message("assistant", (*Response.of("Hello").message.parts, ToolCall("1", "f", "{}"))))

    async with build_stack([], beginning).stream(REQUEST) as stream:
        events = [event async for event in stream]

    assert [event.text for event in events] == ["Hel", "lo", ""]
    assert events[-1] == ToolCallDelta(0, "{}", "1", "f")


@pytest.mark.parametrize(
    ("streamed", "returned"),
    [
        ([TextDelta("x")], Response.of("y")),
        ([TextDelta("xy")], Response.of("x")),
        ([ToolCallDelta(0, "{}", "1", "f")], Response.of("")),
        ([ToolCallDelta(0, "{}", "1", "f")], tool_call("g", "{}")),
        ([ToolCallDelta(0, '{"a"', "1", "f")], tool_call("f", '{"b":1}')),
    ],
)
@simulated_time
async def test_any_content_that_differs_diverges(streamed: list[Event], returned: Response) -> None:
    """Text, and tool calls by name and arguments."""

    async def handler(request: Request) -> Response:
        out = request.begin()
        for event in streamed:
            await out.send(event)
        return returned

    with pytest.raises(StreamDivergedError):
        await read(build_stack([], handler))


@simulated_time
async def test_a_slow_consumer_slows_the_producer_and_loses_nothing() -> None:
    """At most the buffer lies between them; the time of waiting is accounted as held."""
    sent: list[int] = []

    async def producer(request: Request) -> Response:
        out = request.begin()
        for number in range(20):
            await out.send(TextDelta(f"{number} "))
            sent.append(number)
        return Response.of("".join([f"{number} " for number in range(20)]), usage=Usage(1, 1))

    stack = build_stack([], producer, stream_buffer=4)
    lag: list[int] = []
    async with stack.stream(REQUEST) as stream:
        async for event in stream:
            await asyncio.sleep(1)
            lag.append(len(sent) - int(event.text))

    assert len(lag) == 20
    assert max(lag) <= 7
    assert stream.response.call.attempts[0].held > 10


@simulated_time
async def test_leaving_early_cancels_the_call_and_records_it() -> None:
    """The provider is let go at once, and what was seen is on the ledger."""
    fake = FakeTransport([["some ", 60.0, "never"]])
    loop = asyncio.get_running_loop()
    start = loop.time()

    async with build_stack([], fake).stream(REQUEST) as stream:
        async for _ in stream:
            break

    (attempt,) = stream.call.attempts
    assert loop.time() - start < 1
    assert (attempt.outcome, attempt.usage_source, fake.in_flight) == ("cancelled", "estimated", 0)
    assert attempt.usage is not None
    assert attempt.usage.output_tokens > 0


@simulated_time
async def test_an_error_comes_after_the_events_before_it() -> None:
    """What was sent is read first; then the error, once, with what came so far."""
    stack = build_stack([], FakeTransport([["par", ServerError("cut")]]))
    seen: list[str] = []

    with pytest.raises(ServerError) as caught:
        async with stack.stream(REQUEST) as stream:
            async for event in stream:
                seen.append(event.text)

    assert seen == ["par"]
    assert caught.value.partial.text == "par"
    assert caught.value.call is stream.call


@simulated_time
async def test_an_error_that_nobody_saw_is_raised_at_the_exit() -> None:
    """Leaving without reading swallows nothing."""
    with pytest.raises(ServerError):
        async with build_stack([], FakeTransport([ServerError("down")])).stream(REQUEST):
            await asyncio.sleep(1)


@simulated_time
async def test_an_error_of_the_block_itself_goes_first() -> None:
    """The consumer's own exception is not replaced by the call's."""
    with pytest.raises(KeyError):
        async with build_stack([], FakeTransport([ServerError("down")])).stream(REQUEST):
            await asyncio.sleep(1)
            raise KeyError("mine")


@simulated_time
async def test_a_scope_that_cancels_in_a_layer_does_not_cancel_the_consumer() -> None:
    """A timeout of a naive layer reaches the consumer as that error, and its own code runs on."""

    @middleware
    async def deadline(request: Request, call_next: Handler) -> Response:
        async with asyncio.timeout(3):
            return await call_next(request)

    with pytest.raises(TimeoutError):
        await read(build_stack([deadline], FakeTransport([["a", 10.0, "b"]])))
    await asyncio.sleep(30)


@simulated_time
async def test_a_task_that_is_cancelled_from_below_is_no_cancellation_of_the_consumer() -> None:
    """A layer that cancels its own task makes an error of the call."""

    async def cancels_itself(request: Request) -> Response:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)
        raise AssertionError

    with pytest.raises(LLMError, match="cancelled from below"):
        await read(build_stack([], cancels_itself))


@simulated_time
async def test_a_consumer_who_is_cancelled_takes_the_call_along() -> None:
    """Cancelling the reading task ends the producer, and comes out as a cancellation."""
    fake = FakeTransport([["a", 60.0, "b"]])
    task = asyncio.create_task(read(build_stack([], fake)))
    await asyncio.sleep(1)

    task.cancel()
    await asyncio.wait([task])

    assert task.cancelled()
    assert fake.in_flight == 0


@simulated_time
async def test_complete_gives_the_response_without_the_events() -> None:
    """For who does not want the pieces; before the end there is no response."""
    stack = build_stack([], FakeTransport([["a", 1.0, "b"]]))

    async with stack.stream(REQUEST) as stream:
        with pytest.raises(LookupError, match="has not ended"):
            _ = stream.response
        response = await stream.complete()

    assert response.text == "ab"


@simulated_time
async def test_a_caller_can_bring_a_sink_of_its_own() -> None:
    """Streaming is a sink on the request; the edge guards whatever sink it is."""
    seen: list[str] = []

    class Mine(Sink):
        def begin(self) -> Writer:
            return Collecting()

    class Collecting(Writer):
        async def send(self, event: Event) -> None:
            await asyncio.sleep(2)
            seen.append(event.text)

    response = await build_stack([], FakeTransport([["a", "b"]]))(REQUEST.evolve(sink=Mine()))

    assert seen == ["a", "b"]
    assert response.text == "ab"
    assert response.call.attempts[0].held == pytest.approx(4)


@simulated_time
async def test_a_writer_below_that_rewrites_is_made_anew_for_each_attempt() -> None:
    """`sink.through` calls the factory once per attempt, so no state leaks from one into the next."""
    made: list[Writer] = []

    class Upper(Writer):
        def __init__(self, inner: Writer) -> None:
            super().__init__()
            self.inner = inner
            made.append(self)

        async def send(self, event: Event) -> None:
            await self.inner.send(TextDelta(event.text.upper()))

    @middleware
    async def shout(request: Request, call_next: Handler) -> Response:
        sink = request.sink
        assert sink is not None
        request = request.evolve(sink=sink.through(Upper))
        try:
            response = await call_next(request)
        except ServerError:
            response = await call_next(request)
        return response.with_text(response.text.upper())

    assert await read(build_stack([shout], FakeTransport([ServerError("down"), ["a", "b"]]))) == ["A", "B"]
    assert len(made) == 2


@simulated_time
async def test_a_stream_cannot_be_entered_twice_nor_read_outside() -> None:
    """Misuse is told what to do instead."""
    stack = build_stack([], FakeTransport(answer("hi")))
    stream = stack.stream(REQUEST)
    with pytest.raises(RuntimeError, match="enter the stream"):
        await anext(stream)
    async with stream:
        with pytest.raises(RuntimeError, match="once"):
            await stream.__aenter__()
