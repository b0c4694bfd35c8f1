"""Requests on the chat wire: what is sent for what was asked, and what cannot be said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    Audio,
    File,
    Image,
    InvalidRequestError,
    Message,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    UnknownPart,
)
from llamina.wire.openai_chat import decode_request, encode_request

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
TEXT = st.text(min_size=1, max_size=20)
CONTENT = st.one_of(
    TEXT.map(Text),
    st.builds(Image, st.binary(max_size=9), st.sampled_from(["image/png", "image/webp"])),
    st.builds(lambda url: Image(url="https://" + url), TEXT),
    st.builds(Audio, st.binary(max_size=9), st.sampled_from(["audio/wav", "audio/mpeg", "audio/flac"])),
    st.builds(lambda data, name: File(data, "application/pdf", name), st.binary(max_size=9), TEXT),
    st.builds(lambda name: File(file_id=name), TEXT),
    st.builds(UnknownPart, st.fixed_dictionaries({"type": st.just("video"), "video": JSON}), st.just("chat")),
)
CALLS = st.builds(
    ToolCall,
    TEXT,
    TEXT,
    st.text(max_size=9),
    st.none() | st.fixed_dictionaries({"chat": st.fixed_dictionaries({"x_more": JSON})}),
)
MESSAGES = st.one_of(
    st.builds(
        lambda parts, name: Message("user", tuple(parts), name),
        st.lists(CONTENT, min_size=1, max_size=3),
        st.none() | TEXT,
    ),
    st.builds(lambda text, calls: Message("assistant", (Text(text), *calls)), TEXT, st.lists(CALLS, max_size=2)),
    st.builds(lambda id_, text: Message.tool(ToolResult(id_, text)), TEXT, st.text(max_size=9)),
    st.builds(lambda text, rest: Message("system", (Text(text),), extra={"x_rest": rest}), TEXT, JSON),
)


def sent(*messages: Any, **params: Any) -> dict[str, Any]:
    """The body for a request of these messages, not streamed."""
    return encode_request(Request.chat("sim", list(messages), **params), stream=False)


@given(st.lists(MESSAGES, min_size=1, max_size=4), st.dictionaries(TEXT.map("x_{}".format), JSON, max_size=3))
def test_what_is_written_is_read_back(messages: list[Message], params: dict[str, Any]) -> None:
    """Any messages and parameters come back as they were, unknown ones too."""
    request = Request.chat("sim", messages).evolve(params=params)

    back = decode_request(encode_request(request, stream=False))

    assert back.messages == request.messages
    assert back.params == request.params
    assert back.identity == request.identity


def test_plain_text_is_a_plain_string() -> None:
    """One part of text needs no list; several parts do."""
    assert sent("hi")["messages"] == [{"role": "user", "content": "hi"}]
    assert sent(Message.user("a", "b"))["messages"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "text", "text": "b"},
    ]


def test_parameters_go_through_untouched() -> None:
    """Known or not, they are the same objects; whether it streams is said by the caller of the codec."""
    unknown = {"kept": True}

    body = sent("hi", temperature=0.5, an_unknown_parameter=unknown, stream=True, stream_options={"x": 1})

    assert body["an_unknown_parameter"] is unknown
    assert body["temperature"] == 0.5
    assert "stream" not in body
    assert "stream_options" not in body


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": {"include_obfuscation": False}}, {"include_usage": True, "include_obfuscation": False}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": False}),
        ({"stream_options": None}, None),
    ],
)
def test_a_stream_asks_for_its_usage(options: dict[str, Any], expected: Any) -> None:
    """The caller's own options are merged and win; None leaves them out for servers that know none."""
    body = encode_request(Request.chat("sim", "hi", **options), stream=True)

    assert body["stream"] is True
    assert body.get("stream_options") == expected


def test_a_message_given_as_a_mapping_is_sent_as_it_was() -> None:
    """Fields and parts without a type here go out verbatim."""
    given = [
        {"role": "user", "content": [{"type": "input_video", "input_video": {"url": "x"}}], "x_mark": 1},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "type": "function", "function": {}}]},
        {"role": "tool", "tool_call_id": "c", "content": "done"},
    ]

    assert sent(*given)["messages"] == given


def test_several_results_are_several_messages() -> None:
    """One tool message for each result, in order; what a user adds comes after them."""
    together = sent(Message.tool(ToolResult("a", "1"), ToolResult("b", (Text("2"),), name="clock")))["messages"]
    mixed = sent(Message.user(ToolResult("a", "1"), "and now?"))["messages"]

    assert [message["tool_call_id"] for message in together] == ["a", "b"]
    assert together[1] == {
        "role": "tool",
        "tool_call_id": "b",
        "content": [{"type": "text", "text": "2"}],
        "name": "clock",
    }
    assert mixed == [{"role": "tool", "tool_call_id": "a", "content": "1"}, {"role": "user", "content": "and now?"}]


def test_the_thoughts_of_another_wire_are_not_sent() -> None:
    """A provider refuses what another one signed; the answer itself is sent."""
    thought = Message.assistant(Reasoning("hm", {"anthropic": {"signature": "of another"}}), Reasoning("bare"), "yes")

    assert sent(thought)["messages"] == [{"role": "assistant", "content": "yes"}]


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (Audio(url="https://example.org/a.wav"), "Audio"),
        (Audio(b"x"), "Audio.media_type"),
        (Image(b"x"), "Image.media_type"),
        (Image(), "Image must have data or a url"),
        (File(), "File must have data"),
        (UnknownPart("no mapping"), "UnknownPart.raw"),
        (Text("x", raw="no mapping"), "Text.raw"),
    ],
)
def test_what_cannot_be_said_is_named(part: Any, named: str) -> None:
    """The error names the part, and it is found before anything is sent."""
    with pytest.raises(InvalidRequestError) as caught:
        sent(Message.user(part))

    assert named in str(caught.value)


def test_a_sound_of_the_assistant_without_an_id_cannot_be_sent() -> None:
    """The wire takes it back by its id only."""
    with pytest.raises(InvalidRequestError, match="transcript"):
        sent(Message.assistant(Audio(b"x", "audio/wav", transcript="hello")))


def test_another_kind_of_request_is_refused() -> None:
    """An embedding is no chat."""
    with pytest.raises(InvalidRequestError, match="embed"):
        encode_request(Request.chat("sim", "hi").evolve(kind="embed"), stream=False)


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "must be an object"),
        ({"model": "sim"}, "messages must be a list"),
        ({"model": "sim", "messages": []}, "at least one message"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "model"),
        ({"model": "sim", "messages": ["hi"]}, r"messages\[0\]"),
        ({"model": "sim", "messages": [{"role": "user", "content": 7}]}, r"messages\[0\].content"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: Any, named: str) -> None:
    """The error names the field, for the client of a server."""
    with pytest.raises(InvalidRequestError, match=named):
        decode_request(body)


def test_how_a_client_streams_is_no_parameter_of_the_request() -> None:
    """The same question, streamed or not, is one request; further options of the stream are kept."""
    body = {"model": "sim", "messages": [{"role": "user", "content": "hi"}]}

    plain = decode_request(body)
    streamed = decode_request({**body, "stream": True, "stream_options": {"include_usage": True, "x_more": 1}})

    assert streamed.identity == plain.identity
    assert streamed.params == {"stream_options": {"x_more": 1}}
