"""EchoTransport: answers from the prompt, streams in words, counts, obeys a limit."""

from __future__ import annotations

import asyncio

import pytest

from llamina import Message, Request, build_stack
from llamina.errors import ConfigurationError
from llamina.messages import ToolResult
from llamina.testing import simulated_time
from llamina.transports import EchoTransport


@simulated_time
async def test_the_answer_contains_the_prompt_and_is_the_same_every_time() -> None:
    """It is deterministic: equal requests have equal answers, ids included."""
    echo = EchoTransport()

    first, second = [await echo(Request.chat("echo", "Why is the sky blue?")) for _ in range(2)]

    assert "Why is the sky blue?" in first.text
    assert (first.text, first.id, first.usage) == (second.text, second.id, second.usage)
    assert (first.finish_reason, first.model) == ("stop", "echo")


@simulated_time
async def test_tokens_are_counted() -> None:
    """A longer prompt costs more input, and the answer has output."""
    echo = EchoTransport()

    short = await echo(Request.chat("echo", "hi"))
    long = await echo(Request.chat("echo", "hi " * 100))

    assert short.usage is not None
    assert long.usage is not None
    assert 0 < short.usage.input_tokens < long.usage.input_tokens
    assert 0 < short.usage.output_tokens < long.usage.output_tokens


@simulated_time
async def test_a_stream_comes_in_words_and_folds_to_the_answer() -> None:
    """White space is kept, so that the pieces make the text again."""
    stack = build_stack([], EchoTransport())

    async with stack.stream(Request.chat("echo", "two  spaces\nand a line")) as stream:
        pieces = [event.text async for event in stream]

    assert len(pieces) > 5
    assert "".join(pieces) == stream.response.text
    assert "two  spaces\nand a line" in stream.response.text


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
@simulated_time
async def test_a_limit_of_tokens_ends_the_answer(name: str) -> None:
    """The answer is cut after a whole word, and says why it ends."""
    answer = await EchoTransport()(Request.chat("echo", "a long prompt " * 20, **{name: 5}))

    assert answer.finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.output_tokens <= 5
    assert answer.text.startswith("You said:")


@simulated_time
async def test_a_generous_limit_changes_nothing() -> None:
    """A limit that is not reached leaves the answer whole."""
    answer = await EchoTransport()(Request.chat("echo", "hi", max_tokens=1000))

    assert answer.finish_reason == "stop"


@simulated_time
async def test_delays_are_waited_for() -> None:
    """One wait before the answer, one between two words."""
    clock = asyncio.get_running_loop().time
    started = clock()

    answer = await EchoTransport(delay=2.0, piece_delay=0.5)(Request.chat("echo", "hi"))

    assert clock() - started == pytest.approx(2.0 + 0.5 * (len(answer.text.split()) - 1))


@simulated_time
async def test_the_result_of_a_tool_is_repeated() -> None:
    """A conversation that ends with a tool's result gets an answer about it."""
    request = Request.chat("echo", [Message.user("weather?"), Message.tool(ToolResult("call_1", "sunny"))])

    assert "sunny" in (await EchoTransport()(request)).text


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1", True])
@pytest.mark.parametrize("name", ["delay", "piece_delay"])
def test_a_delay_that_is_no_time_is_refused(name: str, value: object) -> None:
    """The error names the field and the value."""
    with pytest.raises(ConfigurationError, match=f"EchoTransport.{name} .*got"):
        EchoTransport(**{name: value})
