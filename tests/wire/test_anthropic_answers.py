"""Answers on Anthropic's wire: what a client reads of a message, and what a server writes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llamina import (
    LLMError,
    MalformedResponseError,
    Message,
    OverloadedError,
    Reasoning,
    Response,
    Text,
    ToolCall,
    UnknownPart,
    Usage,
)
from llamina.wire.anthropic_messages import decode_response, decode_usage, encode_response, encode_usage

USAGE = {"input_tokens": 3, "output_tokens": 4}


def answer(*blocks: Any, **fields: Any) -> dict[str, Any]:
    """A message of the wire."""
    body = {"id": "m1", "type": "message", "role": "assistant", "model": "sim", "content": list(blocks)}
    return {**body, "stop_reason": "end_turn", "stop_sequence": None, "usage": USAGE, **fields}


@pytest.mark.parametrize(
    ("said", "unified"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "other"),
        ("tomorrow", "other"),
        (None, None),
    ],
)
def test_why_it_stopped_is_said_in_the_words_of_all_wires(said: str | None, unified: str | None) -> None:
    """The provider's own word is kept beside, and is what goes back."""
    response = decode_response(answer(stop_reason=said))

    assert (response.finish_reason, response.raw_finish_reason) == (unified, said)
    assert encode_response(response)["stop_reason"] == said


@pytest.mark.parametrize(
    ("finish", "raw", "written"),
    [
        ("stop", "stop", "end_turn"),
        ("length", "length", "max_tokens"),
        ("tool_calls", "tool_calls", "tool_use"),
        ("content_filter", None, "refusal"),
        ("error", None, "end_turn"),
        ("stop", "max_tokens", "end_turn"),
        (None, None, None),
    ],
)
def test_an_answer_of_another_wire_stops_in_words_of_this_one(
    finish: str | None, raw: str | None, written: str | None
) -> None:
    """A server may answer what another provider said, or what a layer changed."""
    body = encode_response(Response(Message("assistant"), None, finish, raw_finish_reason=raw))

    assert body["stop_reason"] == written


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("text", "str"),
        ({}, "no list of blocks"),
        ({"content": "text"}, "no list of blocks"),
        ({"content": ["text"]}, "no list of blocks"),
        ({"type": "completion", "content": []}, "completion"),
    ],
)
def test_what_is_no_message_is_malformed(body: Any, words: str) -> None:
    """The error says what is wrong with it."""
    with pytest.raises(MalformedResponseError, match=words) as caught:
        decode_response(body, request_id="r", provider="p", model="m")

    assert (caught.value.request_id, caught.value.provider, caught.value.model) == ("r", "p", "m")


def test_an_error_in_a_success_is_classified() -> None:
    """As the same words in a failure would be."""
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "r1"}

    with pytest.raises(OverloadedError, match="busy") as caught:
        decode_response(body)

    assert (caught.value.status, caught.value.request_id) == (None, "r1")


def test_the_id_of_the_request_is_on_the_answer() -> None:
    """For support."""
    assert decode_response(answer(), request_id="r").request_id == "r"


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"input_tokens": 10, "output_tokens": 2}, Usage(10, 2)),
        ({"input_tokens": 0, "output_tokens": 0}, Usage(0, 0)),
        (
            {"input_tokens": 10, "output_tokens": 2, "cache_read_input_tokens": 5000, "cache_creation_input_tokens": None},
            Usage(5010, 2, 5000),
        ),
        (
            {
                "input_tokens": 1, "output_tokens": 2, "cache_creation_input_tokens": 70,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50},
            },
            Usage(71, 2, 0, 70, 0, 50),
        ),
        (
            {
                "input_tokens": 1, "output_tokens": 2,
                "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 50},
            },
            Usage(71, 2, 0, 70, 0, 50),
        ),
        (
            {"input_tokens": 1, "output_tokens": 9, "output_tokens_details": {"thinking_tokens": 7}},
            Usage(1, 9, reasoning_tokens=7),
        ),
        ({"input_tokens": None, "output_tokens": 2}, None),
        ({"input_tokens": -1, "output_tokens": 2}, None),
        ({"input_tokens": "10", "output_tokens": 2}, None),
        ({"input_tokens": True, "output_tokens": 2}, None),
        ({"input_tokens": 10}, None),
        ("10", None),
        (None, None),
    ],
)  # fmt: skip
def test_tokens_are_counted_as_on_all_wires(said: Any, usage: Usage | None) -> None:
    """The input includes the cache, and what is no account is none."""
    found = decode_usage(said)

    assert found == usage
    if found is not None:
        assert encode_usage(found) == said


