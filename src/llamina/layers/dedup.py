"""Concurrent requests for the same thing make one upstream call.

    build_stack([Cache(), Dedup(), Retry(), Timeout(30)], transport)

A caller who comes while an equal request is under way joins its flight: he gets the same answer, pays nothing, and if
he streams, first what has already come and then the rest as it comes. Any caller may leave at any time without harm to
the others; when the last one has left, the upstream call is cancelled. An error goes to all who joined, to each a copy
of his own, and is not remembered.

The one surprise: below Dedup the call belongs to no caller. It runs without his deadline and without his context
variables (name those it needs in `context=`), under the tags of the caller who began it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextvars import Context, ContextVar
from typing import Any, ClassVar

from attrs import field, frozen

from llamina.errors import ConfigurationError
from llamina.layer import Layer
from llamina.policy._validate import at_least
from llamina.protocol import Handler, Request, Response

from ._flight import Flight, Flights
from ._limits import Limits
from ._sharing import Key, leaves_traces, scope_names, sharing_key
from ._work import run_in_place

__all__ = ["Dedup"]


def _scope(value: Any) -> tuple[str, ...]:
    return scope_names("Dedup", value)


def _variables(value: Any) -> tuple[ContextVar[Any], ...]:
    variables = tuple(value) if isinstance(value, Iterable) else (value,)
    for variable in variables:
        if not isinstance(variable, ContextVar):
            raise ConfigurationError(
                f"Dedup.context must hold ContextVars, got {variable!r}; pass the variables themselves, not their values"
            )
    return variables


@frozen(eq=False, slots=False, repr=False)
class Dedup(Layer):
    """One flight for all callers who want the same at the same time.

    One object may serve several event loops: each has flights of its own, which its callers alone join.

    Args:
        scope: names of tags that keep callers apart, besides `tenant`, which always does.
        context: `ContextVar`s that a flight takes from the caller who begins it; all others are unset in it.
        max_buffer: events of a streaming flight after which nobody joins it any more (who comes begins another).
        side_effects: `request -> bool`: such a request never shares; by default one with `store` or `background`.
    """

    effects: ClassVar[frozenset[str]] = frozenset({"shares"})

    scope: tuple[str, ...] = field(default=(), kw_only=True, converter=_scope)
    context: tuple[ContextVar[Any], ...] = field(default=(), kw_only=True, converter=_variables)
    max_buffer: int = field(default=65_536, kw_only=True, validator=at_least(1, integer=True))
    side_effects: Callable[[Request], bool] = field(default=leaves_traces, kw_only=True, repr=False)

    _flights: Flights = field(init=False, repr=False, factory=Flights)

    def wrap(self, call_next: Handler) -> Handler:
        """The bare layer round *call_next*."""
        flights = self._flights
        slots = flights.slots
        key_of = sharing_key(self.scope)
        shares_nothing = self.side_effects
        shares_plain = shares_nothing is leaves_traces
        new_context = self._own_context if self.context else Context
        max_buffer = self.max_buffer

        async def handle(request: Request) -> Response:
            if not (shares_plain and not request.params) and shares_nothing(request):
                return await call_next(request)
            shared: Key = key_of(request) if request.tags else request.identity
            key: Key | tuple[int, Key] = shared
            flight = slots.get(shared)
            if flights.apart or (flight is not None and flight.elsewhere()):
                flights.apart = True  # from now on: a flight must be found after that of the other loop has ended
                key = (id(asyncio.get_running_loop()), shared)
                flight = slots.get(key) or (None if flight is None or flight.elsewhere() else flight)
            if flight is not None and flight.admits(request, max_buffer):
                flights.joined += 1
            else:
                flight = Flight(key, flights, request)
                flight.start(call_next, request, new_context())
            if request.deadline is None:
                return await flight.ride(request)
            # The flight has no deadline; each caller keeps his own, and leaves alone when it has passed.
            loop = asyncio.get_running_loop()
            limits = Limits("deadline", loop.time(), request.deadline, request.sink, None, None, None)
            return await run_in_place(flight.ride, request, limits, loop)

        return handle

    def _own_context(self) -> Context:
        own = Context()
        for variable in self.context:
            try:
                value = variable.get()
            except LookupError:
                continue
            own.run(variable.set, value)
        return own

    def explain(self, request: Request | None = None) -> str:
        """What it does; for a *request*, what it will do, as things stand now."""
        from ._explanations import of_dedup

        return "\n".join(of_dedup(self, request))

    def stats(self) -> dict[str, Any]:
        """`dedup.flights` begun, `dedup.joined` callers, flights `dedup.in_flight` now, and `dedup.cancelled` ones."""
        flights = self._flights
        return {
            "dedup.flights": flights.begun,
            "dedup.joined": flights.joined,
            "dedup.in_flight": flights.in_flight,
            "dedup.cancelled": flights.cancelled,
        }

    async def aclose(self) -> None:
        """Wait for flights that everybody left and that still clean up; the others end with their callers."""
        loop = asyncio.get_running_loop()
        while leaving := [task for task in self._flights.leaving if task.get_loop() is loop]:
            await asyncio.wait(leaving)
