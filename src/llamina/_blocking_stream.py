"""The stream of a blocking face: a context manager and a plain iterator, for a thread.

    with client.stream("Tell me a story") as stream:
        for event in stream: ...

The one surprise: it has two halves. The one in the loop runs the call and does not know the one that the thread holds;
so a reader who has gone without a word can be noticed, and the call is cancelled.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import copy_context
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from ._blocking_bridge import Bridge
from ._blocking_loop import Background, background
from ._client_plan import Plan
from .call import Call
from .events import Event
from .protocol import Request, Response
from .stream import Stream

__all__ = ["BlockingStream"]


class _Far(Stream):
    """The end of the stream that is in the loop. It does not know the reader, who can so be seen to be gone."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan.handler, plan.request, buffer=plan.bound, hold=plan.hold)
        self.home: Background | None = None
        self.bridge: Bridge | None = None

    def enter(self) -> None:
        """Have the call begun in the loop, with the context of this thread."""
        home = background()
        home.check_caller()
        self.home, self.bridge = home, Bridge(home, self._bound, hold=self._hold)
        self._context = copy_context()
        home.loop.call_soon_threadsafe(self._open)

    def _open(self) -> None:
        home, bridge = self.home, self.bridge
        assert home is not None
        assert bridge is not None
        if bridge.abandoned:
            return
        request = replace(self._request, sink=bridge)
        if not self._joins_call:
            request = replace(request, call=self._call, ledger=self._call.ledger)
        channel: Any = bridge  # it does all that a stream asks of its channel
        self._channel = channel
        self._task = home.start(self._serve(request, channel), self._context, "llamina stream")

    async def _serve(self, request: Request, channel: Any) -> None:
        with contextlib.suppress(KeyboardInterrupt, SystemExit):  # kept for the reader; not the loop's to obey
            await self._run(request, channel)

    def leave(self, error: BaseException | None) -> None:
        """Cancel the call if it is in flight, wait for its clean-up, and raise what the reader has not seen."""
        home, bridge = self.home, self.bridge
        assert home is not None
        assert bridge is not None
        if home.lost:
            return
        if not bridge.closed:
            home.run(self._leave, error, cancelled_by_ctrl_c=False)
        elif error is None:
            self.fail()

    async def _leave(self, error: BaseException | None) -> None:
        if self._task is None:  # interrupted before it began
            self.abandon()
        else:
            await self.__aexit__(None if error is None else type(error), error, None)

    def abandon(self) -> None:
        """Cancel the call; in the loop's thread, nobody waits for it."""
        assert self.bridge is not None
        self.bridge.forsake()
        if self._task is not None and not self.bridge.closed:
            self._task.cancel()

    def fail(self) -> None:
        """Raise what the call has raised, once."""
        assert self.bridge is not None
        if self._error is not None and not self.bridge.abandoned:
            assert self.home is not None
            self.home.check_ending(self._error)
            self._raise_once()


class BlockingStream:
    """One streamed call, for a thread: a context manager and a plain iterator of events.

        with client.stream("Tell me a story") as stream:
            for event in stream:
                print(event.text, end="")
        print(stream.response.usage)

    Leaving the block early cancels the call and waits until it is cleaned up; so does Ctrl-C. A stream that nobody holds
    any more is cancelled too.
    """

    _open = False

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._far = _Far(plan)
        self._entered = False
        self._finished = False

    @property
    def call(self) -> Call:
        """The record of this call: attempts so far, cost, tags."""
        return self._far.call

    @property
    def response(self) -> Response:
        """The complete Response.

        Raises:
            LookupError: the stream has not ended; read its events or call `stream.complete()`.
        """
        return self._plan.answer(self._far.response)

    @property
    def text(self) -> Texts:
        """The pieces of text, as they come.

        Inside `with` it reads what is left of this stream. Without, it opens the stream, and closes it when it has
        ended or is left: `for piece in client.stream("Hi").text`.
        """
        return Texts(self)

    def complete(self) -> Response:
        """Let the call run to its end without looking at the events, and return the Response."""
        for _ in self:
            pass
        return self.response

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a stream is entered once; ask for another")
        self._plan.begin()
        self._entered = self._open = True
        try:
            self._far.enter()
        except BaseException:
            self._open = False
            self._plan.end()
            raise
        return self

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        bridge = self._far.bridge
        if bridge is None:
            raise RuntimeError("enter the stream first: `with stack.stream(request) as stream:`")
        event = bridge.next()
        if event is None:
            self._end()
            raise StopIteration
        return event

    def _end(self) -> None:
        far = self._far
        far.fail()
        if far._response is not None and not self._finished:
            self._finished = True
            self._plan.finish(far._response)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._open:
            return
        try:
            self._far.leave(error)
        finally:
            self.drop()  # what was interrupted on its way is at least cancelled

    def drop(self) -> None:
        """Cancel the call and do not wait for it: nobody is there to read it any more."""
        if self._open:
            self._open = False
            far = self._far
            if far.home is not None and far.bridge is not None and not far.bridge.closed:
                far.bridge.forsake()
                far.home.post(far.abandon)
            self._plan.end()

    def __del__(self) -> None:
        self.drop()


class Texts(Iterator[str]):
    """The pieces of text of a stream, as a plain iterator; `close()` leaves the stream that it has opened."""

    def __init__(self, stream: BlockingStream) -> None:
        self._stream = stream
        self._own = not stream._entered

    def __next__(self) -> str:
        stream = self._stream
        if self._own and not stream._entered:
            stream.__enter__()
        try:
            for event in stream:
                if event.text:
                    return event.text
        except BaseException as error:
            if self._own:
                stream.__exit__(type(error), error, error.__traceback__)
            raise
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Leave the stream, if it was opened here, and wait for its clean-up."""
        if self._own:
            self._stream.__exit__(GeneratorExit, GeneratorExit(), None)

    def __del__(self) -> None:
        # Never waits: garbage is collected in any thread, in the loop's too.
        if self._own:
            self._stream.drop()
