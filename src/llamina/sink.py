"""Where a stream goes: sinks, the writers of single attempts, and the commit point.

    out = request.sink.begin()                 # a terminal: one writer for one attempt
    await out.send(TextDelta("Hel"))

The first writer that delivers content owns the stream. Any other writer, begun before or after, raises
`StreamCommittedError`: so no layer, whoever wrote it, can deliver a text twice or interleave two attempts.

A layer that watches or rewrites events hands down `request.sink.through(make_writer)`; *make_writer* is called once
per attempt, so that nothing leaks from one attempt into the next.

The one surprise: time in which the consumer holds the producer back is not the provider's. `sink.held()` says how many
seconds that has been so far; limits subtract it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import StreamCommittedError, StreamDivergedError
from .events import Event, PartDelta, ReasoningDelta, TextDelta, ToolCallDelta, events_of
from .messages import Message, Reasoning, Text, ToolCall, Usage

__all__ = ["CommitSink", "Sink", "Writer", "remainder"]


class Writer:
    """Takes the events of one attempt; this one forgets them.

    A terminal sets `usage` as soon as the provider has said something of it, so that an attempt which is cut later
    is still recorded with what is known; so for `request_id` and `rate_limit`. `events` holds the content that went through, where the writer keeps it.
    """

    __slots__ = ("rate_limit", "request_id", "usage")
    events: list[Event] | None = None

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.request_id: str | None = None
        self.rate_limit: Any = None

    async def send(self, event: Event) -> None:
        """Push one event; waits while the consumer is behind.

        Raises:
            StreamCommittedError: content of another attempt was delivered before.
        """


class Sink:
    """What a caller who wants to stream puts on a request. Only `begin` must be written."""

    def begin(self) -> Writer:
        """A writer for one attempt."""
        raise NotImplementedError

    @property
    def committed(self) -> bool:
        """Whether content has been delivered, so that no other attempt can deliver any more."""
        return False

    @property
    def first_event_at(self) -> float | None:
        """Moment, on the loop's clock, at which the first content was delivered."""
        return None

    @property
    def delivered(self) -> list[Event]:
        """The content that the consumer has got so far."""
        return []

    def held(self) -> float:
        """Seconds so far in which the consumer held the producer back."""
        return 0.0

    def through(self, make_writer: Callable[[Writer], Writer]) -> Sink:
        """A sink for the handlers below, each attempt of which writes through a writer of its own."""
        return _Through(self, make_writer)


class _Through(Sink):
    __slots__ = ("_inner", "_make")

    def __init__(self, inner: Sink, make: Callable[[Writer], Writer]) -> None:
        self._inner = inner
        self._make = make

    def begin(self) -> Writer:
        return self._make(self._inner.begin())

    @property
    def committed(self) -> bool:
        return self._inner.committed

    @property
    def first_event_at(self) -> float | None:
        return self._inner.first_event_at

    @property
    def delivered(self) -> list[Event]:
        return self._inner.delivered

    def held(self) -> float:
        return self._inner.held()


class CommitSink(Sink):
    """The root of a stream: it knows which writer owns the stream, and refuses every other.

    A subclass says in `_deliver` where an event goes. With *hold*, nothing is delivered before `finish` has checked.
    """

    __slots__ = ("_clock", "_closed", "_first", "_hold", "_owner")

    def __init__(self, clock: Callable[[], float], *, hold: bool = False) -> None:
        self._clock = clock
        self._hold = hold
        self._closed = False
        self._owner: list[Event] | None = None  # the events of the writer that owns the stream
        self._first: float | None = None

    def begin(self) -> Writer:
        """A writer for one attempt."""
        return _Owning(self)

    @property
    def committed(self) -> bool:
        """Whether content has been delivered; of a stream that is held back nothing has."""
        return self._owner is not None and not self._hold

    @property
    def first_event_at(self) -> float | None:
        """Moment of the first content, on the loop's clock."""
        return self._first

    @property
    def delivered(self) -> list[Event]:
        """The content that the consumer has got so far."""
        return [] if self._owner is None or self._hold else self._owner

    async def _deliver(self, event: Event) -> None:
        raise NotImplementedError

    def _claim(self, writer: _Owning) -> None:
        if self._closed or self.committed:
            raise StreamCommittedError(
                "this stream has ended; an attempt that was left behind tried to deliver"
                if self._closed
                else "content of another attempt has already been delivered; a layer that tries again must ask "
                "`request.replayable` first"
            )
        self._owner = writer.events
        self._first = self._clock()

    def close(self) -> None:
        """Nothing can be delivered from now on."""
        self._closed = True

    async def finish(self, message: Message) -> None:
        """Check what was streamed against what is returned, and deliver what is missing at the end.

        Raises:
            StreamDivergedError: what was streamed is not the beginning of *message*.
        """
        streamed = self._owner or []
        rest = remainder(streamed, message)
        writer = _Owning(self)
        self._owner = writer.events
        if self._hold:
            self._hold = False
            rest = [*streamed, *rest]
        for event in rest:
            await writer.send(event)


