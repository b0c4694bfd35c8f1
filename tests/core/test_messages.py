"""Messages, requests and responses are values that lose nothing."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    InvalidRequestError,
    MalformedResponseError,
    Message,
    PartDelta,
    Reasoning,
    ReasoningDelta,
    Request,
    Response,
    Text,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolResult,
    UnknownPart,
    Usage,
    fold,
)
from llamina.events import events_of


def test_a_prompt_is_text_a_message_or_a_list_of_either() -> None:
    """The shapes that people type all make messages."""
    shapes = ["hi", Message.user("hi"), ["hi"], [{"role": "user", "content": "hi"}], {"role": "user", "content": "hi"}]

    assert {Request.chat("m", shape).messages for shape in shapes} == {(Message.user("hi"),)}


def test_what_a_mapping_says_beyond_role_and_content_is_kept() -> None:
    """Unknown keys and parts of a message pass through verbatim."""
    part = {"type": "hologram", "depth": 3}

    message = Message.of({"role": "user", "content": [{"type": "text", "text": "a"}, part], "weight": 2})

    assert message.parts == (Text("a"), UnknownPart(part))
    assert message.extra == {"weight": 2}


@pytest.mark.parametrize("prompt", [3, [3], [], [{"content": "no role"}], {"role": "user", "content": 3}])
def test_what_is_no_message_is_refused(prompt: object) -> None:
    """The error says what a message looks like."""
    with pytest.raises(InvalidRequestError):
        Request.chat("m", prompt)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", ["", None, 3])
def test_a_model_has_a_name(model: object) -> None:
    """An empty or missing model is found before anything is sent."""
    with pytest.raises(InvalidRequestError, match="model"):
        Request.chat(model, "hi")  # type: ignore[arg-type]


def test_a_request_cannot_be_changed() -> None:
    """Neither its fields nor its parameters nor its tags."""
    request = Request.chat("m", "hi", tags={"user": "ada"}, temperature=1)

    with pytest.raises(AttributeError):
        request.model = "n"  # type: ignore[misc]
    with pytest.raises(TypeError, match="evolve"):
        request.params["temperature"] = 2  # type: ignore[index]
    with pytest.raises(TypeError, match="evolve"):
        request.tags.clear()  # type: ignore[attr-defined]


@pytest.mark.parametrize("values", [{"tags": "ada"}, {"tags": ["ada"]}, {"headers": "x-a: b"}])
def test_tags_and_headers_must_be_mappings(values: dict[str, Any]) -> None:
    """A name alone says not what it is the name of; the message shows how to write it."""
    with pytest.raises(InvalidRequestError, match="must map"):
        Request.chat("m", "hi", **values)


def test_a_request_survives_pickling_and_copying() -> None:
    """What is asked travels; what belongs to one path and process does not."""
    request = Request.chat("m", "hi", tags={"user": "ada"}, p={"deep": [1]}).evolve(deadline=3.0)

    again = pickle.loads(pickle.dumps(request))

    assert again.identity == request.identity
    assert again.tags == request.tags
    assert again.deadline is None
    assert copy.deepcopy(request).identity == request.identity


def test_a_repr_does_not_show_the_prompt() -> None:
    """Prompts are private; sizes are not."""
    assert "canary" not in repr(Request.chat("m", "canary", system="canary"))
    assert "canary" not in repr(Response.of("canary"))


def test_tool_arguments_are_parsed_when_asked_for() -> None:
    """Good JSON is a value; bad JSON is kept as it came and named when it is asked for."""
    assert ToolCall("1", "f", '{"a": 1}').arguments == {"a": 1}
    broken = ToolCall("1", "f", '{"a": ')
    with pytest.raises(MalformedResponseError, match="'f'"):
        _ = broken.arguments
    assert broken.arguments_text == '{"a": '


def test_rewriting_the_text_keeps_all_other_parts() -> None:
    """`with_text` puts the new text where the first old one was."""
    call = ToolCall("1", "f", "{}")
    response = Response(Message("assistant", (Reasoning("hm"), Text("a"), call, Text("b"))))

    assert response.with_text("c").message.parts == (Reasoning("hm"), Text("c"), call)


def test_a_reply_continues_the_conversation() -> None:
    """The answer and the results of its tools follow the messages so far."""
    asked = Request.chat("m", "weather?", tools=[])
    answer = Response(Message("assistant", (ToolCall("1", "f", "{}"),)))

    following = asked.reply(answer, ToolResult("1", "sunny"), "and tomorrow?")

    assert [message.role for message in following.messages] == ["user", "assistant", "tool", "user"]
    assert following.params == asked.params


def test_usage_adds_up() -> None:
    """The tokens of several attempts make one account."""
    assert Usage(1, 2, 3, 4, 5) + Usage(10, 20, 30, 40, 50) == Usage(11, 22, 33, 44, 55)
    assert Usage(1, 2).total_tokens == 3


def test_every_event_has_text_reasoning_and_arguments() -> None:
    """A consumer can join `.text` without looking at the kind of event."""
    events = [TextDelta("a"), ReasoningDelta("b"), ToolCallDelta(0, "c"), PartDelta(UnknownPart())]

    assert "".join([event.text for event in events]) == "a"
    assert "".join([event.reasoning for event in events]) == "b"
    assert "".join([event.arguments for event in events]) == "c"


def test_the_pieces_of_parallel_tool_calls_join_by_index() -> None:
    """Interleaved calls come apart again."""
    events = [
        ToolCallDelta(0, "", "a", "f"),
        ToolCallDelta(1, "", "b", "g"),
        ToolCallDelta(0, '{"x":'),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, "1}"),
    ]

    assert fold(events).tool_calls == (ToolCall("a", "f", '{"x":1}'), ToolCall("b", "g", "{}"))


@given(st.text(), st.lists(st.integers(0, 50), max_size=6))
def test_how_a_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    """The fold of any cutting is the text."""
    edges = sorted({0, len(text), *[min(cut, len(text)) for cut in cuts]})
    pieces = [TextDelta(text[a:b]) for a, b in zip(edges, edges[1:], strict=False)]

    assert fold(pieces).text == text


@given(
    st.lists(
        st.builds(Text, st.text(min_size=1))
        | st.builds(Reasoning, st.text(), st.none() | st.just({"signature": "s"}))
        | st.builds(ToolCall, st.text(), st.text(), st.text())
        | st.builds(UnknownPart, st.just({"type": "x"})),
        max_size=6,
    )
)
def test_a_message_survives_being_replayed_as_events(parts: list[object]) -> None:
    """fold(events_of(message)) has the same content."""
    message = Message("assistant", tuple(parts))  # type: ignore[arg-type]

    again = fold(events_of(message))

    assert (again.text, again.tool_calls) == (message.text, message.tool_calls)
    assert again.reasoning == message.reasoning


def test_accounts_of_equal_counts_are_equal() -> None:
    """Whatever the provider's own account says besides, by both operators."""
    one, other = Usage(1, 2, raw={"a": 1}), Usage(1, 2)

    assert one == other
    assert not one != other  # noqa: SIM202 - the operator itself
    assert one != Usage(1, 3)
