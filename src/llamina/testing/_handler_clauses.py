"""The clauses of the protocol for terminals, stacks and other handlers."""

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import Any

from llamina.errors import LLMError
from llamina.protocol import Handler, Request, Response, middleware
from llamina.sink import Writer
from llamina.stack import Stack, build_stack

from ._bench import Clauses, cancelled, expect, read_all

__all__ = ["HANDLER"]

HANDLER = Clauses()
_clause = HANDLER.clause


@_clause("complete-response", "the response is complete: a message, and a finish reason", "3.1", "7.1")
async def _complete_response(stack: Stack, request: Request) -> None:
    response = await stack(request)
    expect(bool(response.message.parts), "the message is empty")
    expect(response.finish_reason is not None, "there is no finish reason")
    expect(len(response.call.attempts) >= 1, "nothing was recorded on the ledger")


@_clause("stream-is-the-response", "what is streamed folds to what is returned", "6.2", "6.8")
async def _handler_streams(stack: Stack, request: Request) -> None:
    events, response = await read_all(stack, request)
    text = "".join([event.text for event in events])
    expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")


@_clause("request-is-a-value", "a request is never changed, and unknown parameters are no error", "2.1", "2.4")
async def _handler_keeps_request(stack: Stack, request: Request) -> None:
    asked = request.with_params(an_unknown_parameter={"deep": [1]})
    before = copy.deepcopy((asked.model, asked.messages, dict(asked.params)))
    await stack(asked)
    expect(before == (asked.model, asked.messages, dict(asked.params)), "the request was changed")


@_clause("cancellation", "a cancellation comes out as one, and the next call works", "9.1")
async def _handler_cancels(stack: Stack, request: Request) -> None:
    for turns in (0, 1, 2, 3, 5, 8):

        async def cancel(task: asyncio.Task[Any], turns: int = turns) -> bool:
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        await cancelled(lambda: stack(request), cancel)
        await stack(request)


@_clause("cancellation-of-streams", "the same holds while a stream is read", "9.1")
async def _handler_cancels_streams(stack: Stack, request: Request) -> None:
    for turns in (0, 1, 2, 4, 8):

        async def cancel(task: asyncio.Task[Any], turns: int = turns) -> bool:
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        await cancelled(lambda: read_all(stack, request), cancel)
        await read_all(stack, request)


@_clause("leaving-early", "a consumer who leaves a stream early frees everything", "4.3", "10.4")
async def _handler_left(stack: Stack, request: Request) -> None:
    for _ in range(3):
        async with stack.stream(request) as stream:
            async for _event in stream:
                break
    await stack(request)


@_clause("concurrent-use", "many calls at once get each an answer", "4.4")
async def _handler_concurrent(stack: Stack, request: Request) -> None:
    answers = await asyncio.gather(*(stack(request.with_params(number=number)) for number in range(20)))
    expect(len(answers) == 20 and all([one.message.parts for one in answers]), "an answer is missing")


@_clause("same-everywhere", "two calls of one request give the same kind of answer, streamed or not", "3.1")
async def _handler_alike(stack: Stack, request: Request) -> None:
    plain = await stack(request)
    _, streamed = await read_all(stack, request)
    expect(plain.finish_reason == streamed.finish_reason, f"{plain.finish_reason!r}, {streamed.finish_reason!r}")


@_clause(
    "attempts-settle",
    "each try settles on the ledger with an outcome and its tokens, also when it is left",
    "7.3",
    "7.5",
)
async def _attempts_settle(stack: Stack, request: Request) -> None:
    answered = (await stack(request)).call
    async with stack.stream(request) as left:
        with contextlib.suppress(StopAsyncIteration):
            await anext(left)
    for call in (answered, left.call):
        for attempt in call.attempts:
            expect(attempt.settled, "a try was still in flight on the ledger after its call had ended")
            expect(attempt.usage is not None, f"a try with the outcome {attempt.outcome!r} has no usage")


@_clause("one-writer-an-attempt", "each try begins one writer, and sends all its events through it", "6.2")
async def _one_writer_an_attempt(stack: Stack, request: Request) -> None:
    writers: list[Writer] = []

    def count(writer: Writer) -> Writer:
        writers.append(writer)
        return writer

    @middleware
    async def counting(request: Request, call_next: Handler) -> Response:
        assert request.sink is not None
        return await call_next(request.evolve(sink=request.sink.through(count)))

    _, response = await read_all(build_stack([counting], stack, check="off"), request)
    tries = len(response.call.attempts)
    expect(len(writers) <= tries, f"{len(writers)} writers were begun in {tries} tries; call `request.begin()` once")


@_clause("embeds-or-refuses", "a request for vectors gets one for each text, or is refused", "2.7", "3.5")
async def _embeds_or_refuses(stack: Stack, request: Request) -> None:
    try:
        response = await stack(Request.embed(request.model, ["one", "two"], tags=request.tags))
    except LLMError:
        return
    given = len(response.vectors)
    expect(given == 2, f"for 2 texts it gave {given} vectors; refuse the kinds that it cannot answer")
