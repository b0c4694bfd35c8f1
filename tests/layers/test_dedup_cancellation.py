"""Dedup and cancellation: who leaves hurts nobody, and when the last one has left nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamina import Request, Response, ServerError, Stack, StreamCommittedError, TextDelta, build_stack
from llamina.layers.dedup import Dedup
from llamina.record import CutByLimit
from llamina.testing import FakeTransport, simulated_time

ASK = Request.chat("model", "hello")
SLOW = ["Hel", 5.0, "lo", 5.0]


async def plain(stack: Stack) -> Response:
    """Wait for the whole answer."""
    return await stack(ASK)


async def streamed(stack: Stack) -> Response:
    """Read the answer as a stream."""
    async with stack.stream(ASK) as stream:
        return await stream.complete()


Way = Callable[[Stack], Awaitable[Response]]
both_ways = pytest.mark.parametrize("ask", [plain, streamed])


def begin(ask: Way, stack: Stack, number: int) -> list[asyncio.Task[Response]]:
    """So many callers at once."""
    return [asyncio.create_task(ask(stack)) for _ in range(number)]  # type: ignore[arg-type]


@both_ways
@simulated_time
async def test_the_first_caller_may_leave(ask: Way) -> None:
    """The others get the answer, and the next in line pays for it."""
    fake = FakeTransport([SLOW])
    first, second, third = begin(ask, build_stack([Dedup()], fake), 3)
    await asyncio.sleep(1)

    first.cancel()
    answers = await asyncio.gather(second, third)

    assert first.cancelled()
    assert [response.text for response in answers] == ["Hello", "Hello"]
    assert [len(response.call.attempts) for response in answers] == [1, 0]
    assert [response.call.joins for response in answers] == [0, 1]


@both_ways
@simulated_time
async def test_any_other_caller_may_leave(ask: Way) -> None:
    """The flight goes on for those who stay."""
    fake = FakeTransport([SLOW])
    first, second, third = begin(ask, build_stack([Dedup()], fake), 3)
    await asyncio.sleep(1)

    second.cancel()
    answers = await asyncio.gather(first, third)

    assert second.cancelled()
    assert [response.text for response in answers] == ["Hello", "Hello"]
    assert fake.calls == 1


@both_ways
@simulated_time
async def test_when_the_last_one_has_left_the_upstream_call_is_cancelled(ask: Way) -> None:
    """Nobody pays for an answer that nobody waits for."""
    dedup = Dedup()
    fake = FakeTransport([SLOW])
    callers = begin(ask, build_stack([dedup], fake), 3)
    await asyncio.sleep(1)

    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)

    assert fake.in_flight == 0
    assert asyncio.get_running_loop().time() % 10 < 5
    assert dedup.stats() == {"dedup.flights": 1, "dedup.joined": 2, "dedup.in_flight": 0, "dedup.cancelled": 1}


@simulated_time
async def test_who_comes_when_everybody_has_left_begins_a_flight_of_his_own() -> None:
    """A flight that is being cancelled cannot be joined, however long its clean-up takes."""
    cleaned_up: list[str] = []

    async def below(request: Request) -> Response:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            await asyncio.sleep(3)
            cleaned_up.append("yes")
            raise
        return Response.of("fresh")

    stack = build_stack([Dedup()], below)
    (left,) = begin(plain, stack, 1)
    await asyncio.sleep(1)
    left.cancel()
    await asyncio.sleep(1)

    response = await stack(ASK)
    await asyncio.wait([left])

    assert response.text == "fresh"
    assert left.cancelled()
    assert cleaned_up == ["yes"]


@simulated_time
async def test_the_cancelled_attempt_is_on_the_call_of_the_last_who_left() -> None:
    """Nothing is lost: what was spent shows on exactly one call."""
    stack = build_stack([Dedup()], FakeTransport([SLOW]))
    streams = [stack.stream(ASK) for _ in range(2)]

    for stream in streams:
        await stream.__aenter__()
    await asyncio.sleep(1)
    for stream in streams:
        await stream.__aexit__(None, None, None)

    assert [len(stream.call.attempts) for stream in streams] == [0, 1]
    attempt = streams[1].call.attempts[0]
    assert (attempt.outcome, attempt.usage_source) == ("cancelled", "estimated")


@simulated_time
async def test_a_limit_that_takes_the_last_caller_reads_timeout_in_the_ledger() -> None:
    """The reason of a cancellation goes down with it."""
    seen: list[Any] = []

    async def below(request: Request) -> Response:
        assert request.ledger is not None
        seen.append(request.ledger)
        await asyncio.sleep(60)
        return Response.of("never")

    (caller,) = begin(plain, build_stack([Dedup()], below), 1)
    await asyncio.sleep(1)

    caller.cancel(CutByLimit("cut by a limit"))
    await asyncio.wait([caller])

    assert caller.cancelled()
    assert [attempt.outcome for attempt in seen[0].attempts] == ["timeout"]


@simulated_time
async def test_each_caller_keeps_his_own_limit() -> None:
    """The impatient one is cut, the patient one gets the answer."""
    stack = build_stack([Dedup()], FakeTransport([SLOW]))

    async def within(seconds: float) -> str:
        async with asyncio.timeout(seconds):
            return (await stack(ASK)).text

    results = await asyncio.gather(within(3), within(60), return_exceptions=True)

    assert isinstance(results[0], TimeoutError)
    assert results[1] == "Hello"


@simulated_time
async def test_who_comes_in_the_moment_of_leaving_takes_the_flight_over() -> None:
    """The last caller was cancelled but has not left yet: the flight goes on for the new one, who pays for it."""
    fake = FakeTransport([SLOW])
    stack = build_stack([Dedup()], fake)
    (leaving,) = begin(plain, stack, 1)
    await asyncio.sleep(1)
    leaving.cancel()

    response = await stack(ASK)

    assert leaving.cancelled()
    assert (response.text, len(response.call.attempts), fake.calls) == ("Hello", 1, 1)


@simulated_time
async def test_a_flight_whose_only_caller_is_thrown_away_at_once_leaves_nothing() -> None:
    """Before the upstream call has made its first step (where tasks begin lazily) or just after it."""
    dedup = Dedup()
    fake = FakeTransport([[1.0, "hello"]] * 2)
    handle = dedup.wrap(fake)
    call: Any = handle(ASK)
    call.send(None)

    call.close()
    await dedup.aclose()

    assert (fake.in_flight, dedup.stats()["dedup.in_flight"], dedup.stats()["dedup.cancelled"]) == (0, 0, 1)
    assert (await handle(ASK)).text == "hello"


@simulated_time
async def test_a_caller_who_is_cancelled_twice_strikes_the_clean_up_too() -> None:
    """A second cancellation reaches what is still cleaning up, as it would without the layer."""

    async def below(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3600)
        return Response.of("never")

    loop = asyncio.get_running_loop()
    start = loop.time()
    (caller,) = begin(plain, build_stack([Dedup()], below), 1)
    await asyncio.sleep(1)
    caller.cancel()
    await asyncio.sleep(1)

    caller.cancel()
    await asyncio.wait([caller])

    assert caller.cancelled()
    assert loop.time() - start < 60


@simulated_time
async def test_closing_waits_for_a_flight_that_still_cleans_up() -> None:
    """A caller who was torn away leaves a clean-up behind; `aclose` sees it end."""
    ended: list[str] = []

    async def below(request: Request) -> Response:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(3)
            ended.append("clean")
        return Response.of("never")

    dedup = Dedup()
    call: Any = dedup.wrap(below)(ASK)
    call.send(None)
    await asyncio.sleep(1)
    call.close()

    await dedup.aclose()

    assert ended == ["clean"]
    assert dedup.stats()["dedup.in_flight"] == 0


@simulated_time
async def test_what_the_clean_up_costs_is_on_the_last_callers_ledger_too() -> None:
    """A layer below that makes another call while it is cancelled is paid for by who left last."""

    def tidy(call_next: Any) -> Any:
        async def handle(request: Request) -> Response:
            try:
                return await call_next(request)
            finally:
                await call_next(request)

        return handle

    stack = build_stack([Dedup(), tidy], FakeTransport([[60.0, "never"], "tidied"]))
    calls: list[Any] = []
    (caller,) = begin(plain, build_stack([_noting(calls)], stack), 1)
    await asyncio.sleep(1)

    caller.cancel()
    await asyncio.wait([caller])

    assert [attempt.outcome for attempt in calls[0].attempts] == ["cancelled", "ok"]


@simulated_time
async def test_an_attempt_that_everybody_left_cannot_deliver_any_more() -> None:
    """What swallows the cancellation and goes on writing is told that the stream has ended."""
    told: list[str] = []

    async def below(request: Request) -> Response:
        out = request.begin()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            try:
                await out.send(TextDelta("too late"))
            except StreamCommittedError as error:
                told.append(error.message)
            raise
        return Response.of("never")

    (caller,) = begin(streamed, build_stack([Dedup()], below), 1)
    await asyncio.sleep(1)
    caller.cancel()
    await asyncio.wait([caller])

    assert "this stream has ended" in told[0]


@simulated_time
async def test_a_consumer_that_fails_leaves_like_one_who_is_cancelled() -> None:
    """An error of one caller's own stream is his; the others go on."""
    stack = build_stack([Dedup()], FakeTransport([SLOW]))

    async def fail() -> None:
        async with stack.stream(ASK) as stream:
            async for _ in stream:
                raise KeyError("my own bug")

    failed, answer = await asyncio.gather(fail(), streamed(stack), return_exceptions=True)

    assert isinstance(failed, KeyError)
    assert isinstance(answer, Response)
    assert len(answer.call.attempts) == 1


