"""The outermost pin of a stack: a fresh Call for each logical call, and the edge of its stream.

    handle = enclose(handler)        # a layer used alone does this; a Stack does it in its own call

The caller's Request is never touched and can be sent many times. A request that already belongs to a call in flight
(a stack inside a stack, a layer alone inside a stack) goes through as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from msgspec.structs import replace

from .call import Call, Ledger
from .errors import InvalidRequestError, LLMError
from .events import Event
from .protocol import Handler, Request, Response, expect_response
from .record import record
from .sink import CommitSink, Sink, Writer

__all__ = ["belongs_to_call", "enclose", "open_call", "standalone"]


def belongs_to_call(request: Request) -> bool:
    """Whether *request* is part of a logical call that is in flight."""
    try:
        call = request.call
    except AttributeError:
        raise InvalidRequestError(
            f"a handler takes a Request, got {type(request).__name__}; write Request.chat(model, ...)"
        ) from None
    return call is not None and not call.finished


def enclose(handler: Handler) -> Handler:
    """A handler that opens a Call for each request that has none."""

    def handle(request: Request) -> Awaitable[Response]:
        if belongs_to_call(request):
            return handler(request)
        return open_call(handler, request)

    handle.records_attempts = True  # type: ignore[attr-defined]
    return handle


def standalone(wrap: Callable[[Handler], Handler], call_next: Handler) -> Handler:
    """One layer used without `build_stack`: it opens the Call and records the attempts of a bare handler below."""
    below = call_next if getattr(call_next, "records_attempts", False) else record(call_next)
    return enclose(wrap(below))


async def open_call(handler: Handler, request: Request, *, hold: bool = False) -> Response:
    """One logical call: its record, and for a stream the commit point and the check at the end."""
    ledger = Ledger()
    call = Call(request.tags, ledger)
    try:
        if request.sink is None:
            response = await handler(replace(request, call=call, ledger=ledger))
        else:
            response = await _forward(handler, replace(request, call=call, ledger=ledger), request.sink, hold=hold)
    except LLMError as error:
        error.call = call
        raise
    finally:
        call.finished = True
    if type(response) is not Response:
        expect_response(response, "a layer of the stack")
    return response if response._call is call else replace(response, _call=call)


async def _forward(handler: Handler, request: Request, target: Sink, *, hold: bool) -> Response:
    outlet = _Forward(target, asyncio.get_running_loop().time, hold=hold)
    try:
        response = expect_response(await handler(replace(request, sink=outlet)), "a layer of the stack")
        await outlet.finish(response.message)
    except _SinkError as error:
        raise error.__cause__ or error  # noqa: B904 - to the caller it is the error of their own code
    finally:
        outlet.close()
    return response


class _SinkError(LLMError):
    """On its way through the layers: not the provider failed, the consumer did."""


class _Forward(CommitSink):
    """The commit point in front of a sink that the caller brought."""

    __slots__ = ("_held", "_sending", "_since", "_writer")

    def __init__(self, target: Sink, clock: Callable[[], float], *, hold: bool) -> None:
        super().__init__(clock, hold=hold)
        self._writer: Writer = target.begin()
        self._held = 0.0
        self._sending = 0  # a writer may be shared by tasks
        self._since: float | None = None

    async def _deliver(self, event: Event) -> None:
        if self._since is None:
            self._since = self._clock()
        self._sending += 1
        try:
            await self._writer.send(event)
        except Exception as error:
            raise _SinkError("the caller's own sink failed") from error
        finally:
            self._sending -= 1
            if not self._sending:
                self._held += self._clock() - self._since
                self._since = None

    def held(self) -> float:
        return self._held + (0.0 if self._since is None else self._clock() - self._since)
