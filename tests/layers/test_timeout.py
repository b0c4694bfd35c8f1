"""Timeout: limits in the provider's time, cancellations kept apart, clean-up bounded."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llamina import (
    ConfigurationError,
    Handler,
    Request,
    RequestTimeoutError,
    Response,
    ServerError,
    TextDelta,
    Timeout,
    Usage,
    build_stack,
    middleware,
)
from llamina.testing import FakeTransport, check_middleware, simulated_time

REQUEST = Request.chat("m", "hi")


def now() -> float:
    """Seconds on the loop's clock."""
    return asyncio.get_running_loop().time()


async def timed(stack: Any, request: Request = REQUEST) -> tuple[float, BaseException | None]:
    """How long a call takes, and what it raises."""
    start = now()
    try:
        await stack(request)
    except Exception as error:
        return now() - start, error
    return now() - start, None


MODES = pytest.mark.parametrize("grace", [1.0, None], ids=["own task", "in place"])


def test_it_keeps_the_protocol() -> None:
    """Every clause, for the total limit and for those of streams."""
    assert check_middleware(lambda: Timeout(10_000))
    assert check_middleware(lambda: Timeout(first_event=1_000, idle=1_000))
    assert check_middleware(lambda: Timeout(10_000, grace=None))


@MODES
@simulated_time
async def test_the_limit_covers_the_whole_answer(grace: float | None) -> None:
    """A provider that drips stays within each gap and beyond the total: the total counts."""
    fake = FakeTransport([["a", 2.0, "b", 2.0, "c", 2.0, "d"]])

    took, error = await timed(build_stack([Timeout(5, grace=grace)], fake))

    assert took == pytest.approx(5)
    assert isinstance(error, RequestTimeoutError)
    assert isinstance(error, TimeoutError)
    assert (error.limit, error.seconds, fake.in_flight) == ("total", pytest.approx(5), 0)


@MODES
@simulated_time
async def test_the_ledger_says_timeout_not_cancelled(grace: float | None) -> None:
    """An attempt that our own limit cut is charged its input, under the right word."""
    stack = build_stack([Timeout(5, grace=grace)], FakeTransport([[10.0, "late"]]))

    with pytest.raises(RequestTimeoutError) as caught:
        await stack(REQUEST)

    (attempt,) = caught.value.call.attempts
    assert (attempt.outcome, attempt.usage_source) == ("timeout", "estimated")
    assert attempt.usage.input_tokens > 0


@pytest.mark.parametrize("grace", [2.0, None], ids=["own task", "in place"])
@simulated_time
async def test_the_callers_own_cancellation_stays_one(grace: float | None) -> None:
    """Whenever it strikes, also at the very moment of the limit and while the work cleans up."""
    for moment in (0.0, 2.0, 5.0, 5.5):
        stack = build_stack([Timeout(5, grace=grace)], FakeTransport([slow_to_clean(1.0)]))
        task = asyncio.ensure_future(stack(REQUEST))
        await asyncio.sleep(moment)

        task.cancel()
        await asyncio.wait([task])

        assert task.cancelled(), moment


def slow_to_clean(seconds: float, cleaned: list[float] | None = None) -> Any:
    """A script item that hangs, and takes its time to clean up when it is cancelled."""

    async def play() -> Any:
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(seconds)
            if cleaned is not None:
                cleaned.append(now())

    return lambda request: play()


@MODES
@simulated_time
async def test_an_outer_scope_of_asyncio_is_not_taken_for_ours(grace: float | None) -> None:
    """`asyncio.timeout` round the call raises its own TimeoutError."""
    stack = build_stack([Timeout(50, grace=grace)], FakeTransport([[100.0, "late"]]))

    with pytest.raises(TimeoutError) as caught:
        async with asyncio.timeout(3):
            await stack(REQUEST)

    assert not isinstance(caught.value, RequestTimeoutError)


@simulated_time
async def test_a_foreign_timeout_error_passes_through() -> None:
    """A TimeoutError of a socket below is not ours."""
    stack = build_stack([Timeout(50)], FakeTransport([TimeoutError("socket")]))

    _, error = await timed(stack)

    assert str(error) == "socket"


