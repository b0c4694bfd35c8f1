"""The async doors: a transport for the AsyncClient of httpx or httpx2 that asks a stack instead of the network.

client = async_client("httpx2", stack)

An answer goes out when it is there, a stream event by event, each as it comes: the next piece is made when the SDK reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from typing import Any

from llamina._client_stream import drop
from llamina.errors import LLMError
from llamina.events import Event
from llamina.protocol import Handler
from llamina.stack import Stack
from llamina.stream import Stream

from ._door import Door, Incoming, Turn, is_lost
from ._http import check_settings, incoming_of, lost, response_of

__all__ = ["async_client"]


def async_client(family: str, stack: Stack | Handler, settings: dict[str, Any]) -> Any:
    """An AsyncClient of *family* whose requests go through *stack*; *settings* are the client's own."""
    check_settings(settings)
    module = importlib.import_module(family)
    door = Door(stack)

    class PassedStream(_Passed, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        pass

    async def passed(incoming: Incoming, request: Any) -> Any:
        forward = door.forward
        if forward is None:
            return response_of(module, door.unknown(incoming))
        try:
            answer = await forward(
                incoming.method, incoming.path, incoming.query, incoming.headers, incoming.body, incoming.timeout
            )
        except LLMError as error:
            if not is_lost(error):
                return response_of(module, door.failed(incoming, error))
            raise lost(module, error, request) from error
        return module.Response(answer.status, headers=answer.headers, stream=PassedStream(module, answer, request))

    class DoorStream(_Frames, module.AsyncByteStream):  # type: ignore[misc, name-defined]
        pass

    class DoorTransport(module.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        async def handle_async_request(self, request: Any) -> Any:
            await request.aread()
            incoming = incoming_of(request)
            try:
                turn = door.read(incoming)
            except LLMError as error:
                raise lost(module, error, request) from error
            if turn is None:
                return await passed(incoming, request)
            if not isinstance(turn, Turn):
                return response_of(module, turn)
            try:
                if turn.streams:
                    stream, first = await _begun(door.stack_for(turn).stream(turn.request))
                    frames = DoorStream(module, turn, stream, first, request)
                    return module.Response(
                        200, headers=dict(turn.head(stream.call.id)), stream=frames, extensions={"llamina": stream.call}
                    )
                return response_of(module, turn.whole(await door.stack_for(turn)(turn.request)))
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

    return module.AsyncClient(transport=DoorTransport(), **settings)


class _Passed:
    """The body of an answer that is passed on, piece by piece."""

    def __init__(self, module: Any, answer: Any, request: Any) -> None:
        self._module = module
        self._answer = answer
        self._request = request
        self._loop = asyncio.get_running_loop()
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while piece := await self._answer.read():
                yield piece
        except LLMError as error:
            raise lost(self._module, error, self._request) from error

    async def aclose(self) -> None:
        """Give the connection back, or cut it."""
        if self._open:
            self._open = False
            await self._answer.close()

    def __del__(self) -> None:
        if self._open and not self._loop.is_closed():  # an app that forgot it
            answer = self._answer
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(answer.close()))


async def _begun(stream: Stream) -> tuple[Stream, Event | None]:
    """A stream of which the first event has come; what fails before that fails here."""
    await stream.__aenter__()
    try:
        return stream, await anext(stream, None)
    except BaseException as error:
        await stream.__aexit__(type(error), error, error.__traceback__)
        raise


class _Frames:
    """The body of a streamed answer."""

    def __init__(self, module: Any, turn: Turn, stream: Stream, first: Event | None, request: Any) -> None:
        self._module = module
        self._turn = turn
        self._stream = stream
        self._first = first
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        turn, stream = self._turn, self._stream
        begin = turn.opening(stream.call.id)
        yield begin if self._first is None else begin + turn.event(self._first)
        try:
            async for event in stream:
                if data := turn.event(event):
                    yield data
            end = turn.closing(stream.response)
        except LLMError as error:
            if is_lost(error):
                raise lost(self._module, error, self._request) from error
            end = turn.broken(error)
        yield end

    def __del__(self) -> None:
        drop(self._stream)  # an app that forgot it: nobody will close it any more

    async def aclose(self) -> None:
        """Leave the stream: what is still in flight is cancelled, and waited for."""
        with contextlib.suppress(LLMError):  # who leaves early does not want to know how it would have ended
            await self._stream.__aexit__(None, None, None)
