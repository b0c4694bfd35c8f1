"""Layers that change errors, or say too much."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from llamina import Handler, LLMError, Message, Request, RequestTimeoutError, Response, ServerError, Usage, middleware
from zoo import Wrong

log = logging.getLogger("zoo")


@middleware
async def wraps_errors(request: Request, call_next: Handler) -> Response:
    """Replaces every error by its own."""
    try:
        return await call_next(request)
    except Exception as error:
        raise LLMError("it failed") from error


@middleware
async def copies_errors(request: Request, call_next: Handler) -> Response:
    """Raises one of the same kind with a nicer text: what it carried is gone."""
    try:
        return await call_next(request)
    except LLMError as error:
        raise type(error)(f"in my app: {error}") from error


@middleware
async def adds_a_note(request: Request, call_next: Handler) -> Response:
    """As it should be: the same object, with a note."""
    try:
        return await call_next(request)
    except LLMError as error:
        error.add_note("in my app")
        raise


@middleware
async def answers_in_place_of_the_provider(request: Request, call_next: Handler) -> Response:
    """Answers each failure, also the ones that it cannot mend."""
    with contextlib.suppress(Exception):
        return await call_next(request)
    return Response(Message.assistant("sorry"), Usage(1, 1), "stop")


@middleware
async def raises_what_cannot_travel(request: Request, call_next: Handler) -> Response:
    """Its error is of a class that is made on the spot: another process cannot find it."""

    class TooSlow(RequestTimeoutError):
        pass

    try:
        async with asyncio.timeout_at(request.deadline):
            return await call_next(request)
    except TimeoutError as error:
        if request.remaining != 0:
            raise
        raise TooSlow("too slow") from error


def on_deadline(text: str) -> object:
    """A layer that says *text* when the deadline has passed."""

    @middleware
    async def keeps_the_deadline(request: Request, call_next: Handler) -> Response:
        try:
            async with asyncio.timeout_at(request.deadline):
                return await call_next(request)
        except TimeoutError as error:
            if request.remaining != 0:
                raise
            raise RequestTimeoutError(text.format(request=request)) from error

    return keeps_the_deadline


@middleware
async def logs_the_parameters(request: Request, call_next: Handler) -> Response:
    """Writes all parameters of a failed call into the log, the key too."""
    try:
        return await call_next(request)
    except ServerError:
        log.warning("failed: %s", dict(request.params))
        raise


@middleware
async def logs_the_headers(request: Request, call_next: Handler) -> Response:
    """Writes headers at level DEBUG, which nobody turns on."""
    log.debug("asking %s with %s", request.model, request.headers)
    return await call_next(request)


WRONG = {
    "errors wrapped": Wrong(lambda: wraps_errors, "errors-pass-through"),
    "errors copied": Wrong(lambda: copies_errors, "errors-pass-through", lambda: adds_a_note),
    "errors answered": Wrong(lambda: answers_in_place_of_the_provider, "errors-pass-through"),
    "error that cannot be pickled": Wrong(
        lambda: raises_what_cannot_travel, "errors-can-travel", lambda: on_deadline("too slow")
    ),
    "prompt in an error": Wrong(
        lambda: on_deadline("too slow: {request.messages}"), "secrets-stay-inside", lambda: on_deadline("{request}")
    ),
    "headers in an error": Wrong(lambda: on_deadline("too slow: {request.headers}"), "secrets-stay-inside"),
    "key in the log": Wrong(lambda: logs_the_parameters, "secrets-stay-inside"),
    "headers in the log": Wrong(lambda: logs_the_headers, "secrets-stay-inside"),
}