times = st.sampled_from([0.0, 1.0, 1.5, 2.0, 4.0, 7.0])
leaves = st.none() | st.tuples(times, st.integers(0, 6))  # seconds, and turns of the loop after them
callers = st.lists(st.tuples(st.booleans(), times, leaves), min_size=1, max_size=6)
scripts = st.sampled_from(
    [["a", 2.0, "b"], [2.0, "ab"], ["a", 2.0, ServerError("cut")], [2.0, ServerError("down")], ["ab"], [0.0, "ab"]]
)


@settings(max_examples=300, deadline=None)
@simulated_time
@given(plan=callers, script=scripts)
async def test_whoever_comes_and_goes_when_he_likes_everything_is_paid_once_and_nothing_stays(
    plan: list[tuple[bool, float, tuple[float, int] | None]], script: list[Any]
) -> None:
    """Random schedules of callers who come, stream, are cancelled: each upstream call is on one ledger, none is left."""
    dedup = Dedup()
    fake = FakeTransport([list(script)], repeat=True)
    stack = build_stack([dedup], fake)
    calls: list[Any] = []
    answers: list[str] = []

    async def caller(comes: float, *, streams: bool) -> None:
        await asyncio.sleep(comes)
        if streams:
            stream = stack.stream(ASK)
            calls.append(stream.call)
            async with stream:
                answers.append((await stream.complete()).text)
        else:
            answers.append((await build_stack([_noting(calls)], stack)(ASK)).text)

    async def play(comes: float, leaves: tuple[float, int] | None, *, streams: bool) -> BaseException | None:
        task = asyncio.create_task(caller(comes, streams=streams))
        await asyncio.wait([task], timeout=None if leaves is None else leaves[0])
        for _ in range(0 if leaves is None else leaves[1]):
            await asyncio.sleep(0)
        cut = not task.done() and task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or not cut
        return None if task.cancelled() else task.exception()

    errors = await asyncio.gather(*(play(comes, leaves, streams=streams) for streams, comes, leaves in plan))

    assert all(error is None or isinstance(error, ServerError) for error in errors)
    assert set(answers) <= {"ab"}
    assert sum(len(call.attempts) for call in calls) == fake.calls
    assert all(attempt.settled for call in calls for attempt in call.attempts)
    assert fake.in_flight == dedup.stats()["dedup.in_flight"] == 0


def _noting(calls: list[Any]) -> Any:
    def layer(call_next: Any) -> Any:
        def handle(request: Request) -> Any:
            calls.append(request.call)
            return call_next(request)

        return handle

    return layer
