"""The order of blocks that come side by side: events of one wait for those of a block that began before it.

The parts of a message stand in the order in which its blocks began. Calls of tools need not wait for each other, for a
piece of a call says which one it goes on with.
"""

from __future__ import annotations

from collections import deque

from llamina.events import Event

from ._anthropic_open_blocks import Call, OpenBlock

__all__ = ["NO_BLOCK", "BlocksInOrder"]

NO_BLOCK = OpenBlock(-1, {})
"""Stands where no block is open."""


class BlocksInOrder:
    """Blocks that have not ended, or wait for one that has not; those whose events are free stand first.

    Attributes:
        events: what has gone out; front: the first block, whose events are always free.
    """

    __slots__ = ("_queue", "events", "front")

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.front = NO_BLOCK
        self._queue: deque[OpenBlock] = deque()

    def begin(self, block: OpenBlock) -> list[Event]:
        """A block begins; its first events, if they are free."""
        last = self._queue[-1] if self._queue else None
        block.free = last is None or (last.free and type(last) is Call and type(block) is Call)
        self._queue.append(block)
        self.front = self._queue[0]
        return self.say(block, block.start())

    def say(self, block: OpenBlock, events: list[Event]) -> list[Event]:
        """Events of a block: at once where no block before it is open, else they wait."""
        if not block.free:
            block.pending += events
            return []
        self.events += events
        return events

    def end(self, block: OpenBlock | None) -> list[Event]:
        """A block ends; its last events and what waited for them."""
        if block is None or block.closed:
            return []
        block.closed = True
        events = self.say(block, block.closing())
        queue = self._queue
        while queue and queue[0].closed:
            queue.popleft()
            if queue and not queue[0].free:
                events += self._freed()
        self.front = queue[0] if queue else NO_BLOCK
        return events

    def _freed(self) -> list[Event]:
        """What waited for a block that has ended: the next one goes on, and with a call those that follow it."""
        events: list[Event] = []
        first = self._queue[0]
        for block in self._queue:
            if block is not first and not (type(first) is type(block) is Call):
                break
            block.free = True
            events += block.pending
            block.pending = []
        self.events += events
        return events

    def end_all(self) -> list[Event]:
        """The message ends, and all that is open with it."""
        return [event for block in list(self._queue) for event in self.end(block)]

    def rest(self) -> list[Event]:
        """What would be said if it ended too early; nothing is changed."""
        return [event for block in self._queue for event in [*block.pending, *block.closing(cut=True)]]
