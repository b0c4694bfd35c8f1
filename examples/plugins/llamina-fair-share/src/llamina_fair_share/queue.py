"""The queue: who waits, and whose turn it is. It knows nothing of calls to models.

    queue = FairQueue(limit=2, room=100)
    await queue.enter("ada")
    try:
        ...
    finally:
        queue.leave("ada")

The one surprise: `leave` gives the place to the next one itself, so between the two nobody can slip in.
"""

from __future__ import annotations

import asyncio
from collections import deque

__all__ = ["FairQueue", "QueueFullError"]


class QueueFullError(Exception):
    """As many wait as may wait."""


class FairQueue:
    """*limit* places; at most *room* wait for one. For use within one event loop.

    Attributes:
        held: the places that each key holds, if it holds any; taken: all of them together.
        waiting: how many wait.
    """

    def __init__(self, limit: int, room: int) -> None:
        self.limit = limit
        self.room = room
        self.held: dict[str, int] = {}
        self.taken = 0
        self.waiting = 0
        self._lanes: dict[str, deque[asyncio.Future[None]]] = {}
        # When each key was served last, by count; forgotten with a key that neither holds nor wants a place.
        self._served: dict[str, int] = {}
        self._count = 0

    async def enter(self, key: str, max_wait: float | None = None) -> None:
        """Take a place for *key*; wait for it at most *max_wait* seconds. It must be given back with `leave`.

        Raises:
            QueueFullError: no place is free and no more may wait.
            TimeoutError: none became free in time.
        """
        if self.taken < self.limit:
            self._take(key)  # a free place means that nobody waits
            return
        if self.waiting >= self.room:
            raise QueueFullError
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lanes.setdefault(key, deque()).append(turn)
        self.waiting += 1
        try:
            async with asyncio.timeout(max_wait):
                await turn
        except BaseException:
            # Whoever gives up, by the clock or by a cancellation, may have been given a place in that very moment.
            if turn.done() and not turn.cancelled():
                self.leave(key)
            else:
                self._forget(key, turn)
            raise

    def leave(self, key: str) -> None:
        """Give a place of *key* back; the next who waits has it at once."""
        self.taken -= 1
        self.held[key] -= 1
        if not self.held[key]:
            del self.held[key]
        while self._lanes and self.taken < self.limit:
            self._serve(min(self._lanes, key=lambda lane: (self.held.get(lane, 0), self._served.get(lane, 0))))
        self._tidy(key)

    def _take(self, key: str) -> None:
        self.taken += 1
        self.held[key] = self.held.get(key, 0) + 1
        self._count += 1
        self._served[key] = self._count

    def _serve(self, key: str) -> None:
        turn = self._lanes[key].popleft()
        self.waiting -= 1
        if not turn.done():  # one that is done was cancelled, and its owner is about to hear of it
            self._take(key)
            turn.set_result(None)
        self._tidy(key)

    def _forget(self, key: str, turn: asyncio.Future[None]) -> None:
        if turn in self._lanes.get(key, ()):
            self._lanes[key].remove(turn)
            self.waiting -= 1
        self._tidy(key)

    def _tidy(self, key: str) -> None:
        if key in self._lanes and not self._lanes[key]:
            del self._lanes[key]
        if key not in self.held and key not in self._lanes:
            self._served.pop(key, None)
