"""Limits of time: one attempt's inside Retry, the whole call's outside of it.

    Timeout(30)                                  # 30 seconds for the answer, streams included
    Timeout(120, first_event=10, idle=15)        # and for a stream: 10 s to its first piece, 15 s between pieces

Sets `request.deadline` for everything below (nested limits take the minimum), so that transports hand the remaining time
to their client and Retry does not sleep past it. When a limit fires, the work below is cancelled and gets *grace* seconds
to clean up; what takes longer is finished in the background, and `aclose()` waits for it.

The one surprise: time in which the consumer of a stream holds the provider back counts against no limit.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import get_running_loop
from collections.abc import Callable, Coroutine
from typing import Any

from attrs import field, frozen
from msgspec.structs import replace

from llamina.errors import LLMError, RequestTimeoutError
from llamina.events import Event, fold
from llamina.layer import Layer
from llamina.policy._validate import non_negative, optional, positive
from llamina.protocol import Handler, Request, Response
from llamina.record import CutByLimit
from llamina.sink import Sink, Writer

__all__ = ["Timeout"]


class _Counts:
    """What the layer has done so far, and the work that it left behind."""

    def __init__(self) -> None:
        self.calls = 0
        self.fired: dict[str, int] = {}
        self.left: set[asyncio.Task[Any]] = set()


@frozen(eq=False, slots=False)
class Timeout(Layer):
    """Bound the time of the handlers below.

    Args:
        seconds: for the complete answer; None for no such limit.
        first_event: seconds until the first content of a stream.
        idle: seconds between two events of a stream (keep-alives count as events), once it has begun.
        grace: seconds that cancelled work has to clean up before it is left to finish in the background.

    Raises:
        RequestTimeoutError: a limit fired: `limit` is "total", "first_event", "idle" or "deadline", `seconds` its
            length, `partial` what a stream had delivered.
    """

    seconds: float | None = field(default=None, validator=optional(positive()))
    first_event: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    idle: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    grace: float = field(default=1.0, kw_only=True, validator=non_negative())

    _counts: _Counts = field(init=False, repr=False, factory=_Counts)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        seconds = self.seconds
        counts = self._counts
        watches_events = self.first_event is not None or self.idle is not None

        async def handle(request: Request) -> Response:
            counts.calls += 1
            loop = get_running_loop()
            now = loop.time()
            outer = request.deadline
            name, deadline = "total", None if seconds is None else now + seconds
            if outer is not None and (deadline is None or outer < deadline):
                name, deadline = "deadline", outer
                if outer <= now:
                    raise self._error(name, 0.0, request, processed=False)
            sink = request.sink
            watch = None
            if sink is not None and watches_events:
                watch = _Watch(loop.time)
                request = replace(request, deadline=deadline, sink=sink.through(watch.writer))
            elif deadline is not outer:
                request = replace(request, deadline=deadline)
            if deadline is None and watch is None:
                return await call_next(request)

            limits = _Limits(name, now, deadline, sink, watch, self.first_event, self.idle)
            run = _Run(loop, call_next, request, limits, self.grace)
            try:
                await run.ended
            except asyncio.CancelledError as error:
                # The caller's own cancellation: it goes on as one, whatever a limit did meanwhile.
                await run.cancel(*error.args)
                self._leave(run)
                raise
            finally:
                run.timer.cancel()
            if run.fired is None:
                return run.result()
            self._leave(run)
            if run.succeeded():
                return run.result()
            counts.fired[run.fired] = counts.fired.get(run.fired, 0) + 1
            cause = run.error()
            if isinstance(cause, LLMError):
                raise cause
            raise self._error(run.fired, limits.length(run.fired), request) from cause

        return handle

    def _error(
        self, limit: str, seconds: float, request: Request, *, processed: bool | None = None
    ) -> RequestTimeoutError:
        delivered = request.sink.delivered if request.sink is not None else []
        partial = Response(fold(delivered), model=request.model) if delivered else None
        if processed is False:
            text = "the deadline had passed before the call began"
        else:
            text = f"no {_MISSED[limit]} within {seconds:.3g} s (limit: {limit})"
        return RequestTimeoutError(
            text, limit=limit, seconds=seconds, model=request.model, partial=partial, processed=processed
        )

    def _leave(self, run: _Run) -> None:
        task = run.task
        if not task.done():
            self._counts.left.add(task)
            task.add_done_callback(self._counts.left.discard)

    def stats(self) -> dict[str, Any]:
        """`timeout.calls`, `timeout.fired` in all and by limit, `timeout.left_behind` work that still cleans up."""
        counts = self._counts
        by_limit = {f"timeout.fired.{name}": count for name, count in counts.fired.items()}
        return {
            "timeout.calls": counts.calls,
            "timeout.fired": sum(counts.fired.values()),
            **by_limit,
            "timeout.left_behind": len(counts.left),
        }

    async def aclose(self) -> None:
        """Wait for work that was cut and still cleans up."""
        while left := self._counts.left:
            await asyncio.wait(list(left))


_MISSED = {"total": "answer", "deadline": "answer", "first_event": "first event", "idle": "further event"}


class _Watch:
    """Sees when the events of a stream pass."""

    __slots__ = ("clock", "first", "last", "sending")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.first = False
        self.last = clock()
        self.sending = False

    def writer(self, inner: Writer) -> Writer:
        return _Watched(inner, self)


class _Watched(Writer):
    __slots__ = ("_inner", "_watch")

    def __init__(self, inner: Writer, watch: _Watch) -> None:
        super().__init__()
        self._inner = inner
        self._watch = watch

    async def send(self, event: Event) -> None:
        watch = self._watch
        watch.sending = True
        try:
            await self._inner.send(event)
        finally:
            watch.sending = False
            watch.last = watch.clock()
            if event.content:
                watch.first = True


class _Limits:
    """Which limit comes next, and when, in time that is the provider's."""

    __slots__ = ("_deadline", "_first", "_held", "_idle", "_name", "_sink", "_start", "_watch")

    def __init__(
        self,
        name: str,
        start: float,
        deadline: float | None,
        sink: Sink | None,
        watch: _Watch | None,
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


class _Run:
    """The work below, in a task of its own, so that it can be left behind when its clean-up takes too long."""

    __slots__ = ("_grace", "_limits", "_loop", "_outcome", "ended", "fired", "task", "timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call_next: Handler,
        request: Request,
        limits: _Limits,
        grace: float,
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._grace = grace
        self._outcome: Response | BaseException | None = None
        self.fired: str | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.task = _start(self._run(call_next, request), loop)
        self.timer = loop.call_at(limits.wake(), self._look)

    async def _run(self, call_next: Handler, request: Request) -> None:
        # The waiting side is woken from inside the task: one turn of the loop less than by a done-callback.
        try:
            self._outcome = await call_next(request)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - raised again by `result`
            self._outcome = error
        finally:
            if not self.ended.done():
                self.ended.set_result(None)

    def _look(self) -> None:
        if self.ended.done():
            return
        when, name = self._limits.next()
        if when > self._loop.time():
            self.timer = self._loop.call_at(self._limits.wake(), self._look)
            return
        self.fired = name
        self.task.cancel(CutByLimit(f"cut by a limit ({name})"))
        self.timer = self._loop.call_later(self._grace, self._give_up)

    def _give_up(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def cancel(self, *message: Any) -> None:
        """Cancel the work for its caller and wait while it cleans up, at most the grace."""
        if self._outcome is None and not self.task.done():
            self.task.cancel(*message)
            try:
                await asyncio.wait([self.task], timeout=self._grace)
            except asyncio.CancelledError:
                self.task.cancel(*message)

    def succeeded(self) -> bool:
        return isinstance(self._outcome, Response)

    def error(self) -> BaseException | None:
        return self._outcome if isinstance(self._outcome, BaseException) else None

    def result(self) -> Response:
        outcome = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        return outcome


if sys.version_info >= (3, 12):

    def _start(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return asyncio.Task(work, loop=loop, eager_start=True)
else:

    def _start(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return loop.create_task(work)
