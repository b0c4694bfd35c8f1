"""Layers that mix up their callers, or lend one what belongs to another."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import Any, ClassVar

from llamina import Attempt, Handler, Ledger, Middleware, Request, Response, ServerError, middleware
from llamina.record import record
from zoo import Wrong

_seen_errors = 0


@middleware
async def keeps_state_in_the_module(request: Request, call_next: Handler) -> Response:
    """A breaker for the whole process, by mistake."""
    global _seen_errors
    if _seen_errors >= 5:
        raise ServerError("open for everyone")
    try:
        return await call_next(request)
    except ServerError:
        _seen_errors += 1
        raise


class KeepsStateOnTheClass:
    """A dict in the body of the class is one dict for all objects."""

    answers: ClassVar[dict[str, Response]] = {}

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            name = f"{request.tags.get('tenant')} {request.identity}"
            if name not in self.answers:
                self.answers[name] = await call_next(request)
            return self.answers[name]

        return handle


class KeepsTheRequestOnItself:
    """Remembers "the" request: there is more than one at a time."""

    request: Request

    def __call__(self, call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            self.request = request
            await asyncio.sleep(0)
            return await call_next(self.request)

        return handle


class KeepsTheHandlerOnItself:
    """Remembers "the" next handler: in a second stack it is another."""

    call_next: Handler

    def __call__(self, call_next: Handler) -> Handler:
        self.call_next = call_next

        async def handle(request: Request) -> Response:
            return await self.call_next(request)

        return handle


_tenant = contextvars.ContextVar("tenant", default="")


@middleware
async def leaves_a_context_variable_set(request: Request, call_next: Handler) -> Response:
    """Sets and never resets."""
    _tenant.set("mine")
    return await call_next(request)


@middleware
async def resets_a_context_variable(request: Request, call_next: Handler) -> Response:
    """As it should be."""
    before = _tenant.set("mine")
    try:
        return await call_next(request)
    finally:
        _tenant.reset(before)


def first_come(call_next: Handler) -> Handler:
    """A single flight whose first caller flies it himself: when he leaves, all fall."""
    flights: dict[Any, asyncio.Future[Response]] = {}

    async def handle(request: Request) -> Response:
        key = (request.tags.get("tenant"), request.identity)
        if key in flights:
            return await asyncio.shield(flights[key])
        flight = flights[key] = asyncio.get_running_loop().create_future()
        try:
            response = await call_next(request)
        except BaseException as error:
            flight.set_exception(error) if not isinstance(error, asyncio.CancelledError) else flight.cancel()
            with contextlib.suppress(BaseException):
                flight.exception()
            raise
        else:
            flight.set_result(response)
            return response
        finally:
            del flights[key]

    return handle


def flight(*, deadline: bool = False, own_context: bool = True) -> Middleware:
    """A single flight in a task, which may keep too much of its first caller."""

    def layer(call_next: Handler) -> Handler:
        flights: dict[Any, asyncio.Task[Response]] = {}

        async def fly(request: Request) -> Response:
            return await call_next(request)

        async def handle(request: Request) -> Response:
            key = (request.tags.get("tenant"), request.identity)
            if key not in flights:
                asked = request if deadline else request.evolve(deadline=None)
                context = contextvars.Context() if own_context else None
                flights[key] = asyncio.create_task(fly(asked), context=context)
                flights[key].add_done_callback(lambda _: flights.pop(key, None))
            return await asyncio.shield(flights[key])

        return handle

    return layer


def charges_a_hit(call_next: Handler) -> Handler:
    """A cache that enters what the answer had cost in every call that gets it."""
    kept: dict[Any, tuple[Response, list[Attempt]]] = {}

    async def handle(request: Request) -> Response:
        key = (request.tags.get("tenant"), request.identity)
        assert request.ledger is not None
        if key not in kept:
            response = await call_next(request)
            kept[key] = (response, list(request.ledger.attempts))
            return response
        response, attempts = kept[key]
        for attempt in attempts:
            request.ledger.add(attempt)
        return response

    return handle


@middleware
async def writes_into_a_ledger_of_its_own(request: Request, call_next: Handler) -> Response:
    """Its attempts are lost to the call."""
    return await call_next(request.evolve(ledger=Ledger()))


@middleware
async def goes_round_the_branch(request: Request, call_next: Handler) -> Response:
    """Writes to the root of the ledger: the branch above, which sums, sees nothing."""
    assert request.call is not None
    return await call_next(request.evolve(ledger=request.call.ledger))


def records_too(call_next: Handler) -> Handler:
    """Records what the stack records already."""
    return record(call_next)


@middleware
async def opens_a_call_of_its_own(request: Request, call_next: Handler) -> Response:
    """Takes the call off, as if it were the edge: a stack below opens another."""
    return await call_next(request.evolve(call=None, ledger=None))


WRONG = {
    "state in the module": Wrong(lambda: keeps_state_in_the_module, "fresh-state"),
    "state on the class": Wrong(KeepsStateOnTheClass, "fresh-state"),
    "the request on the object": Wrong(KeepsTheRequestOnItself, "concurrent-use"),
    "the next handler on the object": Wrong(KeepsTheHandlerOnItself, "reusable"),
    "context variable left": Wrong(
        lambda: leaves_a_context_variable_set, "no-context-leak", lambda: resets_a_context_variable
    ),
    "first caller's context leaked": Wrong(lambda: flight(own_context=False), "context-is-not-lent"),
    "first caller leaves with all": Wrong(lambda: first_come, "leaving-harms-nobody"),
    "first caller's deadline for all": Wrong(lambda: flight(deadline=True), "deadlines-are-personal"),
    "joined answers are one object": Wrong(flight, "answers-are-copies"),
    "hit charged again": Wrong(lambda: charges_a_hit, "paid-once"),
    "ledger replaced": Wrong(lambda: writes_into_a_ledger_of_its_own, "ledger-is-complete"),
    "recorded twice": Wrong(lambda: records_too, "ledger-is-complete"),
    "ledger's branch passed by": Wrong(lambda: goes_round_the_branch, "ledger-node-is-kept"),
    "call taken off": Wrong(lambda: opens_a_call_of_its_own, "stacks-nest"),
}
