"""What the ledger says of a stream whose account is not complete: the input that was said, the output as estimated."""

from __future__ import annotations

import pytest

from llamina import (
    Message,
    NetworkError,
    Request,
    Response,
    Text,
    TextDelta,
    Usage,
    build_stack,
)
from llamina.testing import simulated_time

LONG = "a text of some length " * 10
PROMPT = Request.chat("m", "hi")


@simulated_time
async def test_an_answer_without_an_account_keeps_the_input_that_was_said_while_it_streamed() -> None:
    """The provider counted the prompt at the start and said nothing at the end."""

    async def terminal(request: Request) -> Response:
        out = request.begin()
        out.usage = Usage(160, 1, 100)
        await out.send(TextDelta(LONG))
        return Response(Message("assistant", (Text(LONG),)), None, "stop")

    async with build_stack([], terminal).stream(PROMPT) as stream:
        response = await stream.complete()

    (attempt,) = response.call.attempts
    assert attempt.usage is not None
    assert (attempt.usage_source, attempt.usage.input_tokens, attempt.usage.cache_read_tokens) == (
        "estimated",
        160,
        100,
    )
    assert attempt.usage.output_tokens == len(LONG) // 4


@simulated_time
async def test_a_stream_that_broke_keeps_the_input_and_estimates_the_output() -> None:
    """What was counted so far is less than what was sent."""

    async def terminal(request: Request) -> Response:
        out = request.begin()
        out.usage = Usage(160, 1)
        await out.send(TextDelta(LONG))
        raise NetworkError("cut")

    async with build_stack([], terminal).stream(PROMPT) as stream:
        with pytest.raises(NetworkError):
            await stream.complete()

    (attempt,) = stream.call.attempts
    assert attempt.usage is not None
    assert (attempt.usage_source, attempt.usage.input_tokens) == ("estimated", 160)
    assert attempt.usage.output_tokens == len(LONG) // 4
