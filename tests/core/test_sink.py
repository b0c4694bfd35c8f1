"""The divergence guard: what is missing at the end, and what can never be completed."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Message,
    PartDelta,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Sink,
    StreamDivergedError,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UnknownPart,
    Writer,
    fold,
)
from llamina.events import Event, events_of
from llamina.sink import remainder
from llamina.testing import simulated_time

PARTS = st.lists(
    st.builds(Text, st.text(min_size=1, max_size=6))
    | st.builds(Reasoning, st.text(min_size=1, max_size=6))
    | st.builds(ToolCall, st.sampled_from("ab"), st.sampled_from("fg"), st.sampled_from(["", "{}", '{"a":1}']))
    | st.builds(UnknownPart, st.sampled_from([1, {"x": 2}])),
    max_size=6,
)


def cut(events: list[Event], draw: st.DrawFn) -> list[Event]:
    """The same events, some of them in two pieces."""
    pieces: list[Event] = []
    for event in events:
        if isinstance(event, TextDelta) and len(event.text) > 1:
            at = draw(st.integers(1, len(event.text) - 1))
            pieces += [TextDelta(event.text[:at]), TextDelta(event.text[at:])]
        elif isinstance(event, ToolCallDelta) and event.arguments:
            at = draw(st.integers(0, len(event.arguments)))
            pieces += [
                ToolCallDelta(event.index, event.arguments[:at], event.id, event.name),
                ToolCallDelta(event.index, event.arguments[at:]),
            ]
        else:
            pieces.append(event)
    return pieces


@given(PARTS, st.data())
def test_any_beginning_of_a_stream_is_completed_to_the_whole(parts: list[object], data: st.DataObject) -> None:
    """Whatever has been delivered, the rest makes the message that is returned, channel by channel."""
    message = Message("assistant", tuple(parts))  # type: ignore[arg-type]
    events = cut(events_of(message), data.draw)
    delivered = events[: data.draw(st.integers(0, len(events)))]

    whole = fold([*delivered, *remainder(delivered, message)])

    assert (whole.text, whole.reasoning, whole.tool_calls) == (message.text, message.reasoning, message.tool_calls)
    others = [part for part in whole.parts if isinstance(part, UnknownPart)]
    assert others == [part for part in message.parts if isinstance(part, UnknownPart)]


@given(PARTS)
def test_a_stream_that_is_complete_lacks_nothing(parts: list[object]) -> None:
    """The common case delivers nothing more."""
    message = Message("assistant", tuple(parts))  # type: ignore[arg-type]

    assert remainder(events_of(message), message) == [] or not events_of(message)


@pytest.mark.parametrize(
    "streamed",
    [
        [TextDelta("other")],
        [ReasoningDelta("other")],
        [ToolCallDelta(0, "{}", "1", "f"), ToolCallDelta(1, "{}", "2", "f")],
        [ToolCallDelta(0, "[]", "1", "f")],
        [ToolCallDelta(0, "{}", "1", "other")],
        [PartDelta(UnknownPart({"x": 2}))],
        [PartDelta(UnknownPart({"x": 1})), PartDelta(UnknownPart({"x": 1}))],
    ],
)
def test_what_cannot_be_completed_diverges(streamed: list[Event]) -> None:
    """Each channel is compared for itself."""
    parts = (Reasoning("hm"), Text("text"), ToolCall("1", "f", "{}"), UnknownPart({"x": 1}))

    with pytest.raises(StreamDivergedError):
        remainder(streamed, Message("assistant", parts))


def test_a_sink_of_ones_own_needs_nothing_but_begin() -> None:
    """The rest has defaults that say: nothing delivered, nothing held."""

    class Mine(Sink):
        def begin(self) -> Writer:
            return Writer()

    sink = Mine()

    assert (sink.committed, sink.first_event_at, sink.delivered, sink.held()) == (False, None, [], 0.0)
    with pytest.raises(NotImplementedError):
        Sink().begin()


@simulated_time
async def test_a_terminal_may_send_without_asking_whether_anyone_streams() -> None:
    """`request.begin()` gives a writer that forgets, where there is no sink."""
    out = Request.chat("m", "hi").begin()

    await out.send(TextDelta("into the void"))

    assert out.events is None


@simulated_time
async def test_a_request_tells_the_time_that_is_left() -> None:
    """Seconds until the deadline, never below 0, None without one."""
    now = asyncio.get_running_loop().time()
    request = Request.chat("m", "hi")

    assert request.remaining is None
    assert request.evolve(deadline=now + 8).remaining == 8
    assert request.evolve(deadline=now - 8).remaining == 0


def test_a_response_without_a_call_says_where_calls_come_from() -> None:
    """A bare handler keeps no record."""
    with pytest.raises(LookupError, match="build_stack"):
        _ = Response.of("hi").call