def test_a_cached_prompt_costs_what_the_price_list_says() -> None:
    """10 fresh, 5,000 read, 1,500 written, of which 1,000 for an hour: each has a price of its own."""
    usage = decode_usage(
        {
            "input_tokens": 10,
            "output_tokens": 100,
            "cache_read_input_tokens": 5000,
            "cache_creation_input_tokens": 1500,
            "cache_creation": {"ephemeral_5m_input_tokens": 500, "ephemeral_1h_input_tokens": 1000},
        }
    )

    assert usage is not None
    fresh = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
    short = usage.cache_write_tokens - usage.cache_write_long_tokens
    assert (fresh, usage.cache_read_tokens, short, usage.cache_write_long_tokens) == (10, 5000, 500, 1000)


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5))
def test_an_account_of_another_wire_is_said_in_words_of_this_one(counts: list[int]) -> None:
    """No token is lost on the way."""
    fresh, read, written, answered, long = counts
    usage = Usage(fresh + read + written, answered, read, written, answered // 2, min(long, written))

    assert decode_usage(encode_usage(usage)) == usage


def test_an_answer_of_another_wire_is_written_as_far_as_this_one_can_say_it() -> None:
    """Thoughts get an empty signature, a refusal becomes text; what has no words here is left out."""
    message = Message(
        "assistant",
        (
            Reasoning("hm"),
            Text("x"),
            UnknownPart({"type": "refusal", "refusal": "No."}, "chat"),
            UnknownPart({"type": "computer_call"}, "responses"),
            ToolCall("1", "f", "{bad"),
        ),
    )

    body = encode_response(Response(message, Usage(3, 4), "stop", "m"), created=5)

    assert body["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "x"},
        {"type": "text", "text": "No."},
        {"type": "tool_use", "id": "1", "name": "f", "input": "{bad"},
    ]
    assert (body["id"], body["type"], body["stop_sequence"]) == ("msg_0", "message", None)


def test_arguments_that_came_as_text_are_kept() -> None:
    """A proxy may pass on what a model wrote; asking for them parsed says what is wrong."""
    (call,) = decode_response(answer({"type": "tool_use", "id": "1", "name": "f", "input": "{bad"})).tool_calls

    assert call.arguments_text == "{bad"
    with pytest.raises(LLMError, match="no valid JSON"):
        _ = call.arguments


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
KINDS = st.sampled_from(
    ["text", "thinking", "redacted_thinking", "tool_use", "server_tool_use", "image", "document", "x"]
)
NAMES = st.sampled_from(
    ["type", "text", "thinking", "signature", "data", "id", "name", "input", "citations", "source", "new"]
)
BLOCKS = st.builds(
    lambda fields, kind: {**fields, "type": kind}, st.dictionaries(NAMES, VALUES | st.text(), max_size=5), KINDS
)


@given(
    st.lists(BLOCKS | st.dictionaries(NAMES, VALUES, max_size=3), max_size=4),
    st.dictionaries(st.sampled_from(["stop_sequence", "container", "stop_details", "new"]), VALUES),
    st.fixed_dictionaries({}, optional={"usage": VALUES, "stop_reason": VALUES, "model": VALUES}),
)
def test_any_answer_is_written_as_it_was_read(blocks: list[Any], extra: Any, odd: dict[str, Any]) -> None:
    """Known fields, odd forms of them and unknown ones: nothing is lost or added."""
    body = {**answer(*blocks), **extra, **odd}

    written = encode_response(decode_response(body))

    assert written == body
    assert msgspec.json.encode(written, order="sorted") == msgspec.json.encode(body, order="sorted")
