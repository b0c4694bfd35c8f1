"""What tasks, layers and processes share: writers, streams, listeners, records, errors."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys

import msgspec
import pytest

from llamina import (
    Budget,
    CircuitBreaker,
    CostMeter,
    Event,
    Handler,
    Message,
    ReasoningDelta,
    Request,
    Response,
    Retry,
    ServerError,
    Sink,
    StreamDivergedError,
    TextDelta,
    Timeout,
    ToolCall,
    ToolCallDelta,
    Usage,
    Writer,
    build_stack,
    map_text,
)
from llamina.testing import FakeTransport, simulated_time

REQUEST = Request.chat("model", "hello")
PRICES = {"model": {"input": "1000", "output": "1000"}}


async def sends_from_two_tasks(request: Request) -> Response:
    """A handler whose tasks share one writer."""
    out = request.begin()

    async def send() -> None:
        for _ in range(10):
            await out.send(TextDelta("x"))

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        group.create_task(send())
    return Response.of("x" * 20)


@simulated_time
async def test_tasks_of_one_handler_may_share_a_writer() -> None:
    """A slow consumer holds both back, loses nothing, and the time counts once."""
    async with build_stack([], sends_from_two_tasks, stream_buffer=2).stream(REQUEST) as stream:
        seen = []
        async for event in stream:
            await asyncio.sleep(1)
            seen.append(event.text)

    assert "".join(seen) == "x" * 20
    (attempt,) = stream.call.attempts
    assert 0 < attempt.held <= attempt.elapsed


@simulated_time
async def test_tasks_of_one_handler_may_share_a_sink_of_the_callers() -> None:
    """Time in a sink that the caller brought is accounted however many send at once."""

    class Slow(Writer):
        async def send(self, event: Event) -> None:
            await asyncio.sleep(1)

    class Mine(Sink):
        def begin(self) -> Writer:
            return Slow()

    response = await build_stack([Timeout(5)], sends_from_two_tasks)(REQUEST.evolve(sink=Mine()))

    assert response.text == "x" * 20


@simulated_time
async def test_a_stream_has_one_reader() -> None:
    """A second task that reads is told so, instead of leaving one of them waiting for ever."""
    async with build_stack([], FakeTransport([["a", 1.0, "b"]])).stream(REQUEST) as stream:
        first = asyncio.ensure_future(_texts(stream))
        await asyncio.sleep(0.5)

        with pytest.raises(RuntimeError, match="one reader"):
            await anext(stream)

        assert await first == ["a", "b"]


async def _texts(stream: object) -> list[str]:
    return [event.text async for event in stream]  # type: ignore[attr-defined]


@simulated_time
async def test_a_consumer_whose_sink_fails_is_no_fault_of_the_provider() -> None:
    """The caller gets the error of their own code; breaker and ledger do not blame the network."""

    class Gone(Writer):
        async def send(self, event: Event) -> None:
            raise ConnectionResetError("the browser went away")

    class Mine(Sink):
        def begin(self) -> Writer:
            return Gone()

    breaker = CircuitBreaker(fail_max=1)
    stack = build_stack([breaker], FakeTransport("hi"))
    for _ in range(3):
        with pytest.raises(ConnectionResetError):
            await stack(REQUEST.evolve(sink=Mine()))

    assert breaker.stats()["circuit.state"] == "closed"


@pytest.mark.parametrize("empty", [TextDelta(""), ReasoningDelta("")])
@simulated_time
async def test_an_empty_piece_commits_nothing(empty: Event) -> None:
    """Providers open a stream with an empty delta; another attempt may still deliver."""
    fake = FakeTransport([[empty, ServerError("down")], "ok"])

    async with build_stack([Retry()], fake).stream(REQUEST) as stream:
        seen = await _texts(stream)

    assert seen == ["ok"]


@simulated_time
async def test_what_is_held_back_can_still_be_tried_again() -> None:
    """With `hold_streams` nothing has reached the consumer, whatever an attempt has sent."""
    fake = FakeTransport([["par", ServerError("cut")], "ok"])

    async with build_stack([Retry()], fake, hold_streams=True).stream(REQUEST) as stream:
        seen = await _texts(stream)

    assert seen == ["ok"]


@simulated_time
async def test_a_tool_call_under_another_id_diverges() -> None:
    """Who ran the call that was streamed would answer to an id that the Response does not have."""

    async def handler(request: Request) -> Response:
        await request.begin().send(ToolCallDelta(0, "{}", "one", "look"))
        return Response(Message.assistant(ToolCall("other", "look", "{}")), None, "tool_calls")

    with pytest.raises(StreamDivergedError):
        async with build_stack([], handler).stream(REQUEST) as stream:
            await stream.complete()


@pytest.mark.parametrize("nested", [False, True], ids=["layers used alone", "stack in a stack"])
@simulated_time
async def test_map_text_records_no_attempt_of_its_own(nested: bool) -> None:
    """One try is one attempt, also where `map_text` stands between two recorders."""
    fake = FakeTransport("hi")
    handler: Handler
    if nested:
        handler = build_stack([], map_text(str.upper)(build_stack([], fake)))
    else:
        handler = Retry()(map_text(str.upper)(Timeout(5)(fake)))

    response = await handler(REQUEST)

    assert (response.text, len(response.call.attempts)) == ("HI", 1)


@pytest.mark.parametrize("pieces", [["my top ", "secret\n"], ["a\r", "\nmy top secret"], ["my top secret"]])
@simulated_time
async def test_a_line_is_rewritten_whole_wherever_it_was_cut(pieces: list[str]) -> None:
    """A redactor by line sees each line once and whole, so nothing slips through between two events."""
    redact = map_text(lambda line: line.replace("top secret", "***"), by="line")

    async with build_stack([redact], FakeTransport([pieces])).stream(REQUEST) as stream:
        seen = "".join(await _texts(stream))

    assert seen == "".join(pieces).replace("top secret", "***") == stream.response.text


@simulated_time
async def test_what_came_before_a_failure_is_rewritten_too() -> None:
    """`error.partial` is part of the answer: a redactor covers it."""
    redact = map_text(lambda text: text.replace("secret", "***"))
    stack = build_stack([redact], FakeTransport([["my secret", ServerError("cut")]]))

    with pytest.raises(ServerError) as caught:
        await stack(REQUEST)

    assert caught.value.partial.text == "my ***"


@simulated_time
async def test_a_listener_that_fails_late_keeps_no_money_of_another_meter() -> None:
    """An attempt that ends after its call: each meter settles, whatever the other's `on_warning` does."""

    def fails(balance: object) -> None:
        raise RuntimeError("the pager is down")

    async def late(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
        return Response.of("late", usage=Usage(1, 1))

    inner = CostMeter(PRICES, [Budget("0.00001", hard=False)], on_warning=fails)
    outer = CostMeter(PRICES, [Budget("100")])
    stack = build_stack([outer, inner, Timeout(1, grace=0.5)], late)
    with pytest.raises(TimeoutError):
        await stack(REQUEST)
    await stack.aclose()

    assert outer.stats()["cost.in_flight"] == 0
    assert (outer.totals().requests, outer.totals().attempts, inner.stats()["cost.faults"]) == (1, 1, 1)


@simulated_time
async def test_a_copy_of_a_record_keeps_its_id() -> None:
    """Two processes that unpickle one error speak of the same call."""
    with pytest.raises(ServerError) as caught:
        await build_stack([], FakeTransport([ServerError("down")]))(REQUEST)
    data = pickle.dumps(caught.value)

    ids = {pickle.loads(data).call.id, pickle.loads(data).call.id, caught.value.call.id}

    assert len(ids) == 1


def test_a_note_on_a_copy_of_an_error_is_the_copys() -> None:
    """Callers who share a failed flight do not write into each other's tracebacks."""
    error = ServerError("down")
    error.add_note("first")

    error.copy().add_note("second")

    assert error.__notes__ == ["first"]


def test_an_identity_is_never_that_of_another_request() -> None:
    """However a copy is made, what was computed for other messages or parameters is not taken over."""
    one = Request.chat("m", "hi")
    known = one.identity
    copies = [one.evolve(model="n"), msgspec.structs.replace(one, model="n")]
    if sys.version_info >= (3, 13):
        copies.append(copy.replace(one, model="n"))

    assert {each.identity for each in copies} == {Request.chat("n", "hi").identity}
    assert msgspec.structs.replace(one, deadline=1.0).identity == known


def test_a_text_in_the_place_of_parts_is_one_part() -> None:
    """`Message("user", "hello")` says hello; it does not lose it letter by letter."""
    assert Message("user", "hello") == Message.user("hello")  # type: ignore[arg-type]


@pytest.mark.parametrize("item", [{"text": "hi"}, b"hi", object(), None, [["nested"]], [None], lambda request: 5])
@simulated_time
async def test_a_fake_refuses_what_it_cannot_play(item: object) -> None:
    """Streamed or not; it would otherwise be an empty answer, and the test would pass for the wrong reason."""
    from llamina import ConfigurationError

    with pytest.raises(ConfigurationError):
        await build_stack([], FakeTransport([item]))(REQUEST)


@simulated_time
async def test_an_error_that_is_played_for_ever_does_not_grow() -> None:
    """The traceback of one error object starts anew each time it is raised."""
    error = ServerError("down")
    stack = build_stack([], FakeTransport(error))
    depths = []
    for _ in range(3):
        with pytest.raises(ServerError):
            await stack(REQUEST)
        depths.append(_depth(error))

    assert len(set(depths)) == 1


def _depth(error: BaseException) -> int:
    depth, traceback = 0, error.__traceback__
    while traceback is not None:
        depth, traceback = depth + 1, traceback.tb_next
    return depth
