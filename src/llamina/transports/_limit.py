"""A limit of time for the waits of one task, at a moment that may move.

    with Limit(moment) as limit:                 # a function: the moment on the loop's clock, as it is now
        limit.waiting = True
        try:
            piece = await read()
        except asyncio.CancelledError:
            if limit.is_over():
                ...                              # the moment came: it is no cancellation
            raise

One timer serves a whole exchange: an `asyncio.timeout` round each read costs as much as all else that a streamed event
costs. When the moment has moved on, the timer is set anew.

The one surprise: only a wait is ended. What the task does besides (delivering to a slow reader) has the time it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

__all__ = ["Limit"]

_AGAIN = 0.05
"""Seconds after which it looks again, when the moment came while nothing was waited for."""


class Limit:
    """Cancels what the current task waits for once the moment has come, and knows its own cancellation.

    Attributes:
        waiting: whether the task is in a wait that may be ended.
    """

    __slots__ = ("_cancelling", "_expired", "_handle", "_loop", "_moment", "_task", "waiting")

    def __init__(self, moment: Callable[[], float]) -> None:
        self._moment = moment
        self._expired = False
        self.waiting = False

    def __enter__(self) -> Self:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._loop = asyncio.get_running_loop()
        self._handle = self._loop.call_at(self._moment(), self._fire)
        return self

    def _fire(self) -> None:
        moment, now = self._moment(), self._loop.time()
        if moment <= now and self.waiting:
            self._expired = True
            self._task.cancel()
        else:
            self._handle = self._loop.call_at(max(moment, now + _AGAIN), self._fire)

    def is_over(self) -> bool:
        """Whether the cancellation that was just caught is this limit's, and nobody else's too."""
        if not self._expired:
            return False
        self._expired = False
        return self._task.uncancel() <= self._cancelling

    def __exit__(self, *_: object) -> None:
        self._handle.cancel()
        if self._expired:  # it came together with another end
            self._task.uncancel()
