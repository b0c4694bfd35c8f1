"""Layers that are wrong as objects: bound to one loop, never at an end, or talkative."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

from llamina import Handler, Request, Response, middleware
from zoo import Wrong


class Counting:
    """As it should be: a bounded number of plain values."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def key(self, request: Request) -> str:
        """What is counted."""
        return "count.calls"

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            self.counts[self.key(request)] += 1
            return await call_next(request)

        return handle

    def stats(self) -> Mapping[str, Any]:
        """Counts so far."""
        return dict(self.counts)


class CountsByUser(Counting):
    """A statistic for each user: a million users are a million time series."""

    def key(self, request: Request) -> str:
        """What is counted."""
        return f"count.{request.tags.get('user')}"


class ForgetsWhenRead(Counting):
    """Reading sets the counts back, so that two readers take from each other."""

    def stats(self) -> Mapping[str, Any]:
        """Counts since the last reading."""
        counts, self.counts = self.counts, Counter()
        return dict(counts)


class ShowsItsInsides(Counting):
    """Gives the object that it counts with."""

    def stats(self) -> Mapping[str, Any]:
        """Anything at hand."""
        return {"count.object": self}


class Misspelt(Counting):
    """A word that the order of layers does not know."""

    effects = frozenset({"rate-limiting"})


class HasAWorker:
    """A queue with one worker, begun in the first loop: in the second nobody works."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Any] | None = None
        self.worker: asyncio.Task[None] | None = None

    def __call__(self, call_next: Handler) -> Handler:
        async def work(queue: asyncio.Queue[Any]) -> None:
            while True:
                request, answer = await queue.get()
                try:
                    response = await call_next(request)
                except Exception as error:
                    if not answer.done():
                        answer.set_exception(error)
                else:
                    if not answer.done():
                        answer.set_result(response)

        async def handle(request: Request) -> Response:
            if self.queue is None:
                self.queue = asyncio.Queue()
                self.worker = asyncio.create_task(work(self.queue))
            answer = asyncio.get_running_loop().create_future()
            self.queue.put_nowait((request, answer))
            return await answer

        return handle

    async def aclose(self) -> None:
        """End the worker."""
        if self.worker is not None:
            self.worker.cancel()


class BeatsForEver:
    """Reports once a minute, and nobody can stop it."""

    def __call__(self, call_next: Handler) -> Handler:
        async def beat() -> None:
            while True:  # noqa: ASYNC110
                await asyncio.sleep(60)

        async def handle(request: Request) -> Response:
            if not hasattr(self, "beating"):
                self.beating = asyncio.create_task(beat())
            return await call_next(request)

        return handle


class StopsBeating(BeatsForEver):
    """As it should be: closed as often as one likes."""

    async def aclose(self) -> None:
        """End the reports."""
        beating = vars(self).pop("beating", None)
        if beating is not None:
            beating.cancel()
            await asyncio.wait([beating])


class CannotCloseTwice(BeatsForEver):
    """Closing assumes that it has been used, and not closed."""

    async def aclose(self) -> None:
        """End the reports."""
        self.beating.cancel()
        del self.beating


@middleware
async def needs_a_stack(request: Request, call_next: Handler) -> Response:
    """Takes the call for granted."""
    print(end=str(request.call.tags.get("unknown", "")))  # type: ignore[union-attr]
    return await call_next(request)


@middleware
async def sends_two_and_keeps_one(request: Request, call_next: Handler) -> Response:
    """A hedge whose slower call goes on after the answer is there."""
    if request.sink is not None:
        return await call_next(request)
    calls = {asyncio.ensure_future(call_next(request)) for _ in range(2)}
    try:
        done, rest = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        for call in calls:
            call.cancel()
        raise
    for call in rest:
        call.add_done_callback(lambda call: call.cancelled() or call.exception())
    return done.pop().result()


WRONG = {
    "a statistic for each user": Wrong(CountsByUser, "statistics-are-bounded", Counting),
    "statistics lost by reading": Wrong(ForgetsWhenRead, "statistics-are-plain"),
    "objects as statistics": Wrong(ShowsItsInsides, "statistics-are-plain"),
    "unknown effect": Wrong(Misspelt, "declares-itself"),
    "worker of the first loop": Wrong(HasAWorker, "several-loops"),
    "work without an end": Wrong(BeatsForEver, "nothing-left-behind", StopsBeating),
    "closed only once": Wrong(CannotCloseTwice, "nothing-left-behind"),
    "call taken for granted": Wrong(lambda: needs_a_stack, "works-alone"),
    "loser of a hedge goes on": Wrong(lambda: sends_two_and_keeps_one, "nothing-left-behind"),
}
