"""What a part keeps for one wire is seen by that wire alone."""

from __future__ import annotations

from typing import Any

import pytest

from llamina.errors import InvalidRequestError
from llamina.messages import Message, Reasoning, Text, ToolCall, ToolResult, UnknownPart
from llamina.protocol import Request, Response
from llamina.wire import openai_chat
from llamina.wire._dialect import typed


def said(*parts: Any, role: str = "assistant") -> Any:
    """The message of these parts on the chat wire."""
    return openai_chat.encode_request(Request.chat("sim", [Message(role, parts)]), stream=False)["messages"][0]


def test_fields_for_another_wire_are_not_said() -> None:
    """A mark for one provider's prompt cache does not reach the other."""
    body = said(Text("x", raw={"anthropic": {"cache_control": {"type": "ephemeral"}}}), role="user")

    assert body == {"role": "user", "content": "x"}


def test_fields_for_several_wires_live_side_by_side() -> None:
    """Each wire takes its own entry."""
    body = said(Text("x", raw={"anthropic": {"a": 1}, "chat": {"c": 2}}), role="user")

    assert body["content"] == [{"c": 2, "type": "text", "text": "x"}]


@pytest.mark.parametrize(
    ("raw", "word"),
    [({"cache_control": {}}, "cache_control"), ({"chat": "text"}, r"raw\['chat'\]"), ("text", "raw must map")],
)
def test_a_raw_slot_without_wires_is_refused(raw: Any, word: str) -> None:
    """Fields that no wire would take are a mistake, and the error says how to write it."""
    with pytest.raises(InvalidRequestError, match=word):
        said(Text("x", raw=raw), role="user")


def test_a_part_of_another_wire_is_refused_by_name() -> None:
    """What one provider's own tool gave cannot be said to another provider."""
    part = UnknownPart({"type": "server_tool_use", "id": "s1"}, "anthropic")

    with pytest.raises(InvalidRequestError, match="'server_tool_use' that came from the anthropic wire"):
        said(part)


def test_a_refusal_is_said_alike_on_both_wires_of_openai() -> None:
    """A conversation in which the model refused can go on over the other wire."""
    body = said(UnknownPart({"type": "refusal", "refusal": "no"}, "responses"))

    assert body["content"] == [{"type": "refusal", "refusal": "no"}]


def test_the_thoughts_of_another_provider_are_left_out() -> None:
    """A signature of one provider is nothing that another may see."""
    body = said(Reasoning("hm", raw={"anthropic": {"signature": "s"}}), Text("x"))

    assert body == {"role": "assistant", "content": "x"}


def test_a_mapping_with_tool_calls_becomes_typed() -> None:
    """An app that passes mappings in the dialect of chat completions can change to another wire."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = Message.of({"role": "assistant", "content": "x", "tool_calls": [call], "x_more": 1})

    assert typed(message) == Message("assistant", (Text("x"), ToolCall("c1", "f", "{}")), extra={"x_more": 1})


def test_a_mapping_with_a_result_becomes_typed() -> None:
    """The result of a tool is recognised by the id of its call."""
    message = Message.of({"role": "tool", "tool_call_id": "c1", "content": "sunny"})

    assert typed(message) == Message("tool", (ToolResult("c1", "sunny"),))


def test_a_mapping_of_a_part_becomes_typed() -> None:
    """Pictures in the dialect of chat completions become pictures; a part of another dialect stays as it is."""
    picture = {"type": "image_url", "image_url": {"url": "https://example.org/cat.png"}}
    other = {"type": "image", "source": {"type": "url", "url": "https://example.org/cat.png"}}

    parts = typed(Message.of({"role": "user", "content": [picture, other]})).parts

    assert [type(part).__name__ for part in parts] == ["Image", "UnknownPart"]
    assert parts[1] == UnknownPart(other)


def test_a_typed_message_is_taken_as_it_is() -> None:
    """Nothing is copied where there is nothing to do."""
    message = Message.user("hi")

    assert typed(message) is message


def test_the_fields_of_another_wire_do_not_enter_an_answer() -> None:
    """An app that speaks one wire is answered on it, whatever provider answered below."""
    answer = Response.of("hi", extra={"object": "response", "created_at": 1}, wire="responses")

    written = openai_chat.encode_response(answer)

    assert (written["object"], "created_at" in written) == ("chat.completion", False)
    assert openai_chat.encode_response(Response.of("hi", extra={"x_more": 1}))["x_more"] == 1


def test_a_tool_says_its_further_fields_on_their_own_wire_only() -> None:
    """A mark for another provider's cache is nothing that this one may see."""
    tool = {"type": "function", "function": {"name": "f"}, "anthropic": {"cache_control": {}}, "chat": {"x_more": 1}}

    body = openai_chat.encode_request(Request.chat("sim", "hi", tools=[tool]), stream=False)

    assert body["tools"] == [{"type": "function", "function": {"name": "f"}, "x_more": 1}]