@simulated_time
async def test_clean_up_gets_a_bounded_grace_and_ends_in_the_background() -> None:
    """The caller is released after the grace; closing the stack waits for what is left behind."""
    cleaned: list[float] = []
    start = now()
    stack = build_stack([Timeout(5, grace=1)], FakeTransport([slow_to_clean(20.0, cleaned)]))

    took, error = await timed(stack)
    assert took == pytest.approx(6)
    assert isinstance(error, RequestTimeoutError)
    assert cleaned == []
    assert stack.stats()["timeout.left_behind"] == 1

    await stack.aclose()
    assert cleaned[0] - start == pytest.approx(25)
    assert error.call.attempts[0].outcome == "timeout"


@simulated_time
async def test_quick_clean_up_is_waited_for() -> None:
    """What ends within the grace is not left behind."""
    cleaned: list[float] = []
    stack = build_stack([Timeout(5, grace=1)], FakeTransport([slow_to_clean(0.5, cleaned)]))

    took, _ = await timed(stack)

    assert took == pytest.approx(5.5)
    assert len(cleaned) == 1


@simulated_time
async def test_the_deadline_travels_down_and_the_nearest_wins() -> None:
    """Nested limits take the minimum, and handlers below see it."""
    fake = FakeTransport(["hi", "hi"])
    await build_stack([Timeout(30), Timeout(5)], fake)(REQUEST)
    await build_stack([Timeout(5), Timeout(30)], fake)(REQUEST)

    lengths = [(request.deadline or 0.0) - now() for request in fake.requests]
    assert lengths == [pytest.approx(5)] * 2


@simulated_time
async def test_a_deadline_that_the_caller_set_is_kept() -> None:
    """A request with a deadline of its own is cut there, under that name."""
    stack = build_stack([Timeout(30)], FakeTransport([[100.0, "late"]]))

    took, error = await timed(stack, REQUEST.evolve(deadline=now() + 4))

    assert took == pytest.approx(4)
    assert isinstance(error, RequestTimeoutError)
    assert error.limit == "deadline"


@simulated_time
async def test_a_deadline_that_has_passed_makes_no_attempt() -> None:
    """It costs nothing and asks nobody, even if the provider would answer at once."""
    fake = FakeTransport("hi")

    _, error = await timed(build_stack([Timeout(30)], fake), REQUEST.evolve(deadline=now() - 1))

    assert isinstance(error, RequestTimeoutError)
    assert error.processed is False
    assert fake.calls == 0


@simulated_time
async def test_the_first_event_has_a_limit_of_its_own() -> None:
    """A stream that does not begin is cut; one that has begun may take its time."""
    late = build_stack([Timeout(first_event=3)], FakeTransport([[4.0, "late"]]))
    with pytest.raises(RequestTimeoutError) as caught:
        async with late.stream(REQUEST) as stream:
            await stream.complete()
    assert (caught.value.limit, caught.value.seconds) == ("first_event", 3)

    begun = build_stack([Timeout(first_event=3)], FakeTransport([[2.0, "in", 50.0, " time"]]))
    async with begun.stream(REQUEST) as stream:
        assert (await stream.complete()).text == "in time"


@simulated_time
async def test_the_gap_between_events_has_a_limit_of_its_own() -> None:
    """A stream that stalls is cut, with what had come; one that drips on is not."""
    dripping = [piece for _ in range(20) for piece in ("x", 2.0)]
    fake = FakeTransport([dripping, ["some", 2.0, " words", 100.0, "never"]])
    stack = build_stack([Timeout(idle=3)], fake)
    async with stack.stream(REQUEST) as stream:
        assert (await stream.complete()).text == "x" * 20

    start = now()
    with pytest.raises(RequestTimeoutError) as caught:
        async with stack.stream(REQUEST) as stream:
            await stream.complete()

    assert caught.value.limit == "idle"
    assert caught.value.partial.text == "some words"
    assert now() - start == pytest.approx(5)


