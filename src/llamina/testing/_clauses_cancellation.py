"""Clauses about cancellation: it comes out as one from wherever it strikes, and nothing stays held."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llamina.errors import LLMError
from llamina.protocol import Request, Response
from llamina.stack import Stack

from ._bench import Bench, CancelAt, Clauses, Seen, cancelled, expect, read_all, still_works

__all__ = ["CANCELLATION"]

CANCELLATION = Clauses()
_clause = CANCELLATION.clause


@_clause(
    "cancellation",
    "a cancellation at any point comes out as one, and everything that was held is given back",
    "4.3",
    "9.1",
    "9.3",
)
async def _cancellation(bench: Bench) -> None:
    await _every_cancellation(bench, lambda stack, request: stack(request))


@_clause("cancellation-of-streams", "the same holds while a stream is read", "4.3", "9.1", "9.3")
async def _cancellation_of_streams(bench: Bench) -> None:
    await _every_cancellation(bench, read_all)


async def _plain(stack: Stack, request: Request) -> Response:
    return await stack(request)


@_clause(
    "cancellation-in-a-queue",
    "callers who are cancelled while others hold what they wait for take nothing with them",
    "4.3",
    "9.1",
)
async def _cancellation_in_a_queue(bench: Bench) -> None:
    stack, fake = bench.stack(lambda _: [10.0, "hello"])
    tasks = [asyncio.ensure_future(_plain(stack, bench.numbered(number))) for number in range(8)]
    for place in (4, 0, 7, 1):
        await asyncio.sleep(0.5)
        tasks[place].cancel()
    await _others_are_served(tasks, {4, 0, 7, 1})
    # The moment at which a place is handed on: whoever is cancelled just then must hand it on again.
    for turns in range(5):
        door = asyncio.Event()
        stack, fake = bench.stack(lambda _, door=door: [door, "hello"])
        tasks = [asyncio.ensure_future(_plain(stack, bench.numbered(number))) for number in range(4)]
        await asyncio.sleep(1)
        door.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[1].cancel()
        await _others_are_served(tasks, {1})
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


async def _others_are_served(tasks: list[asyncio.Task[Response]], cancelled: set[int]) -> None:
    _, waiting = await asyncio.wait(tasks, timeout=36_000)
    for task in waiting:
        task.cancel()
    expect(not waiting, f"{len(waiting)} callers waited for ever, after others in the queue had been cancelled")
    for place, task in enumerate(tasks):
        if place in cancelled and (task.cancelled() or task.exception() is None):
            continue  # it may have been served before
        error = None if task.cancelled() else task.exception()
        who = "a caller who was cancelled" if place in cancelled else "a caller who was not cancelled"
        expect(not task.cancelled(), f"{who} was cancelled with the others")
        expect(error is None, f"{who} got {error!r}")


@_clause(
    "callers-timeout", "a timeout that the caller puts round the call comes out as his own TimeoutError", "9.1", "9.2"
)
async def _callers_timeout(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    for streams in (False, True):
        stack, _ = bench.stack([[3600.0, "late"]] * 3)
        started = loop.time()
        try:
            async with asyncio.timeout(5):
                await (read_all(stack, bench.request) if streams else stack(bench.request))
        except LLMError as error:
            if loop.time() - started < 5:
                return  # a limit of the layer's own is shorter
            raise Seen(f"asyncio.timeout(5) round the call came out as {error!r}") from error
        except TimeoutError:
            pass
        else:
            raise Seen("the call went on under asyncio.timeout(5), and gave an answer when it was over")
        expect(loop.time() - started < 600, f"it came out after {loop.time() - started:g} s")


@_clause(
    "own-limit-is-no-cancellation",
    "a limit of the layer's own does not look as if the caller had been cancelled",
    "9.2",
)
async def _own_limit(bench: Bench) -> None:
    stack, fake = bench.stack([[3600.0, "late"]] * 8)
    task = asyncio.ensure_future(_plain(stack, bench.numbered(1)))
    await asyncio.wait([task], timeout=36_000)
    expect(task.done(), "the call had not ended ten hours later")
    hint = "raise an LLMError of your own (RequestTimeoutError)"
    expect(not task.cancelled(), f"the call ended as cancelled, and nobody had cancelled it; {hint}")
    task.exception()
    try:
        await read_all(stack, bench.numbered(2))
    except LLMError as error:
        cut = isinstance(error.__cause__, asyncio.CancelledError) and type(error) is LLMError
        expect(not cut, f"a stream ended as cancelled, and nobody had cancelled it; {hint}")
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


_PIECES: list[Any] = [0.25, "Hel", 0.25, "lo", 0.25]
_LASTS = 500_000  # requests of this number and above last, so that what still runs after a cancellation is seen to


def _pieces(request: Request) -> list[Any]:
    return [*_PIECES, 600.0] if request.params["conformance_number"] >= _LASTS else _PIECES


async def _every_cancellation(bench: Bench, run: Callable[[Stack, Request], Awaitable[Any]]) -> None:
    """Cancel at every point at which the call waits, in every turn of the loop, and at moments in between."""
    moments: list[Callable[[Stack, Request], Awaitable[bool]]] = []

    def at_step(step: int) -> Callable[[Stack, Request], Awaitable[bool]]:
        async def strike(stack: Stack, request: Request) -> bool:
            cancelling = CancelAt(run(stack, request), step)

            async def cancel(task: asyncio.Task[Any]) -> bool:
                await asyncio.wait([task], timeout=3600)
                return cancelling.struck

            return await cancelled(lambda: cancelling, cancel)

        return strike

    def after(seconds: float, turns: int) -> Callable[[Stack, Request], Awaitable[bool]]:
        async def cancel(task: asyncio.Task[Any]) -> bool:
            if seconds:
                await asyncio.sleep(seconds)
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        async def strike(stack: Stack, request: Request) -> bool:
            return await cancelled(lambda: run(stack, request), cancel)

        return strike

    # One stack for all of them: what is lost a little each time shows in the end, also where there are many permits.
    stack, fake = bench.stack(_pieces)

    async def strike_and_go_on(strike: Callable[[Stack, Request], Awaitable[bool]], number: int) -> bool:
        struck = await strike(stack, bench.numbered(number))
        await asyncio.sleep(30)
        expect(fake.in_flight == 0, f"after the cancellation {fake.in_flight} calls of the provider still ran")
        await still_works(stack, bench.numbered(number % _LASTS + 10_000), "after a cancellation")
        return struck

    moments += [after(0, turns) for turns in range(8)]
    moments += [after(seconds, turns) for seconds in (0.25, 0.5, 0.75) for turns in range(4)]
    for number, strike in enumerate(moments):
        await strike_and_go_on(strike, number)
        await strike_and_go_on(strike, _LASTS + number)
    for step in range(1, 60):
        if not await strike_and_go_on(at_step(step), 1000 + step):
            return
