"""The clauses of the protocol for layers, each played as one situation."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import copy
from collections.abc import Awaitable, Callable
from typing import Any

from llamina.call import Ledger
from llamina.errors import InvalidRequestError, LLMError, ServerError, StreamCommittedError
from llamina.events import TextDelta, fold
from llamina.messages import Message, Reasoning, Text, ToolCall, UnknownPart, Usage
from llamina.protocol import Handler, Request, Response, middleware
from llamina.stack import Stack, build_stack

from ._bench import Bench, CancelAt, Clauses, Seen, cancelled, expect, read_all, still_works
from .fake import FakeTransport
from .script import answer

__all__ = ["MIDDLEWARE"]

MIDDLEWARE = Clauses()
_clause = MIDDLEWARE.clause

# --- what goes down and what comes back ------------------------------------------------------------------------------


@_clause("request-reaches-below", "every field of the request reaches the next handler, known or not")
async def _request_reaches_below(bench: Bench) -> None:
    stack, fake = bench.stack("hello")
    unknown = UnknownPart({"type": "hologram", "depth": [1, 2.5, None]})
    messages = (*bench.request.messages, Message("user", (Text("and this"), unknown), "ada", {"x": 1}))
    request = bench.request.evolve(messages=messages).with_params(temperature=0.5, a_new_parameter={"deep": [1]})
    request = request.with_cache(ttl=60)

    await stack(request)

    seen = fake.requests[0]
    expect(seen.params.get("a_new_parameter") == {"deep": [1]}, "an unknown parameter was lost or changed")
    expect(seen.params.get("temperature") == 0.5, "the parameter temperature was lost or changed")
    expect(any([unknown in message.parts for message in seen.messages]), "an unknown part of a message was lost")
    expect(seen.tags == request.tags, f"the tags {dict(request.tags)} became {dict(seen.tags)}")
    kept = any([message.extra == {"x": 1} and message.name == "ada" for message in seen.messages])
    expect(kept, "the name or a further field of a message was lost")
    expect(seen.cache == request.cache, "what the request says to caches was lost")
    expect(seen.call is not None, "the call was lost on the way down")


@_clause("response-comes-back", "every field of the response comes back, known or not")
async def _response_comes_back(bench: Bench) -> None:
    parts = (
        Reasoning("hm", raw={"chat": {"signature": "s"}}),
        Text("hello"),
        ToolCall("c1", "look", "{}"),
        UnknownPart({"x": 1}),
    )
    said: dict[str, Any] = {"id": "r1", "model": "model", "request_id": "q1", "raw_finish_reason": "tool_use"}
    extra = {"a_new_field": {"deep": [1]}}
    given = Response(
        Message("assistant", parts),
        Usage(3, 4),
        "tool_calls",
        extra=copy.deepcopy(extra),
        rate_limit={"left": 1},
        **said,
    )
    stack, _ = bench.stack(given, repeat=True)

    for again in (False, True):
        response = await stack(bench.request)

        expect(isinstance(response, Response), f"a {type(response).__name__} came back instead of a Response")
        expect(response.usage == given.usage, f"usage {given.usage!r} became {response.usage!r}")
        kept = [part for part in response.message.parts if type(part) is not Text]  # a layer may rewrite text
        expect(kept == [part for part in parts if type(part) is not Text], "a part of the message was lost or changed")
        expect(response.finish_reason == "tool_calls", f"the finish reason became {response.finish_reason!r}")
        expect(response.extra == extra, "an unknown field of the answer was lost, or the answer was written into")
        lost = [name for name, value in said.items() if getattr(response, name) != value]
        expect(again or response.rate_limit == {"left": 1}, "what the answer says of rate limits was lost")
        expect(not lost, f"fields of the answer were lost: {lost}")
        expect(bool(response.call.id), "the response has no call")


@_clause("request-is-a-value", "a request is never changed, only copied; it can be sent many times")
async def _request_is_a_value(bench: Bench) -> None:
    request = bench.request.with_params(nested={"list": [1, 2]}, stop=["a"])
    before = copy.deepcopy((request.model, request.messages, dict(request.params), dict(request.tags)))
    for _ in range(2):
        stack, _fake = bench.stack("hello")
        await stack(request)
        await read_all(stack, request.with_params(streamed=True))
    after = (request.model, request.messages, dict(request.params), dict(request.tags))
    expect(before == after, f"the caller's request was changed: {before} became {after}")
    expect(request.call is None and request.sink is None, "a call or a sink was left on the caller's request")


@_clause("deadline-never-grows", "a deadline that came from above is passed on or kept by the layer, never lengthened")
async def _deadline_never_grows(bench: Bench) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + 1000
    stack, fake = bench.stack("hello")

    await stack(bench.request.evolve(deadline=deadline))

    seen = fake.requests[0].deadline
    if seen is not None:
        expect(seen <= deadline, f"a deadline in 1000 s became one in {seen - deadline + 1000:g} s")
        return
    stack, _ = bench.stack([[5000.0, "late"]])
    started = loop.time()
    with contextlib.suppress(LLMError):
        await stack(bench.request.evolve(deadline=started + 1000))
    expect(loop.time() - started < 1100, "the deadline was lost: nothing below sees it, and the layer does not keep it")


@_clause("ledger-is-complete", "each try that reaches the provider is on the ledger of its call, exactly once")
async def _ledger_is_complete(bench: Bench) -> None:
    for streams in (False, True):
        stack, fake = bench.stack(["hello", ServerError("down"), "hello", "hello"])
        for number in range(2):
            request = bench.numbered(number)
            before = fake.calls
            try:
                call = (await read_all(stack, request))[1].call if streams else (await stack(request)).call
            except LLMError as error:
                expect(error.call is not None, "the error that came out has no call")
                call = error.call
            tries = fake.calls - before
            expect(
                len(call.attempts) == tries and len({id(one) for one in call.attempts}) == tries,
                f"the provider was asked {tries} times, the ledger has {len(call.attempts)} attempts",
            )


@_clause("ledger-node-is-kept", "the handlers below record into the request's ledger node, or a child of it")
async def _ledger_node_is_kept(bench: Bench) -> None:
    branch = Ledger()

    def open_branch(call_next: Handler) -> Handler:
        async def handle(request: Request) -> Response:
            return await call_next(request.evolve(ledger=branch))

        return handle

    stack = build_stack([open_branch, bench.build()], FakeTransport("hello"))
    await stack(bench.request)
    await stack.aclose()
    expect(len(branch.attempts) == 1, f"the branch above saw {len(branch.attempts)} of 1 attempts below")


# --- errors ----------------------------------------------------------------------------------------------------------


@_clause("errors-pass-through", "an error that the layer cannot mend comes out as the same object")
async def _errors_pass_through(bench: Bench) -> None:
    for error in (InvalidRequestError("no such parameter"), LookupError("a bug below")):
        for streams in (False, True):
            stack, _ = bench.stack([error] * 5)
            try:
                await (read_all(stack, bench.request) if streams else stack(bench.request))
            except Exception as seen:  # noqa: BLE001 - the first of them is the finding
                expect(seen is error, f"{error!r} became {seen!r}" if seen != error else f"{error!r} was copied")
            else:
                raise Seen(f"{error!r} was swallowed")
    for streams in (False, True):
        mendable = ServerError("a failure that some layers mend")
        stack, _ = bench.stack([mendable] * 5)
        try:
            await (read_all(stack, bench.request) if streams else stack(bench.request))
        except Exception as seen:  # noqa: BLE001 - compared below
            expect(seen is mendable, f"{mendable!r} became {seen!r}")


@_clause("free-after-error", "after a failure everything that was held is given back")
async def _free_after_error(bench: Bench) -> None:
    script = [InvalidRequestError("bad") for _ in range(12)] + ["hello"] * 20
    stack, fake = bench.stack(script)
    for number in range(12):
        with contextlib.suppress(LLMError):
            await stack(bench.numbered(number))
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")
    await still_works(stack, bench.numbered(99), "after twelve failures")


# --- streams ---------------------------------------------------------------------------------------------------------


@_clause("stream-is-the-response", "what is streamed folds to what is returned")
async def _stream_is_the_response(bench: Bench) -> None:
    for script in ([["Hel", 0.1, "lo"]], [answer("hello")], [["only"]]):
        stack, _ = bench.stack(script)
        events, response = await read_all(stack, bench.request)
        text = "".join([event.text for event in events])
        expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")
        expect(fold(events).tool_calls == response.tool_calls, "tool calls that were streamed are not those returned")


@_clause("streams-and-returns-alike", "a call gives the same answer whether it is streamed or not")
async def _streams_and_returns_alike(bench: Bench) -> None:
    plain, _ = bench.stack([["Hel", 0.1, "lo"]])
    streamed, _ = bench.stack([["Hel", 0.1, "lo"]])
    one = await plain(bench.request)
    _, other = await read_all(streamed, bench.request)
    expect(one.message == other.message, f"plain {one.text!r}, streamed {other.text!r}")
    expect(one.usage == other.usage, f"plain {one.usage!r}, streamed {other.usage!r}")


@_clause("nothing-twice", "no content is delivered twice, and none after an error")
async def _nothing_twice(bench: Bench) -> None:
    script = [["par", ServerError("cut")], ["never", " twice"], ["never", " twice"]]
    await _nothing_twice_in(bench.stack(script)[0], bench.request)
    stack = build_stack([bench.build(), _tries_again], FakeTransport(script))  # a layer below sees the commit point too
    await _nothing_twice_in(stack, bench.request)
    await stack.aclose()


@middleware
async def _tries_again(request: Request, call_next: Handler) -> Response:
    try:
        return await call_next(request)
    except ServerError:
        if not request.replayable:
            raise
    return await call_next(request)


async def _nothing_twice_in(stack: Stack, request: Request) -> None:
    seen: list[str] = []
    try:
        async with stack.stream(request) as stream:
            async for event in stream:
                seen.append(event.text)  # noqa: PERF401 - what came before an error counts
    except LLMError as error:
        expect("".join(seen) in ("par", ""), f"after the cut, {seen} had been delivered")
        tried_again = isinstance(error, StreamCommittedError)
        expect(not tried_again, "the provider was asked again after delivery; ask `request.replayable` first")
    else:
        expect(seen.count("par") == 0, f"two attempts were mixed in one stream: {seen}")


@_clause("every-attempt-begins-afresh", "each attempt below gets a writer without traces of an earlier one")
async def _attempts_begin_afresh(bench: Bench) -> None:
    async def twice(request: Request) -> Response:
        request.begin()
        out = request.begin()
        for piece in ("Hel", "lo"):
            await out.send(TextDelta(piece))
        return Response.of("Hello", usage=Usage(1, 1))

    stack = build_stack([bench.build()], twice)
    events, response = await read_all(stack, bench.request)
    expect("".join([event.text for event in events]) == response.text, "an unused writer disturbed the stream")
    await stack.aclose()


@_clause("free-after-leaving", "a consumer who leaves a stream early frees everything, at once")
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


# --- cancellation ----------------------------------------------------------------------------------------------------


@_clause("cancellation", "a cancellation at any point comes out as one, and everything that was held is given back")
async def _cancellation(bench: Bench) -> None:
    await _every_cancellation(bench, lambda stack, request: stack(request))


@_clause("cancellation-of-streams", "the same holds while a stream is read")
async def _cancellation_of_streams(bench: Bench) -> None:
    await _every_cancellation(bench, read_all)


# --- many calls ------------------------------------------------------------------------------------------------------


async def _plain(stack: Stack, request: Request) -> Response:
    return await stack(request)


@_clause("concurrent-use", "many calls at once through one layer get each its own answer")
async def _concurrent_use(bench: Bench) -> None:
    def echo(request: Request) -> Any:
        return [0.1, f"answer {request.params['conformance_number']}"]

    # What each request gets when it is alone: a layer may rewrite answers, but not mix them up.
    alone = [(await bench.stack(echo)[0](bench.numbered(number))).text for number in range(20)]
    stack, fake = bench.stack(echo)
    try:
        async with asyncio.timeout(36_000), asyncio.TaskGroup() as group:
            plain = [group.create_task(_plain(stack, bench.numbered(number))) for number in range(10)]
        async with asyncio.timeout(36_000), asyncio.TaskGroup() as group:
            streamed = [group.create_task(read_all(stack, bench.numbered(number))) for number in range(10, 20)]
    except* Exception as errors:  # noqa: BLE001 - the first of them is the finding
        raise errors.exceptions[0] from None
    answers = [task.result() for task in plain]
    streams = [task.result() for task in streamed]
    texts = [response.text for response in answers] + [response.text for _, response in streams]
    expect(texts == alone, f"answers were mixed up: {texts} instead of {alone}")
    expect(fake.in_flight == 0, f"{fake.in_flight} calls of the provider still ran")


@_clause("reusable", "one layer object can serve several stacks, one after the other and at once")
async def _reusable(bench: Bench) -> None:
    layer = bench.build()
    one, _ = bench.stack("hello", layer=layer)
    other, _ = bench.stack("hello", layer=layer)
    first, second = await asyncio.gather(one(bench.numbered(1)), other(bench.numbered(2)))
    expect(bool(first.text) and first.text == second.text, f"got {first.text!r} and {second.text!r}")
    expect((await one(bench.numbered(3))).text == first.text, "the second use gave another answer")


@_clause("fresh-state", "two layers that were built apart share nothing: what one has seen does not change the other")
async def _fresh_state(bench: Bench) -> None:
    untouched, _ = bench.stack("hello")
    expected = (await untouched(bench.numbered(1))).text
    spoiled, _ = bench.stack([ServerError("down")], repeat=True)
    for number in range(10):
        with contextlib.suppress(LLMError):
            await spoiled(bench.numbered(number))
    clean, _ = bench.stack("hello")
    expect((await clean(bench.numbered(1))).text == expected, "a fresh layer was changed by what another one had seen")


@_clause("no-context-leak", "the caller's context variables stay the caller's: none is left changed by the call")
async def _no_context_leak(bench: Bench) -> None:
    before = dict(contextvars.copy_context())
    stack, _ = bench.stack("hello")
    await stack(bench.request)
    failing, _ = bench.stack(InvalidRequestError("bad"))
    with contextlib.suppress(LLMError):
        await failing(bench.request)
    after = dict(contextvars.copy_context())
    changed = [variable.name for variable in after if variable not in before or before[variable] is not after[variable]]
    expect(not changed, f"context variables changed in the caller's context: {changed}")


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
