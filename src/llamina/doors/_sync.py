"""The sync doors: a transport for the Client of httpx or httpx2 that asks a stack, on the loop of the blocking faces.

    client = sync_client("httpx2", stack)

What the app's thread does is wait, and make bytes of events; the stack runs in the loop that all blocking faces share.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from llamina._blocking_loop import background
from llamina.blocking import BlockingStream
from llamina.errors import LLMError
from llamina.events import Event
from llamina.protocol import Handler
from llamina.stack import Stack

from ._door import Door, Incoming, Turn, is_lost
from ._http import check_settings, incoming_of, lost, response_of

__all__ = ["sync_client"]


def sync_client(family: str, stack: Stack | Handler, settings: dict[str, Any]) -> Any:
    """A Client of *family* whose requests go through *stack*; *settings* are the client's own."""
    check_settings(settings)
    module = importlib.import_module(family)
    door = Door(stack)

    class PassedStream(_Passed, module.SyncByteStream):  # type: ignore[misc, name-defined]
        pass

    def passed(incoming: Incoming, request: Any) -> Any:
        forward = door.forward
        if forward is None:
            return response_of(module, door.unknown(incoming))
        try:
            answer = background().run(
                forward,
                incoming.method,
                incoming.path,
                incoming.query,
                incoming.headers,
                incoming.body,
                incoming.timeout,
            )
        except LLMError as error:
            if not is_lost(error):
                return response_of(module, door.failed(incoming, error))
            raise lost(module, error, request) from error
        return module.Response(answer.status, headers=answer.headers, stream=PassedStream(module, answer, request))

    class DoorStream(_Frames, module.SyncByteStream):  # type: ignore[misc, name-defined]
        pass

    class DoorTransport(module.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            request.read()
            incoming = incoming_of(request)
            try:
                turn = door.read(incoming)
            except LLMError as error:
                raise lost(module, error, request) from error
            if turn is None:
                return passed(incoming, request)
            if not isinstance(turn, Turn):
                return response_of(module, turn)
            try:
                below = door.stack_for(turn).blocking()
                if turn.streams:
                    stream, first = _begun(below.stream(turn.request))
                    frames = DoorStream(module, turn, stream, first, request)
                    return module.Response(
                        200, headers=dict(turn.head(stream.call.id)), stream=frames, extensions={"llamina": stream.call}
                    )
                return response_of(module, turn.whole(below(turn.request)))
            except LLMError as error:
                if not is_lost(error):
                    return response_of(module, turn.refused(error))
                door.note_lost(turn, error)
                failure = lost(module, error, request)
                failure.__cause__ = error
            except Exception as error:
                door.note_lost(turn, error)  # a mistake in a layer, which some SDKs try again
                raise
            raise failure

    return module.Client(transport=DoorTransport(), **settings)


class _Passed:
    """The body of an answer that is passed on, piece by piece."""

    def __init__(self, module: Any, answer: Any, request: Any) -> None:
        self._module = module
        self._answer = answer
        self._request = request
        self._home = background()
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        try:
            while piece := self._home.run(self._answer.read):
                yield piece
        except LLMError as error:
            raise lost(self._module, error, self._request) from error

    def close(self) -> None:
        """Give the connection back, or cut it."""
        if self._open:
            self._open = False
            self._home.run(self._answer.close)

    def __del__(self) -> None:
        if self._open:  # an app that forgot it; garbage is collected in any thread, so nobody waits
            answer = self._answer
            self._home.post(lambda: asyncio.ensure_future(answer.close()))


def _begun(stream: BlockingStream) -> tuple[BlockingStream, Event | None]:
    """A stream of which the first event has come; what fails before that fails here."""
    stream.__enter__()
    try:
        return stream, next(stream, None)
    except BaseException as error:
        stream.__exit__(type(error), error, error.__traceback__)
        raise


class _Frames:
    """The body of a streamed answer."""

    def __init__(self, module: Any, turn: Turn, stream: BlockingStream, first: Event | None, request: Any) -> None:
        self._module = module
        self._turn = turn
        self._stream = stream
        self._first = first
        self._request = request

    def __iter__(self) -> Iterator[bytes]:
        turn, stream = self._turn, self._stream
        begin = turn.opening(stream.call.id)
        yield begin if self._first is None else begin + turn.event(self._first)
        try:
            for event in stream:
                if data := turn.event(event):
                    yield data
            end = turn.closing(stream.response)
        except LLMError as error:
            if is_lost(error):
                raise lost(self._module, error, self._request) from error
            end = turn.broken(error)
        yield end

    def close(self) -> None:
        """Leave the stream: what is still in flight is cancelled, and waited for."""
        with contextlib.suppress(LLMError):  # who leaves early does not want to know how it would have ended
            self._stream.__exit__(None, None, None)
