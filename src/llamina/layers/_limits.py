"""Which limit of time comes next, in time that is the provider's: what the consumer holds back is not counted."""

from __future__ import annotations

from collections.abc import Callable

from llamina.events import Event
from llamina.sink import Sink, Writer

__all__ = ["Limits", "Watch"]


class Watch:
    """Sees when the events of a stream pass."""

    __slots__ = ("clock", "first", "last", "sending")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.first = False
        self.last = clock()
        self.sending = 0  # a writer may be shared by tasks

    def writer(self, inner: Writer) -> Writer:
        return _Watched(inner, self)


class _Watched(Writer):
    __slots__ = ("_inner", "_watch")

    def __init__(self, inner: Writer, watch: Watch) -> None:
        super().__init__()
        self._inner = inner
        self._watch = watch

    async def send(self, event: Event) -> None:
        watch = self._watch
        watch.sending += 1
        try:
            await self._inner.send(event)
        finally:
            watch.sending -= 1
            watch.last = watch.clock()
            if event.content:
                watch.first = True


class Limits:
    """Which limit comes next, and when, in time that is the provider's."""

    __slots__ = ("_deadline", "_first", "_held", "_idle", "_name", "_sink", "_start", "_watch")

    def __init__(
        self,
        name: str,
        start: float,
        deadline: float | None,
        sink: Sink | None,
        watch: Watch | None,
        first: float | None,
        idle: float | None,
    ) -> None:
        self._name = name
        self._start = start
        self._deadline = deadline
        self._sink = sink
        self._watch = watch
        self._first = first
        self._idle = idle
        self._held = 0.0 if sink is None else sink.held()

    def next(self) -> tuple[float, str]:
        """The moment at which the nearest limit fires if nothing happens until then, and its name."""
        held = 0.0 if self._sink is None else self._sink.held() - self._held
        soonest = (float("inf"), "")
        if self._deadline is not None:
            soonest = (self._deadline + held, self._name)
        watch = self._watch
        if watch is not None:
            if not watch.first:
                if self._first is not None:
                    soonest = min(soonest, (self._start + self._first + held, "first_event"))
            elif self._idle is not None:
                since = watch.clock() if watch.sending else watch.last
                soonest = min(soonest, (since + self._idle, "idle"))
        return soonest

    def wake(self) -> float:
        """The moment at which to look again: the nearest limit, or when an idle limit may have begun to run."""
        when, _ = self.next()
        if self._watch is not None and self._idle is not None:
            when = min(when, self._watch.clock() + self._idle)
        return when

    def length(self, limit: str) -> float:
        """The length of a limit in seconds."""
        if limit == "first_event":
            return self._first or 0.0
        if limit == "idle":
            return self._idle or 0.0
        return (self._deadline or self._start) - self._start
