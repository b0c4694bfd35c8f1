"""What the conformance checks work with: findings, a fresh layer round a fake, cancellations at chosen points."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from typing import Any

from attrs import field, frozen

from llamina.errors import LLMError
from llamina.protocol import Handler, Middleware, Request, Response
from llamina.stack import Stack, build_stack

from .fake import FakeTransport

__all__ = [
    "Bench",
    "CancelAt",
    "Clause",
    "Clauses",
    "Seen",
    "cancelled",
    "expect",
    "read_all",
    "still_works",
    "whatever_comes",
]


class Seen(AssertionError):  # noqa: N818 - it is a finding, not a fault
    """A check found something; its text goes into the report."""


def expect(holds: bool, seen: str) -> None:  # noqa: FBT001
    """Report *seen* unless it *holds*."""
    if not holds:
        raise Seen(seen)


@frozen
class Clause:
    """One thing that is checked: its name, what it asks, the clauses of the protocol that ask it, and the check."""

    name: str
    says: str
    cites: tuple[str, ...]
    check: Callable[..., Any]


class Clauses:
    """Named clauses with the check of each, in order."""

    def __init__(self, *groups: Clauses) -> None:
        self.entries: list[Clause] = [clause for group in groups for clause in group.entries]

    def clause(self, name: str, says: str, *cites: str) -> Callable[[Any], Any]:
        """Enter the decorated check under *name*."""

        def enter(check: Any) -> Any:
            self.entries.append(Clause(name, says, cites, check))
            return check

        return enter

    def without(self, *names: str) -> list[Clause]:
        """All but those of *names*."""
        return [clause for clause in self.entries if clause.name not in names]


@frozen
class Bench:
    """What one check works with: a way to build the layer, and a request that it lets through."""

    build: Callable[[], Middleware]
    request: Request
    _made: list[Stack] = field(init=False, factory=list)

    def stack(
        self, script: Any, *, layer: Middleware | None = None, repeat: bool = False
    ) -> tuple[Stack, FakeTransport]:
        """A layer, fresh unless given, round a fake that plays *script*."""
        fake = FakeTransport(script, repeat=repeat)
        return self.round(fake, layer=layer), fake

    def round(
        self,
        handler: Handler,
        *,
        layer: Middleware | None = None,
        above: Iterable[Middleware] = (),
        below: Iterable[Middleware] = (),
        buffer: int = 64,
    ) -> Stack:
        """A layer, fresh unless given, round *handler*, with others *above* and *below* it."""
        layers = [*above, self.build() if layer is None else layer, *below]
        stack = build_stack(layers, handler, check="off", stream_buffer=buffer)
        self._made.append(stack)
        return stack

    def numbered(self, number: int) -> Request:
        """Requests that differ, so that a cache or a single flight keeps them apart."""
        return self.request.with_params(conformance_number=number)

    async def close(self) -> None:
        for stack in self._made:
            await stack.aclose()


class CancelAt:
    """Awaits a call and cancels the task that does so at the *step*-th point at which the call waits."""

    def __init__(self, call: Awaitable[Any], step: int) -> None:
        self._call = call
        self._step = step
        self.struck = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._call.__await__()
        task = asyncio.current_task()
        assert task is not None
        loop = asyncio.get_running_loop()
        steps = 0
        send: Any = None
        throw: BaseException | None = None
        while True:
            try:
                waits_for = inner.send(send) if throw is None else inner.throw(throw)
            except StopIteration as stop:
                return stop.value
            steps += 1
            if steps == self._step:
                self.struck = True
                loop.call_soon(task.cancel)
            send, throw = None, None
            try:
                send = yield waits_for
            except BaseException as error:  # noqa: BLE001 - handed to the call, where it belongs
                throw = error


async def cancelled(run: Callable[[], Awaitable[Any]], cancel: Callable[[asyncio.Task[Any]], Awaitable[bool]]) -> bool:
    """Run a call and cancel it; whether the cancellation struck before it had ended.

    The task must then be cancelled: a cancellation that does not come out was swallowed or turned into something else.
    """

    async def call() -> Any:
        return await run()

    task = asyncio.ensure_future(call())
    struck = await cancel(task)
    await asyncio.wait([task], timeout=3600)
    expect(task.done(), "an hour after it was cancelled the call had not ended")
    if not struck:
        task.exception() if not task.cancelled() else None
        return False
    if not task.cancelled():
        error = task.exception()
        seen = f"raised {error!r}" if error is not None else f"returned {task.result()!r}"
        raise Seen(f"the task was cancelled, but it {seen}")
    expect(task.cancelling() > 0, "the cancellation was taken back with `uncancel`: scopes outside count it wrongly")
    return True


async def still_works(stack: Stack, request: Request, when: str) -> Response:
    try:
        async with asyncio.timeout(7200):
            await read_all(stack, request.with_params(conformance_streamed=True))
            return await stack(request)
    except TimeoutError:
        raise Seen(f"{when} the next call waits for ever: something was not given back") from None


@contextlib.asynccontextmanager
async def whatever_comes() -> AsyncIterator[None]:
    """For calls that are made to provoke: an error, or no end in two hours, is no finding here."""
    with contextlib.suppress(LLMError, TimeoutError):
        async with asyncio.timeout(7200):
            yield


async def read_all(stack: Stack, request: Request) -> tuple[list[Any], Response]:
    async with stack.stream(request) as stream:
        events = [event async for event in stream]
        return events, stream.response
