"""The clauses of the protocol for terminals, stacks and other handlers."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from llamina.protocol import Request
from llamina.stack import Stack

from ._bench import Clauses, cancelled, expect, read_all

__all__ = ["HANDLER"]

HANDLER = Clauses()
_clause = HANDLER.clause


@_clause("complete-response", "the response is complete: a message, and a finish reason")
async def _complete_response(stack: Stack, request: Request) -> None:
    response = await stack(request)
    expect(bool(response.message.parts), "the message is empty")
    expect(response.finish_reason is not None, "there is no finish reason")
    expect(len(response.call.attempts) >= 1, "nothing was recorded on the ledger")


@_clause("stream-is-the-response", "what is streamed folds to what is returned")
async def _handler_streams(stack: Stack, request: Request) -> None:
    events, response = await read_all(stack, request)
    text = "".join([event.text for event in events])
    expect(text == response.text, f"{text!r} was streamed, {response.text!r} was returned")


@_clause("request-is-a-value", "a request is never changed, and unknown parameters are no error")
async def _handler_keeps_request(stack: Stack, request: Request) -> None:
    asked = request.with_params(an_unknown_parameter={"deep": [1]})
    before = copy.deepcopy((asked.model, asked.messages, dict(asked.params)))
    await stack(asked)
    expect(before == (asked.model, asked.messages, dict(asked.params)), "the request was changed")


@_clause("cancellation", "a cancellation comes out as one, and the next call works")
async def _handler_cancels(stack: Stack, request: Request) -> None:
    for turns in (0, 1, 2, 3, 5, 8):

        async def cancel(task: asyncio.Task[Any], turns: int = turns) -> bool:
            for _ in range(turns):
                await asyncio.sleep(0)
            return task.cancel()

        await cancelled(lambda: stack(request), cancel)
        await stack(request)


@_clause("leaving-early", "a consumer who leaves a stream early frees everything")
async def _handler_left(stack: Stack, request: Request) -> None:
    for _ in range(3):
        async with stack.stream(request) as stream:
            async for _event in stream:
                break
    await stack(request)


@_clause("concurrent-use", "many calls at once get each an answer")
async def _handler_concurrent(stack: Stack, request: Request) -> None:
    answers = await asyncio.gather(*(stack(request.with_params(number=number)) for number in range(20)))
    expect(len(answers) == 20 and all([one.message.parts for one in answers]), "an answer is missing")


@_clause("same-everywhere", "two calls of one request give the same kind of answer, streamed or not")
async def _handler_alike(stack: Stack, request: Request) -> None:
    plain = await stack(request)
    _, streamed = await read_all(stack, request)
    expect(plain.finish_reason == streamed.finish_reason, f"{plain.finish_reason!r}, {streamed.finish_reason!r}")
