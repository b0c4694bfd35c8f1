"""The consumer's edge of a stream: `async with stack.stream(request) as stream: async for event in stream: ...`.

    stream.response            # the complete Response, once the events have ended
    stream.call                # the record of the call, at any time
    await stream.complete()    # for who does not want the events

The handler runs in one task of its own behind a bounded channel, so a cancel scope in a layer can never cancel the
consumer's code (PEP 789). A slow consumer slows the producer and never loses an event.

The one surprise: leaving the block early cancels the call and waits until it is cleaned up; an error that the consumer
has not seen yet is raised there, unless the block itself raises.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from .call import Call, Ledger
from .errors import LLMError
from .events import Event
from .protocol import Handler, Request, Response, expect_response
from .sink import CommitSink

__all__ = ["Stream"]


class _Channel(CommitSink):
    """The commit point, in front of a bounded buffer that one consumer reads."""

    __slots__ = ("_bound", "_held", "_reader", "_since", "_waiting", "abandoned", "buffer")

    def __init__(self, bound: int, *, hold: bool) -> None:
        super().__init__(asyncio.get_running_loop().time, hold=hold)
        self.buffer: deque[Event] = deque()
        self.abandoned = False
        self._bound = bound
        self._reader: asyncio.Future[None] | None = None
        self._waiting: list[asyncio.Future[None]] = []  # one for each sender: a writer may be shared by tasks
        self._held = 0.0
        self._since: float | None = None

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
        room = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await room
        finally:
            self._waiting.remove(room)
            if not self._waiting:
                self._held += self._clock() - self._since
                self._since = None

    def _make_room(self) -> None:
        for room in self._waiting:
            if not room.done():
                room.set_result(None)

    def close(self) -> None:
        """Nothing can be delivered from now on, and nobody waits to deliver."""
        super().close()
        self._make_room()

    def held(self) -> float:
        return self._held + (0.0 if self._since is None else self._clock() - self._since)

    def wake(self) -> None:
        """Tell the consumer that there is something: an event, or the end."""
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something."""
        if self._reader is not None:
            raise RuntimeError("another task reads this stream already; a stream has one reader")
        reader = self._reader = asyncio.get_running_loop().create_future()
        try:
            await reader
        finally:
            if self._reader is reader:
                self._reader = None

    def take(self) -> Event:
        """The oldest event; the producer may go on once the buffer is half empty."""
        event = self.buffer.popleft()
        if self._waiting and len(self.buffer) <= self._bound // 2:
            self._make_room()
        return event


class Stream:
    """One streamed call: an async context manager and an async iterator of events."""

    def __init__(self, handler: Handler, request: Request, *, buffer: int = 64, hold: bool = False) -> None:
        self._handler = handler
        self._request = request
        self._bound = buffer
        self._hold = hold
        self._joins_call = request.call is not None and not request.call.finished
        if self._joins_call:
            assert request.call is not None
            self._call = request.call
        else:
            self._call = Call(request.tags, Ledger())
        self._channel: _Channel | None = None
        self._task: asyncio.Task[None] | None = None
        self._response: Response | None = None
        self._error: BaseException | None = None
        self._seen = False

    @property
    def call(self) -> Call:
        """The record of this call: attempts so far, cost, tags."""
        return self._call

    @property
    def response(self) -> Response:
        """The complete Response.

        Raises:
            LookupError: the stream has not ended; read its events or `await stream.complete()`.
        """
        if self._response is None:
            if self._channel is not None and self._channel.abandoned:
                raise LookupError("this stream was left early, it has no response; `stream.call` has what was recorded")
            if self._error is not None or self._seen:
                raise LookupError("this stream failed, it has no response") from self._error
            raise LookupError("this stream has not ended; read its events or `await stream.complete()` first")
        return self._response

    async def complete(self) -> Response:
        """Let the call run to its end without looking at the events, and return the Response."""
        async for _ in self:
            pass
        return self.response

    async def __aenter__(self) -> Self:
        if self._task is not None:
            raise RuntimeError("a stream is entered once; ask the stack for another")
        loop = asyncio.get_running_loop()
        channel = self._channel = _Channel(self._bound, hold=self._hold)
        if self._joins_call:
            request = replace(self._request, sink=channel)
        else:
            request = replace(self._request, call=self._call, ledger=self._call.ledger, sink=channel)
        self._task = loop.create_task(self._run(request, channel), name="llamina stream")
        return self

    async def _run(self, request: Request, channel: _Channel) -> None:
        try:
            response = expect_response(await self._handler(request), "a layer of the stack")
            await channel.finish(response.message)
            self._response = response if response._call is self._call else replace(response, _call=self._call)
        except LLMError as error:
            error.call = self._call
            self._error = error
        except BaseException as error:
            self._error = error
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
        finally:
            if not self._joins_call:
                self._call.finished = True
            channel.close()
            channel.wake()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        channel, task = self._channel, self._task
        if channel is None or task is None:
            raise RuntimeError("enter the stream first: `async with stack.stream(request) as stream:`")
        while not channel.buffer:
            if self._response is not None:
                raise StopAsyncIteration
            if self._error is not None:
                self._raise_once()
            if self._seen or channel.abandoned:
                raise StopAsyncIteration
            await channel.wait()
        return channel.take()

    def _raise_once(self) -> None:
        error, self._error = self._error, None
        if self._seen or error is None:
            return
        self._seen = True
        try:
            if isinstance(error, asyncio.CancelledError):
                # Raised here as it is, it would look like a cancellation of the consumer.
                raise LLMError("the call was cancelled from below, not by its consumer", call=self._call) from error
            raise error
        finally:
            del error  # its traceback holds this frame: a cycle that only the garbage collector would free

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        channel, task = self._channel, self._task
        assert channel is not None
        assert task is not None
        if not task.done():
            channel.abandoned = True
            if self._response is None and self._error is None:
                task.cancel()
            await _finished(task)
            channel.buffer.clear()
            if isinstance(self._error, asyncio.CancelledError):
                self._seen, self._error = True, None
        if not task.cancelled() and task.exception() is not None:
            raise task.exception()  # type: ignore[misc]  # KeyboardInterrupt, SystemExit
        if error is None:
            self._raise_once()


async def _finished(task: asyncio.Task[None]) -> None:
    """Wait for *task*, and pass on a cancellation of the waiting code only after it has ended."""
    interrupted: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            interrupted = error
            if not task.cancelling():  # its clean-up is not cut short by a scope that cancels again and again
                task.cancel()
    if interrupted is not None:
        raise interrupted
