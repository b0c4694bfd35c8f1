"""The events of one flight: kept from the first one on, and read by each caller at his own pace.

    sink = FlightSink(loop)                    # goes down with the upstream call, which writes into it
    await sink.play(request.sink.begin())      # in each caller: what was, then what comes

The provider is held back by the *fastest* reader: it runs at most `AHEAD` events in front of him, and of nobody when a
caller waits for the whole answer. So a slow consumer slows only himself.

The one surprise: the events are kept until the flight ends, since a caller may join late. That is no more than each
caller's own stream keeps to check what was delivered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from llamina.errors import StreamCommittedError
from llamina.events import Event
from llamina.sink import Sink, Writer

__all__ = ["AHEAD", "FlightSink"]

AHEAD = 64
"""Events that a flight may be in front of its fastest reader before the provider is held back."""


class FlightSink(Sink):
    """The root of a flight's stream: the first writer that delivers content owns it."""

    __slots__ = (
        "_first",
        "_held",
        "_loop",
        "_pulse",
        "_room",
        "_since",
        "_started",
        "events",
        "front",
        "hurried",
        "landed",
        "owner",
        "readers",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.events: list[Event] = []
        self.front = 0  # events that the fastest reader has had
        self._started: Event | None = None  # the last sign of life that is no content
        self._pulse = 0  # how many of them there were
        self.landed = False
        self.owner: _FlightWriter | None = None
        self._first: float | None = None
        self.readers: dict[asyncio.Future[None], None] = {}  # those who have had everything so far
        self.hurried = 0
        self._room: asyncio.Future[None] | None = None
        self._held = 0.0
        self._since: float | None = None

    def begin(self) -> Writer:
        return _FlightWriter(self)

    @property
    def committed(self) -> bool:
        return self.owner is not None

    @property
    def first_event_at(self) -> float | None:
        return self._first

    @property
    def delivered(self) -> list[Event]:
        return self.events

    def held(self) -> float:
        return self._held + (0.0 if self._since is None else self._loop.time() - self._since)

    # --- the side of the callers

    async def play(self, out: Writer) -> None:
        """Send *out* every event, until the flight has landed and all are sent."""
        position = pulse = 0
        while True:
            events = self.events
            if position < len(events):
                await out.send(events[position])
                position += 1
                if position > self.front:
                    self.front = position
                    self._make_room()
            elif pulse != self._pulse and self._started is not None:
                pulse = self._pulse
                await out.send(self._started)
            elif self.landed:
                return
            else:
                reader = self._loop.create_future()
                self.readers[reader] = None
                try:
                    await reader
                finally:
                    self.readers.pop(reader, None)

    @contextmanager
    def in_a_hurry(self) -> Iterator[None]:
        """While a caller waits for the whole answer, nobody holds the provider back."""
        self.hurried += 1
        self._make_room()
        try:
            yield
        finally:
            self.hurried -= 1

    def land(self) -> None:
        """Nothing comes any more."""
        self.landed = True
        self.wake()

    def wake(self) -> None:
        for reader in self.readers:
            if not reader.done():
                reader.set_result(None)
        self.readers.clear()

    def _make_room(self) -> None:
        room = self._room
        if room is not None and not room.done() and (self.hurried or len(self.events) - self.front <= AHEAD // 2):
            room.set_result(None)

    # --- the side of the upstream call

    def claim(self, writer: _FlightWriter) -> None:
        """Make *writer* the owner of the stream."""
        if self.landed or self.owner is not None:
            raise StreamCommittedError(
                "this stream has ended; an attempt that was left behind tried to deliver"
                if self.landed
                else "content of another attempt has already been delivered; a layer that tries again must ask "
                "`request.replayable` first"
            )
        self.owner = writer
        self._first = self._loop.time()
        self.events = writer.events

    def sign_of_life(self, event: Event) -> None:
        """Show the readers something that is no content: nobody who comes later needs it."""
        if not self.landed:
            self._started = event
            self._pulse += 1
            self.wake()

    async def wait_for_room(self) -> None:
        """Hold the provider back while all readers are far behind."""
        while len(self.events) - self.front > AHEAD and not self.hurried:
            await self._wait()

    async def _wait(self) -> None:
        self._since = self._loop.time()
        self._room = self._loop.create_future()
        try:
            await self._room
        finally:
            self._room = None
            self._held += self._loop.time() - self._since
            self._since = None


class _FlightWriter(Writer):
    """The writer of one attempt of the upstream call."""

    __slots__ = ("_sink", "events")

    def __init__(self, sink: FlightSink) -> None:
        super().__init__()
        self._sink = sink
        self.events: list[Event] = []

    async def send(self, event: Event) -> None:
        sink = self._sink
        if not event.content:
            sink.sign_of_life(event)
            return
        if sink.owner is not self or sink.landed:
            sink.claim(self)
        events = self.events
        events.append(event)
        if sink.readers:
            sink.wake()
        if len(events) - sink.front > AHEAD:
            await sink.wait_for_room()
