"""One flight: an upstream call in a task of its own, and the callers who wait for it.

    flight = Flight(key, flights, request)
    flight.start(call_next, request, context)
    response = await flight.ride(request)          # each caller, the first one too

A flight belongs to nobody in particular. It ends when the upstream call has ended, or when the last caller has left:
then the call is cancelled. What it cost is entered in the ledger of one caller, the first who is still there.

The one surprise: a flight whose answer has come stays joinable until the caller who pays for it has taken the answer.
So whoever keeps answers above has kept this one before the next caller can find neither the flight nor the answer.
"""

from __future__ import annotations

import asyncio
import copy
import sys
from asyncio import AbstractEventLoop, CancelledError, get_running_loop
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from msgspec.structs import replace

from llamina.call import Call, Ledger
from llamina.errors import LLMError
from llamina.protocol import Handler, Request, Response, expect_response

from ._flight_stream import FlightSink
from ._sharing import Key

__all__ = ["Flight", "Flights"]


class Flights:
    """What is in the air: the flights that can be joined, by key, and the tasks of those that everybody left.

    Two loops cannot share a flight. Once they have met (`apart`), a key names the loop too.
    """

    __slots__ = ("apart", "begun", "cancelled", "in_flight", "joined", "leaving", "slots")

    def __init__(self) -> None:
        self.apart = False
        self.slots: dict[Key | tuple[int, Key], Flight] = {}
        self.leaving: set[asyncio.Task[None]] = set()
        self.begun = self.joined = self.in_flight = self.cancelled = 0


class _Member:
    """One caller of a flight."""

    __slots__ = ("request", "waiter")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.waiter: asyncio.Future[None] | None = None


