"""Clauses about streams: what is streamed is what is returned, once, no faster than the consumer reads."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from llamina.errors import LLMError, ServerError, StreamCommittedError
from llamina.events import PartDelta, ReasoningDelta, Started, TextDelta, ToolCallDelta, fold
from llamina.messages import Text, UnknownPart, Usage
from llamina.protocol import Handler, Request, Response, middleware
from llamina.stack import Stack

from ._bench import Bench, Clauses, Seen, expect, read_all, still_works, whatever_comes
from .script import answer

__all__ = ["STREAMS"]

STREAMS = Clauses()
_clause = STREAMS.clause


@_clause("stream-is-the-response", "what is streamed folds to what is returned", "6.8")
async def _stream_is_the_response(bench: Bench) -> None:
    for script in ([["Hel", 0.1, "lo"]], [answer("hello")], [["only"]]):
        stack, _ = bench.stack(script)
        events, response = await read_all(stack, bench.request)
        text = "".join([event.text for event in events])
        expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")
        expect(fold(events).tool_calls == response.tool_calls, "tool calls that were streamed are not those returned")


@_clause("streams-and-returns-alike", "a call gives the same answer whether it is streamed or not", "3.1", "4.1")
async def _streams_and_returns_alike(bench: Bench) -> None:
    plain, _ = bench.stack([["Hel", 0.1, "lo"]], repeat=True)
    streamed, _ = bench.stack([["Hel", 0.1, "lo"]], repeat=True)
    one = await plain(bench.request)
    _, other = await read_all(streamed, bench.request)
    expect(one.message == other.message, f"plain {one.text!r}, streamed {other.text!r}")
    expect(one.usage == other.usage, f"plain {one.usage!r}, streamed {other.usage!r}")


_EVENTS: list[Any] = [
    Started("r1", "model"),
    ReasoningDelta("h"),
    ReasoningDelta("m", raw={"chat": {"signature": "s"}}),
    TextDelta("hel"),
    TextDelta("lo"),
    ToolCallDelta(0, '{"a"', "c1", "look"),
    ToolCallDelta(0, ": 1}"),
    PartDelta(UnknownPart({"type": "hologram"})),
]


@_clause("events-pass", "events of every kind reach the consumer, those that the layer does not know too", "2.3", "6.5")
async def _events_pass(bench: Bench) -> None:
    async def terminal(request: Request) -> Response:
        out = request.begin()
        for event in _EVENTS:
            await out.send(event)
        return Response(fold(_EVENTS), Usage(3, 4), "tool_calls")

    stack = bench.round(terminal)
    wanted = [part for part in fold(_EVENTS).parts if type(part) is not Text]  # a layer may rewrite text
    for _ in range(2):
        events, _response = await read_all(stack, bench.request)
        seen = [part for part in fold(events).parts if type(part) is not Text]
        lost = [type(part).__name__ for part in wanted if part not in seen]
        expect(not lost, f"lost or changed on the way to the consumer: {', '.join(lost)}")


@_clause("nothing-twice", "no content is delivered twice, and none after an error", "6.6", "6.7")
async def _nothing_twice(bench: Bench) -> None:
    script = [["par", ServerError("cut")], ["never", " twice"], ["never", " twice"]]
    await _nothing_twice_in(bench.stack(script)[0], bench.request)
    fake = bench.stack(script)[1]  # a layer below sees the commit point too
    await _nothing_twice_in(bench.round(fake, below=[_tries_again]), bench.request)


@middleware
async def _tries_again(request: Request, call_next: Handler) -> Response:
    try:
        return await call_next(request)
    except ServerError:
        if not request.replayable:
            raise
    return await call_next(request)


async def _nothing_twice_in(stack: Stack, request: Request) -> None:
    seen, error = await _read(stack, request)
    if error is None:
        expect(seen.count("par") == 0, f"two attempts were mixed in one stream: {seen}")
        return
    expect("".join(seen) in ("par", ""), f"after the cut, {seen} had been delivered")
    tried_again = isinstance(error, StreamCommittedError)
    expect(not tried_again, "the provider was asked again after delivery; ask `request.replayable` first")


@_clause("asks-before-replaying", "once content has been delivered, no further attempt is made", "4.2")
async def _asks_before_replaying(bench: Bench) -> None:
    stack, fake = bench.stack([["par", ServerError("cut")], *([ServerError("again")] * 8)])
    seen, _ = await _read(stack, bench.request)
    if seen:  # a layer that holds a stream back has delivered nothing, and may try again
        again = f"after {''.join(seen)!r} had been delivered, the provider was asked {fake.calls - 1} times more"
        expect(fake.calls <= 1, f"{again}; ask `request.replayable` first")


async def _read(stack: Stack, request: Request) -> tuple[list[str], LLMError | None]:
    seen: list[str] = []
    try:
        async with stack.stream(request) as stream:
            async for event in stream:
                seen.append(event.text)  # noqa: PERF401 - what came before an error counts
    except LLMError as error:
        return seen, error
    return seen, None


@_clause("every-attempt-begins-afresh", "each attempt below gets a writer without traces of an earlier one", "6.9")
async def _attempts_begin_afresh(bench: Bench) -> None:
    async def twice(request: Request) -> Response:
        given_up = request.begin()
        await given_up.send(Started("r0", "model"))
        out = request.begin()
        expect(out is not given_up, "two attempts were given one writer; make a fresh one in `make_writer`")
        for piece in ("Hel", "lo"):
            await out.send(TextDelta(piece))
        return Response.of("Hello", usage=Usage(1, 1))

    twice.records_attempts = True  # type: ignore[attr-defined]  # the recorder would put a writer of its own round each
    events, response = await read_all(bench.round(twice), bench.request)
    expect("".join([event.text for event in events]) == response.text, "an unused writer disturbed the stream")


@_clause("free-after-leaving", "a consumer who leaves a stream early frees everything, at once", "4.3", "10.4")
async def _free_after_leaving(bench: Bench) -> None:
    stack, fake = bench.stack([["Hel", 3600.0, "lo"]] * 12 + [["Hel", "lo"]] * 4)
    loop = asyncio.get_running_loop()
    for number in range(12):
        started = loop.time()
        async with stack.stream(bench.numbered(number)) as stream:
            # A layer may hold events back: the consumer leaves whether or not it has seen one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    await anext(stream)
        expect(loop.time() - started < 1800, "leaving the stream waited for the provider")
    await asyncio.sleep(10)
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")
    await still_works(stack, bench.numbered(99), "after streams were left early")


_MANY = 400


@_clause(
    "no-reading-ahead", "while the consumer is behind, the provider waits: nothing piles up without a bound", "6.2"
)
async def _no_reading_ahead(bench: Bench) -> None:
    sent = 0

    async def terminal(request: Request) -> Response:
        nonlocal sent
        out = request.begin()
        for _ in range(_MANY):
            await asyncio.sleep(0.001)  # so that the consumer sees the first of them before the last is sent
            await out.send(TextDelta("word "))
            sent += 1
        return Response.of("word " * _MANY, usage=Usage(1, _MANY))

    stack = bench.round(terminal, buffer=4)
    # A limit that strikes meanwhile is not about reading ahead.
    async with whatever_comes(), stack.stream(bench.request) as stream:
        await anext(stream)
        if sent < _MANY - 1:  # else the layer holds the stream back to the end, which it may
            await asyncio.sleep(600)
            ahead = f"the consumer had read 1 event of {_MANY}, and {sent} were sent ahead of it"
            expect(sent < _MANY / 2, f"{ahead}; await the inner writer's `send`, in place of a queue without a bound")
        await stream.complete()


@_clause(
    "slow-consumers-are-no-fault", "time in which the consumer holds the stream back counts against no limit", "6.10"
)
async def _slow_consumers_are_no_fault(bench: Bench) -> None:
    async def terminal(request: Request) -> Response:
        out = request.begin()
        for _ in range(8):
            await out.send(TextDelta("word "))
        return Response.of("word " * 8, usage=Usage(1, 8))

    await read_all(bench.round(terminal, buffer=1), bench.request)  # at full speed nothing is wrong with it
    try:
        async with bench.round(terminal, buffer=1).stream(bench.request) as stream:
            async for _ in stream:
                await asyncio.sleep(2000)
    except LLMError as error:
        raise Seen(
            f"a consumer who took his time got {error!r}; leave `request.sink.held()` out of the count"
        ) from error
