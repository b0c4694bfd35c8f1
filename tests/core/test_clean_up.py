"""Clean-up after a cancellation: it is not cut short by a second one, and nothing is left that waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable

import anyio
import pytest

from llamina import (
    Constant,
    CostMeter,
    Handler,
    Logger,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    Stack,
    TextDelta,
    Timeout,
    Usage,
    build_stack,
    map_text,
)
from llamina.testing import FakeTransport, simulated_time

REQUEST = Request.chat("model", "hello")


def cleans_up_for(seconds: float, log: list[str]) -> Handler:
    """A handler that hangs, and takes *seconds* to clean up when it is cancelled."""

    async def handler(request: Request) -> Response:
        await request.begin().send(TextDelta("a"))
        try:
            await asyncio.sleep(100)
        finally:
            try:
                await asyncio.sleep(seconds)
                log.append("cleaned")
            except asyncio.CancelledError:
                log.append("cut short")
                raise
        return Response.of("a")

    return handler


@simulated_time
async def test_the_callers_cancellation_does_not_cut_short_what_a_limit_began() -> None:
    """The limit fired, the work cleans up; the caller cancels: clean-up still gets its grace."""
    log: list[str] = []
    stack = build_stack([Timeout(5, grace=2)], cleans_up_for(1.0, log))
    task = asyncio.ensure_future(stack(REQUEST))

    await asyncio.sleep(5.1)
    task.cancel()
    await asyncio.wait([task])

    assert (task.cancelled(), log) == (True, ["cleaned"])


@simulated_time
async def test_an_outer_limit_does_not_cut_short_what_an_inner_one_began() -> None:
    """Limits that fire one after the other cancel the work once."""
    log: list[str] = []
    stack = build_stack([Timeout(5.1, grace=2), Timeout(5, grace=2)], cleans_up_for(1.0, log))

    with pytest.raises(RequestTimeoutError):
        await stack(REQUEST)

    assert log == ["cleaned"]


@pytest.mark.parametrize("streamed", [False, True], ids=["Timeout", "stream"])
def test_a_scope_that_cancels_again_and_again_lets_the_work_clean_up(streamed: bool) -> None:
    """A cancelled anyio scope, as a web server closes a request, cancels in every turn of the loop."""
    log: list[str] = []

    async def run() -> None:
        stack = build_stack([] if streamed else [Timeout(50)], cleans_up_for(0.01, log))
        with anyio.CancelScope() as scope:
            asyncio.get_running_loop().call_later(0.01, scope.cancel)
            if streamed:
                async with stack.stream(REQUEST) as stream:
                    async for _ in stream:
                        pass
            await stack(REQUEST)
        await stack.aclose()

    asyncio.run(run())

    assert log == ["cleaned"]


@simulated_time
async def test_a_writer_that_waits_for_a_consumer_who_has_left_is_let_go() -> None:
    """Work that was left behind while it delivers ends with the stream, so that closing the stack ends too."""

    async def handler(request: Request) -> Response:
        out = request.begin()
        try:
            await asyncio.sleep(100)
        finally:
            for _ in range(5):
                await out.send(TextDelta("[cut]"))
        return Response.of("")

    stack = build_stack([Timeout(1, grace=1)], handler, stream_buffer=1)
    with pytest.raises(RequestTimeoutError):
        async with stack.stream(REQUEST):
            await asyncio.sleep(10)

    async with asyncio.timeout(100):
        await stack.aclose()


@simulated_time
async def test_a_cancelled_closing_still_closes_what_comes_after() -> None:
    """A layer that drains for long and is interrupted leaves no transport open; a part in two places is closed once."""
    closed: list[str] = []

    class Drains:
        def __call__(self, call_next: Handler) -> Handler:
            return call_next

        async def aclose(self) -> None:
            closed.append("draining")
            await asyncio.sleep(60)

    layer, fake = Drains(), FakeTransport()
    task = asyncio.ensure_future(build_stack([layer, layer], fake).aclose())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])

    assert (task.cancelled(), closed, fake.closed) == (True, ["draining"], 1)


class Abort(BaseException):
    """What no layer may catch."""


async def aborts(request: Request) -> Response:
    """A handler that ends the world."""
    raise Abort


@simulated_time
async def test_an_exception_that_no_layer_may_catch_ends_a_stream_at_once() -> None:
    """The consumer who waits for an event is told, as is the caller of a Timeout."""
    start = asyncio.get_running_loop().time()

    with pytest.raises(Abort):
        async with build_stack([], aborts).stream(REQUEST) as stream, asyncio.timeout(50):
            await anext(stream)
    with pytest.raises(Abort):
        await build_stack([Timeout(5)], aborts)(REQUEST)

    assert asyncio.get_running_loop().time() == start


async def _call(stack: Stack) -> None:
    await stack(REQUEST)


async def _stream(stack: Stack) -> None:
    async with stack.stream(REQUEST) as stream:
        async for _ in stream:
            pass


async def _leave(stack: Stack) -> None:
    async with stack.stream(REQUEST) as stream:
        async for _ in stream:
            break


async def _answers(request: Request) -> Response:
    await request.begin().send(TextDelta("hi"))
    return Response.of("hi", usage=Usage(1, 1))


async def _fails(request: Request) -> Response:
    raise ServerError("down")


async def _is_cut(request: Request) -> Response:
    await request.begin().send(TextDelta("hi"))
    raise ServerError("cut")


@pytest.mark.parametrize("handler", [_answers, _fails, _is_cut])
@pytest.mark.parametrize("run", [_call, _stream, _leave])
@simulated_time
async def test_no_call_leaves_a_cycle_for_the_collector(
    handler: Handler, run: Callable[[Stack], Awaitable[None]]
) -> None:
    """Answered, failed or left: all of a call is freed as soon as its last reference is gone."""
    prices = {"model": {"input": "1", "output": "1"}}
    retry = Retry(attempts=2, backoff=Constant(0), budget=None)
    layers = [Logger(), map_text(str.upper, by="word"), retry, CostMeter(prices), Timeout(5)]
    stack = build_stack(layers, handler)

    async def play(times: int) -> None:
        for _ in range(times):
            with contextlib.suppress(ServerError):
                await run(stack)
        await asyncio.sleep(10)

    await play(3)
    gc.collect()
    gc.disable()
    try:
        await play(50)
        assert gc.collect() < 25
    finally:
        gc.enable()
