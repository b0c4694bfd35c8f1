"""map_text: one function for answers and their events, however the stream is cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    ConfigurationError,
    Message,
    Request,
    Response,
    Retry,
    ServerError,
    Text,
    ToolCall,
    ToolCallDelta,
    build_stack,
    map_text,
)
from llamina.testing import FakeTransport, answer, simulated_time, tool_call

REQUEST = Request.chat("m", "hi")


def hide(text: str) -> str:
    """A redactor."""
    return text.replace("secret", "***")


async def read(stack: Any) -> tuple[list[str], Response]:
    """The texts of a stream, and the response."""
    async with stack.stream(REQUEST) as stream:
        return [event.text async for event in stream], stream.response


@simulated_time
async def test_a_word_that_is_cut_in_two_is_found() -> None:
    """The whole text is rewritten once it has ended; nothing of it leaks before."""
    texts, response = await read(build_stack([map_text(hide)], FakeTransport([["a sec", 1.0, "ret ", "told"]])))

    assert texts == ["a *** told"]
    assert response.text == "a *** told"


@simulated_time
async def test_lines_are_streamed_as_they_end() -> None:
    """A function that looks at one line at a time does not hold the stream back to its end."""
    fake = FakeTransport([["one sec", "ret\ntwo", " secret\nthr", "ee secret"]])

    texts, response = await read(build_stack([map_text(hide, by="line")], fake))

    assert texts == ["one ***\n", "two ***\n", "three ***"]
    assert response.text == "".join(texts)


@simulated_time
async def test_words_are_streamed_as_they_end() -> None:
    """Each word with the white space after it."""
    texts, _ = await read(
        build_stack([map_text(str.upper, by="word")], FakeTransport([["he", "llo wor", "ld  again"]]))
    )

    assert texts == ["HELLO ", "WORLD  ", "AGAIN"]


@simulated_time
async def test_other_parts_pass_untouched() -> None:
    """Tool calls are streamed and returned as they came."""
    call = ToolCall("1", "f", '{"secret": 1}')
    given_ = Response(Message("assistant", (Text("a secret"), call)))
    async with build_stack([map_text(hide)], FakeTransport([given_, tool_call("f")])).stream(REQUEST) as stream:
        events = [event async for event in stream]

    assert ToolCallDelta(0, '{"secret": 1}', "1", "f") in events
    assert stream.response.tool_calls == (call,)
    assert stream.response.text == "a ***"


@simulated_time
async def test_what_an_attempt_held_back_does_not_reach_the_next() -> None:
    """Each attempt has a writer of its own, and what is held back commits nothing."""
    fake = FakeTransport([["first sec", ServerError("cut")], ["second sec", "ret"]])

    texts, response = await read(build_stack([map_text(hide), Retry()], fake))

    assert texts == ["second ***"]
    assert response.text == "second ***"


@simulated_time
async def test_a_plain_call_is_rewritten_alike() -> None:
    """The same function, the same result."""
    assert (await build_stack([map_text(hide)], FakeTransport(answer("a secret")))(REQUEST)).text == "a ***"


@given(
    st.lists(st.text(alphabet="ab \n\t", max_size=5), max_size=8),
    st.sampled_from(["text", "line", "word"]),
)
def test_however_a_stream_is_cut_it_is_what_the_plain_call_gives(pieces: list[str], by: Any) -> None:
    """The divergence guard has nothing to say, for any cut and any way of splitting."""
    layer = map_text(lambda text: f"<{text}>" if text.strip() else text, by=by)

    @simulated_time
    async def play() -> None:
        script = [piece for piece in pieces if piece] or ["x"]
        texts, response = await read(build_stack([layer], FakeTransport([script])))
        plain = await build_stack([layer], FakeTransport([script]))(REQUEST)
        assert "".join(texts) == response.text == plain.text

    play()


def test_a_way_of_splitting_that_does_not_exist_is_refused() -> None:
    """By name and value."""
    with pytest.raises(ConfigurationError, match=r"map_text\.by"):
        map_text(hide, by="sentence")  # type: ignore[arg-type]
