"""Parts of an answer keep their borders and what belongs to them, streamed or not."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    InvalidRequestError,
    Message,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    UnknownPart,
    build_stack,
    fold,
)
from llamina.events import events_of
from llamina.testing import FakeTransport, simulated_time

RAW = st.none() | st.fixed_dictionaries(
    {"anthropic": st.dictionaries(st.sampled_from("ab"), st.integers(), min_size=1)}
)
TEXT = st.text(min_size=1, max_size=9)
PARTS = st.one_of(
    st.builds(Text, TEXT, RAW),
    st.builds(Reasoning, TEXT, RAW),
    st.builds(ToolCall, TEXT, TEXT, TEXT, RAW),
    st.builds(UnknownPart, st.fixed_dictionaries({"type": TEXT}), st.just("anthropic")),
)


@given(st.lists(PARTS, max_size=6))
def test_the_events_of_a_message_fold_back_into_it(parts: list[object]) -> None:
    """Neighbouring texts stay apart, and citations and signatures stay with the part that they belong to."""
    message = Message("assistant", tuple(parts))  # type: ignore[arg-type]

    assert fold(events_of(message)) == message


def test_what_belongs_to_a_text_closes_it() -> None:
    """Text that comes after the citations of a part is another part."""
    cited = {"anthropic": {"citations": [1]}}

    message = fold([TextDelta("a"), TextDelta("b", new=True), TextDelta("c"), TextDelta("", cited), TextDelta("d")])

    assert message.parts == (Text("a"), Text("bc", cited), Text("d"))


def test_a_block_of_reasoning_without_a_signature_can_be_followed_by_another() -> None:
    """A new block says so."""
    message = fold([ReasoningDelta("a"), ReasoningDelta("b", new=True)])

    assert message.parts == (Reasoning("a"), Reasoning("b"))


@simulated_time
async def test_a_stream_keeps_what_belongs_to_its_parts() -> None:
    """The borders and raw fields of the streamed parts reach the consumer."""
    parts = (Text("a", {"anthropic": {"citations": [1]}}), Text("b"), Reasoning("", {"anthropic": {"data": "x"}}))
    stack = build_stack([], FakeTransport([Response(Message("assistant", parts))]))

    async with stack, stack.stream(Request.chat("m", "hi")) as stream:
        events = [event async for event in stream]

    assert fold(events).parts == stream.response.message.parts == parts


def test_an_embedding_is_asked_with_a_message_for_each_text() -> None:
    """Layers that look at messages see the texts; one text is a list of one."""
    request = Request.embed("e", ["one", "two"], dimensions=3)

    assert (request.kind, [message.text for message in request.messages]) == ("embed", ["one", "two"])
    assert Request.embed("e", "one").identity == Request.embed("e", ["one"]).identity != request.identity


@pytest.mark.parametrize(("model", "texts"), [("", ["x"]), ("e", []), ("e", [3]), ("e", ["x", None])])
def test_an_embedding_of_nothing_is_refused(model: str, texts: list[str]) -> None:
    """The error names what is wrong before anything is sent."""
    with pytest.raises(InvalidRequestError, match=r"model|texts"):
        Request.embed(model, texts)


class Weather:
    """Something that has a definition, as tools do."""

    definition: ClassVar = {"type": "function", "function": {"name": "weather", "parameters": {}}}


def test_tools_become_plain_data() -> None:
    """A request is a value: what identifies it is the definition of a tool, not the object."""
    request = Request.chat("m", "hi", tools=[Weather()])

    assert request.params["tools"] == [Weather.definition]
    assert Request.chat("m", "hi", tools=Weather()).identity == request.identity
    assert Request.chat("m", "hi").with_params(tools=(Weather(),)).identity == request.identity
