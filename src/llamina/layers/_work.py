"""Work under limits of time: in a task of its own that can be left behind, or in the caller's."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from llamina.errors import LLMError, RequestTimeoutError
from llamina.events import fold
from llamina.protocol import Handler, Request, Response, expect_response
from llamina.record import CutByLimit

from ._limits import Limits

__all__ = ["OwnTask", "run_in_place", "timed_out", "too_late"]


_MISSED = {"total": "answer", "deadline": "answer", "first_event": "first event", "idle": "further event"}


def timed_out(limit: str, limits: Limits, request: Request) -> RequestTimeoutError:
    """What comes out when *limit* has cut the work, with what a stream had delivered."""
    delivered = request.sink.delivered if request.sink is not None else []
    seconds = limits.length(limit)
    return RequestTimeoutError(
        f"no {_MISSED[limit]} within {seconds:.3g} s (limit: {limit})",
        limit=limit,
        seconds=seconds,
        model=request.model,
        partial=Response(fold(delivered), model=request.model) if delivered else None,
    )


def too_late(request: Request) -> RequestTimeoutError:
    """What comes out when the deadline has passed before the work began: nothing was asked, nothing is billed."""
    return RequestTimeoutError(
        "the deadline had passed before the call began",
        limit="deadline",
        seconds=0.0,
        model=request.model,
        processed=False,
    )


def cut(limit: str) -> CutByLimit:
    """The message of the cancellation with which *limit* cuts the work."""
    return CutByLimit(f"cut by a limit ({limit})")


async def run_in_place(
    call_next: Handler,
    request: Request,
    limits: Limits,
    loop: asyncio.AbstractEventLoop,
    tell: Callable[[str], None] | None = None,
) -> Response:
    """The work in the caller's task: nothing can be left behind, clean-up is waited for; *tell* hears which limit cut."""
    run = _InPlace(loop, limits)
    try:
        response = await call_next(request)
    except BaseException as error:
        cancelled_too, fired = run.end(), run.fired
        del run  # the traceback holds this frame: it must not hold the task too
        if fired is None or cancelled_too or not isinstance(error, Exception | asyncio.CancelledError):
            raise
        if tell is not None:
            tell(fired)
        if isinstance(error, LLMError):  # the work had an answer of its own to the cut
            raise
        raise timed_out(fired, limits, request) from error
    run.end()
    return response


class _InPlace:
    """Cancels the caller's task at a limit, and tells that cancellation from the caller's by counting."""

    __slots__ = ("_cancelling", "_limits", "_loop", "_task", "_timer", "fired")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        task = asyncio.current_task(loop)
        assert task is not None
        self._loop = loop
        self._limits = limits
        self._task = task
        self._cancelling = task.cancelling()
        self.fired: str | None = None
        self._timer = loop.call_at(limits.wake(), self._look)

    def _look(self) -> None:
        when, name = self._limits.next()
        if when > self._loop.time():
            self._timer = self._loop.call_at(self._limits.wake(), self._look)
            return
        self.fired = name
        self._task.cancel(cut(name))

    def end(self) -> bool:
        """Stop watching; whether the caller too has cancelled."""
        self._timer.cancel()
        return self.fired is not None and self._task.uncancel() > self._cancelling


class OwnTask:
    """The work below, in a task of its own, so that it can be left behind when its clean-up takes too long."""

    __slots__ = ("_grace", "_limits", "_loop", "ended", "fired", "outcome", "task", "timer")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        call_next: Handler,
        request: Request,
        limits: Limits,
        grace: float,
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._grace = grace
        self.outcome: Response | BaseException | None = None
        self.fired: str | None = None
        self.ended: asyncio.Future[None] = loop.create_future()
        self.task = _start(self._run(call_next, request), loop)
        self.timer = loop.call_at(limits.wake(), self._look)

    async def _run(self, call_next: Handler, request: Request) -> None:
        # The waiting side is woken from inside the task: one turn of the loop less than by a done-callback.
        try:
            outcome = expect_response(await call_next(request), "the handler below Timeout")
            if not self.ended.done():
                self.outcome = outcome
        except BaseException as error:  # raised again by `result`
            if not self.ended.done():  # else nobody asks for it, and it would hold itself by its traceback
                self.outcome = error
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
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
        self.task.cancel(cut(name))
        self.timer = self._loop.call_later(self._grace, self._give_up)

    def _give_up(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    async def cancel(self, *message: Any) -> None:
        """Cancel the work for its caller and wait while it cleans up, at most the grace."""
        if self.outcome is None and not self.task.done():
            if self.fired is None:  # else it is being cleaned up already
                self.task.cancel(*message)
            # Cancelled again: nobody waits any longer, the clean-up goes on in the background.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self.task], timeout=self._grace)

    def result(self) -> Response:
        """What the work gave, or its error."""
        outcome, self.outcome = self.outcome, None
        if isinstance(outcome, BaseException):
            try:
                raise outcome
            finally:
                del outcome  # its traceback holds this frame: a cycle that only the garbage collector would free
        assert outcome is not None
        return outcome


if sys.version_info >= (3, 12):

    def _start(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return asyncio.Task(work, loop=loop, eager_start=True)
else:

    def _start(work: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop) -> asyncio.Task[None]:
        return loop.create_task(work)
