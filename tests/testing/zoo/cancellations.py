"""Layers that make something else of a cancellation, an exit or a limit."""

from __future__ import annotations

import asyncio

from llamina import (
    Handler,
    InvalidRequestError,
    Request,
    RequestTimeoutError,
    Response,
    ServerError,
    Usage,
    middleware,
)
from zoo import Wrong


@middleware
async def swallows_the_cancellation(request: Request, call_next: Handler) -> Response:
    """Turns a cancellation into an answer."""
    try:
        return await call_next(request)
    except asyncio.CancelledError:
        return Response.of("cancelled", usage=Usage(1, 1))


@middleware
async def turns_the_cancellation_into_an_error(request: Request, call_next: Handler) -> Response:
    """As pybreaker does."""
    try:
        return await call_next(request)
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            raise ServerError("failed") from error
        raise


@middleware
async def takes_the_cancellation_back(request: Request, call_next: Handler) -> Response:
    """Calls `uncancel` for a cancellation that is not its own: timeouts outside count wrongly."""
    try:
        return await call_next(request)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        assert task is not None
        task.uncancel()
        raise


@middleware
async def tries_again_after_a_cancellation(request: Request, call_next: Handler) -> Response:
    """A retry that catches BaseException: the call goes on after its caller's timeout."""
    for _ in range(2):
        try:
            return await call_next(request)
        except (InvalidRequestError, LookupError, ServerError):
            raise
        except BaseException:
            if not request.replayable:
                raise
    return await call_next(request)


@middleware
async def answers_an_exit(request: Request, call_next: Handler) -> Response:
    """Catches BaseException to have a canned answer for everything but a cancellation and our own errors."""
    try:
        return await call_next(request)
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException:
        return Response.of("sorry", usage=Usage(1, 1))


@middleware
async def takes_the_callers_timeout_for_its_own(request: Request, call_next: Handler) -> Response:
    """Reports every cancellation as a limit of its own."""
    try:
        async with asyncio.timeout(10_000):
            return await call_next(request)
    except (TimeoutError, asyncio.CancelledError) as error:
        raise RequestTimeoutError("too slow") from error


@middleware
async def lets_its_own_limit_look_like_a_cancellation(request: Request, call_next: Handler) -> Response:
    """Cancels its own caller when the time is over, and leaves it at that."""
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(900, task.cancel)
    try:
        return await call_next(request)
    finally:
        timer.cancel()


@middleware
async def keeps_a_limit(request: Request, call_next: Handler) -> Response:
    """As it should be: a limit that is an error of ours, and tells its own from the caller's."""
    try:
        async with asyncio.timeout(900) as limit:
            return await call_next(request)
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise RequestTimeoutError("too slow") from error


WRONG = {
    "cancellation swallowed": Wrong(lambda: swallows_the_cancellation, "cancellation"),
    "cancellation turned into an error": Wrong(lambda: turns_the_cancellation_into_an_error, "cancellation"),
    "cancellation taken back": Wrong(lambda: takes_the_cancellation_back, "cancellation"),
    "cancellation tried again": Wrong(lambda: tries_again_after_a_cancellation, "cancellation"),
    "caller's timeout overrun": Wrong(lambda: tries_again_after_a_cancellation, "callers-timeout"),
    "exit answered": Wrong(lambda: answers_an_exit, "exits-pass-through"),
    "exit tried again": Wrong(lambda: tries_again_after_a_cancellation, "exits-pass-through"),
    "caller's timeout taken for its own": Wrong(lambda: takes_the_callers_timeout_for_its_own, "callers-timeout"),
    "own limit as a cancellation": Wrong(
        lambda: lets_its_own_limit_look_like_a_cancellation, "own-limit-is-no-cancellation"
    ),
}
