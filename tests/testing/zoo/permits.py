"""Layers that hold something, and do not give it back."""

from __future__ import annotations

import asyncio
from collections import deque

from llamina import Handler, Middleware, Request, Response
from zoo import Wrong


def limit(slots: int) -> Middleware:
    """As it should be: held with `with`."""

    def layer(call_next: Handler) -> Handler:
        free = asyncio.Semaphore(slots)

        async def handle(request: Request) -> Response:
            async with free:
                return await call_next(request)

        return handle

    return layer


def forgets_the_permit(call_next: Handler) -> Handler:
    """Acquires, awaits, releases: without `finally`."""
    slots = asyncio.Semaphore(1)

    async def handle(request: Request) -> Response:
        await slots.acquire()
        response = await call_next(request)
        slots.release()
        return response

    return handle


def loses_a_few_of_many_permits(call_next: Handler) -> Handler:
    """Releases on errors, not on cancellation; there are enough permits for a while."""
    slots = asyncio.Semaphore(15)

    async def handle(request: Request) -> Response:
        await slots.acquire()
        try:
            response = await call_next(request)
        except Exception:
            slots.release()
            raise
        slots.release()
        return response

    return handle


def keeps_the_lock_after_an_error(call_next: Handler) -> Handler:
    """Releases on success and on cancellation, not on errors."""
    lock = asyncio.Lock()

    async def handle(request: Request) -> Response:
        await lock.acquire()
        try:
            response = await call_next(request)
        except asyncio.CancelledError:
            lock.release()
            raise
        lock.release()
        return response

    return handle


def hands_the_permit_to_the_dead(call_next: Handler) -> Handler:
    """A queue of its own: whoever is cancelled just as his turn comes keeps it for ever."""
    waiting: deque[asyncio.Future[None]] = deque()
    busy = False

    def hand_on() -> None:
        nonlocal busy
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        busy = False

    async def handle(request: Request) -> Response:
        nonlocal busy
        if busy:
            turn = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            await turn
        busy = True
        try:
            return await call_next(request)
        finally:
            hand_on()

    return handle


def shields_the_call(call_next: Handler) -> Handler:
    """Leaves the call running when its caller has gone."""

    async def handle(request: Request) -> Response:
        return await asyncio.shield(asyncio.ensure_future(call_next(request)))

    return handle


def releases_in_the_background(call_next: Handler) -> Handler:
    """Gives the slot back in a task that waits a day, to be nice to the provider."""
    free = asyncio.Semaphore(1)

    async def later() -> None:
        await asyncio.sleep(86_400)
        free.release()

    async def handle(request: Request) -> Response:
        await free.acquire()
        try:
            return await call_next(request)
        finally:
            asyncio.get_running_loop().create_task(later())

    return handle


WRONG = {
    "permit lost on cancel": Wrong(lambda: forgets_the_permit, "cancellation", lambda: limit(1)),
    "permit lost while streaming": Wrong(lambda: forgets_the_permit, "cancellation-of-streams"),
    "permit lost on error": Wrong(lambda: forgets_the_permit, "free-after-error"),
    "permit lost on leaving": Wrong(lambda: forgets_the_permit, "free-after-leaving"),
    "a few of many permits lost": Wrong(lambda: loses_a_few_of_many_permits, "cancellation", lambda: limit(15)),
    "lock kept after an error": Wrong(lambda: keeps_the_lock_after_an_error, "free-after-error"),
    "permit handed to the dead": Wrong(lambda: hands_the_permit_to_the_dead, "cancellation-in-a-queue"),
    "call shielded from its caller": Wrong(lambda: shields_the_call, "free-after-leaving"),
    "try of a caller who left never settles": Wrong(lambda: shields_the_call, "cut-calls-are-settled"),
    "permit given back a day later": Wrong(lambda: releases_in_the_background, "nothing-left-behind"),
}