class _Owning(Writer):
    """The writer of one attempt into the root of a stream."""

    __slots__ = ("_sink", "events")

    def __init__(self, sink: CommitSink) -> None:
        self._sink = sink
        self.usage = None
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        sink = self._sink
        if not event.content or (not event.text and event in _EMPTY):
            return
        if sink._owner is not self.events or sink._closed:
            sink._claim(self)
        self.events.append(event)
        if not sink._hold:
            await sink._deliver(event)


_EMPTY = (TextDelta(""), ReasoningDelta(""))
"""Pieces without anything in them: providers open a stream with one; they commit nothing."""


def remainder(streamed: list[Event], message: Message) -> list[Event]:
    """The events that *streamed* lacks to make *message*.

    Text, reasoning, tool calls and other parts are compared each for itself; how they were cut or mixed does not count.

    Raises:
        StreamDivergedError: *streamed* is not the beginning of *message*.
    """
    if not streamed:
        return events_of(message)
    rest: list[Event] = []
    _rest_of_text("reasoning", [e.reasoning for e in streamed if e.reasoning], message.reasoning, ReasoningDelta, rest)
    _rest_of_text("text", [e.text for e in streamed if e.text], message.text, TextDelta, rest)
    calls = message.tool_calls
    deltas = [event for event in streamed if type(event) is ToolCallDelta]
    if deltas or calls:
        _rest_of_calls(deltas, calls, rest)
    parts = [part for part in message.parts if type(part) not in (Text, Reasoning, ToolCall)]
    shown = [event.part for event in streamed if type(event) is PartDelta]
    if shown or parts:
        if shown != parts[: len(shown)]:
            raise _diverged("a part")
        rest += [PartDelta(part) for part in parts[len(shown) :]]
    return rest


def _rest_of_text(what: str, pieces: list[str], whole: str, delta: Any, rest: list[Event]) -> None:
    shown = "".join(pieces)
    if shown == whole:
        return
    if not whole.startswith(shown):
        raise _diverged(what)
    rest.append(delta(whole[len(shown) :]))


def _rest_of_calls(deltas: list[ToolCallDelta], calls: tuple[ToolCall, ...], rest: list[Event]) -> None:
    streamed: dict[int, list[ToolCallDelta]] = {}
    for delta in deltas:
        streamed.setdefault(delta.index, []).append(delta)
    indices = list(streamed)  # in the order in which they began, as the fold has them
    if len(indices) > len(calls):
        raise _diverged("a tool call")
    for place, call in enumerate(calls):
        if place >= len(indices):
            free = max(indices, default=-1) + 1 + place - len(indices)
            rest.append(ToolCallDelta(free, call.arguments_text, call.id, call.name, call.raw))
            continue
        pieces = streamed[indices[place]]
        shown = "".join([piece.arguments for piece in pieces])
        name = next((piece.name for piece in pieces if piece.name), "")
        id_ = next((piece.id for piece in pieces if piece.id), "")
        if not call.arguments_text.startswith(shown) or (name and name != call.name) or (id_ and id_ != call.id):
            raise _diverged("a tool call")
        if shown != call.arguments_text or not name:
            missing = call.arguments_text[len(shown) :]
            rest.append(ToolCallDelta(indices[place], missing, "" if name else call.id, "" if name else call.name))


def _diverged(what: str) -> StreamDivergedError:
    return StreamDivergedError(
        f"{what} that was streamed is not what was returned: a layer rewrote the Response but not its events; "
        "rewrite both with `map_text`, or build the stack with `hold_streams=True`"
    )