@MODES
@pytest.mark.parametrize("limits", [{"seconds": 5}, {"idle": 2}, {"seconds": 5, "idle": 2, "first_event": 2}])
@simulated_time
async def test_time_in_which_the_consumer_holds_back_counts_against_no_limit(
    limits: dict[str, float], grace: float | None
) -> None:
    """A consumer that takes a minute for each piece is no fault of the provider."""

    async def provider(request: Request) -> Response:
        out = request.begin()
        for _ in range(10):
            await out.send(TextDelta("x"))
        await asyncio.sleep(1)
        return Response.of("x" * 10, usage=Usage(1, 1))

    stack = build_stack([Timeout(**limits, grace=grace)], provider, stream_buffer=1)
    seen = 0
    async with stack.stream(REQUEST) as stream:
        async for _ in stream:
            await asyncio.sleep(60)
            seen += 1

    assert seen == 10
    assert stack.stats()["timeout.fired"] == 0


@simulated_time
async def test_a_slow_provider_is_cut_although_the_consumer_was_slow_before() -> None:
    """Held time extends the limit by what was held, not for ever."""

    async def provider(request: Request) -> Response:
        out = request.begin()
        for _ in range(3):
            await out.send(TextDelta("x"))
        await asyncio.sleep(1000)
        raise AssertionError

    stack = build_stack([Timeout(5)], provider, stream_buffer=1)
    start = now()
    with pytest.raises(RequestTimeoutError):
        async with stack.stream(REQUEST) as stream:
            async for _ in stream:
                await asyncio.sleep(10)

    assert 10 < now() - start < 60


@simulated_time
async def test_an_answer_within_the_limit_is_the_same_object() -> None:
    """A layer that has nothing to do is transparent, for answers and for errors."""
    error = ServerError("down")
    stack = build_stack([Timeout(5)], FakeTransport(["hi", error]))

    assert (await stack(REQUEST)).text == "hi"
    assert (await timed(stack))[1] is error


@MODES
@simulated_time
async def test_a_layer_below_that_swallows_the_cut_still_answers(grace: float | None) -> None:
    """A handler that turns the cancellation into an answer has answered."""

    @middleware
    async def stubborn(request: Request, call_next: Handler) -> Response:
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            return Response.of("late but here")

    took, error = await timed(build_stack([Timeout(5, grace=grace), stubborn], FakeTransport([[10.0, "x"]])))

    assert (took, error) == (pytest.approx(5), None)


@simulated_time
async def test_fired_limits_are_counted_by_name() -> None:
    """`stats` tells which limit fires."""
    stack = build_stack([Timeout(5)], FakeTransport([[10.0, "x"], "ok"]))
    await timed(stack)
    await timed(stack)

    stats = stack.stats()

    assert (stats["timeout.calls"], stats["timeout.fired"], stats["timeout.fired.total"]) == (2, 1, 1)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), "5", True])
@pytest.mark.parametrize("field", ["seconds", "first_event", "idle"])
def test_a_limit_that_is_no_length_is_refused(field: str, value: Any) -> None:
    """Found when it is built, by name and value."""
    with pytest.raises(ConfigurationError, match=f"Timeout.{field}"):
        Timeout(**{field: value})


@simulated_time
async def test_the_task_can_be_used_on_after_a_limit_cut_in_place() -> None:
    """The cancellation that cut the work is taken back: the caller's own scopes still count right."""
    stack = build_stack([Timeout(5, grace=None)], FakeTransport([[10.0, "x"]], repeat=True))
    task = asyncio.current_task()
    assert task is not None

    for _ in range(3):
        assert isinstance((await timed(stack))[1], RequestTimeoutError)

    assert task.cancelling() == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.sleep(2)


@simulated_time
async def test_clean_up_in_place_is_waited_for() -> None:
    """Without a task of its own nothing can be left behind."""
    stack = build_stack([Timeout(5, grace=None)], FakeTransport([slow_to_clean(20.0)]))

    took, error = await timed(stack)

    assert took == pytest.approx(25)
    assert isinstance(error, RequestTimeoutError)
