"""Layers that were written for plain calls, or that get streams wrong."""

from __future__ import annotations

import asyncio
from typing import Any

from llamina import Handler, Request, RequestTimeoutError, Response, ServerError, TextDelta, Usage, Writer, middleware
from zoo import Wrong


class Passing(Writer):
    """A writer that hands on; the wrong ones change `send`."""

    def __init__(self, inner: Writer) -> None:
        super().__init__()
        self.inner = inner

    async def send(self, event: Any) -> None:
        """Push one event."""
        await self.inner.send(event)


class Upper(Passing):
    """Rewrites text."""

    async def send(self, event: Any) -> None:
        """Push one event."""
        await self.inner.send(TextDelta(event.text.upper()) if event.text else event)


class TextOnly(Passing):
    """Knows one kind of events."""

    async def send(self, event: Any) -> None:
        """Push one event."""
        if isinstance(event, TextDelta):
            await self.inner.send(event)


@middleware
async def rewrites_only_the_response(request: Request, call_next: Handler) -> Response:
    """Forgets that the text has been streamed."""
    response = await call_next(request)
    return response.with_text(response.text.upper())


@middleware
async def rewrites_only_the_events(request: Request, call_next: Handler) -> Response:
    """Forgets that the Response is returned too."""
    if request.sink is not None:
        request = request.evolve(sink=request.sink.through(Upper))
    return await call_next(request)


@middleware
async def refuses_to_pass_what_is_no_text(request: Request, call_next: Handler) -> Response:
    """Drops reasoning and tool calls from the stream, and thinks of the Response as text, too."""
    if request.sink is not None:
        request = request.evolve(sink=request.sink.through(TextOnly))
    response = await call_next(request)
    return Response.of(response.text, usage=response.usage)


@middleware
async def watches_events(request: Request, call_next: Handler) -> Response:
    """As it should be: a writer for each attempt that hands everything on."""
    if request.sink is not None:
        request = request.evolve(sink=request.sink.through(Passing))
    return await call_next(request)


@middleware
async def streams_only_what_is_new(request: Request, call_next: Handler) -> Response:
    """Answers a stream at once with a greeting, which is in no Response."""
    if request.sink is not None:
        await request.sink.begin().send(TextDelta("One moment. "))
    return await call_next(request)


@middleware
async def has_one_writer_for_all_attempts(request: Request, call_next: Handler) -> Response:
    """Makes the writer once for each call, not for each attempt."""
    sink = request.sink
    if sink is not None:
        made: list[Writer] = []

        def once(writer: Writer) -> Writer:
            made[:] = made or [Passing(writer)]
            return made[0]

        request = request.evolve(sink=sink.through(once))
    return await call_next(request)


@middleware
async def reads_ahead_without_a_bound(request: Request, call_next: Handler) -> Response:
    """Takes events into a queue, so that the provider is never held up: the answer piles up in memory."""
    sink = request.sink
    if sink is None:
        return await call_next(request)
    queue: asyncio.Queue[Any] = asyncio.Queue()

    class Queued(Passing):
        async def send(self, event: Any) -> None:
            queue.put_nowait((self.inner, event))

    async def pump() -> None:
        while (item := await queue.get()) is not None:
            await item[0].send(item[1])

    pumping = asyncio.create_task(pump())
    try:
        response = await call_next(request.evolve(sink=sink.through(Queued)))
        queue.put_nowait(None)
        await pumping
        return response
    finally:
        pumping.cancel()


@middleware
async def counts_the_consumers_time(request: Request, call_next: Handler) -> Response:
    """A timer round the whole stream, whoever holds it up."""
    try:
        async with asyncio.timeout(900) as limit:
            return await call_next(request)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise RequestTimeoutError("too slow") from error


@middleware
async def hides_a_cut(request: Request, call_next: Handler) -> Response:
    """Hides the failure of a stream that has begun behind a canned answer."""
    try:
        return await call_next(request)
    except ServerError:
        return Response.of("par and something else", usage=Usage(1, 1))


@middleware
async def tries_again_after_delivery(request: Request, call_next: Handler) -> Response:
    """A retry in five lines, written for plain calls."""
    for _ in range(2):
        try:
            return await call_next(request)
        except ServerError:
            pass
    return await call_next(request)


@middleware
async def tries_again(request: Request, call_next: Handler) -> Response:
    """As it should be: it asks first."""
    for _ in range(2):
        try:
            return await call_next(request)
        except ServerError:
            if not request.replayable:
                raise
    return await call_next(request)


@middleware
async def answers_streams_otherwise(request: Request, call_next: Handler) -> Response:
    """Branches on whether the call streams, and shortens the one answer only."""
    response = await call_next(request)
    return response if request.sink is not None else response.with_text(response.text[:3])


WRONG = {
    "response rewritten alone": Wrong(lambda: rewrites_only_the_response, "stream-is-the-response"),
    "events rewritten alone": Wrong(lambda: rewrites_only_the_events, "stream-is-the-response"),
    "greeting streamed, not returned": Wrong(lambda: streams_only_what_is_new, "stream-is-the-response"),
    "streams answered otherwise": Wrong(lambda: answers_streams_otherwise, "streams-and-returns-alike"),
    "events of other kinds dropped": Wrong(
        lambda: refuses_to_pass_what_is_no_text, "events-pass", lambda: watches_events
    ),
    "one writer for all attempts": Wrong(
        lambda: has_one_writer_for_all_attempts, "every-attempt-begins-afresh", lambda: watches_events
    ),
    "read ahead without a bound": Wrong(lambda: reads_ahead_without_a_bound, "no-reading-ahead"),
    "consumer's time counted": Wrong(lambda: counts_the_consumers_time, "slow-consumers-are-no-fault"),
    "cut hidden": Wrong(lambda: hides_a_cut, "nothing-twice"),
    "replay after delivery": Wrong(lambda: tries_again_after_delivery, "nothing-twice"),
    "further tries after delivery": Wrong(
        lambda: tries_again_after_delivery, "asks-before-replaying", lambda: tries_again
    ),
}
