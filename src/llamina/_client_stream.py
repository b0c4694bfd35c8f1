"""The stream of a client: the protocol's, and its text as an async iterator of strings."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from ._client_plan import Plan
from .events import Event
from .protocol import Response
from .stream import Stream

__all__ = ["AsyncTexts", "ClientStream"]


class ClientStream(Stream):
    """One streamed call: `async with`, `async for event in stream`, `.text`, `.response`, `.call`, `complete()`."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.handler, plan.request, buffer=plan.bound, hold=plan.hold)
        self._plan = plan
        self._finished = False

    @property
    def text(self) -> AsyncTexts:
        """The pieces of text, as they come.

        Inside `async with` it reads what is left of this stream. Without, it opens the stream, and closes it when it
        has ended or is left: `async for piece in client.stream("Hi").text`.
        """
        return AsyncTexts(self)

    @property
    def response(self) -> Response:
        """The complete Response.

        Raises:
            LookupError: the stream has not ended; read its events or `await stream.complete()`.
        """
        return self._plan.answer(super().response)

    async def __aenter__(self) -> Self:
        if self._task is not None:
            return await super().__aenter__()  # refuses
        self._plan.begin()
        try:
            return await super().__aenter__()
        except BaseException:
            self._plan.end()
            raise

    def __aiter__(self) -> ClientStream:
        return self

    async def __anext__(self) -> Event:
        try:
            return await super().__anext__()
        except StopAsyncIteration:
            if self._response is not None and not self._finished:
                self._finished = True
                self._plan.finish(self._response)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        finally:
            self._plan.end()

    def drop(self) -> None:
        """Cancel the call and do not wait for it: nobody is there to read it any more."""
        drop(self)
        self._plan.end()


def drop(stream: Stream) -> None:
    """Cancel the call of *stream* and do not wait for it."""
    task, channel = stream._task, stream._channel
    if task is not None and channel is not None and not task.done():
        channel.abandoned = True
        channel.buffer.clear()
        with contextlib.suppress(RuntimeError):  # the loop is closed, and has cancelled it itself
            task.get_loop().call_soon_threadsafe(_cancel, task)


_dropped: set[asyncio.Task[None]] = set()  # kept alive until they have cleaned up


def _cancel(task: asyncio.Task[None]) -> None:
    _dropped.add(task)
    task.add_done_callback(_dropped.discard)
    task.cancel()


class AsyncTexts(AsyncIterator[str]):
    """The pieces of text of a stream, as an async iterator; `aclose()` leaves the stream that it has opened.

    No generator: what a `break` leaves behind is cancelled at once, not when the event loop comes to it.
    """

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._own = stream._task is None

    async def __anext__(self) -> str:
        stream = self._stream
        if self._own and stream._task is None:
            await stream.__aenter__()
        try:
            async for event in stream:
                if event.text:
                    return event.text
        except BaseException as error:
            if self._own:
                await stream.__aexit__(type(error), error, error.__traceback__)
            raise
        await self.aclose()
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Leave the stream, if it was opened here, and wait for its clean-up."""
        if self._own and self._stream._task is not None:
            await self._stream.__aexit__(GeneratorExit, GeneratorExit(), None)

    def __del__(self) -> None:
        if self._own:
            self._stream.drop()
