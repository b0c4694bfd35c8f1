"""The channel between a producer in the background loop and a reader in a thread.

The thread takes events from the same buffer into which the loop puts them, so an event costs it a fraction of a
microsecond; the two wake each other only when one of them waits: the thread for an event, the producer for room. A slow
reader slows the producer as in the async stream, and the time counts as held.

The one surprise: each side says that it waits before it looks once more. In the other order a wake-up could be lost
between the look and the wait, and both would wait for ever.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

from ._blocking_loop import Background, wait_for
from .events import Event
from .sink import CommitSink

__all__ = ["Bridge"]


class Bridge(CommitSink):
    """The commit point, in front of a bounded buffer that a thread reads."""

    __slots__ = ("_asked", "_bound", "_held", "_home", "_reader", "_since", "_waiting", "abandoned", "buffer")

    def __init__(self, home: Background, bound: int, *, hold: bool) -> None:
        super().__init__(home.loop.time, hold=hold)
        self.buffer: deque[Event] = deque()
        self.abandoned = False
        self._home = home
        self._bound = bound
        self._reader: Any = None  # the lock that the reader waits for; his to set and to take away
        self._waiting: list[asyncio.Future[None]] = []  # one for each sender: a writer may be shared by tasks
        self._asked = False  # whether the loop has been told that there is room
        self._held = 0.0
        self._since: float | None = None

    # In the loop's thread.

    async def _deliver(self, event: Event) -> None:
        if self.abandoned:
            return
        buffer = self.buffer
        buffer.append(event)
        if self._reader is not None:
            self.wake()
        while len(buffer) > self._bound and not self._closed:
            await self._wait_for_room()

    async def _wait_for_room(self) -> None:
        if self._since is None:
            self._since = self._clock()
        room = self._home.loop.create_future()
        self._waiting.append(room)
        try:
            if len(self.buffer) > self._bound:  # else the reader has gone on in the meantime
                await room
        finally:
            self._waiting.remove(room)
            if not self._waiting:
                self._held += self._clock() - self._since
                self._since = None

    def _make_room(self) -> None:
        self._asked = False
        for room in self._waiting:
            if not room.done():
                room.set_result(None)

    def close(self) -> None:
        """Nothing can be delivered from now on, and nobody waits to deliver."""
        super().close()
        self._make_room()

    @property
    def closed(self) -> bool:
        """Whether the call has ended; what is in the buffer may still be read."""
        return self._closed

    def held(self) -> float:
        return self._held + (0.0 if self._since is None else self._clock() - self._since)

    def wake(self) -> None:
        """Tell the reader that there is something: an event, or the end."""
        reader = self._reader
        if reader is not None and reader.locked():
            reader.release()

    # In the reader's thread.

    def next(self) -> Event | None:
        """The oldest event, waiting for it; None when there will be none."""
        buffer = self.buffer
        while not buffer:
            if self._closed:
                if buffer:  # the last one came before the end
                    break
                return None
            if self.abandoned:
                return None
            self._wait()
        if self.abandoned:  # it came when nobody was to read it any more
            return None
        event = buffer.popleft()
        if self._waiting and not self._asked and len(buffer) <= self._bound // 2:
            self._asked = True
            self._home.post(self._make_room)
        return event

    def forsake(self) -> None:
        """Nobody reads any more."""
        self.abandoned = True
        self.buffer.clear()

    def _wait(self) -> None:
        if self._reader is not None:
            raise RuntimeError("another thread reads this stream already; a stream has one reader")
        if self._home.lost:
            raise RuntimeError("this stream belongs to the parent process; the child must ask for one of its own")
        reader = threading.Lock()
        reader.acquire()
        try:
            self._reader = reader
            if not self.buffer and not self._closed:
                wait_for(reader)
        finally:
            self._reader = None