class Flight:
    """One upstream call for several callers of one event loop."""

    __slots__ = (
        "_flights",
        "_key",
        "_loop",
        "_members",
        "_payer",
        "call",
        "error",
        "landed",
        "response",
        "sink",
        "task",
    )

    def __init__(self, key: Key | tuple[int, Key], flights: Flights, request: Request) -> None:
        self._key = key
        self._loop = get_running_loop()
        self.call = Call(request.tags, Ledger())
        self.sink = None if request.sink is None else FlightSink(self._loop)
        self.landed = False
        self.response: Response | None = None
        self.error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None
        self._members: dict[_Member, None] = {}  # in the order in which they came
        self._payer: _Member | None = None
        self._flights = flights
        flights.slots[key] = self
        flights.begun += 1
        flights.in_flight += 1

    def start(self, call_next: Handler, request: Request, context: Context) -> None:
        """Begin the upstream call: for a caller without deadline, with a record of its own."""
        call = self.call
        upstream = replace(request, deadline=None, sink=self.sink, ledger=call.ledger, call=call)
        self.task = _begin(self._run(call_next, upstream), self._loop, context)

    def admits(self, request: Request, max_buffer: int) -> bool:
        """Whether *request* may join: not from another loop, nor from within the flight, nor when it is too long."""
        return (
            self._loop is get_running_loop()
            and self.call is not request.call
            and (self.sink is None or len(self.sink.events) <= max_buffer)
        )

    def elsewhere(self) -> bool:
        """Whether it belongs to another loop, so that its slot is not ours to take."""
        return self._loop is not get_running_loop()

    async def _run(self, call_next: Handler, request: Request) -> None:
        try:
            self.response = expect_response(await call_next(request), "the handler below Dedup")
        except Exception as error:  # noqa: BLE001 - raised again in the callers
            self.error = error
        except BaseException as error:
            self.error = error
            if isinstance(error, CancelledError | KeyboardInterrupt | SystemExit):
                raise  # the task, or the whole loop, has to know; any other the callers will see
        finally:
            self.land()

    def land(self) -> None:
        """The upstream call has ended: wake the callers (from inside the task: a done-callback costs a turn more)."""
        if self.landed:
            return
        self.landed = True
        self._flights.in_flight -= 1
        self.call.finished = True
        if self.response is None:
            self._vacate()
        if self._payer is None and self._members:
            self._charge(next(iter(self._members)))
        for member in self._members:
            waiter = member.waiter
            if waiter is not None and not waiter.done():
                waiter.set_result(None)
        if self.sink is not None:
            self.sink.land()

    async def ride(self, request: Request) -> Response:
        """Wait for the answer, and play its events to a caller who streams.

        Raises:
            The error of the upstream call: the object itself for the caller who pays, a copy for each other one.
        """
        member = _Member(request)
        self._members[member] = None
        if self.landed and self._payer is None:  # an eager task may have ended before anyone was on board
            self._charge(member)
        sink = self.sink
        try:
            if sink is None:
                if not self.landed:
                    waiter = member.waiter = self._loop.create_future()
                    await waiter
            elif request.sink is None:
                if not self.landed:
                    waiter = member.waiter = self._loop.create_future()
                    with sink.in_a_hurry():
                        await waiter
            else:
                await sink.play(request.sink.begin())
        except GeneratorExit:  # the coroutine is thrown away: nothing can be awaited
            if self._leave(member):
                self._abandon(member, ())
            raise
        except BaseException as error:
            if self._leave(member):
                self._abandon(member, error.args if isinstance(error, CancelledError) else ())
                await self._ended()
            raise
        self._leave(member)
        call = request.call
        if member is not self._payer and call is not None:
            call.joins += 1
        if self.response is None:
            raise self._failure(member)
        response = self.response
        if response.extra and member is not self._payer:  # it can be written into: to each a copy of his own
            return replace(response, _call=call, extra=copy.deepcopy(response.extra))
        return replace(response, _call=call)

    def _leave(self, member: _Member) -> bool:
        """Take *member* off; whether a flight that has not landed is left without callers."""
        del self._members[member]
        if member is self._payer:
            self._vacate()
        return not (self._members or self.landed)

    def _abandon(self, member: _Member, message: tuple[Any, ...]) -> None:
        # The slot is free before anyone else can run: who comes next begins a flight of his own.
        self._vacate()
        self._charge(member)
        if self.sink is not None:
            self.sink.land()
        task, flights = self.task, self._flights
        assert task is not None
        flights.cancelled += 1
        flights.leaving.add(task)
        task.add_done_callback(self._left)
        task.cancel(*message)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._flights.leaving.discard(task)
        self.land()  # a task that was cancelled before it began has not done so itself

    async def _ended(self) -> None:
        """Wait until the cancelled call has cleaned up; another cancellation of the waiting caller strikes it too."""
        task = self.task
        assert task is not None
        interrupted: CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait([task])
            except CancelledError as error:
                interrupted = error
                task.cancel(*error.args)
        if interrupted is not None:
            raise interrupted

    def _vacate(self) -> None:
        slots = self._flights.slots
        if slots.get(self._key) is self:
            del slots[self._key]

    def _charge(self, member: _Member) -> None:
        """Enter the attempts in the ledger of *member*, those to come too."""
        self._payer = member
        own = self.call
        ledger = member.request.ledger
        if ledger is not None:
            for attempt in own.ledger.attempts:
                ledger.add(attempt)
            own.ledger.parent = ledger
        call = member.request.call
        if call is not None and (own.hits or own.joins):
            call.hits += own.hits
            call.joins += own.joins
            call.cache = own.cache or call.cache

    def _failure(self, member: _Member) -> BaseException:
        """The error to raise in *member*'s call."""
        error = self.error
        assert error is not None
        if not self._members:
            self.error = None  # else error, traceback, frame and flight would hold each other
        return error if member is self._payer else _copy(error)


if sys.version_info >= (3, 12):

    def _begin(run: Coroutine[Any, Any, None], loop: AbstractEventLoop, context: Context) -> asyncio.Task[None]:
        # Its first step is made at once: a turn of the loop less.
        return asyncio.Task(run, loop=loop, name="llamina flight", context=context, eager_start=True)
else:

    def _begin(run: Coroutine[Any, Any, None], loop: AbstractEventLoop, context: Context) -> asyncio.Task[None]:
        return loop.create_task(run, name="llamina flight", context=context)


def _copy(error: BaseException) -> BaseException:
    """An error of his own for another caller; one that cannot be copied is shared."""
    if isinstance(error, LLMError):
        return error.copy()
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - it was not written to be copied
        return error
    twin.__cause__ = error.__cause__
    twin.__suppress_context__ = error.__suppress_context__
    return twin
