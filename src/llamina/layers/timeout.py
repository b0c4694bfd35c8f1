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
from asyncio import get_running_loop
from math import inf
from typing import Any

from attrs import field, frozen
from msgspec.structs import replace

from llamina.errors import LLMError
from llamina.layer import Layer
from llamina.policy._validate import non_negative, optional, positive
from llamina.protocol import Handler, Request, Response

from ._limits import Limits, Watch
from ._work import OwnTask, run_in_place, timed_out, too_late

__all__ = ["Timeout"]


class _Counts:
    """What the layer has done so far, and the work that it left behind."""

    def __init__(self) -> None:
        self.calls = 0
        self.fired: dict[str, int] = {}
        self.left: set[asyncio.Task[Any]] = set()


@frozen(eq=False, slots=False, repr=False)
class Timeout(Layer):
    """Bound the time of the handlers below.

    Args:
        seconds: for the complete answer; None for no such limit.
        first_event: seconds until the first content of a stream.
        idle: seconds between two events of a stream (keep-alives count as events), once it has begun.
        grace: seconds that cancelled work has to clean up before it is left to finish in the background. The work runs
            in a task of its own for that (some microseconds). None: it runs in the caller's task, and its clean-up is
            waited for, however long it takes.

    Raises:
        RequestTimeoutError: a limit fired: `limit` is "total", "first_event", "idle" or "deadline", `seconds` its
            length, `partial` what a stream had delivered.
    """

    seconds: float | None = field(default=None, validator=optional(positive()))
    first_event: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    idle: float | None = field(default=None, kw_only=True, validator=optional(positive()))
    grace: float | None = field(default=1.0, kw_only=True, validator=optional(non_negative()))

    _counts: _Counts = field(init=False, repr=False, factory=_Counts)

    @property
    def effects(self) -> frozenset[str]:
        """What the order of a stack is checked by: depends on which limits are set."""
        total = {"bounds-time"} if self.seconds is not None else set()
        events = {"watches-stream"} if self.first_event is not None or self.idle is not None else set()
        return frozenset(total | events)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        seconds = self.seconds
        counts = self._counts
        grace = self.grace
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
                    raise too_late(request)
            sink = request.sink
            watch = None
            if sink is not None and watches_events:
                watch = Watch(loop.time)
                request = replace(request, deadline=deadline, sink=sink.through(watch.writer))
            elif deadline is not outer:
                request = replace(request, deadline=deadline)
            if deadline is None and watch is None:
                return await call_next(request)

            limits = Limits(name, now, deadline, sink, watch, self.first_event, self.idle)
            if grace is None:
                return await run_in_place(call_next, request, limits, loop, self._cut)
            run = OwnTask(loop, call_next, request, limits, grace)
            try:
                await run.ended
            except asyncio.CancelledError as error:
                # The caller's own cancellation: it goes on as one, whatever a limit did meanwhile.
                await run.cancel(*error.args)
                self._leave(run)
                run.outcome = None  # it may have come in the same turn; its traceback holds *run*
                raise
            finally:
                run.timer.cancel()
            if run.fired is None or isinstance(run.outcome, Response):
                return run.result()
            self._leave(run)
            self._cut(run.fired)
            if isinstance(run.outcome, LLMError):  # the work had an answer of its own to the cut
                return run.result()
            limit, cause, run.outcome = run.fired, run.outcome, None
            try:
                raise timed_out(limit, limits, request) from cause
            finally:
                del cause

        return handle

    def _cut(self, limit: str) -> None:
        fired = self._counts.fired
        fired[limit] = fired.get(limit, 0) + 1

    def _leave(self, run: OwnTask) -> None:
        task = run.task
        if not task.done():
            self._counts.left.add(task)
            task.add_done_callback(self._counts.left.discard)

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations import of_timeout

        return "\n".join(of_timeout(self, request))

    def _at_worst(self, calls: float, own: float, asked: float) -> tuple[float, float, float]:
        limit = inf if self.seconds is None else self.seconds
        return calls, min(own, limit), min(asked, limit)

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
