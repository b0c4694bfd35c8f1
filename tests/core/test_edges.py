"""Edges of the core where other libraries break: scopes, late senders, pickles, canaries, context, money after a bang."""

from __future__ import annotations

import asyncio
import contextvars
import pickle

import pytest

import llamina.errors
from llamina import (
    Budget,
    CostMeter,
    Handler,
    LLMError,
    Logger,
    Request,
    RequestTimeoutError,
    Response,
    Retry,
    ServerError,
    TextDelta,
    Timeout,
    Usage,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, simulated_time

REQUEST = Request.chat("model", "hello")
KEY = "sk-CANARY-KEY-0123456789"
PROMPT = "CANARY-PROMPT"


@simulated_time
async def test_a_scope_inside_the_block_cancels_the_reading_and_not_the_call() -> None:
    """A consumer who waits too long for an event reads on afterwards and has lost nothing."""
    stack = build_stack([], FakeTransport([["a", 1.0, "b", 1.0, "c"]]))

    async with stack.stream(REQUEST) as stream:
        first = await anext(stream)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await anext(stream)
        rest = [event.text async for event in stream]

    assert [first.text, *rest] == ["a", "b", "c"]


@simulated_time
async def test_a_failing_sibling_takes_the_stream_along_and_comes_out_alone() -> None:
    """In a task group the reader is cancelled, the provider is let go, and the sibling's error is what is raised."""
    fake = FakeTransport([["a", 60.0, "b"]])

    async def read() -> None:
        async with build_stack([], fake).stream(REQUEST) as stream:
            async for _ in stream:
                pass

    async def fail() -> None:
        await asyncio.sleep(1)
        raise KeyError("sibling")

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(fail())

    assert [type(error) for error in caught.value.exceptions] == [KeyError]
    assert fake.in_flight == 0


@simulated_time
async def test_a_task_that_a_handler_left_behind_cannot_deliver_after_the_end() -> None:
    """The stream is complete when the handler has returned; what is sent later is refused where it is sent."""
    refused: list[str] = []
    left: list[asyncio.Task[None]] = []

    async def handler(request: Request) -> Response:
        out = request.begin()
        await out.send(TextDelta("a"))

        async def send_later() -> None:
            await asyncio.sleep(1)
            try:
                await out.send(TextDelta("late"))
            except LLMError as error:
                refused.append(error.outcome)

        left.append(asyncio.create_task(send_later()))
        return Response.of("ab")

    async with build_stack([], handler).stream(REQUEST) as stream:
        await asyncio.sleep(2)
        seen = [event.text async for event in stream]

    assert seen == ["a", "b"]
    await asyncio.wait(left)
    assert refused == ["stream_committed"]


@simulated_time
async def test_a_stream_that_was_left_gives_nothing_more() -> None:
    """Iterating after the exit ends at once, and there is no response to be had."""
    stack = build_stack([], FakeTransport([["a", 60.0, "b"]]))

    async with stack.stream(REQUEST) as stream:
        await anext(stream)

    assert [event async for event in stream] == []
    with pytest.raises(LookupError):
        await stream.complete()


@pytest.mark.parametrize("name", llamina.errors.__all__)
@simulated_time
async def test_every_error_travels_with_a_call_that_still_runs(name: str) -> None:
    """Pickled with its call, an attempt in flight that a meter waits for, and a partial answer."""
    meter = CostMeter({"model": {"input": "1", "output": "1"}}, [Budget("1")])
    stack = build_stack([meter, Timeout(1, grace=0.1)], _slow_to_leave)
    with pytest.raises(RequestTimeoutError) as cut:
        await stack(REQUEST)
    call = cut.value.call
    error = getattr(llamina.errors, name)("boom", status=429, usage=Usage(1, 2), partial=Response.of("part"), call=call)

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        back = pickle.loads(pickle.dumps(error, protocol))

        assert (type(back), str(back), back.args) == (type(error), str(error), error.args)
        assert (back.partial.text, back.call.attempts[0].outcome) == ("part", "")
    await stack.aclose()


async def _slow_to_leave(request: Request) -> Response:
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(5)
    return Response.of("never")


@simulated_time
async def test_neither_key_nor_prompt_shows_in_what_the_core_prints_or_pickles(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Reprs of request, response, call, stream and stack, pickled errors and records, all loggers at DEBUG."""
    caplog.set_level(1)
    request = Request.chat("model", PROMPT, extra_headers={"authorization": KEY})
    shown: list[str] = [repr(request), str(request)]
    for item in ("answer", ServerError("down"), [60.0, "late"]):
        layers = [Logger(), Retry(attempts=1), CostMeter({"model": {"input": "1", "output": "1"}}), Timeout(5)]
        stack = build_stack(layers, FakeTransport([item]))
        try:
            response = await stack(request)
            shown += [repr(response), repr(response.call)]
        except LLMError as error:
            shown += [repr(error), repr(error.call), repr(pickle.dumps(error))]
        shown += [repr(stack), str(stack), repr(stack.stats()), repr(stack.stream(request))]

    everything = "".join(shown) + caplog.text

    assert KEY not in everything
    assert PROMPT not in everything


_mine = contextvars.ContextVar("_mine", default="unset")


@pytest.mark.parametrize("grace", [1.0, None], ids=["own task", "in place"])
@simulated_time
async def test_layers_see_the_callers_context_and_a_stream_gives_none_back(grace: float | None) -> None:
    """What the caller has set is seen through Timeout and in a stream's task; what is set there stays there."""
    seen: list[str] = []

    async def handler(request: Request) -> Response:
        seen.append(_mine.get())
        _mine.set("from below")
        return Response.of("hi")

    _mine.set("caller")
    stack = build_stack([Timeout(5, grace=grace)], handler)
    async with stack.stream(REQUEST) as stream:
        await stream.complete()

    assert seen == ["caller"]
    assert _mine.get() == "caller"


@simulated_time
async def test_money_is_settled_whatever_is_raised() -> None:
    """An exception that no layer may catch leaves nothing held in a budget."""

    class Abort(BaseException):
        pass

    async def handler(request: Request) -> Response:
        raise Abort

    meter = CostMeter({"model": {"input": "1", "output": "1"}}, [Budget("1")])

    with pytest.raises(Abort):
        await build_stack([meter], handler)(REQUEST)

    assert meter.stats()["cost.in_flight"] == 0
    assert meter.totals().attempts == 1


@pytest.mark.parametrize("graces", [(1.0, 1.0), (None, None), (None, 1.0), (1.0, None)])
@simulated_time
async def test_two_limits_at_one_moment_are_one_timeout(graces: tuple[float | None, float | None]) -> None:
    """Equal nested limits fire together: the work cleans up undisturbed, and the caller's task owes no cancellation."""
    cleaned: list[bool] = []

    @middleware
    async def cleans_up(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        finally:
            await asyncio.sleep(0.5)
            cleaned.append(True)

    layers = [Timeout(5, grace=graces[0]), Timeout(5, grace=graces[1]), cleans_up]
    with pytest.raises(RequestTimeoutError) as caught:
        await build_stack(layers, FakeTransport([[60.0, "late"]]))(REQUEST)

    task = asyncio.current_task()
    assert task is not None
    assert (task.cancelling(), cleaned) == (0, [True])
    assert [attempt.outcome for attempt in caught.value.call.attempts] == ["timeout"]
